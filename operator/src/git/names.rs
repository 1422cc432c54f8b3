//! Names that come from a repository: branches, tree entries, and the paths that our own objects ask for. What is not
//! plain is refused by rule, so that no name is ever a path, an option or a surprise on somebody's screen.

/// Whether a branch's short name may be used. Git's own rules (`git check-ref-format`), and: at most 200 bytes, no `-` at
/// the start, not `HEAD`, printable.
pub fn is_plain_branch(name: &str) -> bool {
    name.len() <= 200
        && !name.starts_with('-')
        && name != "HEAD"
        && !name.chars().any(is_invisible)
        && git2::Reference::is_valid_name(&format!("refs/heads/{name}"))
}

/// Why a tree entry's name is not used, or `None` when it is plain. The list is Git's `verify_path` (with the spellings
/// of `.git` on HFS+ and NTFS), and characters that do not show.
pub fn entry_problem(name: &[u8]) -> Option<&'static str> {
    let Ok(name) = std::str::from_utf8(name) else { return Some("its name is not UTF-8") };
    if name.is_empty() || name.len() > 255 {
        return Some("its name is empty or longer than 255 bytes");
    }
    if name == "." || name == ".." {
        return Some("its name leads out of the directory");
    }
    if name.contains(['/', '\\']) {
        return Some("its name contains a path separator");
    }
    if name.chars().any(is_invisible) {
        return Some("its name contains a character that does not show");
    }
    let lower = name.trim_end_matches([' ', '.']).to_ascii_lowercase();
    if lower == ".git" || lower == "git~1" || lower.starts_with(".git:") {
        return Some("its name stands for Git's own directory");
    }
    None
}

/// The parts of a path inside a repository, or `None` when it is not plain. Empty for `""` and `"."`: the root.
pub fn path_parts(path: &str) -> Option<Vec<&str>> {
    if path.is_empty() || path == "." {
        return Some(vec![]);
    }
    let parts: Vec<&str> = path.split('/').collect();
    let plain = parts.len() <= MAX_DEPTH && parts.iter().all(|part| entry_problem(part.as_bytes()).is_none());
    plain.then_some(parts)
}

/// `directory/name`, where `""` and `"."` are the root.
pub fn joined(directory: &str, name: &str) -> String {
    if directory.is_empty() || directory == "." { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Directories deeper than this are refused; nobody's configuration needs them.
pub const MAX_DEPTH: usize = 32;

/// Controls, and the format characters that reorder or hide text (Unicode category Cf and the HFS+ ignorable ones).
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// At most 200 characters, with what does not show as escapes.
pub fn printable(name: &str) -> String {
    name.chars().take(200).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_branches_pass() {
        for name in ["main", "prod", "feature/x-1", "release/2026.1", "größe", "a@b"] {
            assert!(is_plain_branch(name), "{name}");
        }
    }

    #[test]
    fn g18_evil_branches_are_refused() {
        let long = "x".repeat(4096);
        for name in [
            "",
            "../../x",
            "a/../b",
            "HEAD",
            "-b",
            "--upload-pack=id",
            "a b",
            "a\u{7}b",
            "a\nb",
            "a..b",
            "a.lock",
            "a//b",
            "/a",
            "a/",
            "a~1",
            "a^",
            "a:b",
            "a?b",
            "a*b",
            "a[b",
            "a\\b",
            "@{",
            "a@{b",
            "x\u{202e}y",
            "x\u{200b}y",
            &long,
        ] {
            assert!(!is_plain_branch(name), "{name:?}");
        }
    }

    #[test]
    fn g13_evil_entries_are_refused() {
        let names: [&[u8]; 20] = [
            b"",
            b".",
            b"..",
            b"/etc",
            b"a/b",
            b"a\\b",
            b"..\\x",
            b"a\0b",
            b"a\nb",
            b".git",
            b".GIT",
            b".Git ",
            b".git.",
            b"git~1",
            b"GIT~1",
            b".git::$INDEX_ALLOCATION",
            b"\xff\xfe",
            ".g\u{200c}it".as_bytes(),
            "x\u{202e}lmay".as_bytes(),
            &[b'x'; 256],
        ];
        for name in names {
            assert!(entry_problem(name).is_some(), "{:?}", String::from_utf8_lossy(name));
        }
        for name in ["acme.yaml", ".gitattributes", ".gitignore", "größe.yaml", "-x", "a b"] {
            assert!(entry_problem(name.as_bytes()).is_none(), "{name}");
        }
    }

    #[test]
    fn paths_are_relative_and_plain() {
        assert_eq!(path_parts(""), Some(vec![]));
        assert_eq!(path_parts("."), Some(vec![]));
        assert_eq!(path_parts("tenants/a.yaml"), Some(vec!["tenants", "a.yaml"]));
        for path in ["/etc", "a//b", "a/", "../a", "a/./b", "a/.git/config", "a\\b", "a\0"] {
            assert_eq!(path_parts(path), None, "{path:?}");
        }
    }
}
