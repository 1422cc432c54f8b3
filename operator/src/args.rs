//! The command line. Every option can be set by an environment variable too, as the chart does.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, builder::NonEmptyStringValueParser};
use url::Url;

use crate::{
    api::Quantity,
    git::url::allowed_host,
    registry::{generations::Generations, retention::Mode},
    release::LARGEST_CONFIG,
    service::commit_status::host::Named,
    span::span,
    telemetry::{LogFormat, filter},
};

/// Integration Mashup as a Service: a multi-tenant GitOps operator for integration services.
#[derive(Debug, Parser)]
#[command(name = "imaas-operator", version, propagate_version = true)]
pub struct Cli {
    /// How a log line looks.
    #[arg(long, global = true, env = "IMAAS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
    /// What is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`, or by module: `info,kube=warn`.
    #[arg(long, global = true, env = "IMAAS_LOG", default_value = "info", value_parser = filter)]
    pub log: String,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The processes of the chart.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the operator: Git in, running services out.
    Run(Box<Run>),
    /// Runs the registry's token service: who may push and pull what.
    RegistryAuth(RegistryAuth),
    /// Makes the registry read-only while its garbage is collected, or writable again.
    RegistryWindow(RegistryWindow),
}

/// Options of `registry-window`.
#[derive(Debug, Args)]
pub struct RegistryWindow {
    /// What to do.
    #[arg(value_enum)]
    pub step: WindowStep,
    /// Namespace of the registry.
    #[arg(long, env = "IMAAS_NAMESPACE", default_value = "imaas-system")]
    pub namespace: String,
    /// Name of its Deployment.
    #[arg(long, default_value = "imaas-registry")]
    pub deployment: String,
    /// Name of its container.
    #[arg(long, default_value = "registry")]
    pub container: String,
    /// How long its pods may take to be replaced.
    #[arg(long, default_value = "5m", value_parser = interval)]
    pub deadline: Duration,
    /// A file that is there when the collection of garbage failed: it is said at the end.
    #[arg(long)]
    pub failed_file: Option<PathBuf>,
}

/// One end of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum WindowStep {
    /// Read-only from now on.
    Open,
    /// Writable again.
    Close,
}

/// Options of `run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  imaas-operator run --registry-host registry.example.com \\\n    --registry-realm https://registry.example.com/token --accounts-key-file /etc/imaas/accounts.key"
)]
pub struct Run {
    /// Address of `/livez`, `/readyz`, `/metrics` and `/hooks/registry`.
    #[arg(long, env = "IMAAS_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// The operator's own namespace. Those of one namespace agree on who leads, by a Lease there.
    #[arg(long, env = "IMAAS_NAMESPACE", default_value = "imaas-system")]
    pub namespace: String,
    /// Name of this operator among those that may lead; no other that runs may have it, so in a pod it is the pod's. Without
    /// it, a random one.
    #[arg(long, env = "IMAAS_IDENTITY", value_parser = NonEmptyStringValueParser::new())]
    pub identity: Option<String>,
    /// The operator's ServiceAccount in that namespace; it gets a role in every tenant namespace.
    #[arg(long, env = "IMAAS_SERVICE_ACCOUNT", default_value = "imaas-operator")]
    pub service_account: String,
    /// Where the mirrors of Git repositories are kept; may be lost at any time.
    #[arg(long, env = "IMAAS_DATA_DIR", default_value = "/var/lib/imaas")]
    pub data_dir: PathBuf,
    /// Size of that volume. Mirrors take three quarters of it at most, and those of one tenant a quarter of that.
    #[arg(long, env = "IMAAS_DATA_SIZE", default_value = "2Gi", value_parser = size)]
    pub data_size: u64,
    /// How often a service repository is looked at; at least 1s.
    #[arg(long, env = "IMAAS_INTERVAL", default_value = "60s", value_parser = interval)]
    pub interval: Duration,
    /// The most that the files of a service's configuration may have together, at most 1Mi. Each content that a release within
    /// history has is stored.
    #[arg(long, env = "IMAAS_LARGEST_CONFIG", default_value = LARGEST_CONFIG_BY_DEFAULT, value_parser = config_size)]
    pub largest_config: u64,
    /// How many services of an environment get a changed IntegrationRuntime at a time; at least 1.
    #[arg(long, env = "IMAAS_RUNTIME_WAVE", default_value_t = 10, value_parser = at_once)]
    pub runtime_wave: usize,
    /// How long a tenant, service or environment that Git no longer has serves on before it is scaled to zero.
    #[arg(long, env = "IMAAS_ORPHANED_FOR", default_value = "24h", value_parser = interval)]
    pub orphaned_for: Duration,
    /// How long it stays scaled to zero before it is removed.
    #[arg(long, env = "IMAAS_RETIRING_FOR", default_value = "72h", value_parser = interval)]
    pub retiring_for: Duration,
    /// Git hosts that may have a private address; others must be public. Each on the port that stands with it
    /// (`git.example.com:8443`), else on 443, as all others. Repeat, or separate by commas.
    #[arg(long = "allowed-git-host", env = "IMAAS_ALLOWED_GIT_HOSTS", value_delimiter = ',', value_parser = git_host)]
    pub allowed_git_hosts: Vec<String>,
    /// Git host that is told what became of commits, and what it is: `git.example.com=gitea`, `github.com=github`,
    /// `git.example.com:8443=gitlab`. With the login of each repository, which needs the right. Repeat, or separate by commas.
    #[arg(long, env = "IMAAS_COMMIT_STATUS", value_delimiter = ',')]
    pub commit_status: Vec<Named>,
    /// The registry as image names say it, such as `registry.example.com`.
    #[arg(long, env = "IMAAS_REGISTRY_HOST")]
    pub registry_host: String,
    /// Where the operator itself reaches the registry; without it, `https://<registry-host>`.
    #[arg(long, env = "IMAAS_REGISTRY_URL")]
    pub registry_url: Option<Url>,
    /// Whose the registry is.
    #[arg(long, env = "IMAAS_REGISTRY_MODE", value_enum, default_value_t = RegistryMode::Managed)]
    pub registry_mode: RegistryMode,
    /// What stands before the tenant in names of repositories of an external registry, such as `team/imaas`.
    #[arg(long, env = "IMAAS_REGISTRY_PREFIX", default_value = "", hide_default_value = true)]
    pub registry_prefix: String,
    /// Where the registry sends clients for a token. An external registry may ask for the password itself instead.
    #[arg(long, env = "IMAAS_REGISTRY_REALM", required_if_eq("registry_mode", "managed"))]
    pub registry_realm: Option<Url>,
    /// PEM file of the authority that signed the registry's certificate, when it is a private one.
    #[arg(long, env = "IMAAS_REGISTRY_CA_FILE")]
    pub registry_ca_file: Option<PathBuf>,
    /// The key from which the registry accounts' passwords are derived, at least 32 bytes.
    #[arg(long, env = "IMAAS_ACCOUNTS_KEY_FILE", required_if_eq("registry_mode", "managed"))]
    pub accounts_key_file: Option<PathBuf>,
    /// Generation of the registry passwords that tenants get, and of single tenants after it, as in `2,acme=3`.
    #[arg(long, env = "IMAAS_CURRENT_GENERATION", default_value = "1")]
    pub current_generation: Generations,
    /// How often the images of all tenants are counted in the registry; at least 1s.
    #[arg(long, env = "IMAAS_REGISTRY_INTERVAL", default_value = "10m", value_parser = interval)]
    pub registry_interval: Duration,
    /// How much of the registry a tenant may use that asks for nothing, such as `20Gi`; without it, there is no quota.
    #[arg(long, env = "IMAAS_REGISTRY_QUOTA", value_parser = quantity)]
    pub registry_quota: Option<Quantity>,
    /// The most that a tenant may ask for in `spec.registry.storage`; without it, the default is the most.
    #[arg(long, env = "IMAAS_REGISTRY_QUOTA_MAX", value_parser = quantity)]
    pub registry_quota_max: Option<Quantity>,
    /// Whether images that no release needs are deleted from the registry. With `off`, those of a removed service stay too.
    #[arg(long, env = "IMAAS_REGISTRY_RETENTION", value_enum, default_value_t = Mode::DryRun)]
    pub registry_retention: Mode,
    /// How long an image must not have been needed before retention deletes it; at least 1s.
    #[arg(long, env = "IMAAS_REGISTRY_RETENTION_AFTER", default_value = "168h", value_parser = interval)]
    pub registry_retention_after: Duration,
    /// File with the token, at least 32 characters, by which the registry is known that tells of pushes at `/hooks/registry`:
    /// its notifications bear it as `Authorization: Bearer …`. Without it nobody is heard, and images are asked for by the interval.
    #[arg(long, env = "IMAAS_REGISTRY_EVENTS_TOKEN_FILE")]
    pub registry_events_token_file: Option<PathBuf>,
    /// For trying things out: plain `http` to Git and registry is accepted.
    #[arg(long, env = "IMAAS_DEVELOPMENT")]
    pub development: bool,
}

/// Whose the registry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum RegistryMode {
    /// The operator gives out logins, counts, bounds and clears.
    Managed,
    /// The platform provides the registry and each tenant's Secrets.
    External,
}

/// Options of `registry-auth`.
#[derive(Debug, Args)]
pub struct RegistryAuth {
    /// Address of `/token`, `/livez`, `/readyz` and `/metrics`.
    #[arg(long, env = "IMAAS_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// PEM file of the private key that signs tokens.
    #[arg(long, env = "IMAAS_SIGNING_KEY_FILE")]
    pub signing_key_file: PathBuf,
    /// PEM file of its certificate, which the registry trusts as `rootcertbundle`.
    #[arg(long, env = "IMAAS_SIGNING_CERT_FILE")]
    pub signing_cert_file: PathBuf,
    /// The key from which the registry accounts' passwords are derived, at least 32 bytes.
    #[arg(long, env = "IMAAS_ACCOUNTS_KEY_FILE")]
    pub accounts_key_file: PathBuf,
    /// Another such key that is accepted too, while one is exchanged for the other. There need be no such file.
    #[arg(long, env = "IMAAS_ACCOUNTS_OVERLAP_KEY_FILE")]
    pub accounts_overlap_key_file: Option<PathBuf>,
    /// Lowest generation of registry passwords that opens an account, and of single tenants after it, as in `2,acme=3`.
    /// The next generation is accepted too.
    #[arg(long, env = "IMAAS_LOWEST_GENERATION", default_value = "1")]
    pub lowest_generation: Generations,
    /// File that says whose pushes are refused, which the operator writes as a ConfigMap. There need be no such file.
    #[arg(long, env = "IMAAS_OVER_QUOTA_FILE")]
    pub over_quota_file: Option<PathBuf>,
    /// `issuer` in the registry's configuration.
    #[arg(long, env = "IMAAS_TOKEN_ISSUER", default_value = "imaas")]
    pub issuer: String,
    /// `service` in the registry's configuration.
    #[arg(long, env = "IMAAS_TOKEN_SERVICE", default_value = "imaas-registry")]
    pub service: String,
}

/// `git.example.com`, `git.example.com:8443`, `[fd00::1]:8443`.
fn git_host(text: &str) -> Result<String, String> {
    match allowed_host(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err(format!(
            "{text:?} is not a host such as git.example.com, or with a port git.example.com:8443"
        )),
    }
}

/// `2Gi`, in bytes.
fn size(text: &str) -> Result<u64, String> {
    let bytes = Quantity(text.to_owned()).millis().and_then(|millis| u64::try_from(millis / 1000).ok());
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| format!("{text:?} is not a size such as 2Gi"))
}

/// What the files of a configuration may have together where the platform says nothing.
pub const LARGEST_CONFIG_BY_DEFAULT: &str = "256Ki";

/// `256Ki`, in bytes; what fits a ConfigMap.
pub fn config_size(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes > LARGEST_CONFIG {
        Err("must be at most 1Mi, which is what fits a ConfigMap".to_owned())
    } else {
        Ok(bytes)
    }
}

/// `20Gi`.
fn quantity(text: &str) -> Result<Quantity, String> {
    size(text).map(|_| Quantity(text.to_owned()))
}

/// A number of at least 1.
fn at_once(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("{text:?} is no number of at least 1"))
}

/// `60s`, `1m30s`; at least one second.
fn interval(text: &str) -> Result<Duration, String> {
    span(text, Duration::from_secs(1)..)
        .ok_or_else(|| format!("{text:?} is no duration of at least 1s: write it like 60s or 5m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_a_duration_of_at_least_a_second() {
        assert_eq!(interval("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(interval("1s"), Ok(Duration::from_secs(1)));
        assert!(interval("999ms").is_err() && interval("-5s").is_err());
        assert!(interval("soon").is_err_and(|message| message.contains("60s")));
    }

    #[test]
    fn a_size_is_a_quantity_of_bytes() {
        assert_eq!((size("2Gi"), size("1500k")), (Ok(2 << 30), Ok(1_500_000)));
        assert!(
            config_size("1Mi").is_ok() && config_size("1025Ki").is_err_and(|message| message.contains("1Mi"))
        );
        assert!(size("0").is_err() && size("2 GB").is_err_and(|message| message.contains("2Gi")));
    }

    #[test]
    fn a_git_host_may_have_a_port() {
        assert_eq!(git_host("git.example.com:8443").as_deref(), Ok("git.example.com:8443"));
        assert!(git_host("https://git.example.com").is_err_and(|message| message.contains("8443")));
    }

    #[test]
    fn a_typo_in_the_log_level_is_told_before_anything_starts() {
        let error =
            Cli::try_parse_from(["imaas-operator", "--log=inof", "registry-window", "open"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let told = error.to_string();
        assert!(told.contains("--log") && told.contains("\"inof\" names no level"), "{told}");
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
