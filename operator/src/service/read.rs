//! IO: what a commit holds for a service, by way of the Git module only. What the commit's author has to change is a
//! [`Problem`] of this commit; everything else is a [`Failure`] of this look.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Problem,
    resolve::{self, Content, DESCRIPTOR, DESCRIPTOR_BYTES, Unbuilt},
};
use crate::{
    api::ServiceDescriptor,
    conditions::Reason,
    git::{CommitId, DirectoryLimits, Git, GitError, Remote, VisitLimits, Visitor, names::joined},
    release::{self, ConfigFiles, Contents, LARGEST_CONFIG},
    runtime::stateful::{self, Look},
    yaml,
};

/// A configuration directory whose files are read.
const CONFIG: DirectoryLimits = DirectoryLimits {
    recursive: true,
    files: 500,
    file_bytes: LARGEST_CONFIG,
    skip_large: false,
    total_bytes: LARGEST_CONFIG,
    contents: true,
};

/// A service's directory, where only what the files are called is asked.
const NAMES: DirectoryLimits = DirectoryLimits {
    recursive: false,
    files: 10_000,
    file_bytes: u64::MAX,
    skip_large: false,
    total_bytes: u64::MAX,
    contents: false,
};

/// Of a service's source, where it is looked for what is unsafe to run as many: a second of one processor at most.
const SOURCE: VisitLimits =
    VisitLimits { entries: 50_000, file_bytes: stateful::FILE_BYTES, total_bytes: 32 << 20 };

/// Line and column of each field of a descriptor.
type Places = BTreeMap<String, (u32, u32)>;

/// A look that brought nothing, or not all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What to tell.
    pub problem: Problem,
    /// Only a person can help, so it is told at once.
    pub is_permanent: bool,
    /// Version of the Secret whose login the host refused.
    pub refused: Option<String>,
}

impl Failure {
    /// It needs a person.
    pub fn permanent(reason: Reason, message: String) -> Self {
        Self { problem: Problem::new(reason, message), is_permanent: true, refused: None }
    }

    /// It may pass by itself.
    pub fn passing(reason: Reason, message: String) -> Self {
        Self { problem: Problem::new(reason, message), is_permanent: false, refused: None }
    }
}

/// Reads a commit that was fetched: `(directory of the service, commit)`, as far as it concerns `environments`, with a
/// configuration of at most so many bytes. Nothing of it that a tenant may make large is kept: of a configuration directory
/// the names, ids and sizes of its files.
pub async fn content(
    git: &Git,
    remote: &Remote,
    (path, commit): (&str, &CommitId),
    (environments, largest_config): (BTreeSet<String>, u64),
) -> Result<Result<Content, Problem>, Failure> {
    let file = git.file(remote, commit, &joined(path, DESCRIPTOR), DESCRIPTOR_BYTES).await;
    let bytes = match of_commit(Reason::InvalidDescriptor, file)? {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(Err(no_descriptor(git, remote, (path, commit)).await)),
        Err(problem) => return Ok(Err(problem)),
    };
    let (mut descriptor, mut places) = match parsed(path, bytes).await? {
        Ok(parsed) => parsed,
        Err(problem) => return Ok(Err(problem)),
    };
    let unbuilt = Unbuilt::of(&descriptor);
    let digest = git.tree_digest(remote, commit, path, move |entry| unbuilt.excludes(entry)).await;
    let build_id = match of_commit(Reason::InvalidDescriptor, digest)? {
        Ok(build_id) => build_id,
        Err(problem) => return Ok(Err(problem)),
    };
    let others = descriptor.environments.keys().filter(|name| !environments.contains(*name));
    let others = others.cloned().collect();
    descriptor.environments.retain(|environment, _| environments.contains(environment));
    let mut configs = BTreeMap::new();
    for directory in resolve::configs_of(&descriptor, &environments) {
        let files = config(git, remote, (&joined(path, &directory), commit), largest_config).await?;
        configs.insert(directory, files);
    }
    let stateful = stateful(git, remote, (path, commit), (&descriptor, &environments)).await?;
    let file = joined(path, DESCRIPTOR);
    places.retain(|path, _| {
        let environment = path.strip_prefix("environments.").and_then(|rest| rest.split('.').next());
        environment.is_none_or(|environment| environments.contains(environment))
    });
    let committed = match of_commit(Reason::InvalidDescriptor, git.committed(remote, commit).await)? {
        Ok(committed) => committed,
        Err(problem) => return Ok(Err(problem)),
    };
    Ok(Ok(Content {
        file,
        others,
        places,
        commit: commit.to_string(),
        committed,
        build_id,
        environments,
        descriptor,
        configs,
        stateful,
    }))
}

/// Told of a commit that has none where it is looked for.
async fn no_descriptor(git: &Git, remote: &Remote, (path, commit): (&str, &CommitId)) -> Problem {
    let names = git.directory(remote, commit, path, NAMES).await.map(|read| read.files.into_keys());
    let misnamed = names.ok().and_then(|mut names| names.find(|name| resolve::is_misnamed(name)));
    resolve::no_descriptor(path, misnamed.as_deref())
}

/// A file as it comes from a tenant may take a while: no other work waits for it.
async fn parsed(path: &str, bytes: Vec<u8>) -> Result<Result<(ServiceDescriptor, Places), Problem>, Failure> {
    let path = path.to_owned();
    let task = tokio::task::spawn_blocking(move || {
        let descriptor = resolve::descriptor(&path, &bytes)?;
        Ok((descriptor, yaml::places(&bytes)))
    });
    task.await.map_err(|error| {
        Failure::permanent(Reason::InvalidDescriptor, format!("not read ({error}); please report this"))
    })
}

impl Visitor for Look {
    fn enters(&self, directory: &str) -> bool {
        Self::enters(directory)
    }

    fn wants(&self, file: &str) -> bool {
        Self::wants(file)
    }

    fn file(&mut self, path: &str, content: &[u8]) {
        self.file(path, content);
    }

    fn skipped(&mut self, path: &str, why: String) {
        self.skipped(path, why);
    }
}

/// What in the source is unsafe to run as many, in short, where one of `environments` would run it so. What cannot be told
/// from the source holds up nothing: it is a guard against oversight, and no wall.
async fn stateful(
    git: &Git,
    remote: &Remote,
    (path, commit): (&str, &CommitId),
    (descriptor, environments): (&ServiceDescriptor, &BTreeSet<String>),
) -> Result<Option<String>, Failure> {
    let asks = |environment: &String| {
        yaml::settings(descriptor, environment).is_ok_and(|settings| stateful::is_uncoordinated(&settings))
    };
    if !environments.iter().any(asks) {
        return Ok(None);
    }
    let look = git.visit(remote, commit, (path, SOURCE), Look::default()).await;
    let look = look.map_err(|error| from_git(&error))?;
    let more = match look.findings.len() {
        0 | 1 => String::new(),
        several => format!(" (and {} more)", several - 1),
    };
    Ok(look.findings.first().map(|found| joined(path, &found.to_string()) + &more))
}

/// What the files of a configuration directory hold: `(path of the directory, commit)`.
pub async fn contents(
    git: &Git,
    remote: &Remote,
    (directory, commit): (&str, &CommitId),
) -> Result<Contents, GitError> {
    let read = git.directory(remote, commit, directory, CONFIG).await?;
    Ok(read.files.into_iter().map(|(path, file)| (path, file.content)).collect())
}

async fn config(
    git: &Git,
    remote: &Remote,
    (directory, commit): (&str, &CommitId),
    largest: u64,
) -> Result<Result<ConfigFiles, Problem>, Failure> {
    // All of them, so that they can be told with their sizes.
    let names = DirectoryLimits { total_bytes: u64::MAX, contents: false, ..CONFIG };
    let read = of_commit(Reason::InvalidConfig, git.directory(remote, commit, directory, names).await)?;
    Ok(read.and_then(|read| resolve::config(directory, read)).and_then(|files| {
        let told = release::too_much(directory, &files, largest);
        told.map_or(Ok(files), |told| Err(Problem::new(Reason::InvalidConfig, told)))
    }))
}

/// Tells what the commit's author has to change from what is wrong with the look.
fn of_commit<T>(reason: Reason, answer: Result<T, GitError>) -> Result<Result<T, Problem>, Failure> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(
            error @ (GitError::PathMissing { .. } | GitError::UnsafeEntry { .. } | GitError::TooLarge { .. }),
        ) => Ok(Err(Problem::new(reason, error.to_string()))),
        Err(error) => Err(from_git(&error)),
    }
}

/// As the status tells it.
pub fn from_git(error: &GitError) -> Failure {
    let problem = Problem::new(error.reason(), error.to_string());
    Failure { problem, is_permanent: error.is_permanent(), refused: None }
}
