//! IO: the local Git repository: what a reference holds. Reads only; nothing is fetched or checked out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use git2::{Commit, Repository};
use imaas_operator::{
    git::{CommitId, Reader, TreeError},
    source::{LIMITS, parse::Files},
};

use crate::subject::{Tenants, shown, shown_path};

/// The clone that holds a path.
pub struct Clone {
    repository: Repository,
    /// Its working tree.
    root: PathBuf,
}

/// What a working tree is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Base {
    /// As it is told, such as `origin/main`.
    pub name: String,
    /// 40 hexadecimal digits; nothing before the first commit.
    pub commit: Option<String>,
    /// What the reader has to know about the comparison.
    pub notes: Vec<String>,
}

impl Clone {
    /// The clone that `path` is in; a path that is gone is looked for by its nearest parent that is there.
    pub fn holding(path: &Path) -> Result<Self> {
        let absolute = std::path::absolute(shown_path(path))?;
        let there = absolute.ancestors().find(|path| path.exists()).unwrap_or(&absolute);
        let repository = Repository::discover(there).map_err(|error| match error.code() {
            git2::ErrorCode::NotFound => anyhow::anyhow!(
                "{} is in no Git repository, so there is nothing to compare it with: use --against cluster",
                shown(path)
            ),
            git2::ErrorCode::Owner => anyhow::anyhow!(
                "the Git repository of {} belongs to somebody else: `git config --global --add safe.directory {}`",
                shown(path),
                there.display()
            ),
            _ => anyhow::anyhow!("cannot open the Git repository of {}: {}", shown(path), error.message()),
        })?;
        let root = repository.workdir().context("a bare Git repository has no files to look at")?;
        let root = root.canonicalize()?;
        Ok(Self { repository, root })
    }

    /// `path` from the root of the clone, with `/` between parts.
    pub fn relative(&self, path: &Path) -> Result<String> {
        let absolute = std::path::absolute(shown_path(path))?;
        let there = absolute.ancestors().find(|path| path.exists()).unwrap_or(&absolute);
        let rest = absolute.strip_prefix(there).unwrap_or(Path::new(""));
        let full = there.canonicalize()?.join(rest);
        let inside = full.strip_prefix(&self.root).context("the path leads out of the Git repository")?;
        let parts: Option<Vec<&str>> = inside.components().map(|part| part.as_os_str().to_str()).collect();
        let parts = parts.context("the path is not UTF-8")?;
        Ok(parts.join("/"))
    }

    /// What to compare with: where this branch left `reference`, or without one, the default branch of `origin`.
    pub fn base(&self, reference: Option<&str>) -> Result<Base> {
        let mut notes = Vec::new();
        let Ok(head) = self.repository.head().and_then(|head| head.peel_to_commit()) else {
            notes.push("this repository has no commit yet, so everything is new".to_owned());
            return Ok(Base { name: "nothing".to_owned(), commit: None, notes });
        };
        let (name, tip) = match reference {
            Some(name) => (name.to_owned(), self.commit(name)?),
            None => self.default_base(&head),
        };
        let common = self.repository.merge_base(head.id(), tip.id()).ok();
        notes.extend(match common {
            Some(common) if common == tip.id() => None,
            Some(_) => Some(format!("{name} has moved on since this branch left it; compared is where it left")),
            None => Some(format!(
                "this clone holds no common commit with {name} (is it shallow? fetch all of it), so its tip is compared: what others merged meanwhile shows as if it were undone here"
            )),
        });
        Ok(Base { name, commit: Some(common.unwrap_or(tip.id()).to_string()), notes })
    }

    fn default_base<'a>(&'a self, head: &Commit<'a>) -> (String, Commit<'a>) {
        let of_origin = self.repository.find_reference("refs/remotes/origin/HEAD");
        let target = of_origin.ok().and_then(|head| {
            let name = head.symbolic_target().ok()??.strip_prefix("refs/remotes/")?.to_owned();
            Some((name, head.peel_to_commit().ok()?))
        });
        let main = || Some(("origin/main".to_owned(), self.commit("origin/main").ok()?));
        target.or_else(main).unwrap_or_else(|| ("HEAD".to_owned(), head.clone()))
    }

    fn commit(&self, reference: &str) -> Result<Commit<'_>> {
        let found = self.repository.revparse_single(reference).and_then(|object| object.peel_to_commit());
        found.map_err(|_| {
            let branch = reference.strip_prefix("origin/").unwrap_or(reference);
            anyhow::anyhow!(
                "this clone has no {reference:?}: `git fetch origin {branch}:refs/remotes/origin/{branch}`, or name another reference"
            )
        })
    }

    /// The tenant files at `base` and the limits beside them, as the operator would read them; none where there is no such
    /// directory.
    pub fn tenant_files(&self, base: &Base, tenants: &Tenants) -> Result<Files> {
        let mut files = self.files(base, &tenants.directory, tenants.only.as_ref())?;
        files.limits = Some(Box::new(self.files(base, &tenants.limits(), tenants.only.as_ref())?));
        Ok(files)
    }

    fn files(&self, base: &Base, directory: &Path, only: Option<&String>) -> Result<Files> {
        let Some(commit) = &base.commit else { return Ok(Files::default()) };
        let directory = self.relative(directory)?;
        let id = CommitId::parse(commit).context("Git's answer is no commit id")?;
        let read =
            Reader::new(&self.repository, &id, None).and_then(|reader| reader.directory(&directory, LIMITS));
        let mut files = match read {
            Ok(directory) => Files::from(directory),
            Err(TreeError::PathMissing) => Files::default(),
            Err(TreeError::Told(error)) => return Err(error.into()),
            Err(TreeError::CommitMissing) => bail!("this clone has no commit {commit}"),
            Err(TreeError::Corrupt(why)) => bail!("the Git repository is broken at {commit}: {why}"),
        };
        if let Some(only) = only {
            files.regular.retain(|name, _| name == only);
            files.unreadable.retain(|(name, _)| name == only);
        }
        Ok(files)
    }

    /// Git's `user.email`.
    pub fn email(&self) -> Option<String> {
        self.repository.config().ok()?.get_string("user.email").ok().filter(|email| !email.is_empty())
    }

    /// The URL of `origin`, where it is one that a tenant file may hold.
    pub fn origin(&self) -> Option<String> {
        let remote = self.repository.find_remote("origin").ok()?;
        let url = remote.url().ok()?.to_owned();
        Some(url).filter(|url| url.starts_with("https://") && !url.contains('@'))
    }
}
