//! Whether an image that is new in an environment is signed by one of whom the Environment names. Pure.
//!
//! Asked of the image and not of the commit: what runs already keeps running, with whatever settings and Secrets, and what ran
//! before is gone back to without being asked. Nobody is let past it but by the Environment itself.

use super::{
    Problem,
    snapshot::Signed,
    validate::{ValidEnvironment, ValidService},
};
use crate::{
    conditions::Reason,
    registry::signature::{Flaw, Seal},
};

/// How, by cosign 3. Whatever else it makes by itself is not read here, and a public log is no place for a private image.
const COMMAND: &str =
    "cosign sign --key KEY --new-bundle-format=false --use-signing-config=false --tlog-upload=false";

/// What is asked of the image `digest`, where `runs` is the one that runs in `environment`.
pub fn asked(environment: &ValidEnvironment, digest: &str, runs: Option<&str>) -> Option<Seal> {
    let keys = environment.entry.signers.clone().filter(|_| runs != Some(digest))?;
    Some(Seal { digest: digest.to_owned(), keys })
}

/// What keeps the image from running in `environment`, given what the registry said of it.
pub fn awaited(
    service: &ValidService,
    environment: &ValidEnvironment,
    (seal, said): (&Seal, Option<&Signed>),
) -> Option<Problem> {
    let image = format!("{}@{}", service.image, seal.digest);
    let flaw = match said {
        Some(Signed::Yes) => return None,
        Some(Signed::Unknown(problem)) => return Some(problem.clone()),
        Some(Signed::No(flaw)) => flaw,
        None => {
            let message = format!("it is being asked whether image {image} is signed");
            return Some(Problem::new(Reason::Progressing, message));
        }
    };
    let lacks = match flaw {
        Flaw::Unsigned => "has no signature",
        Flaw::OtherKey => "is signed, but with no key that counts here",
        Flaw::OtherImage => "has a signature of another image",
        Flaw::OtherName => "is signed under the name of another repository",
    };
    let message = format!(
        "image {image} {lacks}: whoever holds a key of the Environment {} (ask the platform team) signs it with {COMMAND} {image}",
        environment.name
    );
    Some(Problem::new(Reason::Unsigned, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sample, service::entry::Entry};

    const DIGEST: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn asking() -> ValidEnvironment {
        let entry = Entry { signers: Some(vec![]), ..Entry::default() };
        ValidEnvironment { entry, ..sample::environment("prod", None) }
    }

    #[test]
    fn what_runs_here_is_asked_for_no_signature_and_everything_else_is() {
        let prod = asking();
        let seal = Seal { digest: DIGEST.to_owned(), keys: vec![] };
        for runs in [None, Some("sha256:b")] {
            assert_eq!(asked(&prod, DIGEST, runs).as_ref(), Some(&seal), "{runs:?}");
        }
        assert_eq!(asked(&prod, DIGEST, Some(DIGEST)), None);
        assert_eq!(asked(&sample::environment("dev", None), DIGEST, None), None, "nobody asks");
    }

    #[test]
    fn only_a_yes_lets_in_and_each_no_says_what_to_do() {
        let (service, prod) = (sample::service(vec![]), asking());
        let seal = asked(&prod, DIGEST, None).unwrap();
        let told = |said: Option<Signed>| awaited(&service, &prod, (&seal, said.as_ref()));
        assert_eq!(told(Some(Signed::Yes)), None);
        assert_eq!(told(None).unwrap().reason, Reason::Progressing);
        let down = Problem::new(Reason::RegistryUnreachable, "registry r does not answer");
        assert_eq!(told(Some(Signed::Unknown(down.clone()))), Some(down), "nobody is blamed");
        for (flaw, lacks) in [
            (Flaw::Unsigned, "has no signature"),
            (Flaw::OtherKey, "is signed, but with no key that counts here"),
            (Flaw::OtherImage, "has a signature of another image"),
            (Flaw::OtherName, "is signed under the name of another repository"),
        ] {
            let Problem { reason, message } = told(Some(Signed::No(flaw))).unwrap();
            let image = format!("registry.example.com/acme/orders@{DIGEST}");
            assert_eq!(reason, Reason::Unsigned);
            assert_eq!(
                message,
                format!(
                    "image {image} {lacks}: whoever holds a key of the Environment prod (ask the platform team) signs it with cosign sign --key KEY --new-bundle-format=false --use-signing-config=false --tlog-upload=false {image}"
                )
            );
        }
    }
}
