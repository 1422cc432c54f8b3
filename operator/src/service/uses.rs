//! Whom a service may call by its `uses`, and at which port. Pure: `neighbours` tells what is on the other side.
//!
//! Of another tenant it is not told whether a service, or the tenant itself, is there: whoever does not export to the
//! asker is as good as not there.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::Problem;
use crate::{
    api::{Cause, Export, Port, Release, ReleaseUse, Retirement, RetirementStage, Use},
    conditions::Reason,
    environment::sleep::EARLIEST,
    release::{Footprint, Neighbour, Reach, open_ports},
};

/// A service that has been down for so long is told to whom uses it.
const LONG: SignedDuration = SignedDuration::from_mins(2);

/// A service as another one sees it that wants to call it in one environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Face {
    /// There is none of this name, or it is another tenant's and does not export to the asker.
    Closed,
    /// Nothing runs there, and what its branch asks for is not known yet.
    Unread,
    /// Its ports, the first one first: of what runs, else of what its branch asks for. None of a worker.
    Ports(Vec<Port>),
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// Name of its tenant.
    pub tenant: &'a str,
    /// Its name.
    pub service: &'a str,
    /// Name of the environment in which both are to run.
    pub environment: &'a str,
}

/// The services around one.
pub trait Around {
    /// Whom this service of this tenant exports to; nothing where there is none of this name.
    fn exports(&self, tenant: &str, service: &str) -> Option<Vec<Export>>;

    /// What pods of it count on that may run in this environment.
    fn running(&self, tenant: &str, service: &str, environment: &str) -> Vec<Footprint>;
}

/// Is there such a service, `(tenant, name)`, and does it export to `asker` where it is another tenant's?
pub fn is_open(asker: Asker<'_>, (tenant, service): (&str, &str), around: &impl Around) -> bool {
    let is_asker = |to: &Export| to.tenant == asker.tenant && to.service == asker.service;
    around
        .exports(tenant, service)
        .is_some_and(|exports| tenant == asker.tenant || exports.iter().any(is_asker))
}

/// With whom instances of `asker` may talk while those of `release` and of earlier ones run. From both sides it is the
/// same: the provider exports, and a release of which pods may run uses it.
pub fn reach(asker: Asker<'_>, release: &Release, around: &impl Around) -> Reach {
    let Asker { tenant, service, environment } = asker;
    let mut running = around.running(tenant, service, environment);
    running.push(Footprint::of(release));
    let providers: BTreeSet<_> = used(&running).collect();
    let providers = providers.into_iter().filter(|provider| is_open(asker, *provider, around));
    let provider = |(tenant, service): (&str, &str)| {
        neighbour(tenant, service, open_ports(&around.running(tenant, service, environment)))
    };
    let exports = around.exports(tenant, service).unwrap_or_default();
    let caller = |to: &Export| {
        let mut ports: Vec<Port> = Vec::new();
        for used in around.running(&to.tenant, &to.service, environment).iter().flat_map(|one| &one.uses) {
            let is_us = used.tenant.as_deref() == Some(tenant) && used.service == service;
            if is_us && !ports.contains(&used.port) {
                ports.push(used.port.clone());
            }
        }
        neighbour(&to.tenant, &to.service, ports)
    };
    let callers = exports.iter().filter(|to| to.tenant != tenant).map(caller);
    Reach { providers: providers.map(provider).collect(), callers: callers.collect() }
}

/// Tenant and name of every service of another tenant that is used.
pub fn used(running: &[Footprint]) -> impl Iterator<Item = (&str, &str)> {
    let uses = running.iter().flat_map(|one| &one.uses);
    uses.filter_map(|used| Some((used.tenant.as_deref()?, used.service.as_str())))
}

fn neighbour(tenant: &str, service: &str, ports: Vec<Port>) -> Neighbour {
    Neighbour { tenant: tenant.to_owned(), service: service.to_owned(), ports }
}

/// The port at which each of `uses` is called. What is missing is told for the first of them, with whose file is to be
/// changed.
pub fn called(asker: Asker<'_>, uses: &[Use], face: impl Fn(&Use) -> Face) -> Result<Vec<Port>, Problem> {
    uses.iter().enumerate().map(|(index, used)| port((index, used), asker, face(used))).collect()
}

/// What is missing for each of `uses`, as [`called`] tells it of the first.
pub fn missing(asker: Asker<'_>, uses: &[Use], face: impl Fn(&Use) -> Face) -> Vec<Problem> {
    uses.iter().enumerate().filter_map(|(index, used)| port((index, used), asker, face(used)).err()).collect()
}

/// Of a service of another tenant, whether or not it is there.
pub fn not_exported(asker: Asker<'_>, provider: &str, service: &str) -> Problem {
    let Asker { tenant, service: asking, environment: _ } = asker;
    let message = format!(
        "{provider} exports no service {service} to this one: its owners write `exportTo: [{{tenant: {tenant}, service: {asking}}}]` under that service in the file of their tenant; until then nothing new is rolled out, and the way to it is closed"
    );
    Problem::new(Reason::NotExported, message)
}

/// Told to whom uses a service that ends: `(tenant, name)`, and the environments in which it does.
pub fn losing(
    asker: &str,
    (tenant, service): (&str, &str),
    (ends, within): (&Retirement, &[&str]),
) -> String {
    let provider = if tenant == asker { service.to_owned() } else { format!("{tenant}/{service}") };
    let Retirement { stage, until } = ends;
    let told = match stage {
        RetirementStage::Orphaned => format!("is no longer in Git and serves until {until}"),
        RetirementStage::Retiring => format!("is retired, and calls to it fail; it is removed after {until}"),
    };
    format!(
        "{provider}, which this service uses in {}, {told}: do without it, or have its owners bring it back",
        within.join(", ")
    )
}

/// Why a service that is used answers no call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// It is to have instances, and none is ready since then.
    Down(Timestamp),
    /// It is to have none.
    Empty,
}

impl Silence {
    /// When it is told. What is replaced alone, or wakes, is down for a moment each time.
    pub fn told_at(self) -> Timestamp {
        match self {
            Self::Down(since) => since.checked_add(LONG).unwrap_or(Timestamp::MAX),
            Self::Empty => Timestamp::MIN,
        }
    }
}

/// Does what sleeps `until` then wake within the minutes over which services of a night are spread?
pub fn wakes_soon(until: &str, now: Timestamp) -> bool {
    let until = until.parse::<Timestamp>().ok();
    until.zip(now.checked_add(EARLIEST).ok()).is_some_and(|(until, soon)| until <= soon)
}

/// Did Git ask for `release`, of the same tenant, and does it call the service `(tenant, name)`?
pub fn brings_a_call(release: &Release, (tenant, service): (&str, &str)) -> bool {
    let is_it =
        |used: &ReleaseUse| used.service == service && used.tenant.as_deref().is_none_or(|of| of == tenant);
    matches!(release.spec.cause, Cause::Commit | Cause::Promotion) && release.spec.uses.iter().any(is_it)
}

/// Told to whom uses a service, `(tenant, name)`, that is silent.
pub fn silent(asker: &str, (tenant, service): (&str, &str), silence: Silence) -> Problem {
    let provider = if tenant == asker { service.to_owned() } else { format!("{tenant}/{service}") };
    let what = match silence {
        Silence::Down(since) => {
            format!("has no instance that is ready since {since}: its own board says why")
        }
        Silence::Empty => "has no instances: it sleeps, or was scaled to none".to_owned(),
    };
    let message = format!(
        "{provider}, which this service uses, {what}; calls to it fail until it has, and what runs here is left alone"
    );
    Problem::new(Reason::ProviderDown, message)
}

fn port((index, used): (usize, &Use), asker: Asker<'_>, face: Face) -> Result<Port, Problem> {
    let Use { tenant, service, variable: _, port } = used;
    let environment = asker.environment;
    let refused = |reason, message: String| Err(Problem::new(reason, format!("uses[{index}]{message}")));
    let ports = match (face, tenant) {
        (Face::Ports(ports), _) => ports,
        (Face::Unread, _) => {
            let message = format!(
                ": {service} does not run in {environment}, and what it is to run there is not known yet: see what it waits for"
            );
            return refused(Reason::ProviderNotReady, message);
        }
        (Face::Closed, Some(provider)) => {
            let problem = not_exported(asker, provider, service);
            return refused(problem.reason, format!(": {}", problem.message));
        }
        (Face::Closed, None) => {
            let message = format!(
                ".service: this tenant has no service {service:?}: correct the name, or add it to the tenant file; what runs stays until then"
            );
            return refused(Reason::ProviderMissing, message);
        }
    };
    let Some(first) = ports.first() else {
        let message = format!(".service: {service} is a worker, which nobody can call: remove the entry");
        return refused(Reason::InvalidDescriptor, message);
    };
    let Some(name) = port else { return Ok(first.clone()) };
    if let Some(port) = ports.iter().find(|port| port.name == *name) {
        return Ok(port.clone());
    }
    let names: Vec<_> = ports.iter().map(|port| port.name.as_str()).collect();
    refused(
        Reason::InvalidDescriptor,
        format!(".port: {service} has no port {name:?} in {environment}, only {}", names.join(", ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    const ASKER: Asker<'static> = Asker { tenant: "acme", service: "orders", environment: "dev" };

    fn used(yaml: &str) -> Vec<Use> {
        serde_saphyr::from_str(yaml).unwrap()
    }

    fn ports() -> Face {
        Face::Ports(serde_saphyr::from_str("[{name: http, port: 8080}, {name: grpc, port: 9000}]").unwrap())
    }

    fn told(yaml: &str, face: &Face) -> (Reason, String) {
        let problem = called(ASKER, &used(yaml), |_| face.clone()).unwrap_err();
        (problem.reason, problem.message)
    }

    #[test]
    fn the_first_port_is_called_or_the_one_that_is_named() {
        let uses = used("[{service: stock, as: STOCK}, {service: stock, as: STOCK_RPC, port: grpc}]");
        let called = called(ASKER, &uses, |_| ports()).unwrap();
        assert_eq!(called.iter().map(|port| port.port).collect::<Vec<_>>(), [8080, 9000]);
    }

    #[test]
    fn what_is_missing_is_told_with_what_to_change_and_where() {
        let own = "[{service: stock, as: STOCK}]";
        let (reason, message) = told(own, &Face::Closed);
        assert_eq!(reason, Reason::ProviderMissing);
        assert!(message.starts_with("uses[0].service: this tenant has no service \"stock\""), "{message}");
        assert!(told(own, &Face::Unread).1.contains("stock does not run in dev"));
        assert!(told(own, &Face::Ports(vec![])).1.contains("is a worker"));
        let (reason, message) = told("[{service: stock, as: STOCK, port: soap}]", &ports());
        assert_eq!(reason, Reason::InvalidDescriptor);
        assert_eq!(message, "uses[0].port: stock has no port \"soap\" in dev, only http, grpc");
        let (reason, message) = told("[{tenant: beta, service: stock, as: STOCK}]", &Face::Closed);
        assert_eq!(reason, Reason::NotExported);
        assert!(message.contains("`exportTo: [{tenant: acme, service: orders}]`"), "{message}");
    }

    #[test]
    fn whoever_uses_what_ends_is_told_until_when_it_serves() {
        let ends = |stage| Retirement { stage, until: "2026-01-02T00:00:00Z".to_owned() };
        assert_eq!(
            losing("acme", ("beta", "stock"), (&ends(RetirementStage::Orphaned), &["dev", "test"])),
            "beta/stock, which this service uses in dev, test, is no longer in Git and serves until 2026-01-02T00:00:00Z: do without it, or have its owners bring it back"
        );
        assert_eq!(
            losing("acme", ("acme", "stock"), (&ends(RetirementStage::Retiring), &["dev"])),
            "stock, which this service uses in dev, is retired, and calls to it fail; it is removed after 2026-01-02T00:00:00Z: do without it, or have its owners bring it back"
        );
    }

    #[test]
    fn whoever_uses_what_is_silent_for_long_is_told_since_when_and_where_to_look() {
        let at = |time: &str| format!("2026-01-02T00:{time}Z").parse::<Timestamp>().unwrap();
        let told = |tenant, silence| silent("acme", (tenant, "stock"), silence).message;
        let rest = "; calls to it fail until it has, and what runs here is left alone";
        let down = "has no instance that is ready since 2026-01-02T00:00:00Z: its own board says why";
        assert_eq!(
            told("beta", Silence::Down(at("00:00"))),
            format!("beta/stock, which this service uses, {down}{rest}")
        );
        let empty = "has no instances: it sleeps, or was scaled to none";
        assert_eq!(told("acme", Silence::Empty), format!("stock, which this service uses, {empty}{rest}"));
        assert_eq!(Silence::Down(at("00:00")).told_at(), at("02:00"));
        assert!(Silence::Empty.told_at() < at("00:00"));
    }

    #[test]
    fn who_wakes_a_little_earlier_than_a_provider_is_not_told_that_it_sleeps() {
        let now: Timestamp = "2026-01-02T06:52:00Z".parse().unwrap();
        let soon = |until| wakes_soon(until, now);
        assert!(soon("2026-01-02T06:52:30Z") && soon("2026-01-02T07:02:00Z"));
        assert!(!soon("2026-01-02T07:02:01Z") && !soon("tomorrow"));
    }

    #[test]
    fn what_git_asked_for_and_calls_it_keeps_a_service_awake_and_nothing_else() {
        let calls = |of: &str, cause: &str| {
            let used = format!("uses: [{{{of}service: stock, port: {{name: http, port: 80}}}}]");
            let release = sample::release("orders-dev-a", &format!("{used}, cause: {cause}"));
            ["stock", "billing"].map(|service| brings_a_call(&release, ("acme", service)))
        };
        assert_eq!(calls("", "Commit"), [true, false]);
        assert_eq!(calls("tenant: acme, ", "Promotion"), [true, false]);
        assert_eq!(calls("tenant: beta, ", "Commit"), [false; 2], "it is another's");
        for nobody_asked in ["Runtime", "Secret"] {
            assert_eq!(calls("", nobody_asked), [false; 2]);
        }
    }

    struct To(Vec<Export>);

    impl Around for To {
        fn exports(&self, _: &str, service: &str) -> Option<Vec<Export>> {
            (service == "stock").then(|| self.0.clone())
        }

        fn running(&self, _: &str, _: &str, _: &str) -> Vec<Footprint> {
            vec![]
        }
    }

    #[test]
    fn an_export_is_to_one_service_of_one_tenant() {
        let to = |tenant: &str, service: &str| Export { tenant: tenant.into(), service: service.into() };
        let is_open = |provider, exports: &[Export]| is_open(ASKER, provider, &To(exports.to_vec()));
        let stock = ("beta", "stock");
        assert!(is_open(stock, &[to("beta", "x"), to("acme", "orders")]));
        assert!(!is_open(stock, &[to("acme", "order"), to("acme-eu", "orders"), to("orders", "acme")]));
        assert!(!is_open(stock, &[]));
        assert!(!is_open(("beta", "none"), &[to("acme", "orders")]));
        assert!(is_open(("acme", "stock"), &[]), "one's own");
        assert!(!is_open(("acme", "none"), &[]));
    }
}
