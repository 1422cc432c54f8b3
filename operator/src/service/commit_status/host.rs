//! Hosts that take commit statuses: which they are, how each wants to be told, and what its answer means. Pure.

use std::{str::FromStr, time::Duration};

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::json;
use url::Url;

use super::report::Report;
use crate::{
    api::integration_service::CommitState,
    git::{Call, GitUrl, Login, Reply, url::allowed_host},
};

/// A limit of GitHub's that says no time ("wait for at least one minute").
const UNTOLD: Duration = Duration::from_mins(1);
/// Longer than a host may make anybody wait.
const LONGEST: Duration = Duration::from_hours(1);

/// What a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Gitea, or Forgejo, which has its interface.
    Gitea,
    /// github.com, or GitHub Enterprise.
    Github,
    /// gitlab.com, or one of your own.
    Gitlab,
}

impl Kind {
    /// Its word in options and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gitea => "gitea",
            Self::Github => "github",
            Self::Gitlab => "gitlab",
        }
    }
}

/// A host that takes statuses: `git.example.com=gitea`, `git.example.com:8443=gitlab`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    host: String,
    port: u16,
    kind: Kind,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "{text:?} is not a host and what it is, such as git.example.com=gitea, github.com=github or git.example.com:8443=gitlab"
            )
        };
        let (host, word) = text.rsplit_once('=').ok_or_else(refused)?;
        let kind = [Kind::Gitea, Kind::Github, Kind::Gitlab].into_iter().find(|kind| kind.as_str() == word);
        match (allowed_host(host), kind) {
            (Some((host, port)), Some(kind)) => Ok(Self { host: host.to_owned(), port, kind }),
            _ => Err(refused()),
        }
    }
}

/// All that take statuses. Nothing is sent to any other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(pub Vec<Named>);

impl Hosts {
    /// What the host of a repository is, if it takes statuses.
    pub fn kind(&self, repository: &GitUrl) -> Option<Kind> {
        let url = Url::parse(repository.as_str()).ok()?;
        let host = repository.host().trim_start_matches('[').trim_end_matches(']');
        let is_it = |named: &&Named| {
            named.host.eq_ignore_ascii_case(host) && Some(named.port) == url.port_or_known_default()
        };
        self.0.iter().find(is_it).map(|named| named.kind)
    }
}

/// What is posted to tell `report`; nothing where the repository's URL is none of such a host. It goes to the host of the
/// repository, and of github.com to its only other name for programs.
pub fn call(kind: Kind, repository: &GitUrl, (context, report): (&str, &Report)) -> Option<Call> {
    let mut url = Url::parse(repository.as_str()).ok()?;
    let path = url.path().trim_start_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path).to_owned();
    let Report { commit, branch, state, reason: _, description } = report;
    let word = state.as_str();
    let common = json!({ "state": word, "context": context, "description": description });
    let (path, login, body) = match kind {
        // POST /repos/{owner}/{repo}/statuses/{sha}, of Gitea's own `/api/swagger`. It may live under a path.
        Kind::Gitea => {
            let mut parts = path.rsplitn(3, '/');
            let (name, owner) = (parts.next()?, parts.next()?);
            let base = parts.next().map(|base| format!("/{base}")).unwrap_or_default();
            let path = format!("{base}/api/v1/repos/{owner}/{name}/statuses/{commit}");
            (path, Login::Basic, common)
        }
        // https://docs.github.com/rest/commits/statuses#create-a-commit-status
        Kind::Github => {
            let (owner, name) = path.split_once('/').filter(|(_, name)| !name.contains('/'))?;
            let is_public = repository.host() == "github.com";
            if is_public {
                url.set_host(Some("api.github.com")).ok()?;
            }
            let base = if is_public { "" } else { "/api/v3" };
            (format!("{base}/repos/{owner}/{name}/statuses/{commit}"), Login::Bearer, common)
        }
        // https://docs.gitlab.com/api/commits/#set-commit-pipeline-status
        Kind::Gitlab => {
            path.split_once('/')?;
            let word = if *state == CommitState::Failure { "failed" } else { word };
            let body = json!({ "state": word, "name": context, "ref": branch, "description": description });
            let path = format!("/api/v4/projects/{}/statuses/{commit}", path.replace('/', "%2F"));
            (path, Login::Header("private-token"), body)
        }
    };
    url.set_path(&path);
    Some(Call { url, login, body: body.to_string() })
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The host has it.
    Accepted,
    /// Only somebody's change helps.
    Refused(String),
    /// It may pass by itself, and not before this has passed.
    Again(Option<Duration>),
}

/// What the `reply` of a host means for a status of `state`. Of its text nothing is told.
pub fn verdict(kind: Kind, state: CommitState, reply: &Reply, now: Timestamp) -> Verdict {
    let Reply { status, headers, body } = reply;
    let refused = |what: &str| Verdict::Refused(format!("the host {what}"));
    match *status {
        200..=299 => Verdict::Accepted,
        // It is so already: GitLab's states know no way from one to itself.
        400 if kind == Kind::Gitlab
            && state == CommitState::Pending
            && body.contains("Cannot transition status") =>
        {
            Verdict::Accepted
        }
        408 | 425 | 429 | 500..=599 => Verdict::Again(asked_pause(headers, now)),
        // https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api
        403 if is_limited(headers, body) => Verdict::Again(asked_pause(headers, now).or(Some(UNTOLD))),
        300..=399 => refused(
            "redirects the commit status elsewhere, which is not followed: name the repository's present URL in the tenant file",
        ),
        401 => refused(
            "refuses the login for the commit status (401): renew it in the Secret that `credentials` names",
        ),
        403 => refused(
            "refused the commit status (403): give the login of `credentials` the right to write statuses",
        ),
        404 => refused(
            "knows no such repository or commit for a commit status (404): give the login of `credentials` the right to write statuses",
        ),
        code => Verdict::Refused(format!("the host did not take the commit status ({code})")),
    }
}

fn is_limited(headers: &HeaderMap, body: &str) -> bool {
    let is_used_up = headers.get("x-ratelimit-remaining").is_some_and(|left| left.as_bytes() == b"0");
    is_used_up || headers.contains_key(RETRY_AFTER) || body.contains("rate limit")
}

/// Seconds, or a date (RFC 9110, 10.2.3); else when GitHub's limit is lifted, in seconds of the epoch.
fn asked_pause(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let until = |then: Timestamp| Duration::try_from(now.duration_until(then)).unwrap_or_default();
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|date| until(date.timestamp()));
    let asked = |text: &str| text.parse().map(Duration::from_secs).ok().or_else(|| date(text));
    let lifted = |text: &str| Timestamp::from_second(text.parse().ok()?).ok().map(until);
    let is_used_up = text("x-ratelimit-remaining") == Some("0");
    let reset = text("x-ratelimit-reset").filter(|_| is_used_up);
    let pause = text(RETRY_AFTER.as_str()).and_then(asked).or_else(|| reset.and_then(lifted));
    pause.map(|pause| pause.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::{CommitId, UrlPolicy};

    const COMMIT: &str = "4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a4f2a";

    fn url(text: &str) -> GitUrl {
        let allowed_hosts = vec!["git.example.com:8443".to_owned(), "git.example.com".to_owned()];
        GitUrl::parse(text, &UrlPolicy { development: false, allowed_hosts }).unwrap()
    }

    fn report(state: CommitState) -> Report {
        Report {
            commit: CommitId::parse(COMMIT).unwrap(),
            branch: "main".to_owned(),
            state,
            reason: "Failed".to_owned(),
            description: "0 of 1 instances are ready".to_owned(),
        }
    }

    fn asked(kind: Kind, repository: &str, state: CommitState) -> Option<(String, Login, serde_json::Value)> {
        let call = call(kind, &url(repository), ("imaas/orders/dev", &report(state)))?;
        Some((call.url.to_string(), call.login, serde_json::from_str(&call.body).unwrap()))
    }

    #[test]
    fn only_hosts_that_are_named_are_told_each_on_its_port() {
        let named = ["github.com=github", "git.example.com:8443=gitea"].map(|text| text.parse().unwrap());
        let hosts = Hosts(named.to_vec());
        assert_eq!(hosts.kind(&url("https://github.com/acme/orders.git")), Some(Kind::Github));
        assert_eq!(hosts.kind(&url("https://GitHub.com/acme/orders")), Some(Kind::Github));
        assert_eq!(hosts.kind(&url("https://git.example.com:8443/acme/orders")), Some(Kind::Gitea));
        assert_eq!(hosts.kind(&url("https://git.example.com/acme/orders")), None, "another port");
        assert_eq!(hosts.kind(&url("https://gitlab.com/acme/orders")), None);
        for text in ["git.example.com", "git.example.com=svn", "=gitea", "https://git.example.com=gitea"] {
            let refused = text.parse::<Named>().unwrap_err();
            assert!(refused.contains("git.example.com=gitea"), "{refused}");
        }
    }

    #[test]
    fn each_host_is_told_as_it_wants_to_be() {
        let common = json!({
            "state": "failure", "context": "imaas/orders/dev", "description": "0 of 1 instances are ready",
        });
        let of_gitlab = json!({
            "state": "failed", "name": "imaas/orders/dev", "ref": "main", "description": "0 of 1 instances are ready",
        });
        let token = Login::Header("private-token");
        for (kind, repository, address, login, body) in [
            (
                Kind::Gitea,
                "https://git.example.com:8443/acme/orders.git",
                "https://git.example.com:8443/api/v1/repos/acme/orders",
                Login::Basic,
                &common,
            ),
            (
                Kind::Gitea,
                "https://git.example.com/gitea/acme/orders",
                "https://git.example.com/gitea/api/v1/repos/acme/orders",
                Login::Basic,
                &common,
            ),
            (
                Kind::Github,
                "https://github.com/acme/orders.git",
                "https://api.github.com/repos/acme/orders",
                Login::Bearer,
                &common,
            ),
            (
                Kind::Github,
                "https://git.example.com/acme/orders",
                "https://git.example.com/api/v3/repos/acme/orders",
                Login::Bearer,
                &common,
            ),
            (
                Kind::Gitlab,
                "https://gitlab.com/acme/shop/orders.git",
                "https://gitlab.com/api/v4/projects/acme%2Fshop%2Forders",
                token,
                &of_gitlab,
            ),
        ] {
            let told = asked(kind, repository, CommitState::Failure);
            assert_eq!(told, Some((format!("{address}/statuses/{COMMIT}"), login, body.clone())));
        }
        let pending = asked(Kind::Gitlab, "https://gitlab.com/acme/orders", CommitState::Pending);
        assert_eq!(pending.unwrap().2["state"], "pending");
    }

    #[test]
    fn a_url_that_is_none_of_such_a_host_is_told_nothing() {
        for (kind, repository) in [
            (Kind::Gitea, "https://git.example.com/orders.git"),
            (Kind::Github, "https://github.com/acme/shop/orders"),
            (Kind::Github, "https://github.com/orders"),
            (Kind::Gitlab, "https://gitlab.com/orders.git"),
        ] {
            assert_eq!(asked(kind, repository, CommitState::Success), None, "{repository}");
        }
    }

    fn reply(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
        let headers = headers
            .iter()
            .map(|(name, value)| (reqwest::header::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        Reply { status, headers, body: body.to_owned() }
    }

    #[test]
    fn what_may_pass_is_tried_again_when_the_host_says_and_what_may_not_is_told() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let of = |kind, reply: &Reply| verdict(kind, CommitState::Pending, reply, now);
        let again = |seconds| Verdict::Again(Some(Duration::from_secs(seconds)));
        let stuck = "{\"message\":\"Cannot transition status via :enqueue from :pending (Reason(s): …)\"}";
        for (kind, reply, wanted) in [
            (Kind::Gitea, reply(201, &[], ""), Verdict::Accepted),
            (Kind::Gitlab, reply(400, &[], stuck), Verdict::Accepted),
            (Kind::Gitea, reply(503, &[], ""), Verdict::Again(None)),
            (Kind::Gitea, reply(429, &[("retry-after", "7")], ""), again(7)),
            (Kind::Gitea, reply(503, &[("retry-after", "Thu, 01 Jan 2026 00:02:00 GMT")], ""), again(120)),
            (Kind::Gitea, reply(503, &[("retry-after", "Wed, 31 Dec 2025 00:02:00 GMT")], ""), again(0)),
            (Kind::Gitea, reply(429, &[("retry-after", "999999")], ""), again(3600)),
            (Kind::Github, reply(403, &[("retry-after", "30")], ""), again(30)),
            (
                Kind::Github,
                reply(403, &[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1767225690")], ""),
                again(90),
            ),
            (Kind::Github, reply(403, &[], "You have exceeded a secondary rate limit."), again(60)),
        ] {
            assert_eq!(of(kind, &reply), wanted, "{reply:?}");
        }
        for (status, words) in [
            (301, "redirects"),
            (401, "renew it in the Secret"),
            (403, "the right to write statuses"),
            (404, "the right to write statuses"),
            (422, "(422)"),
        ] {
            let Verdict::Refused(told) = of(Kind::Github, &reply(status, &[], "geheim")) else {
                panic!("{status} is refused");
            };
            assert!(told.contains(words) && !told.contains("geheim"), "{told}");
        }
        let failed = verdict(Kind::Gitlab, CommitState::Failure, &reply(400, &[], stuck), now);
        assert!(matches!(failed, Verdict::Refused(_)), "{failed:?}");
    }
}
