//! A login that a Git host refused, an authority that is not its own, or a repository that it does not show to this login: what is
//! told of it, and when it is tried again. Pure.

use std::time::{Duration, Instant};

use super::{Problem, read::Failure, schedule::longest_pause, validate::ValidService};
use crate::{conditions::Reason, git::Remote, retry::asked_again};

/// A Secret with which the host was not read. It is not tried at each look, which may lock an account, unless its Secret changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Version of the Secret that holds it.
    pub secret: String,
    /// When it is tried again all the same.
    pub until: Instant,
}

impl Refused {
    /// Is it left alone, now that its Secret is of this version?
    pub fn rests(&self, secret: Option<&String>, now: Instant) -> bool {
        secret == Some(&self.secret) && now < self.until
    }
}

/// `failure` of a look at `service` by way of `remote`; a login that is refused or missing in words for whoever can change
/// it. `secret`: version of the Secret that holds it. `interval`: between two looks.
pub fn told(
    service: &ValidService,
    (remote, secret): (&Remote, Option<&String>),
    failure: Failure,
    interval: Duration,
) -> Failure {
    let (url, home) = (&service.url, service.home());
    let unnamed = "name it in `repository.credentials` of the service in the tenant file";
    let (reason, message) = match (failure.problem.reason, &service.credentials) {
        // The Secret holds the authority too.
        (reason @ Reason::HostVerificationFailed, None) => (
            reason,
            format!(
                "{url}: the server's certificate is not trusted: make a Secret in {home} with its authority under `ca.crt`, and {unnamed}"
            ),
        ),
        (reason @ Reason::HostVerificationFailed, Some(name)) => (
            reason,
            format!(
                "{url}: the server's certificate is not trusted: put its authority under `ca.crt` into Secret {name} of {home}"
            ),
        ),
        (reason @ Reason::AuthenticationFailed, None) => {
            (reason, format!("{url}: the server wants a login: make a Secret in {home}, and {unnamed}"))
        }
        (Reason::AuthenticationFailed, Some(name)) if remote.credentials.is_none() => (
            Reason::CredentialsMissing,
            format!(
                "{url}: the server wants a login, and the Secret {name} of {home} has none: add the keys `username` and `password` to it"
            ),
        ),
        (reason @ Reason::AuthenticationFailed, Some(name)) => (
            reason,
            format!("{url}: the server refuses the login in Secret {name} of {home}: renew it there"),
        ),
        (reason @ Reason::RepositoryNotFound, _) => {
            (reason, format!("{}; {}", failure.problem.message, asked_again(longest_pause(interval))))
        }
        _ => return failure,
    };
    let is_refused = !matches!(reason, Reason::CredentialsMissing | Reason::RepositoryNotFound);
    let refused = secret.filter(|_| is_refused).cloned();
    Failure { problem: Problem::new(reason, message), refused, ..failure }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{git::Credentials, sample};

    fn told_of(named: Option<&str>, credentials: Option<Credentials>) -> Failure {
        told_after(Reason::AuthenticationFailed, named, credentials)
    }

    fn told_after(reason: Reason, named: Option<&str>, credentials: Option<Credentials>) -> Failure {
        let service = ValidService { credentials: named.map(ToOwned::to_owned), ..sample::service(vec![]) };
        let url = service.url.clone();
        let remote = Remote { owner: "acme".to_owned(), url, credentials, ca: None };
        let failure = Failure::permanent(reason, "refused".to_owned());
        told(&service, (&remote, named.map(|_| "7".to_owned()).as_ref()), failure, Duration::from_secs(1))
    }

    #[test]
    fn a_refused_login_is_told_by_the_secret_that_holds_it_or_lacks_it() {
        let url = "https://git.example.com/acme/orders.git";
        let login = || Some(Credentials { username: "ci".to_owned(), password: "hunter2".to_owned() });
        let held = told_of(Some("orders-git"), login());
        let named = "the server refuses the login in Secret orders-git of acme-home: renew it there";
        assert_eq!(held.problem, Problem::new(Reason::AuthenticationFailed, format!("{url}: {named}")));
        assert_eq!(held.refused.as_deref(), Some("7"));

        let lacks = told_of(Some("orders-git"), None);
        assert_eq!(lacks.problem.reason, Reason::CredentialsMissing);
        assert!(lacks.problem.message.ends_with("add the keys `username` and `password` to it"), "{lacks:?}");
        assert_eq!(lacks.refused, None, "nothing was tried");

        let authority = told_after(Reason::HostVerificationFailed, Some("orders-git"), login());
        let named = format!(
            "{url}: the server's certificate is not trusted: put its authority under `ca.crt` into Secret orders-git of acme-home"
        );
        assert_eq!(authority.problem, Problem::new(Reason::HostVerificationFailed, named));
        assert_eq!(authority.refused.as_deref(), Some("7"));
        assert_eq!(told_after(Reason::Unreachable, Some("orders-git"), login()).refused, None);

        for (reason, what) in [
            (Reason::AuthenticationFailed, "make a Secret in acme-home"),
            (Reason::HostVerificationFailed, "make a Secret in acme-home with its authority under `ca.crt`"),
        ] {
            let none = told_after(reason, None, None);
            let way =
                format!("{what}, and name it in `repository.credentials` of the service in the tenant file");
            assert_eq!((none.problem.reason, none.refused), (reason, None));
            assert!(none.problem.message.ends_with(&way), "{}", none.problem.message);
        }
    }

    #[test]
    fn a_repository_that_is_not_there_is_told_with_when_it_is_asked_for_again() {
        let told = told_after(Reason::RepositoryNotFound, Some("orders-git"), None);
        assert_eq!(told.problem.message, "refused; it is asked again at least every 60 s");
        assert_eq!(
            (told.problem.reason, told.refused),
            (Reason::RepositoryNotFound, None),
            "its next look asks"
        );
    }

    #[test]
    fn a_refused_login_rests_until_its_secret_is_another_one() {
        let (now, minute) = (Instant::now(), Duration::from_mins(1));
        let refused = Refused { secret: "7".to_owned(), until: now + minute };
        assert!(refused.rests(Some(&"7".to_owned()), now));
        assert!(!refused.rests(Some(&"8".to_owned()), now), "put right");
        assert!(!refused.rests(None, now), "gone, which is to be told");
        assert!(!refused.rests(Some(&"7".to_owned()), now + minute), "the host may have changed");
    }
}
