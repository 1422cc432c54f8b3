//! What one tenant may take of what all share: places on a host, and room on disk.

use super::*;

fn owned(lab: &Lab, owner: &str) -> Remote {
    Remote { owner: owner.into(), ..lab.remote.clone() }
}

fn disk(lab: &Lab) -> u64 {
    fn size(path: &std::path::Path) -> u64 {
        if path.is_file() {
            return path.metadata().unwrap().len();
        }
        std::fs::read_dir(path).unwrap().map(|entry| size(&entry.unwrap().path())).sum()
    }
    size(&lab.data.path().join("mirrors"))
}

#[tokio::test]
async fn a_tenant_whose_fetches_hang_holds_up_nobody_on_the_same_host() {
    let lab = Arc::new(lab().await);
    let head = id(&lab.repository.commit("main", &[("a", "1")]));
    lab.server.fail(Fault::Hang);
    let stuck: Vec<_> = (0..20)
        .map(|at| {
            let url = GitUrl::parse(&lab.server.url(&format!("large-{at}")), &policy()).unwrap();
            let (lab, remote) = (lab.clone(), Remote { owner: "beta".into(), url, ..lab.remote.clone() });
            tokio::spawn(async move { lab.git.fetch(&remote, "main", Depth::One).await })
        })
        .collect();
    let mut asked = 0;
    while asked < Limits::default().fetches_per_owner {
        asked += lab.server.seen().len();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    lab.server.heal();
    assert!(lab.git.heads(&lab.remote).await.is_ok());
    assert_eq!(lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap(), head);
    assert!(stuck.iter().all(|task| !task.is_finished()), "two hang, and the others wait for them");
    stuck.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_head_that_was_too_large_is_not_fetched_again_at_once() {
    let lab = lab_with(Server::start().await, Limits { fetch_bytes: 100_000, ..Limits::default() });
    lab.repository.commit("main", &[("a", &noise(1, 200_000))]);
    let small = id(&lab.repository.commit("small", &[("a", "1")]));
    let first = lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap_err();
    lab.server.seen();
    let again = lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap_err();
    assert_eq!(again.to_string(), first.to_string());
    assert_eq!(lab.server.seen().len(), 1, "only the list of branches");
    assert_eq!(lab.git.fetch(&lab.remote, "small", Depth::One).await.unwrap(), small);
}

#[tokio::test]
async fn a_tenant_that_needs_more_than_its_share_loses_its_own_oldest_mirror() {
    let lab = lab_with(Server::start().await, Limits { mirrors_bytes: 2 << 20, ..Limits::default() });
    let head = id(&lab.repository.commit("main", &[("a", &noise(1, 330_000))]));
    let other = lab.server.repository("other");
    let others = id(&other.commit("main", &[("a", &noise(2, 330_000))]));
    let large = lab.server.repository("large");
    large.commit("main", &[("a", &noise(3, 900_000))]);
    let of = |repository: &str| {
        let url = GitUrl::parse(&lab.server.url(repository), &policy()).unwrap();
        Remote { url, ..lab.remote.clone() }
    };
    let beta = owned(&lab, "beta");
    lab.git.fetch(&beta, "main", Depth::One).await.unwrap();
    lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    lab.git.fetch(&of("other"), "main", Depth::One).await.unwrap();
    assert!(!lab.git.has(&lab.remote, &head).await, "the older of the two went");
    assert!(lab.git.has(&of("other"), &others).await && lab.git.has(&beta, &head).await);
    let error = lab.git.fetch(&of("large"), "main", Depth::One).await.unwrap_err();
    assert_eq!((error.reason(), error.is_permanent()), (Reason::RepositoryTooLarge, true));
    assert!(error.to_string().contains("of this tenant may take 524288 bytes"), "{error}");
    assert!(error.to_string().contains("operator.mirrors.sizeLimit"), "{error}");
    assert!(lab.git.has(&beta, &head).await, "nobody else loses anything");
}

#[tokio::test]
async fn all_mirrors_together_stay_below_their_bound_also_after_a_restart() {
    let limits = Limits { mirrors_bytes: 2 << 20, ..Limits::default() };
    let mut lab = lab_with(Server::start().await, limits.clone());
    let head = id(&lab.repository.commit("main", &[("a", &noise(1, 200_000))]));
    for at in 0..20 {
        let remote = owned(&lab, &format!("tenant{at}"));
        assert_eq!(lab.git.fetch(&remote, "main", Depth::One).await.unwrap(), head);
        assert!(lab.git.has(&remote, &head).await && disk(&lab) <= 2 << 20, "{at}: {}", disk(&lab));
        if at == 12 {
            lab.git = Git::new(lab.data.path(), policy(), limits.clone(), Mandate::unlimited()).unwrap();
        }
    }
    assert!(!lab.git.has(&owned(&lab, "tenant0"), &head).await, "the oldest went");
    assert!(disk(&lab) > 1 << 20, "and no more than must");
}
