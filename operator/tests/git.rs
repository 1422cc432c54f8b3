//! Reading Git against a real server (`git http-backend`), also one that lies. Ids in names are those of the checks that
//! every build must survive.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use imaas_operator::git::{
    CommitId, Credentials, Depth, DirectoryLimits, Git, GitError, GitUrl, Limits, Remote, UrlError, UrlPolicy,
};
use support::{Fault, Repository, Server, basic};
use tempfile::TempDir;

struct Lab {
    server: Server,
    repository: Repository,
    git: Git,
    remote: Remote,
    data: TempDir,
}

fn policy() -> UrlPolicy {
    UrlPolicy { development: true, allowed_hosts: vec!["127.0.0.1".into()] }
}

fn remote(url: &str) -> Remote {
    let url = GitUrl::parse(url, &policy()).unwrap();
    Remote { owner: "acme".into(), url, credentials: None, ca: None }
}

fn lab_with(server: Server, limits: Limits) -> Lab {
    let repository = server.repository("orders");
    let data = TempDir::new().unwrap();
    let git = Git::new(data.path().to_owned(), policy(), limits).unwrap();
    let remote = remote(&server.url("orders"));
    Lab { server, repository, git, remote, data }
}

async fn lab() -> Lab {
    lab_with(Server::start().await, Limits::default())
}

fn id(text: &str) -> CommitId {
    CommitId::parse(text).unwrap()
}

const LIMITS: DirectoryLimits =
    DirectoryLimits { recursive: false, files: 1000, file_bytes: 64 * 1024, total_bytes: 1024 * 1024 };

/// Text that hardly compresses, so that sizes on the wire mean something.
fn noise(seed: u64, bytes: usize) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'!' + u8::try_from(state % 90).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

#[tokio::test]
async fn heads_of_all_branches_come_in_one_request() {
    let lab = lab().await;
    let main = lab.repository.commit("main", &[("a", "1")]);
    let prod = lab.repository.commit("prod", &[("a", "2")]);
    lab.repository.git(&["tag", "v1", &main]);
    let first = lab.git.heads(&lab.remote).await.unwrap();
    assert_eq!(first.into_iter().collect::<Vec<_>>(), [("main".into(), id(&main)), ("prod".into(), id(&prod))]);
    lab.server.seen();
    let again = lab.git.heads(&lab.remote).await.unwrap();
    assert_eq!(again.len(), 2);
    assert_eq!(lab.server.seen().len(), 1, "a server that is known is asked once");
}

#[tokio::test]
async fn a_server_of_the_old_protocol_is_read_as_well() {
    let lab = lab_with(Server::old_protocol().await, Limits::default());
    let first = lab.repository.commit("main", &[("a", "1")]);
    assert_eq!(lab.git.heads(&lab.remote).await.unwrap()["main"], id(&first));
    assert_eq!(lab.server.seen().len(), 1);
    for depth in [Depth::One, Depth::Full] {
        let head = id(&lab.repository.commit("main", &[("a", &format!("{depth:?}"))]));
        assert_eq!(lab.git.fetch(&lab.remote, "main", depth).await.unwrap(), head);
        let content = lab.git.file(&lab.remote, &head, "a", 100).await.unwrap();
        assert_eq!(content.unwrap(), format!("{depth:?}").as_bytes());
    }
    let third = lab.repository.commit("main", &[("a", "3")]);
    lab.git.fetch(&lab.remote, "main", Depth::Full).await.unwrap();
    assert!(lab.git.is_ancestor(&lab.remote, &id(&first), &id(&third)).await.unwrap());
}

#[tokio::test]
async fn a_changed_head_is_fetched_and_an_unchanged_one_is_not() {
    let lab = lab().await;
    let one = id(&lab.repository.commit("main", &[("a", "1")]));
    assert!(!lab.git.has(&lab.remote, &one).await);
    assert_eq!(lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap(), one);
    assert!(lab.git.has(&lab.remote, &one).await);
    lab.server.seen();
    assert_eq!(lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap(), one);
    assert_eq!(lab.server.seen().len(), 1, "only the list of branches");
    let two = id(&lab.repository.commit("main", &[("a", "2")]));
    assert_eq!(lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap(), two);
    assert_eq!(lab.git.file(&lab.remote, &two, "a", 9).await.unwrap().unwrap(), b"2");
    assert_eq!(lab.git.file(&lab.remote, &one, "a", 9).await.unwrap().unwrap(), b"1", "the old one stays readable");
}

#[tokio::test]
async fn g09_depth_one_leaves_the_history_behind() {
    let lab = lab().await;
    for seed in 0..30 {
        lab.repository.commit("main", &[("big", &noise(seed, 40_000))]);
    }
    let head = id(&lab.repository.commit("main", &[("big", &noise(99, 40_000)), ("small", "1")]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let first: usize = lab.server.seen().iter().map(|seen| seen.answered).sum();
    assert!(first < 60_000, "one version, not 31: {first}");
    assert!(!lab.git.is_ancestor(&lab.remote, &id(&lab.repository.git(&["rev-parse", "main~1"])), &head).await.unwrap());
    lab.repository.commit("main", &[("big", &noise(99, 40_000)), ("small", "2")]);
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let second: usize = lab.server.seen().iter().map(|seen| seen.answered).sum();
    assert!(second < 2_000, "only what changed: {second}");
}

#[tokio::test]
async fn full_history_knows_ancestors_also_after_depth_one() {
    let lab = lab().await;
    let one = id(&lab.repository.commit("main", &[("a", "1")]));
    lab.repository.commit("main", &[("a", "2")]);
    let three = id(&lab.repository.commit("main", &[("a", "3")]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    assert!(!lab.git.is_ancestor(&lab.remote, &one, &three).await.unwrap());
    lab.git.fetch(&lab.remote, "main", Depth::Full).await.unwrap();
    assert!(lab.git.is_ancestor(&lab.remote, &one, &three).await.unwrap());
    assert!(!lab.git.is_ancestor(&lab.remote, &three, &one).await.unwrap());
    assert!(lab.git.is_ancestor(&lab.remote, &three, &three).await.unwrap());
    let four = id(&lab.repository.commit("main", &[("a", "4")]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    assert!(lab.git.is_ancestor(&lab.remote, &one, &four).await.unwrap(), "a mirror once full stays so");
}

#[tokio::test]
async fn g19_a_force_push_is_the_new_head() {
    let lab = lab().await;
    let one = lab.repository.commit("main", &[("a", "1")]);
    let two = lab.repository.commit("main", &[("a", "2")]);
    for depth in [Depth::One, Depth::Full] {
        lab.repository.point("main", &two);
        lab.git.fetch(&lab.remote, "main", depth).await.unwrap();
        lab.repository.point("main", &one);
        assert_eq!(lab.git.fetch(&lab.remote, "main", depth).await.unwrap(), id(&one));
        let orphan = lab.repository.git(&["commit-tree", &lab.repository.tree(&[("b", "x")]), "-m", "unrelated"]);
        lab.repository.point("main", &orphan);
        assert_eq!(lab.git.fetch(&lab.remote, "main", depth).await.unwrap(), id(&orphan));
        assert!(!lab.git.is_ancestor(&lab.remote, &id(&two), &id(&orphan)).await.unwrap());
    }
}

#[tokio::test]
async fn a_missing_branch_or_repository_is_named() {
    let lab = lab().await;
    assert!(lab.git.heads(&lab.remote).await.unwrap().is_empty(), "an empty repository has no branches");
    lab.repository.commit("main", &[("a", "1")]);
    let error = lab.git.fetch(&lab.remote, "prod", Depth::One).await.unwrap_err();
    assert_eq!((error.reason(), error.is_permanent()), ("BranchMissing", true));
    assert!(error.to_string().contains("\"prod\""), "{error}");
    let error = lab.git.heads(&remote(&lab.server.url("nothing"))).await.unwrap_err();
    assert_eq!(error.reason(), "RepositoryNotFound");
}

#[tokio::test]
async fn g21_credentials_are_needed_sent_and_never_shown() {
    let mut lab = lab().await;
    lab.repository.commit("main", &[("a", "1")]);
    lab.server.protect("ci", "hunter2");
    assert_eq!(lab.git.heads(&lab.remote).await.unwrap_err().reason(), "AuthenticationFailed");
    let with = |password: &str| Some(Credentials { username: "ci".into(), password: password.into() });
    lab.remote.credentials = with("hunter3");
    let error = lab.git.heads(&lab.remote).await.unwrap_err();
    assert_eq!(error.reason(), "AuthenticationFailed");
    lab.remote.credentials = with("hunter2");
    let head = lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    for (code, reason) in [
        (401, "AuthenticationFailed"),
        (403, "AuthenticationFailed"),
        (404, "RepositoryNotFound"),
        (429, "Unreachable"),
        (503, "Unreachable"),
    ] {
        lab.server.fail(Fault::Status(code));
        let error = lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap_err();
        assert_eq!(error.reason(), reason);
        assert!(!format!("{error} {error:?} {:?}", lab.remote).contains("hunter"), "{error:?}");
        assert!(lab.git.has(&lab.remote, &head).await, "what is here stays");
    }
    lab.server.heal();
    assert!(lab.git.heads(&lab.remote).await.is_ok());
}

#[tokio::test]
async fn an_owner_never_reads_another_owners_mirror() {
    let lab = lab().await;
    let head = id(&lab.repository.commit("main", &[("a", "1")]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let other = Remote { owner: "beta".into(), ..lab.remote.clone() };
    assert!(!lab.git.has(&other, &head).await);
    assert_eq!(lab.git.file(&other, &head, "a", 9).await.unwrap_err().reason(), "CommitMissing");
    lab.git.retain(&[other]).await.unwrap();
    assert!(!lab.git.has(&lab.remote, &head).await, "a mirror that nobody needs is removed");
}

#[tokio::test]
async fn g04_a_name_that_leads_inside_is_refused_when_connecting() {
    let lab = lab().await;
    lab.repository.commit("main", &[("a", "1")]);
    // The address is not on the list; the name passes only because of a policy that the resolver does not share.
    let lenient = UrlPolicy { development: true, allowed_hosts: vec!["localhost".into()] };
    let url = GitUrl::parse(&lab.server.url_at("localhost", "orders"), &lenient).unwrap();
    let inside = Remote { url, ..lab.remote.clone() };
    let error = lab.git.heads(&inside).await.unwrap_err();
    assert!(matches!(error, GitError::Invalid(UrlError::HostRefused(_))), "{error:?}");
    let git = Git::new(lab.data.path().join("b"), lenient, Limits::default()).unwrap();
    assert!(git.heads(&inside).await.is_ok(), "the platform named the host");
    assert!(git.heads(&lab.remote).await.is_err(), "and only that one");
}

#[tokio::test]
async fn g05_redirects_are_not_followed() {
    let lab = lab().await;
    let other = Server::start().await;
    other.repository("orders").commit("main", &[("a", "1")]);
    let credentials = Some(Credentials { username: "ci".into(), password: "hunter2".into() });
    let with = Remote { credentials, ..lab.remote.clone() };
    for code in [301, 302, 303, 307, 308] {
        for to in [format!("{}/info/refs?service=git-upload-pack", other.url("orders")), "file:///etc/passwd".into()] {
            lab.server.fail(Fault::Redirect(code, to));
            let error = lab.git.heads(&with).await.unwrap_err();
            assert_eq!((error.reason(), error.is_permanent()), ("Redirected", true));
        }
    }
    assert!(other.seen().is_empty(), "nothing was sent to the second host");
    let sent = lab.server.seen();
    assert!(sent.iter().all(|seen| seen.authorization.as_deref() == Some(&basic("ci", "hunter2"))));
    assert!(sent.iter().all(|seen| seen.method == "GET" && seen.target.starts_with("/orders.git/info/refs?")));
}

#[tokio::test]
async fn g08_endless_slow_and_silent_servers_are_left() {
    let limits = Limits { deadline: Duration::from_millis(700), heads_bytes: 1 << 20, operations: 1, ..Limits::default() };
    let lab = lab_with(Server::start().await, limits);
    lab.repository.commit("main", &[("a", "1")]);
    for (fault, reason) in [
        (Fault::EndlessPackets, "RepositoryTooLarge"),
        (Fault::SlowBytes, "TimedOut"),
        (Fault::Hang, "TimedOut"),
    ] {
        lab.server.fail(fault);
        let started = Instant::now();
        assert_eq!(lab.git.heads(&lab.remote).await.unwrap_err().reason(), reason);
        assert_eq!(lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap_err().reason(), reason);
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
    lab.server.heal();
    assert!(lab.git.fetch(&lab.remote, "main", Depth::One).await.is_ok(), "the only slot is free again");
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let lab = lab().await;
    let error = lab.git.heads(&remote(&format!("http://{closed}/a.git"))).await.unwrap_err();
    assert_eq!((error.reason(), error.is_permanent()), ("Unreachable", false));
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn the_byte_cap_holds_for_packs() {
    let limits = Limits { fetch_bytes: 100_000, ..Limits::default() };
    let lab = lab_with(Server::start().await, limits);
    let small = id(&lab.repository.commit("small", &[("a", &noise(1, 50_000))]));
    lab.repository.commit("main", &[("a", &noise(1, 90_000)), ("b", &noise(2, 90_000))]);
    let error = lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap_err();
    assert_eq!((error.reason(), error.is_permanent()), ("RepositoryTooLarge", true));
    assert_eq!(lab.git.fetch(&lab.remote, "small", Depth::One).await.unwrap(), small);
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
    assert_eq!(error.reason(), "TooLarge");
    assert!(lab.git.tree_digest(&lab.remote, &head, "", |_| false).await.is_ok(), "a digest needs no content");
    assert!(lab.git.has(&lab.remote, &head).await, "and the mirror is not taken for broken");
}

#[tokio::test]
async fn g11_tags_and_pull_requests_are_not_listed() {
    let lab = lab().await;
    let head = lab.repository.commit("main", &[("a", "1")]);
    let refs: String = (0..5000).map(|at| format!("create refs/pull/{at}/head {head}\n")).collect();
    lab.repository.git_in(&["update-ref", "--stdin"], refs.as_bytes());
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let received: usize = lab.server.seen().iter().map(|seen| seen.answered).sum();
    assert!(received < 5_000, "{received}");
}

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
    for path in ["link", "module", "sub", "link/x", "module/x", "", ".", "../x", "/etc/passwd", "sub//f", "sub/../text"] {
        let error = lab.git.file(&lab.remote, &head, path, 100).await.unwrap_err();
        assert_eq!(error.reason(), "UnsafeEntry", "{path}");
    }
    assert_eq!(lab.git.file(&lab.remote, &head, "sub/f", 100).await.unwrap().unwrap(), b"text");
    assert_eq!(lab.git.file(&lab.remote, &head, "text/f", 100).await.unwrap(), None);
    assert_eq!(lab.git.file(&lab.remote, &head, "none", 100).await.unwrap(), None);
    let error = lab.git.file(&lab.remote, &head, "text", 3).await.unwrap_err();
    assert!(matches!(error, GitError::TooLarge { size: 4, cap: 3, .. }), "{error:?}");
    assert_eq!(lab.git.directory(&lab.remote, &head, "link", LIMITS).await.unwrap_err().reason(), "UnsafeEntry");
    let found = lab.git.directory(&lab.remote, &head, "", LIMITS).await.unwrap();
    assert_eq!(found.files.keys().collect::<Vec<_>>(), ["text"]);
    assert_eq!(found.ignored, [("link".into(), "is a symbolic link"), ("module".into(), "is a submodule")]);
}

#[tokio::test]
async fn g13_evil_names_are_ignored_and_told() {
    let lab = lab().await;
    let repository = &lab.repository;
    let blob = repository.blob(b"text");
    let evil: [&[u8]; 9] =
        [b"..", b".GIT", b".git", b"..\\x", b"a\nb", b"\xff", b"/etc/passwd", ".g\u{200c}it".as_bytes(), b"git~1"];
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
    assert_eq!(error.reason(), "PathMissing", "missing is not empty");
    for limits in [
        DirectoryLimits { files: 1, ..LIMITS },
        DirectoryLimits { file_bytes: 3, ..LIMITS },
        DirectoryLimits { total_bytes: 7, ..LIMITS },
    ] {
        let error = lab.git.directory(&lab.remote, &head, "tenants", limits).await.unwrap_err();
        assert_eq!(error.reason(), "TooLarge", "{limits:?}");
    }
}

#[tokio::test]
async fn g16_broken_packs_are_told_and_leave_nothing() {
    let lab = lab().await;
    let head = id(&lab.repository.commit("main", &[("a", &noise(1, 5_000))]));
    for fault in [
        Fault::CorruptPack(10),
        Fault::CorruptPack(20),
        Fault::CorruptPack(2_000),
        Fault::Truncate(3_000),
        Fault::Pack(b"000dpackfile\n0011\x01PACKgarbage0000".to_vec()),
        Fault::Pack(b"000dpackfile\n0000".to_vec()),
        Fault::Pack(b"000dpackfile\n0025\x01PACK\0\0\0\x02\0\0\0\0\x02\x9d\x08\x82\x3b\xd8\xa8\xea\xb5\x10\xad\x6a\xc7\x5c\x82\x3c\xfd\x3e\xd3\x1e0000".to_vec()),
        Fault::Body(b"003dERR hunter2 is the password that you sent, said the server\n".to_vec()),
        Fault::Body(b"<html>hunter2</html>".to_vec()),
    ] {
        lab.server.fail(fault.clone());
        let error = lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap_err();
        assert!(matches!(error.reason(), "Corrupt" | "Unreachable" | "NotGit"), "{fault:?}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
        assert!(!lab.git.has(&lab.remote, &head).await, "{fault:?}");
    }
    lab.server.heal();
    assert_eq!(lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap(), head);
}

#[tokio::test]
async fn g16_a_pack_that_claims_much_is_refused_before_it_is_unpacked() {
    let limits = Limits { object_bytes: 100_000, objects: 50, unpacked_bytes: 300_000, ..Limits::default() };
    let lab = lab_with(Server::start().await, limits);
    let zeros = "0".repeat(200_000);
    lab.repository.commit("bomb", &[("a", &zeros)]);
    let many: Vec<(String, String)> = (0..60).map(|at| (format!("f{at}"), format!("{at}"))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    lab.repository.commit("many", &many);
    let large: Vec<String> = (1..=4).map(|seed| format!("{}{seed}", "1".repeat(80_000 + seed))).collect();
    lab.repository.commit("total", &[("a", &large[0]), ("b", &noise(3, 90_000)), ("c", &noise(4, 90_000)), ("d", &noise(5, 90_000))]);
    for branch in ["bomb", "many", "total"] {
        let error = lab.git.fetch(&lab.remote, branch, Depth::One).await.unwrap_err();
        assert_eq!(error.reason(), "RepositoryTooLarge", "{branch}: {error}");
    }
}

#[tokio::test]
async fn a_broken_mirror_is_removed_and_fetched_again() {
    let lab = lab().await;
    let head = id(&lab.repository.commit("main", &[("a", "1")]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let mirror = std::fs::read_dir(lab.data.path().join("mirrors")).unwrap().next().unwrap().unwrap().path();
    let pack = |extension: &str| {
        let packs = std::fs::read_dir(mirror.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
        packs.into_iter().find(|path| path.extension().is_some_and(|e| e == extension)).unwrap()
    };
    for (file, content) in [(pack("pack"), &b"junk"[..]), (mirror.join("HEAD"), b"\0"), (mirror.join("config"), b"[core")] {
        let _ = std::fs::remove_file(&file);
        std::fs::write(&file, content).unwrap();
        assert_eq!(lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap(), head, "{}", file.display());
        assert_eq!(lab.git.file(&lab.remote, &head, "a", 9).await.unwrap().unwrap(), b"1");
    }
    std::fs::write(mirror.join("objects/pack/pack_git2_left"), "half").unwrap();
    let blob = pack("pack");
    let mut bytes = std::fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0);
    std::fs::remove_file(&blob).unwrap();
    std::fs::write(&blob, bytes).unwrap();
    let broken = lab.git.file(&lab.remote, &head, "a", 9).await;
    if broken.is_err() {
        assert_eq!(lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap(), head);
    }
    assert_eq!(lab.git.file(&lab.remote, &head, "a", 9).await.unwrap().unwrap(), b"1");
}

#[tokio::test]
async fn many_packs_are_folded_and_other_branches_stay() {
    let lab = lab_with(Server::start().await, Limits { packs: 3, ..Limits::default() });
    let prod = id(&lab.repository.commit("prod", &[("a", "prod")]));
    lab.git.fetch(&lab.remote, "prod", Depth::One).await.unwrap();
    for text in ["1", "2", "3", "4", "5"] {
        let head = id(&lab.repository.commit("main", &[("a", text)]));
        assert_eq!(lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap(), head);
        assert!(lab.git.has(&lab.remote, &prod).await);
    }
    let mirror = std::fs::read_dir(lab.data.path().join("mirrors")).unwrap().next().unwrap().unwrap().path();
    let files = std::fs::read_dir(mirror.join("objects/pack")).unwrap().count();
    assert!(files <= 8, "{files}");
}

#[tokio::test]
async fn g18_evil_branch_names_are_neither_listed_nor_asked_for() {
    let lab = lab().await;
    let head = lab.repository.commit("main", &[("a", "1")]);
    std::fs::write(lab.repository.path.join("refs/heads/-b"), format!("{head}\n")).unwrap();
    assert_eq!(lab.git.heads(&lab.remote).await.unwrap().into_keys().collect::<Vec<_>>(), ["main"]);
    lab.server.seen();
    for branch in ["-b", "HEAD", "../../x", "a b", "x\u{202e}y", &"x".repeat(4096)] {
        let error = lab.git.fetch(&lab.remote, branch, Depth::One).await.unwrap_err();
        assert_eq!(error.reason(), "BranchInvalid");
        assert!(error.to_string().len() < 400);
    }
    assert!(lab.server.seen().is_empty());
}

#[tokio::test]
async fn g20_a_branch_that_is_a_tag_or_a_tree_is_refused() {
    let lab = lab().await;
    let head = lab.repository.commit("main", &[("a", "1")]);
    lab.repository.git(&["tag", "-a", "v1", "-m", "x", &head]);
    let tag = lab.repository.git(&["rev-parse", "refs/tags/v1"]);
    let tree = lab.repository.git(&["rev-parse", "main^{tree}"]);
    let blob = lab.repository.git(&["rev-parse", "main:a"]);
    for (branch, target) in [("tag", tag), ("tree", tree), ("blob", blob)] {
        lab.repository.point_unchecked(branch, &target);
        let error = lab.git.fetch(&lab.remote, branch, Depth::One).await.unwrap_err();
        assert_eq!(error.reason(), "NotACommit", "{branch}: {error:?}");
    }
    assert_eq!(lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap(), id(&head));
}

#[tokio::test]
async fn the_build_id_changes_only_with_what_is_built() {
    let lab = lab().await;
    let repository = &lab.repository;
    let base = [("svc/src/a", "1"), ("svc/docs/x", "1"), ("svc/README.md", "1"), ("svc/imaas.yaml", "1"), ("other", "1")];
    let digest = async |files: &[(&str, &str)]| {
        let head = id(&repository.commit("main", files));
        lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
        let exclude = |path: &str| path == "docs" || path == "imaas.yaml" || path.ends_with(".md");
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
    assert_ne!(lab.git.tree_digest(&lab.remote, &head, "svc", |_| false).await.unwrap(), first, "the mode counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_fetches_at_once_all_succeed() {
    let lab = Arc::new(lab().await);
    let mut heads = vec![];
    for branch in ["one", "two", "three"] {
        heads.push((branch, id(&lab.repository.commit(branch, &[("a", branch)]))));
    }
    let tasks: Vec<_> = heads
        .iter()
        .cycle()
        .take(12)
        .cloned()
        .enumerate()
        .map(|(at, (branch, head))| {
            let lab = Arc::clone(&lab);
            tokio::spawn(async move {
                let remote = Remote { owner: format!("tenant{}", at % 2), ..lab.remote.clone() };
                assert_eq!(lab.git.fetch(&remote, branch, Depth::One).await.unwrap(), head);
                assert_eq!(lab.git.file(&remote, &head, "a", 9).await.unwrap().unwrap(), branch.as_bytes());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

mod tls {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;

    /// An authority, and a server's certificate from it. `days`: how the validity lies around now.
    fn authority(name: &str, expired: bool) -> (Vec<u8>, TlsAcceptor) {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if expired {
            params.not_after = rcgen::date_time_ymd(2001, 1, 1);
        }
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        (issuer.pem().into_bytes(), TlsAcceptor::from(Arc::new(config)))
    }

    async fn outcome(name: &str, expired: bool, trust: bool) -> Result<usize, &'static str> {
        let (ca, acceptor) = authority(name, expired);
        let lab = lab_with(Server::tls(acceptor).await, Limits::default());
        lab.repository.commit("main", &[("a", "1")]);
        let remote = Remote { ca: trust.then_some(ca), ..lab.remote.clone() };
        let credentials = Some(Credentials { username: "ci".into(), password: "hunter2".into() });
        let heads = lab.git.heads(&Remote { credentials, ..remote }).await;
        if heads.is_err() {
            assert!(lab.server.seen().is_empty(), "nothing was sent before the server was known");
        }
        heads.map(|heads| heads.len()).map_err(|error| error.reason())
    }

    #[tokio::test]
    async fn g07_only_a_certificate_that_is_trusted_valid_and_for_this_host_will_do() {
        assert_eq!(outcome("127.0.0.1", false, true).await, Ok(1));
        assert_eq!(outcome("127.0.0.1", false, false).await, Err("HostVerificationFailed"));
        assert_eq!(outcome("127.0.0.2", false, true).await, Err("HostVerificationFailed"));
        assert_eq!(outcome("127.0.0.1", true, true).await, Err("HostVerificationFailed"));
    }

    #[tokio::test]
    async fn an_authority_that_is_no_certificate_is_told() {
        let lab = lab().await;
        for pem in [&b"junk"[..], b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            let remote = Remote { ca: Some(pem.to_vec()), ..lab.remote.clone() };
            assert_eq!(lab.git.heads(&remote).await.unwrap_err().reason(), "CaInvalid");
        }
    }
}
