//! Distribution's scope strings in, what the account may really do out. Pure.
//!
//! Grammar: <https://distribution.github.io/distribution/spec/auth/scope/>. Whatever is not understood is not granted:
//! the registry then answers the client that its token is insufficient.

use serde::{Deserialize, Serialize};

use super::accounts::{Account, Usage};

/// One entry of a token's `access` claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// `repository`; the operator's list of all repositories is a `registry`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `<tenant>/…`, or `catalog`.
    pub name: String,
    /// Never empty.
    pub actions: Vec<Action>,
}

/// What may be done. Tenants delete nothing: only retention does, with the operator's account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Read manifests and blobs.
    Pull,
    /// Write manifests and blobs.
    Push,
    /// Delete manifests.
    Delete,
    /// What listing all repositories needs.
    #[serde(rename = "*")]
    All,
}

/// The scope of the list of all repositories.
pub const CATALOG: &str = "registry:catalog:*";

/// What was asked, and what of it is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Disjoint by repository.
    pub access: Vec<Access>,
    /// Whether every word that was asked is granted.
    pub complete: bool,
}

/// The part of `scopes` that `account` may have. Each string may hold several scopes with spaces between.
pub fn granted<'a>(account: &Account, scopes: impl IntoIterator<Item = &'a str>) -> Grant {
    let mut grant = Grant { access: Vec::new(), complete: true };
    for scope in scopes.into_iter().flat_map(|param| param.split(' ')).filter(|scope| !scope.is_empty()) {
        grant.complete &= add(account, scope, &mut grant.access);
    }
    grant
}

/// Whether one of `scopes` asks to push.
pub fn asks_to_push<'a>(scopes: impl IntoIterator<Item = &'a str>) -> bool {
    let mut scopes = scopes.into_iter().flat_map(|param| param.split(' '));
    scopes
        .any(|scope| scope.rsplit(':').next().is_some_and(|actions| actions.split(',').any(|a| a == "push")))
}

/// Adds what `account` may have of one scope; whether that is all of it.
fn add(account: &Account, scope: &str, access: &mut Vec<Access>) -> bool {
    if scope == CATALOG {
        let may = account.usage() == Usage::Operate;
        let catalog = Access { kind: "registry".into(), name: "catalog".into(), actions: vec![Action::All] };
        if may && !access.contains(&catalog) {
            access.push(catalog);
        }
        return may;
    }
    let Some((name, actions)) = scope.strip_prefix("repository:").and_then(|rest| rest.rsplit_once(':'))
    else {
        return false;
    };
    let is_open = account.usage() == Usage::Operate || is_in_area(name, account.tenant());
    if !is_repository(name) || !is_open {
        return false;
    }
    let mut complete = true;
    for word in actions.split(',') {
        match action(word).filter(|action| may(account.usage(), *action)) {
            Some(action) => add_action(access, name, action),
            None => complete = false,
        }
    }
    complete
}

fn add_action(access: &mut Vec<Access>, name: &str, action: Action) {
    match access.iter_mut().find(|entry| entry.name == name) {
        Some(entry) if entry.actions.contains(&action) => {}
        Some(entry) => entry.actions.push(action),
        None => access.push(Access {
            kind: "repository".to_owned(),
            name: name.to_owned(),
            actions: vec![action],
        }),
    }
}

fn action(word: &str) -> Option<Action> {
    match word {
        "pull" => Some(Action::Pull),
        "push" => Some(Action::Push),
        "delete" => Some(Action::Delete),
        _ => None,
    }
}

fn may(usage: Usage, action: Action) -> bool {
    match (usage, action) {
        (Usage::Push | Usage::Pull, Action::Pull)
        | (Usage::Push, Action::Push)
        | (Usage::Operate, Action::Delete) => true,
        (Usage::Pull | Usage::Operate, Action::Push)
        | (Usage::Operate, Action::Pull)
        | (Usage::Push | Usage::Pull, Action::Delete)
        | (_, Action::All) => false,
    }
}

/// By path segment: `a-b/x` is not in the area of `a`.
fn is_in_area(name: &str, tenant: &str) -> bool {
    name.strip_prefix(tenant).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether `name` is a repository's name as the Distribution API defines it: path components of lower-case
/// alphanumerics, joined by one period, one or two underscores or any dashes; 255 characters in all.
pub fn is_repository(name: &str) -> bool {
    name.len() <= 255 && name.split('/').all(is_component)
}

fn is_component(component: &str) -> bool {
    let is_alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let starts_and_ends = |b: Option<&u8>| b.is_some_and(|b| is_alphanumeric(*b));
    starts_and_ends(bytes.first())
        && starts_and_ends(bytes.last())
        && bytes
            .split(|b| is_alphanumeric(*b))
            .all(|joint| matches!(joint, b"" | b"." | b"_" | b"__") || joint.iter().all(|b| *b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(user: &str, scopes: &[&str]) -> Grant {
        granted(&user.parse().unwrap(), scopes.iter().copied())
    }

    fn access(name: &str, actions: &[Action]) -> Access {
        Access { kind: "repository".to_owned(), name: name.to_owned(), actions: actions.to_vec() }
    }

    #[test]
    fn a_push_account_pushes_and_pulls_in_its_area() {
        let grant = grant("acme.push", &["repository:acme/orders:pull,push"]);
        assert_eq!(
            grant,
            Grant { access: vec![access("acme/orders", &[Action::Pull, Action::Push])], complete: true }
        );
    }

    #[test]
    fn a_pull_account_only_pulls() {
        let grant = grant("acme.pull", &["repository:acme/orders:pull,push"]);
        assert_eq!(grant, Grant { access: vec![access("acme/orders", &[Action::Pull])], complete: false });
    }

    #[test]
    fn several_scopes_come_spaced_or_repeated_and_are_merged() {
        let grant = grant(
            "acme.push",
            &["repository:acme/a:pull repository:acme/b:pull", "repository:acme/a:push,pull"],
        );
        let wanted = vec![access("acme/a", &[Action::Pull, Action::Push]), access("acme/b", &[Action::Pull])];
        assert_eq!(grant, Grant { access: wanted, complete: true });
    }

    #[test]
    fn mounting_a_layer_from_another_tenant_is_not_granted() {
        let grant = grant("acme.push", &["repository:acme/orders:pull,push", "repository:beta/base:pull"]);
        assert_eq!(grant.access, [access("acme/orders", &[Action::Pull, Action::Push])]);
        assert!(!grant.complete);
    }

    #[test]
    fn nothing_is_granted_outside_the_area_or_the_grammar() {
        for scope in [
            "repository:beta/orders:pull",
            "repository:a-b/x:pull",
            "repository:ab/x:pull",
            "repository:a:pull",
            "repository:a/:pull",
            "repository:/a/x:pull",
            "repository:a//x:pull",
            "repository:a/../beta/x:pull",
            "repository:a/./x:pull",
            "repository:a/..:pull",
            "repository:a/x/..:pull",
            "repository:a/%2e%2e/beta:pull",
            "repository:a/X:pull",
            "repository:A/x:pull",
            "repository:a/x\u{e4}:pull",
            "repository:a/x\0:pull",
            "repository:a/x\n:pull",
            "repository:a/.x:pull",
            "repository:a/x.:pull",
            "repository:a/x..y:pull",
            "repository:a/x___y:pull",
            "repository:a/x._y:pull",
            "repository:registry.example.com:5000/a/x:pull",
            "repository:*:pull",
            "repository:a/*:pull",
            "repository:a/x:*",
            "repository:a/x:delete",
            "repository:a/x:",
            "repository:a/x",
            "repository(plugin):a/x:pull",
            "repository:a/x:PULL",
            "registry:catalog:*",
            "a/x:pull",
            ":",
            "::",
        ] {
            assert_eq!(grant("a.push", &[scope]), Grant { access: vec![], complete: false }, "{scope:?}");
        }
        let long = format!("repository:a/{}:pull", "x".repeat(254));
        assert_eq!(grant("a.push", &[&long]).access, []);
    }

    #[test]
    fn deleting_is_dropped_from_what_else_is_asked() {
        let grant = grant("acme.push", &["repository:acme/orders:delete,pull,*"]);
        assert_eq!(grant, Grant { access: vec![access("acme/orders", &[Action::Pull])], complete: false });
    }

    #[test]
    fn a_tenant_whose_name_begins_with_anothers_stays_apart() {
        for name in ["a-b/orders", "a/b", "a/b/orders", "a-b/a/orders", "a-b-c/x"] {
            let open = |user: &str| !grant(user, &[&format!("repository:{name}:pull")]).access.is_empty();
            assert_eq!(open("a.pull"), name.starts_with("a/"), "{name}");
            assert_eq!(open("a-b.pull"), name.starts_with("a-b/"), "{name}");
        }
    }

    #[test]
    fn no_scope_asks_for_nothing() {
        assert_eq!(grant("acme.push", &["", " "]), Grant { access: vec![], complete: true });
    }

    #[test]
    fn the_operators_account_lists_and_deletes_and_does_nothing_else() {
        let grant = grant("imaas.operator", &[CATALOG, CATALOG, "repository:acme/orders:delete,pull,push,*"]);
        let catalog = Access { kind: "registry".into(), name: "catalog".into(), actions: vec![Action::All] };
        assert_eq!(grant.access, [catalog, access("acme/orders", &[Action::Delete])]);
        assert!(!grant.complete);
        let json = serde_json::to_value(&grant.access).unwrap();
        assert_eq!(json[0], serde_json::json!({"type": "registry", "name": "catalog", "actions": ["*"]}));
        for scope in ["registry:catalog:pull", "registry:other:*", "repository:acme/../x:delete"] {
            assert_eq!(super::tests::grant("imaas.operator", &[scope]).access, [], "{scope}");
        }
    }

    #[test]
    fn a_push_is_seen_among_what_is_asked() {
        for (scopes, pushes) in [
            (&["repository:acme/a:pull,push"][..], true),
            (&["repository:acme/a:pull repository:acme/b:push"], true),
            (&["repository:acme/a:pull", "repository:acme/b:push,pull"], true),
            (&["repository:acme/push:pull"], false),
            (&["repository:push/a:pull", ""], false),
            (&[], false),
        ] {
            assert_eq!(asks_to_push(scopes.iter().copied()), pushes, "{scopes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_asked_only_the_own_area_is_granted(scope in "(repository:)?[aAb./_%:-]{0,12}(:[a-z,*]{0,9})?") {
            for entry in grant("a.pull", &[&scope]).access {
                assert!(entry.name.starts_with("a/") && !entry.name.contains("..") && entry.actions == [Action::Pull]);
            }
        }
    }
}
