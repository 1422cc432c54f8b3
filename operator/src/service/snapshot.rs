//! What Git, the registry and the cluster's Secrets last said about one service. Pure: `poll` brings it.

use std::{collections::BTreeMap, sync::Arc};

use super::{Problem, resolve::Content, secrets::Versions};
use crate::{
    api::{IntegrationServiceStatus, integration_service::EnvironmentState},
    registry::signature::{Flaw, Seal},
};

/// At most so many commits of one build are remembered.
const MOST_COMMITS: usize = 5;

/// A branch as it was last read.
#[derive(Clone, Debug, PartialEq)]
pub enum Branch {
    /// The repository has none of this name.
    Missing,
    /// Its head.
    Head {
        /// 40 hexadecimal digits.
        commit: String,
        /// What it holds, or why it cannot be acted on.
        content: Result<Arc<Content>, Problem>,
    },
}

impl Branch {
    /// Of its head.
    pub fn commit(&self) -> Option<&String> {
        match self {
            Self::Missing => None,
            Self::Head { commit, .. } => Some(commit),
        }
    }
}

/// What the registry said about the image of a commit, or about a digest that a commit names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `sha256:…`; kept, since moving a tag changes nothing, and a digest never moves.
    Found(String),
    /// No such image yet.
    Missing,
    /// It could not be asked.
    Unknown(Problem),
}

/// What the registry said of an image that is to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signed {
    /// It is; kept, since a digest never moves.
    Yes,
    /// It is not, or not by whom it should be.
    No(Flaw),
    /// It could not be asked.
    Unknown(Problem),
}

/// Commits that were the head of one branch with one build id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Build {
    /// Hash of everything that makes the image.
    pub id: String,
    /// 40 hexadecimal digits each, the oldest first: the first, for which CI began to build, and the last few.
    pub commits: Vec<String>,
}

impl Build {
    fn add(&mut self, commit: &str) {
        if !self.commits.iter().any(|known| known == commit) {
            self.commits.push(commit.to_owned());
            if self.commits.len() > MOST_COMMITS {
                self.commits.remove(1);
            }
        }
    }
}

/// Everything that Git and the registry last said about one service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Branch → what it is.
    pub branches: BTreeMap<String, Branch>,
    /// Branch → what its head is built of, whatever commits came since.
    pub builds: BTreeMap<String, Build>,
    /// Commit, or digest that a commit names → its image, of those that the registry was asked about.
    pub tags: BTreeMap<String, Tag>,
    /// What is asked of an image that waits → what the registry said.
    pub signed: BTreeMap<Seal, Signed>,
    /// Environment → versions of the Secrets that its head names.
    pub secrets: BTreeMap<String, Versions>,
    /// Why the last look failed, when that is to be told; the rest is then as it was before.
    pub failure: Option<Problem>,
}

impl Snapshot {
    /// What an earlier run of the operator still waited for.
    pub fn of_board(board: Option<&IntegrationServiceStatus>) -> Self {
        let states = board.into_iter().flat_map(|board| &board.environments);
        let build = |state: &EnvironmentState| {
            let id = state.build_id.clone().filter(|_| !state.tags.is_empty())?;
            Some((state.branch.clone(), Build { id, commits: state.tags.clone() }))
        };
        Self { builds: states.filter_map(build).collect(), ..Self::default() }
    }

    /// Remembers which heads are of one build. A head that cannot be read, or was not yet, changes nothing.
    pub fn add_heads(&mut self) {
        self.builds.retain(|branch, _| self.branches.get(branch) != Some(&Branch::Missing));
        for (branch, head) in &self.branches {
            let Branch::Head { commit, content: Ok(content) } = head else { continue };
            let new = || Build { id: content.build_id.clone(), commits: Vec::new() };
            let build = self.builds.entry(branch.clone()).or_insert_with(new);
            if build.id != content.build_id {
                *build = new();
            }
            build.add(commit);
        }
    }

    /// The commits under whose hashes the registry may have the image of what `commit`, the head of `branch`, is built
    /// of.
    pub fn commits_of<'a>(&'a self, branch: &str, commit: &'a String) -> Vec<&'a String> {
        let known =
            self.builds.get(branch).map(|build| &build.commits).filter(|known| known.contains(commit));
        known.map_or(vec![commit], |known| known.iter().collect())
    }
}
