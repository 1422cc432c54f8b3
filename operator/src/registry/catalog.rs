//! The registry's list of repositories, by area, as its pages come in. Pure.
//!
//! One tenant can make any number of repositories. Of each area only so many are kept; the rest is passed over by asking for
//! what comes after the last name that the area can have, so nobody's pushes hold up the count of others.
//!
//! Distribution walks folders: whatever is in `a` comes before `a-b`. Others sort names: then `a-b/x` comes before `a/x`.
//! In both the names of one area stand together, and the boundaries below are before and behind all of them.

use std::collections::BTreeMap;

use super::scope::is_repository;

/// Most repositories of one tenant that are looked at.
pub const AREA_MAX: usize = 5_000;
/// Most names that are taken of the registry: what says that there is always more is no registry.
const NAMES_MAX: usize = 1_000_000;
/// Longest name of a repository.
const NAME_MAX: usize = 255;

/// Names of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// In the registry's order.
    pub names: Vec<String>,
    /// There are more than were asked for.
    pub cut: bool,
}

/// By tenant, its repositories.
pub type Areas = BTreeMap<String, Names>;

/// The list, as far as it was read.
#[derive(Debug, Default)]
pub struct Catalog {
    /// What it says.
    pub areas: Areas,
    seen: usize,
}

/// The registry does not come to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {NAMES_MAX} names of repositories")]
pub struct Endless;

impl Catalog {
    /// Takes one page, and says after which name the next one begins; none where no name came.
    pub fn add(&mut self, page: Vec<String>) -> Result<Option<String>, Endless> {
        self.seen += page.len();
        if self.seen > NAMES_MAX {
            return Err(Endless);
        }
        let mut next = None;
        for name in page.into_iter().filter(|name| is_repository(name)) {
            next = Some(name.clone());
            let Some((tenant, _)) = name.split_once('/') else { continue };
            let end = end_of(tenant);
            let area = self.areas.entry(tenant.to_owned()).or_default();
            if area.names.len() < AREA_MAX {
                area.names.push(name);
            } else {
                area.cut = true;
                next = Some(end);
            }
        }
        Ok(next)
    }
}

/// Stands before every name in the area of `tenant`, and is none: no part of a name begins with a dash.
pub fn start_of(tenant: &str) -> String {
    format!("{tenant}/-")
}

/// The last name that there can be in the area of `tenant`.
fn end_of(tenant: &str) -> String {
    let left = NAME_MAX.saturating_sub(tenant.len() + 1);
    format!("{tenant}/{}", "z".repeat(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All names of a registry that walks folders, or sorts, a hundred at a time, in so many pages at the most.
    fn read(all: &[String], order: fn(&str) -> String, pages: usize) -> Areas {
        let mut all: Vec<_> = all.iter().map(|name| (order(name), name.clone())).collect();
        all.sort();
        let (mut catalog, mut last) = (Catalog::default(), String::new());
        for _ in 0..pages {
            let begin = all.partition_point(|(key, _)| *key <= order(&last));
            let page = all[begin..].iter().take(100).map(|(_, name)| name.clone()).collect();
            match catalog.add(page).unwrap() {
                Some(next) => last = next,
                None => return catalog.areas,
            }
        }
        panic!("it does not end after {pages} pages, but goes on after {last}");
    }

    fn by_folder(name: &str) -> String {
        name.replace('/', "\0")
    }

    #[test]
    fn one_tenants_excess_is_passed_over_and_nobody_elses_repositories_are() {
        let names = ["a/one", "acme/one", "acme-b/orders", "acme-b/z/z", "acmes/0", "beta/one", "loose"];
        let many = (0..100_000).map(|number| format!("acme/x/{number:06}"));
        let all: Vec<_> = names.map(str::to_owned).into_iter().chain(many).collect();
        for order in [by_folder as fn(&str) -> String, str::to_owned] {
            let areas = read(&all, order, 60);
            assert_eq!((areas["acme"].names.len(), areas["acme"].cut), (AREA_MAX, true));
            let others = areas.iter().filter(|(tenant, _)| *tenant != "acme");
            let others: Vec<_> = others.flat_map(|(_, area)| &area.names).collect();
            assert_eq!(others, ["a/one", "acme-b/orders", "acme-b/z/z", "acmes/0", "beta/one"]);
            assert!(areas.iter().all(|(tenant, area)| area.cut == (tenant == "acme")));
        }
    }

    #[test]
    fn the_boundaries_of_an_area_enclose_its_names_and_no_others() {
        for order in [by_folder as fn(&str) -> String, str::to_owned] {
            let is_within =
                |name: &str| order(name) > order(&start_of("acme")) && order(name) <= order(&end_of("acme"));
            for name in ["acme/0", "acme/0/0", "acme/a-b", "acme/z", &format!("acme/{}", "z".repeat(250))] {
                assert!(is_within(name), "{name}");
            }
            for name in ["acm/z", "acme-b/x", "acme0/x", "acmes/x", "acme_x/0", "b/x"] {
                assert!(!is_within(name), "{name}");
            }
        }
        assert!(is_repository(&end_of("acme")) && !is_repository(&start_of("acme")));
    }

    #[test]
    fn a_registry_that_says_the_same_again_and_again_is_left() {
        let mut catalog = Catalog::default();
        let page: Vec<_> = (0..1000).map(|number| format!("acme/{number}")).collect();
        let ended = (0..=1000).map(|_| catalog.add(page.clone())).find_map(Result::err);
        assert_eq!(ended, Some(Endless));
        assert_eq!(catalog.areas["acme"].names.len(), AREA_MAX);
    }
}
