//! Branches and commits: what is listed, what is fetched, how much of it.

use super::*;

#[tokio::test]
async fn heads_of_all_branches_come_in_one_request() {
    let lab = lab().await;
    let main = lab.repository.commit("main", &[("a", "1")]);
    let prod = lab.repository.commit("prod", &[("a", "2")]);
    lab.repository.git(&["tag", "v1", &main]);
    let first = lab.git.heads(&lab.remote).await.unwrap();
    assert_eq!(
        first.into_iter().collect::<Vec<_>>(),
        [("main".into(), id(&main)), ("prod".into(), id(&prod))]
    );
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
    assert_eq!(
        lab.git.file(&lab.remote, &one, "a", 9).await.unwrap().unwrap(),
        b"1",
        "the old one stays readable"
    );
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
    assert!(
        !lab.git
            .is_ancestor(&lab.remote, &id(&lab.repository.git(&["rev-parse", "main~1"])), &head)
            .await
            .unwrap()
    );
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
async fn g11_tags_and_pull_requests_are_not_listed() {
    let lab = lab().await;
    let head = lab.repository.commit("main", &[("a", "1")]);
    let refs: Vec<_> = (0..5000).map(|at| format!("create refs/pull/{at}/head {head}")).collect();
    lab.repository.git_in(&["update-ref", "--stdin"], (refs.join("\n") + "\n").as_bytes());
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    let received: usize = lab.server.seen().iter().map(|seen| seen.answered).sum();
    assert!(received < 5_000, "{received}");
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
        assert!(matches!(error, GitError::BranchInvalid(_)), "{error:?}");
        assert!(error.to_string().len() < 400);
    }
    assert!(lab.server.seen().is_empty());
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
        let orphan =
            lab.repository.git(&["commit-tree", &lab.repository.tree(&[("b", "x")]), "-m", "unrelated"]);
        lab.repository.point("main", &orphan);
        assert_eq!(lab.git.fetch(&lab.remote, "main", depth).await.unwrap(), id(&orphan));
        assert!(!lab.git.is_ancestor(&lab.remote, &id(&two), &id(&orphan)).await.unwrap());
    }
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
        assert!(matches!(error, GitError::NotACommit { .. }), "{branch}: {error:?}");
    }
    assert_eq!(lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap(), id(&head));
}

#[tokio::test]
async fn a_missing_branch_or_repository_is_named() {
    let lab = lab().await;
    assert!(lab.git.heads(&lab.remote).await.unwrap().is_empty(), "an empty repository has no branches");
    lab.repository.commit("main", &[("a", "1")]);
    let error = lab.git.fetch(&lab.remote, "prod", Depth::One).await.unwrap_err();
    assert_eq!((error.reason(), error.is_permanent()), (Reason::BranchMissing, true));
    assert!(error.to_string().contains("\"prod\""), "{error}");
    let error = lab.git.heads(&remote(&lab.server.url("nothing"))).await.unwrap_err();
    assert_eq!(error.reason(), Reason::RepositoryNotFound);
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

#[tokio::test]
async fn histories_are_related_by_any_commit_that_they_share() {
    let lab = lab().await;
    let first = id(&lab.repository.commit("main", &[("a", "1")]));
    let left = id(&lab.repository.commit("main", &[("a", "2")]));
    lab.repository.point("main", first.as_str());
    let right = id(&lab.repository.commit("main", &[("a", "3")]));
    let is =
        async |one: &CommitId, other: &CommitId| lab.git.are_related(&lab.remote, one, other).await.unwrap();
    lab.git.fetch(&lab.remote, "main", Depth::Full).await.unwrap();
    assert!(is(&first, &right).await && is(&right, &right).await);
    assert!(!is(&left, &right).await, "it was never seen here");
    lab.repository.point("main", left.as_str());
    lab.git.fetch(&lab.remote, "main", Depth::Full).await.unwrap();
    assert!(is(&right, &left).await, "a forced push keeps what both came from");
    lab.repository.git(&["update-ref", "-d", "refs/heads/main"]);
    let other = id(&lab.repository.commit("main", &[("b", "another history")]));
    lab.git.fetch(&lab.remote, "main", Depth::Full).await.unwrap();
    assert!(!is(&left, &other).await && !is(&first, &other).await);
}
