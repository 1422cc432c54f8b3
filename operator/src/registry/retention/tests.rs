use proptest::prelude::*;

use super::*;
use crate::registry::manifest::Manifest;

const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// Digests by a letter.
fn digest(letter: char) -> Digest {
    format!("sha256:{:02x}{}", letter as u32, "0".repeat(62)).parse().unwrap()
}

fn manifest(children: &str) -> std::sync::Arc<Manifest> {
    let manifests: Vec<_> =
        children.chars().map(|child| serde_json::json!({"digest": digest(child)})).collect();
    let json = serde_json::json!({ "manifests": manifests }).to_string();
    std::sync::Arc::new(Manifest::read(json.as_bytes()))
}

/// `a` or `i>xy` for an index of x and y, with tags after `@`, of one repository: `a@one,two i>xy@multi`.
fn area(repositories: &[(&str, &str)]) -> Area {
    let mut area = Area::default();
    for (name, images) in repositories {
        let roots = area.repositories.entry((*name).to_owned()).or_default();
        for image in images.split_whitespace() {
            let (image, tags) = image.split_once('@').unwrap_or((image, ""));
            let (letter, children) = image.split_once('>').unwrap_or((image, ""));
            let letter = letter.chars().next().unwrap();
            let tags = tags.split(',').filter(|tag| !tag.is_empty()).map(ToOwned::to_owned).collect();
            roots.insert(digest(letter), tags);
            area.manifests.insert(digest(letter), manifest(children));
            for child in children.chars() {
                area.manifests.entry(digest(child)).or_insert_with(|| manifest(""));
            }
        }
    }
    area
}

fn needs(digests: &str, tags: &[&str]) -> Needs {
    Needs {
        repositories: BTreeSet::from(["acme/orders".to_owned()]),
        digests: digests.chars().map(digest).collect(),
        tags: tags.iter().map(ToString::to_string).collect(),
    }
}

fn letters(plan: &Plan) -> String {
    let letter =
        |digest: &Digest| char::from_u32(u32::from_str_radix(&digest.hex()[..2], 16).unwrap()).unwrap();
    plan.doomed.values().flatten().map(letter).collect()
}

/// What goes when nothing changed for a week and an hour.
fn gone(area: &Area, needs: &Needs) -> String {
    let first = plan(area, needs, &Unneeded::default(), (at("2026-01-01T00:00:00Z"), WEEK));
    assert_eq!(letters(&first), "", "never at first sight");
    letters(&plan(area, needs, &first.unneeded, (at("2026-01-08T01:00:00Z"), WEEK)))
}

#[test]
fn what_a_release_names_stays_and_the_rest_goes_after_its_time() {
    let area = area(&[("acme/orders", "a@one b@two c@three d")]);
    assert_eq!(gone(&area, &needs("bd", &["three"])), "a");
    assert_eq!(gone(&area, &needs("", &[])), "abcd");
}

#[test]
fn what_cannot_be_read_goes_too_and_as_long_as_it_stays_so_does_its_repository() {
    let mut area = area(&[("acme/orders", "a@one i@index"), ("acme/billing", "b@one")]);
    area.manifests.insert(digest('i'), std::sync::Arc::new(Manifest::read(b"an index of a, perhaps")));
    let needs = |digests, tags| {
        let mut needs = needs(digests, tags);
        needs.repositories.insert("acme/billing".to_owned());
        needs
    };
    assert_eq!(gone(&area, &needs("", &["index"])), "b");
    assert_eq!(gone(&area, &needs("i", &[])), "b");
    assert_eq!(gone(&area, &needs("", &[])), "bai");
}

#[test]
fn it_goes_when_it_was_not_needed_for_all_of_the_time() {
    let area = area(&[("acme/orders", "a@one")]);
    let look = |needs: &Needs, before: &Unneeded, now: &str| plan(&area, needs, before, (at(now), WEEK));
    let first = look(&needs("", &[]), &Unneeded::default(), "2026-01-01T10:20:00Z");
    for early in ["2026-01-01T10:30:00Z", "2026-01-08T10:20:00Z", "2026-01-08T10:59:59Z"] {
        let again = look(&needs("", &[]), &first.unneeded, early);
        assert_eq!((letters(&again).as_str(), &again.unneeded), ("", &first.unneeded), "{early}");
    }
    assert_eq!(letters(&look(&needs("", &[]), &first.unneeded, "2026-01-08T11:00:00Z")), "a");

    let needed = look(&needs("a", &[]), &first.unneeded, "2026-01-05T00:00:00Z");
    assert_eq!(needed.unneeded, Unneeded::default());
    let after = look(&needs("", &[]), &needed.unneeded, "2026-01-08T11:00:00Z");
    assert_eq!(letters(&after), "", "it was needed in between");
}

#[test]
fn an_image_that_is_pushed_again_is_new() {
    let before = area(&[("acme/orders", "a@one")]);
    let first = plan(&before, &needs("", &[]), &Unneeded::default(), (at("2026-01-01T00:00:00Z"), WEEK));
    let pushed = area(&[("acme/orders", "a@one,two")]);
    let later = plan(&pushed, &needs("", &[]), &first.unneeded, (at("2026-02-01T00:00:00Z"), WEEK));
    assert_eq!(letters(&later), "");
}

#[test]
fn what_a_kept_index_refers_to_stays_and_the_children_of_a_doomed_one_go_first() {
    let area = area(&[("acme/orders", "i>ab@multi j>bc@old a@single")]);
    assert_eq!(gone(&area, &needs("i", &[])), "cj");
    assert_eq!(gone(&area, &needs("c", &[])), "abij");
    assert_eq!(gone(&area, &needs("", &[])), "abcij");
}

#[test]
fn what_a_young_index_refers_to_stays() {
    let old = area(&[("acme/orders", "a@one")]);
    let first = plan(&old, &needs("", &[]), &Unneeded::default(), (at("2026-01-01T00:00:00Z"), WEEK));
    let grown = area(&[("acme/orders", "a@one i>ab@multi")]);
    let later = plan(&grown, &needs("", &[]), &first.unneeded, (at("2026-01-20T00:00:00Z"), WEEK));
    assert_eq!(letters(&later), "");
}

#[test]
fn signatures_stay_with_what_they_belong_to() {
    let of = |letter: char| format!("sha256-{}", digest(letter).hex());
    let images = format!(
        "i>ab@one s@{}.sig t@{}.att u@{} v@{}.sig x@{}.sig",
        of('i'),
        of('a'),
        of('s'),
        of('z'),
        "sha256-short"
    );
    let area = area(&[("acme/orders", &images)]);
    assert_eq!(gone(&area, &needs("i", &[])), "vx", "u belongs to s, which belongs to i");
    assert_eq!(gone(&area, &needs("", &[])).len(), 8);
}

#[test]
fn only_in_repositories_of_services_anything_goes() {
    let area = area(&[("acme/orders", "a@one"), ("acme/base", "b@one"), ("acme/orders/deep", "c@one")]);
    assert_eq!(gone(&area, &needs("", &[])), "a");
    let both = needs("", &[]).and(Needs::default());
    assert_eq!(gone(&area, &both), "", "one of two looks does not know the service");
}

#[test]
fn bytes_that_something_else_has_too_are_not_freed() {
    let json = |layer: char| {
        let layers = [
            serde_json::json!({"digest": digest(layer), "size": 1000}),
            serde_json::json!({"digest": digest('z'), "size": 50}),
        ];
        serde_json::json!({"layers": layers}).to_string()
    };
    let mut area = area(&[("acme/orders", "a@one b@two"), ("acme/base", "b@one")]);
    for letter in ['a', 'b'] {
        let manifest = Manifest::read(json(letter.to_ascii_uppercase()).as_bytes());
        area.manifests.insert(digest(letter), std::sync::Arc::new(manifest));
    }
    let size = json('A').len() as u64;
    let first = plan(&area, &needs("", &[]), &Unneeded::default(), (at("2026-01-01T00:00:00Z"), WEEK));
    let later = plan(&area, &needs("", &[]), &first.unneeded, (at("2026-02-01T00:00:00Z"), WEEK));
    assert_eq!((letters(&later).as_str(), later.bytes), ("ab", 1000 + size), "b stays in acme/base");
}

#[test]
fn what_is_kept_survives_its_way_through_the_cluster_and_is_bounded() {
    let roots =
        (0..REMEMBERED_MAX + 5).map(|n| (format!("sha256:{n:064x}").parse().unwrap(), BTreeSet::new()));
    let area = Area {
        repositories: BTreeMap::from([("acme/orders".to_owned(), roots.collect())]),
        ..Area::default()
    };
    let plan = plan(&area, &needs("", &[]), &Unneeded::default(), (at("2026-01-01T00:00:00Z"), WEEK));
    let json = serde_json::to_string(&plan.unneeded).unwrap();
    assert!(json.len() < 500_000, "{}", json.len());
    assert_eq!(serde_json::from_str::<Unneeded>(&json).unwrap(), plan.unneeded);
    assert_eq!(plan.unneeded.by_key().len(), REMEMBERED_MAX);
}

proptest! {
    /// Whatever is there and needed: what is needed stays, with all that it refers to, and so does what is young.
    #[test]
    fn nothing_that_is_needed_or_young_goes(
        images in proptest::collection::vec(("[a-f]", "[a-f]{0,3}", "[g-k]{0,2}"), 0..8),
        late in proptest::collection::vec(("[a-f]", "[a-f]{0,3}"), 0..3),
        needed in "[a-f]{0,3}",
        tags in "[g-k]{0,2}",
    ) {
        let text = |images: &[(String, String, String)]| {
            let image = |(letter, children, tags): &(String, String, String)| {
                let tags: Vec<_> = tags.chars().map(String::from).collect();
                format!("{letter}>{children}@{}", tags.join(","))
            };
            images.iter().map(image).collect::<Vec<_>>().join(" ")
        };
        let tags: Vec<_> = tags.chars().map(String::from).collect();
        let needs = needs(&needed, &tags.iter().map(String::as_str).collect::<Vec<_>>());
        let old = area(&[("acme/orders", &text(&images))]);
        let first = plan(&old, &needs, &Unneeded::default(), (at("2026-01-01T00:00:00Z"), WEEK));
        let mut all = images.clone();
        all.extend(late.iter().map(|(letter, children)| (letter.clone(), children.clone(), "late".to_owned())));
        let area = area(&[("acme/orders", &text(&all))]);
        let plan = plan(&area, &needs, &first.unneeded, (at("2026-02-01T00:00:00Z"), WEEK));
        let roots = &area.repositories.get("acme/orders").cloned().unwrap_or_default();
        let stays = roots.iter().filter(|(digest, tags)| {
            needs.digests.contains(*digest) || !tags.is_disjoint(&needs.tags) || tags.contains("late")
        });
        let stays = area.reached(stays.map(|(digest, _)| digest).chain(&needs.digests));
        let doomed: BTreeSet<_> = plan.doomed.values().flatten().collect();
        prop_assert!(doomed.is_disjoint(&stays));
        // Nothing is left that no root leads to: it could never be found again.
        let left = roots.keys().filter(|digest| !doomed.contains(digest));
        let reached = area.reached(left);
        for digest in area.reached(roots.keys()) {
            prop_assert!(doomed.contains(digest) || reached.contains(digest) || stays.contains(digest));
        }
    }
}
