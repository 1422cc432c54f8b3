//! What can go wrong with a repository, in words for its owner. No message holds a credential or text that a server sent.

use super::url::{GitUrl, UrlError};
use crate::conditions::Reason;

/// Every failure of this module. `reason` is for conditions, events and metrics; `is_permanent` for the back-off.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The URL is refused before anything is sent.
    #[error(transparent)]
    Invalid(#[from] UrlError),
    /// 404. Many hosts also answer this when the credentials do not reach the repository.
    #[error(
        "{0}: the server knows no such repository; check the URL, and that `credentials` names a Secret whose login may read it"
    )]
    NotFound(GitUrl),
    /// 401 or 403.
    #[error(
        "{0}: the server wants another login; name a Secret that holds one in `credentials`, or renew what it holds"
    )]
    AuthenticationFailed(GitUrl),
    /// The name leads to an address inside the cluster or a private network.
    #[error("{0}: the host leads to a private address; the platform team can allow the host by name")]
    HostRefused(GitUrl),
    /// The TLS certificate is not trusted, or for another host.
    #[error(
        "{0}: the server's certificate is not trusted; put its authority under `ca.crt` into the Secret that `credentials` names"
    )]
    HostVerificationFailed(GitUrl),
    /// `ca.crt` cannot be used.
    #[error("{0}: `ca.crt` of the Secret that `credentials` names holds no certificate that can be read")]
    CaInvalid(GitUrl),
    /// A redirect, which is never followed: the credentials would go along.
    #[error("{0}: the server redirects elsewhere, which is not followed; use the URL that it redirects to")]
    Redirected(GitUrl),
    /// An answer, but not Git's smart HTTP protocol, or a kind of repository that is not supported (SHA-256).
    #[error("{0}: the answer is not that of a Git server ({1}); check the URL")]
    NotGit(GitUrl, &'static str),
    /// More bytes or objects than allowed.
    #[error(
        "{url}: more than {cap} {what}, and no setting raises that; take large files out of the repository and its history, or begin a new one with the files of today"
    )]
    RepositoryTooLarge {
        /// Where.
        url: GitUrl,
        /// The limit.
        cap: u64,
        /// Unit of the limit.
        what: &'static str,
    },
    /// No room on disk for a mirror, and nothing that could be removed for it.
    #[error(
        "{url}: there is no room: the Git mirrors {whose} may take {cap} bytes; make the repository smaller, or ask the platform team to raise `operator.mirrors.sizeLimit` of the chart"
    )]
    NoRoom {
        /// Where.
        url: GitUrl,
        /// Of one tenant, or of all.
        whose: &'static str,
        /// The limit.
        cap: u64,
    },
    /// The deadline of one operation passed.
    #[error("{0}: no complete answer within the deadline; check that the server is up and not slow")]
    TimedOut(GitUrl),
    /// Name resolution, connection, 5xx, 429.
    #[error("{0}: the server cannot be reached or is not ready ({1})")]
    Unreachable(GitUrl, String),
    /// No such branch.
    #[error("{url}: there is no branch {branch:?}; create it, or change the branch's name")]
    BranchMissing {
        /// Where.
        url: GitUrl,
        /// As asked for.
        branch: String,
    },
    /// The branch's name cannot be used.
    #[error("branch {0:?} is not a plain branch name; rename it")]
    BranchInvalid(String),
    /// The branch points at a tag, tree or blob.
    #[error("{url}: the branch {branch:?} does not point at a commit; push a commit to it")]
    NotACommit {
        /// Where.
        url: GitUrl,
        /// As asked for.
        branch: String,
    },
    /// The commit was never fetched, or its mirror was removed since. Fetch again.
    #[error("{url}: commit {commit} is not here; it is fetched again")]
    CommitMissing {
        /// Where.
        url: GitUrl,
        /// As asked for.
        commit: String,
    },
    /// The server's pack or the local mirror does not check. A local mirror is removed, so the next fetch starts afresh.
    #[error("{0}: objects are broken or missing ({1})")]
    Corrupt(GitUrl, String),
    /// No such directory at that commit.
    #[error("{url}: there is no directory {path:?} at commit {commit}")]
    PathMissing {
        /// Where.
        url: GitUrl,
        /// Relative to the repository.
        path: String,
        /// At which commit.
        commit: String,
    },
    /// The path is a symbolic link, a submodule or a directory, or not a plain path.
    #[error(
        "{path:?} {what}; name a plain path, such as `config`, that leads to regular files of the repository"
    )]
    UnsafeEntry {
        /// Relative to the repository.
        path: String,
        /// What it is: a predicate.
        what: &'static str,
    },
    /// A file, or all files of a directory together.
    #[error("{path:?} is too large: {size} {unit}, at most {cap}")]
    TooLarge {
        /// Relative to the repository.
        path: String,
        /// What was found. When the blob was left out of the fetch: the size from which blobs are left out.
        size: u64,
        /// The limit.
        cap: u64,
        /// `bytes` or `files`.
        unit: &'static str,
    },
    /// The data directory cannot be used: full, read-only, no rights.
    #[error("the data directory of the Git mirrors: {0}")]
    Storage(#[source] std::io::Error),
    /// The HTTP client cannot be made: no usable system trust store, for instance.
    #[error("the HTTP client for Git cannot be set up ({0})")]
    Client(String),
    /// The process is shutting down.
    #[error("stopped")]
    Stopped,
}

impl GitError {
    /// Condition reason, event reason and metric label.
    pub fn reason(&self) -> Reason {
        match self {
            Self::HostRefused(_) => Reason::HostRefused,
            Self::Invalid(error) if error.is_refused_host() => Reason::HostRefused,
            Self::Invalid(_) | Self::BranchInvalid(_) => Reason::Invalid,
            Self::NotFound(_) | Self::NotGit(..) | Self::Redirected(_) => Reason::RepositoryNotFound,
            Self::AuthenticationFailed(_) => Reason::AuthenticationFailed,
            Self::HostVerificationFailed(_) => Reason::HostVerificationFailed,
            Self::CaInvalid(_) => Reason::CredentialsMissing,
            Self::RepositoryTooLarge { .. } | Self::NoRoom { .. } | Self::TooLarge { .. } => {
                Reason::RepositoryTooLarge
            }
            Self::TimedOut(_) => Reason::TimedOut,
            Self::BranchMissing { .. } | Self::NotACommit { .. } => Reason::BranchMissing,
            Self::PathMissing { .. } | Self::UnsafeEntry { .. } => Reason::InvalidFile,
            Self::CommitMissing { .. } | Self::Corrupt(..) | Self::Storage(_) => Reason::Corrupt,
            Self::Unreachable(..) | Self::Client(_) | Self::Stopped => Reason::Unreachable,
        }
    }

    /// The same error again, when what failed costs much each time that it is tried.
    pub(super) fn costly(&self) -> Option<Self> {
        match self {
            Self::TimedOut(url) => Some(Self::TimedOut(url.clone())),
            Self::NoRoom { url, whose, cap } => Some(Self::NoRoom { url: url.clone(), whose, cap: *cap }),
            Self::RepositoryTooLarge { url, cap, what } => {
                Some(Self::RepositoryTooLarge { url: url.clone(), cap: *cap, what })
            }
            Self::Invalid(_)
            | Self::NotFound(_)
            | Self::AuthenticationFailed(_)
            | Self::HostRefused(_)
            | Self::HostVerificationFailed(_)
            | Self::CaInvalid(_)
            | Self::Redirected(_)
            | Self::NotGit(..)
            | Self::Unreachable(..)
            | Self::BranchMissing { .. }
            | Self::BranchInvalid(_)
            | Self::NotACommit { .. }
            | Self::CommitMissing { .. }
            | Self::Corrupt(..)
            | Self::PathMissing { .. }
            | Self::UnsafeEntry { .. }
            | Self::TooLarge { .. }
            | Self::Storage(_)
            | Self::Client(_)
            | Self::Stopped => None,
        }
    }

    /// True when only somebody's change (a commit, a Secret, a setting) can help, so that trying often is of no use.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Invalid(_)
            | Self::NotFound(_)
            | Self::AuthenticationFailed(_)
            | Self::HostRefused(_)
            | Self::HostVerificationFailed(_)
            | Self::CaInvalid(_)
            | Self::Redirected(_)
            | Self::NotGit(..)
            | Self::RepositoryTooLarge { .. }
            | Self::NoRoom { .. }
            | Self::BranchMissing { .. }
            | Self::BranchInvalid(_)
            | Self::NotACommit { .. }
            | Self::PathMissing { .. }
            | Self::UnsafeEntry { .. }
            | Self::TooLarge { .. } => true,
            Self::TimedOut(_)
            | Self::Unreachable(..)
            | Self::CommitMissing { .. }
            | Self::Corrupt(..)
            | Self::Storage(_)
            | Self::Client(_)
            | Self::Stopped => false,
        }
    }
}
