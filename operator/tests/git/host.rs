//! The host: where it may be, what it may do, what it gets to see.

use super::*;

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
    let git = Git::new(&lab.data.path().join("b"), lenient, Limits::default(), Mandate::unlimited()).unwrap();
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
        for to in [
            format!("{}/info/refs?service=git-upload-pack", other.url("orders")),
            "file:///etc/passwd".into(),
        ] {
            lab.server.fail(Fault::Redirect(code, to));
            let error = lab.git.heads(&with).await.unwrap_err();
            assert!(error.is_permanent() && matches!(error, GitError::Redirected(_)), "{error:?}");
        }
    }
    assert!(other.seen().is_empty(), "nothing was sent to the second host");
    let sent = lab.server.seen();
    assert!(sent.iter().all(|seen| seen.authorization.as_deref() == Some(&basic("ci", "hunter2"))));
    assert!(
        sent.iter().all(|seen| seen.method == "GET" && seen.target.starts_with("/orders.git/info/refs?"))
    );
}

#[tokio::test]
async fn g08_endless_slow_and_silent_servers_are_left() {
    let limits = Limits {
        deadline: Duration::from_millis(700),
        heads_bytes: 1 << 20,
        operations: 1,
        ..Limits::default()
    };
    let lab = lab_with(Server::start().await, limits);
    lab.repository.commit("main", &[("a", "1")]);
    for (fault, reason) in [
        (Fault::EndlessPackets, Reason::RepositoryTooLarge),
        (Fault::SlowBytes, Reason::TimedOut),
        (Fault::Hang, Reason::TimedOut),
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
async fn g21_credentials_are_needed_sent_and_never_shown() {
    let mut lab = lab().await;
    lab.repository.commit("main", &[("a", "1")]);
    lab.server.protect("ci", "hunter2");
    assert_eq!(lab.git.heads(&lab.remote).await.unwrap_err().reason(), Reason::AuthenticationFailed);
    let with = |password: &str| Some(Credentials { username: "ci".into(), password: password.into() });
    lab.remote.credentials = with("hunter3");
    let error = lab.git.heads(&lab.remote).await.unwrap_err();
    assert_eq!(error.reason(), Reason::AuthenticationFailed);
    lab.remote.credentials = with("hunter2");
    let head = lab.git.fetch(&lab.remote, "main", Depth::One).await.unwrap();
    for (code, reason) in [
        (401, Reason::AuthenticationFailed),
        (403, Reason::AuthenticationFailed),
        (404, Reason::RepositoryNotFound),
        (429, Reason::Unreachable),
        (503, Reason::Unreachable),
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
async fn a_server_that_is_down_is_unreachable() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let lab = lab().await;
    let error = lab.git.heads(&remote(&format!("http://{closed}/a.git"))).await.unwrap_err();
    assert_eq!((error.reason(), error.is_permanent()), (Reason::Unreachable, false));
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_host_that_hangs_holds_up_only_its_own() {
    let lab = lab().await;
    let head = id(&lab.repository.commit("main", &[("a", "1")]));
    let policy = UrlPolicy { development: true, allowed_hosts: vec!["localhost".into(), "127.0.0.1".into()] };
    let limits = Limits {
        deadline: Duration::from_millis(1500),
        operations: 2,
        operations_per_host: 1,
        ..Limits::default()
    };
    let git = Git::new(lab.data.path(), policy.clone(), limits, Mandate::unlimited()).unwrap();
    let hanging = Server::start().await;
    hanging.fail(Fault::Hang);
    let url = GitUrl::parse(&hanging.url_at("localhost", "orders"), &policy).unwrap();
    let stuck = Remote { url, ..lab.remote.clone() };
    let started = Instant::now();
    let fine = async {
        let head = git.fetch(&lab.remote, "main", Depth::One).await;
        (head, started.elapsed())
    };
    let (one, two, (fine, took)) = tokio::join!(git.heads(&stuck), git.heads(&stuck), fine);
    assert_eq!((one.unwrap_err().reason(), two.unwrap_err().reason()), (Reason::TimedOut, Reason::TimedOut));
    assert_eq!(fine.unwrap(), head);
    assert!(took < Duration::from_millis(1400), "{took:?}");
}
