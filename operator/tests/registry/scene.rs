//! A real registry, its token service as it is configured at the moment, and `crane` with any login.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use imaas_operator::{
    lease::Mandate,
    registry::{
        accounts::{Account, AccountKey, docker_config_json},
        client::{RegistryClient, RegistryEndpoint},
        generations::{Accepted, Generations, Issued},
        over_quota::PushStops,
        service::{TokenMetrics, TokenService, router},
        token::{LIFETIME, TokenSettings, TokenSigner},
    },
};
use jiff::Timestamp;
use lab::{
    Progress, cache,
    process::{Process, free_port, http_status, wait_until},
};
use reqwest::{Method, StatusCode};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use url::Url;

pub const SERVICE: &str = "imaas-test-registry";
/// File of the token service in the lab's directory.
pub const OVER_QUOTA: &str = "over-quota.json";
pub const ISSUER: &str = "imaas-test-issuer";

#[expect(clippy::disallowed_methods, reason = "the registry compares with the real clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A registry, its token service and a `crane` for each login; all of it ends with the value.
pub struct Lab {
    pub dir: TempDir,
    crane: PathBuf,
    pub registry: SocketAddr,
    pub realm: Url,
    /// The realm's, kept from one token service to the next: nobody else gets the port between them.
    listener: std::net::TcpListener,
    /// As it is configured at the moment.
    pub service: Arc<TokenService>,
    serving: JoinHandle<()>,
    process: Option<Process>,
}

pub struct KeyPair {
    pub key: String,
    pub certificate: String,
}

pub fn key_pair(algorithm: &'static rcgen::SignatureAlgorithm) -> KeyPair {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    KeyPair { key: key.serialize_pem(), certificate: certificate.pem() }
}

pub fn signer(pair: &KeyPair, issuer: &str) -> TokenSigner {
    let settings =
        TokenSettings { issuer: issuer.to_owned(), service: SERVICE.to_owned(), lifetime: LIFETIME };
    TokenSigner::new(pair.key.as_bytes(), pair.certificate.as_bytes(), settings).unwrap()
}

pub fn account_key() -> AccountKey {
    AccountKey::new(*b"the account key of the tests, 32+").unwrap()
}

pub fn account(user: &str) -> Account {
    user.parse().unwrap()
}

pub fn secret(user: &str) -> String {
    issued(account_key()).password(&account(user))
}

/// The first generation.
pub fn issued(key: AccountKey) -> Issued {
    Issued { key, generations: Generations::default() }
}

/// The first generation, and so the second.
pub fn accepted() -> Accepted {
    Accepted { key: account_key(), overlap_key: None, lowest: Generations::default() }
}

fn serve(
    listener: &std::net::TcpListener,
    (accepted, stops): (Accepted, PushStops),
    pair: &KeyPair,
) -> (Arc<TokenService>, JoinHandle<()>) {
    let service = Arc::new(TokenService {
        accepted,
        stops,
        signer: signer(pair, ISSUER),
        now,
        metrics: TokenMetrics::new(&prometheus::Registry::new()).unwrap(),
    });
    let app = router(Arc::clone(&service));
    let listener = TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
    (service, tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }))
}

impl Lab {
    pub async fn start(pair: &KeyPair) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let realm: Url = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
        let stops = PushStops::new(Some(dir.path().join(OVER_QUOTA)));
        let (service, serving) = serve(&listener, (accepted(), stops), pair);
        let registry = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let settings = RegistrySettings {
            realm: &realm,
            token_certificate: &pair.certificate,
            environment: &[],
            tls: None,
        };
        let process = start_registry(dir.path(), registry, &settings).await;
        let crane = cache::binary_async("crane", &Progress::silent()).await.unwrap();
        Self { dir, crane, registry, realm, listener, service, serving, process: Some(process) }
    }

    /// The token service again, with other settings.
    pub async fn restart_service(&mut self, accepted: Accepted, pair: &KeyPair) {
        self.serving.abort();
        (&mut self.serving).await.unwrap_err();
        (self.service, self.serving) = serve(&self.listener, (accepted, PushStops::default()), pair);
    }

    /// The registry again, with these certificates as its `rootcertbundle`.
    pub async fn restart_registry(&mut self, bundle: &[&KeyPair]) {
        self.restart_registry_with(bundle, &[]).await;
    }

    /// The registry again, with `environment` over its configuration.
    pub async fn restart_registry_with(&mut self, bundle: &[&KeyPair], environment: &[(&str, &str)]) {
        self.stop_registry().await;
        let bundle: String = bundle.iter().map(|pair| pair.certificate.as_str()).collect();
        let settings =
            RegistrySettings { realm: &self.realm, token_certificate: &bundle, environment, tls: None };
        self.process = Some(start_registry(self.dir.path(), self.registry, &settings).await);
    }

    pub async fn stop_registry(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop(Duration::from_secs(2)).await;
        }
    }

    /// `crane` with the given login, or with none.
    pub async fn crane_as(&self, login: Option<(&str, &str)>, arguments: &[&str]) -> Output {
        let home = self.dir.path().join(format!("docker-{}", login.map_or("anonymous", |(user, _)| user)));
        fs::create_dir_all(&home).unwrap();
        let config = login.map_or_else(
            || "{}".to_owned(),
            |(user, password)| docker_config_json(&self.registry.to_string(), user, password),
        );
        fs::write(home.join("config.json"), config).unwrap();
        let mut command = tokio::process::Command::new(&self.crane);
        command.args(arguments).env("DOCKER_CONFIG", &home).kill_on_drop(true);
        command.output().await.unwrap()
    }

    pub async fn crane(&self, user: &str, arguments: &[&str]) -> Output {
        self.crane_as(Some((user, &secret(user))), arguments).await
    }

    /// Appends a layer to nothing, so that each image name has content of its own, and pushes it.
    pub async fn push(&self, user: &str, image: &str) -> Output {
        let layer = self.layer(image);
        self.crane(user, &["append", "--new_layer", layer.to_str().unwrap(), "--new_tag", &self.image(image)])
            .await
    }

    pub fn layer(&self, content: &str) -> PathBuf {
        let folder = self.dir.path().join(format!("layer-{}", content.replace(['/', ':'], "_")));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("content"), content).unwrap();
        let tar = folder.with_extension("tar");
        lab::process::run(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&folder).arg("content"))
            .unwrap();
        tar
    }

    /// Appends layers to nothing and pushes that: each of so many MiB that nothing packs, the same for the same letter.
    pub async fn push_layers(&self, user: &str, image: &str, layers: &[(char, usize)]) -> Output {
        let layers: Vec<_> = layers.iter().map(|(letter, size)| self.noise(*letter, *size)).collect();
        let (mut arguments, image) = (vec!["append", "--new_tag"], self.image(image));
        arguments.push(&image);
        for layer in &layers {
            arguments.extend(["--new_layer", layer.to_str().unwrap()]);
        }
        self.crane(user, &arguments).await
    }

    fn noise(&self, letter: char, mebibytes: usize) -> PathBuf {
        let tar = self.dir.path().join(format!("noise-{letter}-{mebibytes}.tar"));
        if tar.exists() {
            return tar;
        }
        let content = self.dir.path().join("noise");
        let mut state = u64::from(letter) * 2 + 1;
        let next = || {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        fs::write(&content, std::iter::repeat_with(next).take(mebibytes << 17).flatten().collect::<Vec<_>>())
            .unwrap();
        let mut command = Command::new("tar");
        command.arg("--mtime=@0").arg("-cf").arg(&tar).arg("-C").arg(self.dir.path()).arg("noise");
        lab::process::run(&mut command).unwrap();
        tar
    }

    /// Bytes of everything that the registry has on disk, shared or not.
    pub fn bytes_on_disk(&self) -> u64 {
        let mut open = vec![self.dir.path().join("images/docker/registry/v2/blobs")];
        let mut sum = 0;
        while let Some(path) = open.pop() {
            for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
                let kind = entry.metadata().unwrap();
                if kind.is_dir() { open.push(entry.path()) } else { sum += kind.len() }
            }
        }
        sum
    }

    pub fn image(&self, image: &str) -> String {
        format!("{}/{image}", self.registry)
    }

    pub fn client(&self) -> RegistryClient {
        self.client_with(account_key(), self.realm.clone())
    }

    pub fn client_with(&self, key: AccountKey, realm: Url) -> RegistryClient {
        let url = format!("http://{}", self.registry).parse().unwrap();
        let endpoint = RegistryEndpoint { url, realm, ca: None, development: true };
        RegistryClient::new(endpoint, issued(key), Mandate::unlimited()).unwrap()
    }

    /// What the registry answers to a bearer of `token`.
    pub async fn status(&self, token: &str, method: Method, path: &str) -> StatusCode {
        let request = reqwest::Client::new().request(method, format!("http://{}{path}", self.registry));
        request.bearer_auth(token).send().await.unwrap().status()
    }
}

pub struct RegistrySettings<'a> {
    pub realm: &'a Url,
    pub token_certificate: &'a str,
    /// What overrides its configuration.
    pub environment: &'a [(&'a str, &'a str)],
    pub tls: Option<&'a KeyPair>,
}

pub async fn start_registry(dir: &Path, address: SocketAddr, settings: &RegistrySettings<'_>) -> Process {
    let RegistrySettings { realm, token_certificate, environment, tls } = settings;
    let bundle = dir.join("token-ca.pem");
    fs::write(&bundle, token_certificate).unwrap();
    let mut config = serde_json::json!({
        "version": "0.1",
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": dir.join("images")}, "delete": {"enabled": true}},
        "http": {"addr": address.to_string(), "secret": "of the tests"},
        "auth": {"token": {"realm": realm.as_str(), "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}},
    });
    if let Some(pair) = tls {
        let (certificate, key) = (dir.join("tls.crt"), dir.join("tls.key"));
        fs::write(&certificate, &pair.certificate).unwrap();
        fs::write(&key, &pair.key).unwrap();
        config["http"]["tls"] = serde_json::json!({"certificate": certificate, "key": key});
    }
    let file = dir.join("registry.yaml");
    fs::write(&file, config.to_string()).unwrap();
    let program = cache::binary_async("registry", &Progress::silent()).await.unwrap();
    let mut command = Command::new(program);
    command.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
    command.envs(environment.iter().copied());
    let process = Process::spawn("registry", &command, &dir.join("registry.log")).unwrap();
    // A TLS listener answers a plain request with 400.
    let answer = if tls.is_some() { 400 } else { 401 };
    let ready = || async { http_status(address, "/v2/").await == Some(answer) };
    wait_until("registry", Duration::from_secs(20), &[&process], ready).await.unwrap();
    process
}

pub fn es256() -> KeyPair {
    key_pair(&rcgen::PKCS_ECDSA_P256_SHA256)
}

#[track_caller]
pub fn assert_done(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The registry or the token service said no; nothing else went wrong.
#[track_caller]
pub fn assert_refused(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "was allowed");
    assert!(text.contains("UNAUTHORIZED") || text.contains("401"), "{text}");
}

/// As it stands, without the tidying of paths that HTTP clients do.
pub async fn raw_status(lab: &Lab, token: &str, path: &str) -> u16 {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(lab.registry).await.unwrap();
    let accept =
        "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {}\r\nAccept: {accept}\r\nAuthorization: Bearer {token}\r\n\r\n",
        lab.registry
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub async fn token_for(lab: &Lab, user: &str, scopes: &[&str]) -> String {
    let mut url = lab.realm.clone();
    url.query_pairs_mut()
        .append_pair("service", SERVICE)
        .extend_pairs(scopes.iter().map(|scope| ("scope", scope)));
    let response = reqwest::Client::new().get(url).basic_auth(user, Some(secret(user))).send().await.unwrap();
    let body: serde_json::Value = response.json().await.unwrap();
    body["token"].as_str().unwrap().to_owned()
}

/// Pushes a manifest to `acme/orders`, also one that no client would.
pub async fn put(lab: &Lab, tag: &str, manifest: String) {
    let kind: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let token = token_for(lab, "acme.push", &["repository:acme/orders:pull,push"]).await;
    let url = format!("http://{}/v2/acme/orders/manifests/{tag}", lab.registry);
    let request = reqwest::Client::new().request(Method::PUT, url).bearer_auth(token);
    let request = request.header("content-type", kind["mediaType"].as_str().unwrap());
    let answer = request.body(manifest).send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, StatusCode::CREATED, "{text}");
}

/// A blob in `acme/orders` under a digest of any algorithm.
pub async fn upload(lab: &Lab, digest: &str, content: Vec<u8>) {
    let token = token_for(lab, "acme.push", &["repository:acme/orders:pull,push"]).await;
    let url = format!("http://{}/v2/acme/orders/blobs/uploads/", lab.registry);
    let begun = reqwest::Client::new().post(url).bearer_auth(&token).send().await.unwrap();
    let mut place: Url = begun.headers()["location"].to_str().unwrap().parse().unwrap();
    place.query_pairs_mut().append_pair("digest", digest);
    let done = reqwest::Client::new().put(place).bearer_auth(&token).body(content).send().await.unwrap();
    assert_eq!(done.status(), StatusCode::CREATED, "{}", done.text().await.unwrap());
}

/// A blob of these bytes in `acme/orders`, as a manifest names it.
pub async fn blob(lab: &Lab, kind: &str, content: &[u8]) -> serde_json::Value {
    let digest = digest_of(content);
    upload(lab, &digest, content.to_vec()).await;
    serde_json::json!({ "mediaType": kind, "size": content.len(), "digest": digest })
}

pub fn digest_of(content: &[u8]) -> String {
    format!("sha256:{}", imaas_operator::names::hex(&Sha256::digest(content)))
}
