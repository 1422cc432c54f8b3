//! What comes over the wire and stays on disk, also when it is broken.

use super::*;

#[tokio::test]
async fn the_byte_cap_holds_for_packs() {
    let limits = Limits { fetch_bytes: 100_000, ..Limits::default() };
    let lab = lab_with(Server::start().await, limits);
    let small = id(&lab.repository.commit("small", &[("a", &noise(1, 50_000))]));
    lab.repository.commit("main", &[("a", &noise(1, 90_000)), ("b", &noise(2, 90_000))]);
    let error = lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap_err();
    assert_eq!((error.reason(), error.is_permanent()), (Reason::RepositoryTooLarge, true));
    assert_eq!(lab.git.fetch(&lab.remote, "small", Depth::One).await.unwrap(), small);
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
        Fault::Body(b"0000".to_vec()),
    ] {
        lab.server.fail(fault.clone());
        let error = lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap_err();
        let told = matches!(error, GitError::Corrupt(..) | GitError::Unreachable(..) | GitError::NotGit(..));
        assert!(told, "{fault:?}: {error:?}");
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
    lab.repository.commit(
        "total",
        &[("a", &large[0]), ("b", &noise(3, 90_000)), ("c", &noise(4, 90_000)), ("d", &noise(5, 90_000))],
    );
    for branch in ["bomb", "many", "total"] {
        let error = lab.git.fetch(&lab.remote, branch, Depth::One).await.unwrap_err();
        assert_eq!(error.reason(), Reason::RepositoryTooLarge, "{branch}: {error}");
    }
}

#[tokio::test]
async fn a_broken_mirror_is_removed_and_fetched_again() {
    let lab = lab().await;
    let head = id(&lab.repository.commit("main", &[("a", "1")]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let mirror = std::fs::read_dir(lab.data.path().join("mirrors")).unwrap().next().unwrap().unwrap().path();
    let pack = |extension: &str| {
        let packs =
            std::fs::read_dir(mirror.join("objects/pack")).unwrap().map(|entry| entry.unwrap().path());
        packs.into_iter().find(|path| path.extension().is_some_and(|e| e == extension)).unwrap()
    };
    for (file, content) in
        [(pack("pack"), &b"junk"[..]), (mirror.join("HEAD"), b"\0"), (mirror.join("config"), b"[core")]
    {
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
async fn an_owner_never_reads_another_owners_mirror() {
    let lab = lab().await;
    let head = id(&lab.repository.commit("main", &[("a", "1")]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let other = Remote { owner: "beta".into(), ..lab.remote.clone() };
    assert!(!lab.git.has(&other, &head).await);
    let error = lab.git.file(&other, &head, "a", 9).await.unwrap_err();
    assert!(matches!(error, GitError::CommitMissing { .. }), "{error:?}");
}

#[tokio::test]
async fn a_mirror_that_is_made_anew_stays_readable_until_then() {
    let lab = lab().await;
    let one = id(&lab.repository.commit("main", &[("a", "1")]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    lab.repository.commit("main", &[("a", "2")]);
    lab.server.fail(Fault::Truncate(100));
    let error = lab.git.fetch(&lab.remote, "main", Depth::Full).await.unwrap_err();
    assert_eq!(error.reason(), Reason::Unreachable);
    assert_eq!(lab.git.file(&lab.remote, &one, "a", 9).await.unwrap().unwrap(), b"1");
    lab.server.heal();
    lab.git.fetch(&lab.remote, "main", Depth::Full).await.unwrap();
    let left: Vec<_> = std::fs::read_dir(lab.data.path().join("mirrors")).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[tokio::test]
async fn a_pack_that_rests_on_something_broken_here_is_fetched_whole() {
    let lab = lab().await;
    lab.repository.commit("main", &[("a", &noise(1, 30_000))]);
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let mirror = std::fs::read_dir(lab.data.path().join("mirrors")).unwrap().next().unwrap().unwrap().path();
    for entry in std::fs::read_dir(mirror.join("objects/pack")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pack") {
            // The commit comes first in a pack and stays whole; what follows is lost.
            let mut bytes = std::fs::read(&path).unwrap();
            let end = bytes.len() - 20;
            bytes[1_000..end].fill(0);
            std::fs::remove_file(&path).unwrap();
            std::fs::write(&path, bytes).unwrap();
        }
    }
    let changed = noise(1, 30_000) + "more";
    let head = id(&lab.repository.commit("main", &[("a", &changed)]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let read = lab.git.file(&lab.remote, &head, "a", 1 << 20).await;
    assert_eq!(read.unwrap().unwrap(), changed.as_bytes());
}

#[tokio::test]
async fn a_mirror_that_nobody_asked_for_is_removed_also_after_a_restart() {
    let lab = lab().await;
    let head = id(&lab.repository.commit("main", &[("a", "1")]));
    let renewed = credentials("renewed");
    let before = Remote { credentials: Some(credentials("old")), ..lab.remote.clone() };
    let now = Remote { credentials: Some(renewed), ..lab.remote.clone() };
    for remote in [&before, &now] {
        lab.git.fetch(remote, "main", Depth::One).await.unwrap();
    }
    let since = tokio::time::Instant::now();
    lab.git.heads(&now).await.unwrap();
    lab.git.remove_unused(since).await.unwrap();
    assert_eq!(mirrors(&lab), 1, "that of the old password is gone");
    assert!(lab.git.has(&now, &head).await);

    let git = Git::new(lab.data.path(), policy(), Limits::default(), Mandate::unlimited()).unwrap();
    git.remove_unused(since).await.unwrap();
    assert_eq!(mirrors(&lab), 1, "it may still be asked for");
    git.remove_unused(tokio::time::Instant::now()).await.unwrap();
    assert_eq!(mirrors(&lab), 0);
}

#[tokio::test]
async fn a_mirror_that_is_worked_on_is_not_removed() {
    let lab = Arc::new(lab().await);
    let head = id(&lab.repository.commit("main", &[("a", "1")]));
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    lab.server.seen();
    lab.server.fail(Fault::Hang);
    let fetching = lab.clone();
    let fetch = tokio::spawn(async move { fetching.git.fetch(&fetching.remote, "main", Depth::One).await });
    while lab.server.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    lab.git.remove_unused(tokio::time::Instant::now()).await.unwrap();
    fetch.abort();
    assert!(lab.git.has(&lab.remote, &head).await);
}

fn credentials(password: &str) -> Credentials {
    Credentials { username: "ci".into(), password: password.into() }
}

fn mirrors(lab: &Lab) -> usize {
    std::fs::read_dir(lab.data.path().join("mirrors")).unwrap().count()
}
