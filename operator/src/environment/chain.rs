//! In which order images move through the environments of one tenant. Pure.

use std::collections::BTreeSet;

use super::check::Checked;

/// One environment of a tenant, and where its images come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Name of the Environment.
    pub environment: String,
    /// The environment in which an image must have become healthy; none for the first of a chain.
    pub promotes_from: Option<String>,
    /// What is omitted between the two, nearest first: nothing that is asked there is asked of any image.
    pub passes_over: Vec<String>,
}

impl Checked {
    /// The environments that `has` says yes to, sources before those that promote from them, then by name.
    ///
    /// One that is omitted is passed over: who promotes from it promotes from the next one up the chain that is
    /// there and, with none left, takes images like an environment without `promotesFrom`. An environment that is
    /// not valid is passed over by nobody; it keeps its place.
    pub fn chain(&self, has: impl Fn(&str) -> bool) -> Vec<Link> {
        let mut names: Vec<&str> = self.names().filter(|name| has(name)).collect();
        names.sort_by_key(|name| (self.ancestors(name).len(), *name));
        names
            .into_iter()
            .map(|name| Link {
                environment: name.to_owned(),
                promotes_from: self.source(name, &has).map(ToOwned::to_owned),
                passes_over: self.passed_over(name, &has).map(ToOwned::to_owned).collect(),
            })
            .collect()
    }

    /// Where images of `name` come from. A chain that leads to an Environment which does not exist keeps that name:
    /// nothing was ever healthy there, so nothing is accepted. A mistyped or deleted stage must not open the next one
    /// to images that nobody tried.
    fn source<'a>(&'a self, name: &'a str, has: impl Fn(&str) -> bool) -> Option<&'a str> {
        let ancestors = self.ancestors(name);
        let beyond = || {
            let top = ancestors.last().copied().unwrap_or(name);
            self.promotes_from(top).filter(|from| !self.contains(from))
        };
        ancestors.iter().copied().find(|from| has(from)).or_else(beyond)
    }

    fn passed_over<'a>(&'a self, name: &'a str, has: impl Fn(&str) -> bool) -> impl Iterator<Item = &'a str> {
        self.ancestors(name).into_iter().take_while(move |from| !has(from))
    }

    /// What images of `name` come through, nearest first; ends where it comes round.
    pub(super) fn ancestors(&self, name: &str) -> Vec<&str> {
        let mut seen = BTreeSet::from([name]);
        let mut path = Vec::new();
        let mut next = self.promotes_from(name);
        while let Some(from) = next.filter(|from| self.contains(from)) {
            if !seen.insert(from) {
                break;
            }
            path.push(from);
            next = self.promotes_from(from);
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Environment, EnvironmentSpec};
    use crate::environment::check::check;

    fn checked(edges: &[(&str, Option<&str>)]) -> Checked {
        let environments: Vec<_> = edges
            .iter()
            .map(|(name, from)| {
                let spec = EnvironmentSpec { promotes_from: from.map(str::to_owned), ..Default::default() };
                Environment::new(name, spec)
            })
            .collect();
        check(&environments)
    }

    fn chain(edges: &[(&str, Option<&str>)], omitted: &[&str]) -> String {
        let links = checked(edges).chain(|name| !omitted.contains(&name));
        let one =
            |link: &Link| format!("{}<-{}", link.environment, link.promotes_from.as_deref().unwrap_or("."));
        links.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_missing_stage_opens_nothing() {
        let edges: &[(&str, Option<&str>)] = &[("dev", None), ("prod", Some("tset"))];
        assert_eq!(chain(edges, &[]), "dev<-. prod<-tset");
        let edges: &[(&str, Option<&str>)] = &[("prod", Some("stage")), ("stage", Some("gone"))];
        assert_eq!(chain(edges, &["stage"]), "prod<-gone", "passed over, and still closed");
    }

    const FOUR: &[(&str, Option<&str>)] =
        &[("prod", Some("stage")), ("dev", None), ("stage", Some("test")), ("test", Some("dev"))];

    #[test]
    fn an_omitted_environment_is_passed_over() {
        for (omitted, wanted) in [
            (&[][..], "dev<-. test<-dev stage<-test prod<-stage"),
            (&["test"], "dev<-. stage<-dev prod<-stage"),
            (&["test", "stage"], "dev<-. prod<-dev"),
            (&["dev"], "test<-. stage<-test prod<-stage"),
            (&["dev", "test", "stage"], "prod<-."),
            (&["prod"], "dev<-. test<-dev stage<-test"),
            (&["dev", "test", "stage", "prod"], ""),
        ] {
            assert_eq!(chain(FOUR, omitted), wanted, "without {omitted:?}");
        }
    }

    #[test]
    fn what_is_passed_over_is_known_of_who_passes_it() {
        let over = |omitted: &[&str]| {
            let links = checked(FOUR).chain(|name| !omitted.contains(&name));
            let one = |link: &Link| format!("{}:{}", link.environment, link.passes_over.join("+"));
            links.iter().map(one).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(over(&[]), "dev: test: stage: prod:");
        assert_eq!(over(&["test"]), "dev: stage:test prod:", "prod takes what stage let in");
        assert_eq!(over(&["test", "stage"]), "dev: prod:stage+test");
        assert_eq!(over(&["dev", "test", "stage"]), "prod:stage+test+dev");
    }

    #[test]
    fn several_chains_keep_apart() {
        let edges = &[("dev", None), ("eu", Some("dev")), ("us", Some("dev")), ("sandbox", None)];
        assert_eq!(chain(edges, &[]), "dev<-. sandbox<-. eu<-dev us<-dev");
        assert_eq!(chain(edges, &["dev"]), "sandbox<-. eu<-. us<-.");
    }

    #[test]
    fn a_circle_ends() {
        let edges = &[("a", Some("b")), ("b", Some("a")), ("c", Some("b"))];
        assert_eq!(chain(edges, &[]), "a<-b b<-a c<-b");
        assert_eq!(chain(edges, &["b"]), "a<-. c<-a");
    }
}
