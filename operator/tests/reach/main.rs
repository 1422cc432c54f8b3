#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test may panic, and says what it builds")]
//! Who reaches whom: the policies that our code makes, judged by `cyclonus`, against one table written by hand. The picture
//! of it is `docs/reachability.md`.

mod oracle;
mod world;

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use lab::{Progress, helm};

use oracle::{End, Oracle, Pod, Traffic};
use world::{NORTH, SOUTH, VALUES, World};

/// Everything that is open; what is not here is closed. `destination port: sources`, where `*` stands for every pod in an
/// environment of a tenant.
const OPEN: &str = "
a-b/c dev 8080: a-b/c dev, a-b/d dev, a-b/no service dev
a-b/c prod 8080: a-b/c prod, a-b/d prod
a/b-c dev 8080: a/b-c dev, a/e dev, a-b/c dev
a/b-c dev 9000: a/b-c dev, a/e dev, gateway
a/e dev 8080: a/b-c dev, a/e dev
a/b-c prod 8080: a/b-c prod, a/e prod
a/b-c prod 9000: a/b-c prod, a/e prod
a/e prod 8080: a/b-c prod, a/e prod
N/s acceptance01 8080: N/s acceptance01, S/s acceptance01
S/s acceptance01 8080: S/s acceptance01
a-b/c dev 9876: Prometheus, operator
a-b/c prod 9876: Prometheus, operator
a/b-c dev 9876: Prometheus, operator
a/b-c prod 9876: Prometheus, operator
N/s acceptance01 9876: operator
S/s acceptance01 9876: operator
cluster DNS 53/UDP: *
cluster DNS 53: *
node's DNS cache 53/UDP: *
node's DNS cache 53: *
the internet 443: *
the internet (IPv6) 443: *
erp 443: a-b/d dev
";

/// Port and protocol of each.
type Ports = &'static [(u16, &'static str)];

/// Outside of the cluster's pods: name, address, `port/protocol`s.
const PLACES: &[(&str, &str, Ports)] = &[
    ("node's DNS cache", "169.254.20.10", &[(53, "UDP"), (53, "TCP"), (80, "TCP")]),
    ("metadata service", "169.254.169.254", &[(80, "TCP"), (53, "UDP")]),
    ("metadata service (IPv6)", "fd00:ec2::254", &[(80, "TCP")]),
    ("API server", "10.96.0.1", &[(443, "TCP")]),
    ("kubelet of a node", "192.0.2.10", &[(10250, "TCP")]),
    ("erp", "10.20.0.5", &[(443, "TCP"), (22, "TCP")]),
    ("private 10/8", "10.99.0.1", &[(443, "TCP")]),
    ("private 172.16/12", "172.16.0.1", &[(443, "TCP")]),
    ("private 192.168/16", "192.168.1.1", &[(443, "TCP")]),
    ("shared 100.64/10", "100.100.100.200", &[(443, "TCP")]),
    ("link-local (IPv6)", "fe80::1", &[(443, "TCP")]),
    ("private (IPv6)", "fc00::1", &[(443, "TCP")]),
    ("the internet", "198.51.100.7", &[(443, "TCP")]),
    ("the internet (IPv6)", "2001:db8::7", &[(443, "TCP")]),
];

/// Pods of nobody's: name, namespace, its label beside its name, label of the pod, ports.
const OTHERS: &[(&str, &str, (&str, &str), Ports)] = &[
    ("cluster DNS", "kube-system", ("k8s-app", "kube-dns"), &[(53, "UDP"), (53, "TCP"), (9153, "TCP")]),
    ("gateway", "gateway-system", ("app", "gateway"), &[(443, "TCP")]),
    ("beside the gateway", "gateway-system", ("app", "other"), &[]),
    ("gateway's double in `default`", "default", ("app", "gateway"), &[]),
    ("Prometheus", "monitoring", ("app", "prometheus"), &[(9090, "TCP")]),
    ("beside Prometheus", "monitoring", ("app", "other"), &[]),
    ("operator", "imaas-system", ("app.kubernetes.io/name", "imaas-operator"), &[]),
    ("beside the operator", "imaas-system", ("app.kubernetes.io/name", "imaas-registry"), &[]),
];

/// What is asked for on every pod of a service: declared by some, management of a runtime, and the wrong protocol.
const PORTS: Ports = &[(8080, "TCP"), (9000, "TCP"), (9876, "TCP"), (8080, "UDP")];

/// A name in the table, and what it stands for.
struct Named {
    name: String,
    end: End,
    /// In an environment of a tenant.
    is_inside: bool,
    /// Of a tenant, also in its home.
    is_tenants: bool,
}

struct Scene {
    world: World,
    sources: Vec<Named>,
    /// With the port's protocol.
    destinations: Vec<(Named, u16, &'static str)>,
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What the chart installs.
async fn manifests() -> String {
    let scratch = tempfile::tempdir().unwrap();
    let values = scratch.path().join("values.yaml");
    std::fs::write(&values, VALUES).unwrap();
    let progress = Progress::new(|line| println!("{line}"));
    let helm = helm::Helm::new(&scratch.path().join("kubeconfig"), &progress).await.unwrap();
    let chart = root().join("charts/imaas-operator");
    let release = helm::Release {
        name: "imaas",
        namespace: "imaas-system",
        chart: chart.to_str().unwrap(),
        values: &[&values],
        set: &[],
    };
    helm.template(&release).await.unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// As the table calls a tenant.
fn short(tenant: &str) -> &str {
    match tenant {
        NORTH => "N",
        SOUTH => "S",
        other => other,
    }
}

impl Scene {
    fn new(world: World) -> Self {
        let mut scene = Self { world, sources: Vec::new(), destinations: Vec::new() };
        scene.services();
        scene.pods_without_a_service();
        scene.others();
        let outside = |(name, ip, ports): &(&str, &str, Ports)| {
            let place = |(port, protocol): &(u16, &'static str)| (named(name, ip, None), *port, *protocol);
            ports.iter().map(place).collect::<Vec<_>>()
        };
        scene.destinations.extend(PLACES.iter().flat_map(outside));
        scene.sources.push(named("the internet", "198.51.100.7", None));
        scene
    }

    fn services(&mut self) {
        for (index, one) in self.world.workloads.iter().enumerate() {
            let name = format!("{}/{} {}", short(&one.tenant), one.service, one.environment);
            let of_namespace = self.world.namespaces.iter().find(|(name, _)| *name == one.namespace());
            let pod = Some(pod(&one.namespace(), &of_namespace.unwrap().1, one.labels()));
            let end = End { ip: format!("10.244.1.{index}"), pod };
            let pod = || Named { name: name.clone(), end: end.clone(), is_inside: true, is_tenants: true };
            self.sources.push(pod());
            self.destinations.extend(PORTS.iter().map(|(port, protocol)| (pod(), *port, *protocol)));
        }
    }

    /// One in each namespace, a tenant's home too; of some it is asked whom they reach.
    fn pods_without_a_service(&mut self) {
        for (index, (namespace, of_namespace)) in self.world.namespaces.iter().enumerate() {
            let (tenant, place) = namespace.rsplit_once('-').unwrap();
            let name = format!("{}/no service {place}", short(tenant));
            let pod = Some(pod(namespace, of_namespace, BTreeMap::new()));
            let end = End { ip: format!("10.244.2.{index}"), pod };
            let is_inside = place != "home";
            let pod = || Named { name: name.clone(), end: end.clone(), is_inside, is_tenants: true };
            if ["a-b-dev", "a-b-home"].contains(&namespace.as_str()) {
                self.sources.push(pod());
            }
            self.destinations.push((pod(), 8080, "TCP"));
        }
    }

    fn others(&mut self) {
        for (index, (name, namespace, (key, value), ports)) in OTHERS.iter().enumerate() {
            let of_namespace = labels(&[("kubernetes.io/metadata.name", namespace)]);
            let pod = Some(pod(namespace, &of_namespace, labels(&[(key, value)])));
            let ip = format!("10.244.3.{index}");
            self.sources.push(named(name, &ip, pod.clone()));
            let one =
                |(port, protocol): &(u16, &'static str)| (named(name, &ip, pod.clone()), *port, *protocol);
            self.destinations.extend(ports.iter().map(one));
        }
        // Where anybody may set labels on pods, somebody sets those of a service that may call another.
        let caller = self.world.workloads.iter().find(|one| one.service == "c" && one.environment == "dev");
        let of_namespace = labels(&[("kubernetes.io/metadata.name", "default")]);
        let pod = Some(pod("default", &of_namespace, caller.unwrap().labels()));
        self.sources.push(named("a-b/c's double in `default`", "10.244.4.1", pod));
    }

    /// Every pair of which one end is a tenant's, as indices of source and destination.
    fn pairs(&self) -> Vec<(usize, usize)> {
        let of = |to: usize| {
            let concerns =
                move |from: &usize| self.sources[*from].is_tenants || self.destinations[to].0.is_tenants;
            (0..self.sources.len()).filter(concerns).map(move |from| (from, to))
        };
        (0..self.destinations.len()).flat_map(of).collect()
    }

    fn verdicts(&self, oracle: &Oracle, policies: &[NetworkPolicy], pairs: &[(usize, usize)]) -> Vec<bool> {
        let traffic = pairs.iter().map(|&(from, to)| {
            let (named, port, protocol) = &self.destinations[to];
            Traffic { from: self.sources[from].end.clone(), to: named.end.clone(), protocol, port: *port }
        });
        oracle.verdicts(policies, &traffic.collect::<Vec<_>>())
    }

    fn destination(&self, to: usize) -> String {
        let (named, port, protocol) = &self.destinations[to];
        let protocol = if *protocol == "UDP" { "/UDP" } else { "" };
        format!("{} {port}{protocol}", named.name)
    }

    /// Those of which one end is in this namespace.
    fn pairs_of(&self, namespace: &str) -> Vec<(usize, usize)> {
        let is_in = |end: &End| end.pod.as_ref().is_some_and(|pod| pod.namespace == namespace);
        let mut pairs = self.pairs();
        pairs.retain(|&(from, to)| is_in(&self.sources[from].end) || is_in(&self.destinations[to].0.end));
        pairs
    }

    /// What [`OPEN`] says of each of `pairs`.
    fn expected(&self, pairs: &[(usize, usize)]) -> Vec<bool> {
        let mut open = BTreeMap::new();
        for line in OPEN.lines().filter(|line| !line.is_empty()) {
            let (to, from) = line.split_once(": ").unwrap();
            let is_there = (0..self.destinations.len()).any(|index| self.destination(index) == to);
            assert!(is_there, "{to:?} is no destination");
            let from: Vec<_> = from.split(", ").collect();
            let is_known = |name: &&str| *name == "*" || self.sources.iter().any(|one| one.name == **name);
            assert!(from.iter().all(is_known), "{line}");
            assert!(open.insert(to, from).is_none(), "{to} stands there twice");
        }
        let is_open = |&(from, to): &(usize, usize)| {
            let source = &self.sources[from];
            let sources = open.get(self.destination(to).as_str());
            sources.is_some_and(|all| {
                all.contains(&source.name.as_str()) || source.is_inside && all.contains(&"*")
            })
        };
        pairs.iter().map(is_open).collect()
    }

    /// The whole table, for people.
    fn picture(&self, verdicts: &[bool]) -> String {
        let answers: BTreeMap<_, _> = self.pairs().into_iter().zip(verdicts).collect();
        let mut out = String::new();
        let header: Vec<_> = self.sources.iter().map(|one| one.name.as_str()).collect();
        let _ = writeln!(out, "| to ↓ from → | {} |", header.join(" | "));
        let _ = writeln!(out, "|---|{}", ":-:|".repeat(header.len()));
        for to in 0..self.destinations.len() {
            let cell = |from| match answers.get(&(from, to)) {
                None => "",
                Some(true) => "●",
                Some(false) => "·",
            };
            let cells: Vec<_> = (0..self.sources.len()).map(cell).collect();
            let _ = writeln!(out, "| {} | {} |", self.destination(to), cells.join(" | "));
        }
        out
    }
}

fn pod(namespace: &str, of_namespace: &BTreeMap<String, String>, labels: BTreeMap<String, String>) -> Pod {
    Pod { namespace: namespace.to_owned(), of_namespace: of_namespace.clone(), labels }
}

fn named(name: &str, ip: &str, pod: Option<Pod>) -> Named {
    let end = End { ip: ip.to_owned(), pod };
    Named { name: name.to_owned(), end, is_inside: false, is_tenants: false }
}

const ABOUT: &str = include_str!("about.md");

#[tokio::test]
async fn everybody_reaches_whom_the_table_says_and_nobody_else() {
    let manifests = manifests().await;
    let checked = world::are_valid(&manifests);
    assert!(checked.names().all(|name| checked.named(name).unwrap().is_ok()));
    let scene = Scene::new(World::new(&manifests));
    let longest = scene.world.namespaces.iter().map(|(name, _)| name.len()).max();
    assert_eq!(longest, Some(63));
    let pairs = scene.pairs();
    let verdicts = scene.verdicts(&Oracle::new(), &scene.world.policies, &pairs);
    let expected = scene.expected(&pairs);
    let differs = pairs.into_iter().zip(verdicts.iter().zip(&expected)).filter(|(_, (a, b))| a != b);
    let told = differs.map(|((from, to), (is_open, _))| {
        let word = if *is_open { "reaches" } else { "does not reach" };
        format!("{} {word} {}", scene.sources[from].name, scene.destination(to))
    });
    let told: Vec<_> = told.collect();
    assert!(told.is_empty(), "not as the table says:\n{}", told.join("\n"));

    let (file, wanted) =
        (root().join("docs/reachability.md"), format!("{ABOUT}\n{}", scene.picture(&verdicts)));
    if std::env::var_os("IMAAS_WRITE_DOCS").is_some() {
        std::fs::write(&file, &wanted).unwrap();
    }
    let there = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        there == wanted,
        "docs/reachability.md is stale: IMAAS_WRITE_DOCS=1 cargo test -p imaas-operator --test reach"
    );
}

/// Whoever is in two tenants needs both to say so: neither side is open where the other is not.
#[tokio::test]
async fn no_way_between_two_tenants_is_half_open() {
    let scene = Scene::new(World::new(&manifests().await));
    let mut pairs = scene.pairs();
    pairs.retain(|&(from, to)| {
        let tenant = |named: &Named| named.name.split('/').next().map(str::to_owned);
        let (source, destination) = (&scene.sources[from], &scene.destinations[to].0);
        source.is_tenants && destination.is_tenants && tenant(source) != tenant(destination)
    });
    let (oracle, expected) = (Oracle::new(), scene.expected(&pairs));
    assert!(expected.contains(&true));
    for direction in ["Ingress", "Egress"] {
        let half: Vec<_> = scene.world.policies.iter().filter_map(|policy| half(policy, direction)).collect();
        let verdicts = scene.verdicts(&oracle, &half, &pairs);
        let differs = pairs.iter().zip(verdicts.iter().zip(&expected)).filter(|(_, (a, b))| a != b);
        let told = differs.map(|((from, to), _)| (&scene.sources[*from].name, scene.destination(*to)));
        assert_eq!(told.collect::<Vec<_>>(), [], "{direction}");
    }
}

/// What `policy` says of one direction.
fn half(policy: &NetworkPolicy, direction: &str) -> Option<NetworkPolicy> {
    let mut half = policy.clone();
    let spec = half.spec.as_mut()?;
    spec.policy_types.as_mut()?.retain(|one| one == direction);
    if spec.policy_types.as_ref()?.is_empty() {
        return None;
    }
    if direction == "Ingress" {
        spec.egress = None;
    } else {
        spec.ingress = None;
    }
    Some(half)
}

#[tokio::test]
async fn the_table_notices_when_any_policy_is_missing() {
    let scene = Scene::new(World::new(&manifests().await));
    let (oracle, mut unnoticed) = (Oracle::new(), Vec::new());
    for (index, policy) in
        scene.world.policies.iter().enumerate().filter(|(_, policy)| says_something(policy))
    {
        let namespace = policy.namespace().unwrap();
        let pairs = scene.pairs_of(&namespace);
        let mut policies = scene.world.policies.clone();
        policies.remove(index);
        if scene.verdicts(&oracle, &policies, &pairs) == scene.expected(&pairs) {
            unnoticed.push(format!("{namespace}/{}", policy.name_any()));
        }
    }
    assert_eq!(unnoticed, [""; 0], "of {} policies", scene.world.policies.len());
}

/// A worker's own opens nothing, and what closes its pods is its namespace's: such a one says the same twice.
fn says_something(policy: &NetworkPolicy) -> bool {
    let spec = policy.spec.clone().unwrap_or_default();
    let opens = spec.ingress.is_some_and(|rules| !rules.is_empty())
        || spec.egress.is_some_and(|rules| !rules.is_empty());
    opens || policy.name_any() == "imaas-default-deny"
}
