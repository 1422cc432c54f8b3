//! Files and directories of a commit, also evil ones, and the build id.

use super::*;

const LIMITS: DirectoryLimits = DirectoryLimits {
    contents: true,
    recursive: false,
    files: 1000,
    file_bytes: 64 * 1024,
    skip_large: false,
    total_bytes: 1024 * 1024,
};

#[tokio::test]
async fn g12_a_link_or_submodule_in_place_of_a_file_is_refused() {
    let lab = lab().await;
    let repository = &lab.repository;
    let (link, blob) = (repository.blob(b"../.git/config"), repository.blob(b"text"));
    let commit = repository.commit("main", &[("a", "1")]);
    let inner = repository.raw_tree(&[("100644", b"f", &blob)]);
    let tree = repository.raw_tree(&[
        ("120000", b"link", &link),
        ("160000", b"module", &commit),
        ("40000", b"sub", &inner),
        ("100644", b"text", &blob),
    ]);
    let head = id(&repository.commit_tree("main", &tree));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    for path in [
        "link",
        "module",
        "sub",
        "link/x",
        "module/x",
        "",
        ".",
        "../x",
        "/etc/passwd",
        "sub//f",
        "sub/../text",
    ] {
        let error = lab.git.file(&lab.remote, &head, path, 100).await.unwrap_err();
        assert!(matches!(error, GitError::UnsafeEntry { .. }), "{path}");
    }
    assert_eq!(lab.git.file(&lab.remote, &head, "sub/f", 100).await.unwrap().unwrap(), b"text");
    assert_eq!(lab.git.file(&lab.remote, &head, "text/f", 100).await.unwrap(), None);
    assert_eq!(lab.git.file(&lab.remote, &head, "none", 100).await.unwrap(), None);
    let error = lab.git.file(&lab.remote, &head, "text", 3).await.unwrap_err();
    assert!(matches!(error, GitError::TooLarge { size: 4, cap: 3, .. }), "{error:?}");
    let error = lab.git.directory(&lab.remote, &head, "link", LIMITS).await.unwrap_err();
    assert!(matches!(error, GitError::UnsafeEntry { .. }), "{error:?}");
    let found = lab.git.directory(&lab.remote, &head, "", LIMITS).await.unwrap();
    assert_eq!(found.files.keys().collect::<Vec<_>>(), ["text"]);
    assert_eq!(found.ignored, [("link".into(), "is a symbolic link"), ("module".into(), "is a submodule")]);
}

#[tokio::test]
async fn g13_evil_names_are_ignored_and_told() {
    let lab = lab().await;
    let repository = &lab.repository;
    let blob = repository.blob(b"text");
    let evil: [&[u8]; 9] = [
        b"..",
        b".GIT",
        b".git",
        b"..\\x",
        b"a\nb",
        b"\xff",
        b"/etc/passwd",
        ".g\u{200c}it".as_bytes(),
        b"git~1",
    ];
    let mut entries: Vec<(&str, &[u8], &str)> = evil.iter().map(|name| ("100644", *name, &*blob)).collect();
    entries.push(("100755", b"run.sh", &blob));
    entries.push(("100644", "größe.yaml".as_bytes(), &blob));
    let tenants = repository.raw_tree(&entries);
    let deep = repository.raw_tree(&[("40000", b"tenants", &tenants)]);
    let head = id(&repository.commit_tree("main", &deep));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let found = lab.git.directory(&lab.remote, &head, "tenants", LIMITS).await.unwrap();
    assert_eq!(found.files.keys().collect::<Vec<_>>(), ["größe.yaml", "run.sh"]);
    assert_eq!((found.files["run.sh"].mode, found.files["größe.yaml"].mode), (0o100_755, 0o100_644));
    assert_eq!(found.ignored.len(), evil.len(), "{:?}", found.ignored);
    assert!(found.ignored.iter().all(|(name, _)| !name.contains(char::is_control)));
    let recursive = DirectoryLimits { recursive: true, ..LIMITS };
    let found = lab.git.directory(&lab.remote, &head, "", recursive).await.unwrap();
    assert_eq!(found.files.keys().collect::<Vec<_>>(), ["tenants/größe.yaml", "tenants/run.sh"]);
    let error = lab.git.directory(&lab.remote, &head, "none", LIMITS).await.unwrap_err();
    assert!(matches!(error, GitError::PathMissing { .. }), "missing is not empty");
    for limits in [
        DirectoryLimits { files: 1, ..LIMITS },
        DirectoryLimits { file_bytes: 3, ..LIMITS },
        DirectoryLimits { total_bytes: 7, ..LIMITS },
    ] {
        let error = lab.git.directory(&lab.remote, &head, "tenants", limits).await.unwrap_err();
        assert!(matches!(error, GitError::TooLarge { .. }), "{limits:?}");
    }
}

#[tokio::test]
async fn one_file_that_is_too_large_is_left_out_and_told() {
    let lab = lab().await;
    // The first is here and over the bound; the second was left out of the fetch.
    let (large, huge) = ("x".repeat(70 << 10), "x".repeat(2 << 20));
    let files = [
        ("tenants/a.yaml", "a"),
        ("tenants/b.yaml", &large),
        ("tenants/c.yaml", &huge),
        ("tenants/d.yaml", "d"),
    ];
    let head = id(&lab.repository.commit("main", &files));
    lab.git.fetch(&lab.remote, "main", Depth::Full).await.unwrap();
    let limits = DirectoryLimits { skip_large: true, ..LIMITS };
    let found = lab.git.directory(&lab.remote, &head, "tenants", limits).await.unwrap();
    assert_eq!(found.files.keys().collect::<Vec<_>>(), ["a.yaml", "d.yaml"]);
    assert_eq!(found.too_large, ["b.yaml", "c.yaml"]);
    let little = DirectoryLimits { total_bytes: 1, ..limits };
    let error = lab.git.directory(&lab.remote, &head, "tenants", little).await.unwrap_err();
    assert!(matches!(error, GitError::TooLarge { .. }), "all together are never a part");
}

#[tokio::test]
async fn a_commit_tells_when_it_was_made() {
    let lab = lab().await;
    let tree = lab.repository.tree(&[("a", "1")]);
    let object = |seconds: &str| {
        let who = format!("t <t@t> {seconds} +0100");
        format!("tree {tree}\nauthor t <t@t> 1 +0000\ncommitter {who}\n\nchange\n")
    };
    for (seconds, told) in [("1700000000", Some(1_700_000_000)), ("9000000000000000", None)] {
        let arguments = ["hash-object", "-t", "commit", "-w", "--stdin", "--literally"];
        let head = lab.repository.git_in(&arguments, object(seconds).as_bytes());
        lab.repository.point("main", &head);
        lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
        let committed = lab.git.committed(&lab.remote, &id(&head)).await.unwrap();
        assert_eq!(committed.map(jiff::Timestamp::as_second), told, "{seconds}");
    }
}

#[tokio::test]
async fn the_build_id_changes_only_with_what_is_built() {
    let lab = lab().await;
    let repository = &lab.repository;
    let base = [
        ("svc/src/a", "1"),
        ("svc/docs/x", "1"),
        ("svc/README.md", "1"),
        ("svc/imaas.yaml", "1"),
        ("other", "1"),
    ];
    let digest = async |files: &[(&str, &str)]| {
        let head = id(&repository.commit("main", files));
        lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
        let exclude = |path: &str| path == "docs" || path == "imaas.yaml" || path.ends_with("README.md");
        lab.git.tree_digest(&lab.remote, &head, "svc", exclude).await.unwrap()
    };
    let first = digest(&base).await;
    assert_eq!(first.len(), 64);
    for at in 1..5 {
        let mut files = base;
        files[at].1 = "2";
        assert_eq!(digest(&files).await, first, "{}", files[at].0);
    }
    let mut changed = base;
    changed[0].1 = "2";
    assert_ne!(digest(&changed).await, first);
    changed[0] = ("svc/src/b", "1");
    assert_ne!(digest(&changed).await, first, "a rename");
    assert_ne!(digest(&[("svc/a", "1")]).await, digest(&[("svc/src/a", "1")]).await);
    assert_eq!(digest(&base[..1]).await, first, "excluded files may be absent");
    let blob = repository.blob(b"1");
    let runnable = repository.raw_tree(&[("100755", b"a", &blob)]);
    let source = repository.raw_tree(&[("40000", b"src", &runnable)]);
    let head = id(&repository.commit_tree("main", &repository.raw_tree(&[("40000", b"svc", &source)])));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    assert_ne!(
        lab.git.tree_digest(&lab.remote, &head, "svc", |_| false).await.unwrap(),
        first,
        "the mode counts"
    );
}

#[tokio::test]
async fn g10_a_large_blob_beside_is_not_downloaded() {
    let limits = Limits { blob_bytes: 50_000, ..Limits::default() };
    let lab = lab_with(Server::start().await, limits);
    let head = id(&lab.repository.commit("main", &[("small", "1"), ("large", &noise(7, 400_000))]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let received: usize = lab.server.seen().iter().map(|seen| seen.answered).sum();
    assert!(received < 5_000, "{received}");
    assert_eq!(lab.git.file(&lab.remote, &head, "small", 9).await.unwrap().unwrap(), b"1");
    let error = lab.git.file(&lab.remote, &head, "large", 1 << 20).await.unwrap_err();
    assert!(matches!(error, GitError::TooLarge { .. }), "{error:?}");
    assert!(
        lab.git.tree_digest(&lab.remote, &head, "", |_| false).await.is_ok(),
        "a digest needs no content"
    );
    assert!(lab.git.has(&lab.remote, &head).await, "and the mirror is not taken for broken");
}

#[tokio::test]
async fn a_commit_is_kept_without_what_its_files_hold() {
    let lab = lab().await;
    let large = "x".repeat(1_040_000);
    let directories: Vec<_> = (0..=16).map(|n| format!("c{n}/f")).collect();
    let patches: Vec<_> = (1..=16).map(|n| format!("  e{n}: {{config: c{n}}}\n")).collect();
    let patches = patches.concat();
    let descriptor = format!(
        "apiVersion: imaas.dev/v1alpha1\nkind: ServiceDescriptor\nconfig: c0\nenvironments:\n{patches}"
    );
    let mut files = vec![("imaas.yaml", descriptor.as_str())];
    files.extend(directories.iter().map(|path| (path.as_str(), large.as_str())));
    let head = id(&lab.repository.commit("dev", &files));
    lab.git.fetch(&lab.remote, "dev", Depth::One).await.unwrap();
    let wanted = (["dev".to_owned()].into(), LARGEST_CONFIG);
    let content = read::content(&lab.git, &lab.remote, ("", &head), wanted).await.unwrap().unwrap();
    assert_eq!(content.configs.keys().collect::<Vec<_>>(), ["c0"], "no other directory is read");
    assert_eq!(content.configs["c0"].as_ref().unwrap()["f"].size, 1_040_000);
    // Everything that is kept shows here. 14 services of 3 branches hold 42 of them.
    assert!(format!("{content:?}").len() < 2_000, "{content:?}");
    let contents = read::contents(&lab.git, &lab.remote, ("c0", &head)).await.unwrap();
    assert_eq!(contents["f"].len(), 1_040_000);
}

#[tokio::test]
async fn the_build_id_is_that_of_the_paths_in_order() {
    let lab = lab().await;
    // As Git sorts them, and as their paths are sorted.
    let head = id(&lab.repository.commit("main", &[("a/x", "1"), ("a.b", "1"), ("a0", "1"), ("b", "1")]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let names = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let told = names.clone();
    let exclude = move |path: &str| {
        told.lock().unwrap().push(path.to_owned());
        false
    };
    lab.git.tree_digest(&lab.remote, &head, "", exclude).await.unwrap();
    let files: Vec<_> = names.lock().unwrap().iter().filter(|name| *name != "a").cloned().collect();
    assert_eq!(files, ["a.b", "a/x", "a0", "b"]);
}

#[derive(Default)]
struct Seen {
    files: Vec<(String, usize)>,
    skipped: Vec<String>,
}

impl Visitor for Seen {
    fn enters(&self, directory: &str) -> bool {
        directory != "target"
    }

    fn wants(&self, file: &str) -> bool {
        file.rsplit('.').next() == Some("xml")
    }

    fn file(&mut self, path: &str, content: &[u8]) {
        self.files.push((path.to_owned(), content.len()));
    }

    fn skipped(&mut self, path: &str, why: String) {
        self.skipped.push(format!("{path}: {why}"));
    }
}

#[tokio::test]
async fn a_directory_is_shown_file_by_file_within_bounds() {
    let limits = Limits { blob_bytes: 5_000, ..Limits::default() };
    let lab = lab_with(Server::start().await, limits);
    let (large, there) = (noise(1, 6_000), noise(2, 3_000));
    let files = [
        ("orders/a.xml", "1234"),
        ("orders/b.txt", "12"),
        ("orders/c/d.xml", &there),
        ("orders/c/e.xml", &large),
        ("orders/target/f.xml", "1"),
        ("orders/z.xml", "123"),
        ("other/a.xml", "1"),
    ];
    let head = id(&lab.repository.commit("main", &files));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let bounds = VisitLimits { entries: 100, file_bytes: 2_000, total_bytes: 1_000_000 };
    let seen = async |limits| {
        let seen = lab.git.visit(&lab.remote, &head, ("orders", limits), Seen::default()).await.unwrap();
        let files: Vec<_> = seen.files.iter().map(|(path, size)| format!("{path} {size}")).collect();
        (files.join(" "), seen.skipped.join("; "))
    };
    let too_large = "it has more than 2000 bytes";
    assert_eq!(
        seen(bounds).await,
        ("a.xml 4 z.xml 3".to_owned(), format!("c/d.xml: {too_large}; c/e.xml: {too_large}"))
    );
    let larger = VisitLimits { file_bytes: 4_000, ..bounds };
    let left_out = "c/e.xml: it has more than 4000 bytes".to_owned();
    assert_eq!(seen(larger).await, ("a.xml 4 c/d.xml 3000 z.xml 3".to_owned(), left_out));
    let few = VisitLimits { entries: 3, ..bounds };
    let beyond = "c/d.xml: this and what follows lies beyond the most files".to_owned();
    assert_eq!(seen(few).await, ("a.xml 4".to_owned(), beyond));
    let little = VisitLimits { total_bytes: 6, ..bounds };
    let beyond = "c/d.xml: this and what follows lies beyond the most bytes".to_owned();
    assert_eq!(seen(little).await, ("a.xml 4".to_owned(), beyond));
    let gone = lab.git.visit(&lab.remote, &head, ("gone", bounds), Seen::default()).await.err().unwrap();
    assert!(matches!(gone, GitError::PathMissing { .. }), "{gone:?}");
}
