//! JSON merge patch (RFC 7386) on trees that know their places, so that a problem of the result points to its line.

use super::node::{Content, Entry, Node};

/// The descriptor's own settings, without what says what the file is, and its patches by environment.
pub(super) fn split(tree: &Node) -> (Node, Vec<(&str, &Node)>) {
    let patches = match tree.entry("environments").map(|entry| &entry.value.content) {
        Some(Content::Mapping(entries)) => {
            let is_patch = |entry: &&Entry| matches!(entry.value.content, Content::Mapping(_));
            entries.iter().filter(is_patch).map(|entry| (entry.key.as_str(), &entry.value)).collect()
        }
        Some(Content::Scalar(_) | Content::Sequence(_)) | None => Vec::new(),
    };
    let mut base = tree.clone();
    if let Content::Mapping(entries) = &mut base.content {
        entries.retain(|entry| !matches!(entry.key.as_str(), "apiVersion" | "kind" | "environments"));
    }
    (base, patches)
}

/// `patch` over `target`: mappings merge, null removes, everything else replaces.
pub(super) fn patched(target: &Node, patch: &Node) -> Node {
    let Content::Mapping(changes) = &patch.content else { return patch.clone() };
    let mut entries: Vec<Entry> = match &target.content {
        Content::Mapping(entries) => entries.clone(),
        Content::Scalar(_) | Content::Sequence(_) => Vec::new(),
    };
    for change in changes {
        let old = entries.iter().position(|entry| entry.key == change.key);
        if matches!(change.value.content, Content::Scalar(serde_json::Value::Null)) {
            if let Some(at) = old {
                entries.remove(at);
            }
            continue;
        }
        let empty = Node { content: Content::Mapping(Vec::new()), ..change.value.clone() };
        let before = old.map_or(&empty, |at| &entries[at].value);
        let entry = Entry { value: patched(before, &change.value), ..change.clone() };
        match old {
            Some(at) => entries[at] = entry,
            None => entries.push(entry),
        }
    }
    Node { content: Content::Mapping(entries), start: patch.start, end: patch.end }
}
