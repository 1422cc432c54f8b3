//! Logs: JSON for machines, text for people.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For reading.
    Text,
}

/// What may be logged, the least first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// `text`, where each part of it names a level. A bare word that is none would be taken for a module, of which all is
/// logged, and of everything else nothing.
pub fn filter(text: &str) -> Result<String, String> {
    match text.split(',').find(|part| !is_directive(part)) {
        None => Ok(text.to_owned()),
        Some(part) => Err(format!(
            "{part:?} names no level: write {}, or that of a module as in imaas_operator=debug,kube=warn",
            LEVELS.join(", ")
        )),
    }
}

/// `info`, `kube=warn`.
fn is_directive(part: &str) -> bool {
    let (module, level) = part.split_once('=').map_or((None, part), |(module, level)| (Some(module), level));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
    let is_module = |module: &str| !module.is_empty() && module.chars().all(is_plain);
    module.is_none_or(is_module) && LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level))
}

/// Starts logging to standard error. `filter` is what [`filter`] lets through.
pub fn start(format: LogFormat, filter: &str) {
    let registry = tracing_subscriber::registry().with(directives(filter));
    // Colours are for people at a terminal: in a pod's log they are noise.
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).init(),
        LogFormat::Text => registry.with(lines).init(),
    }
}

/// Which certificate of a tenant's Git server is not trusted stands in that tenant's status; for the platform it is no error.
const QUIET: &str = "rustls_platform_verifier=off";

/// What `filter` says of a module goes before [`QUIET`].
fn directives(filter: &str) -> EnvFilter {
    EnvFilter::new(format!("{QUIET},{filter}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs_certificates(filter: &str) -> bool {
        let registry = tracing_subscriber::registry().with(directives(filter));
        tracing::subscriber::with_default(registry, || {
            assert!(tracing::enabled!(target: "imaas_operator::git", tracing::Level::INFO), "{filter}");
            tracing::enabled!(target: "rustls_platform_verifier::verification::others", tracing::Level::ERROR)
        })
    }

    #[test]
    fn a_tenants_certificate_is_no_error_of_the_platform_unless_asked_for() {
        assert!(!logs_certificates("info"));
        assert!(!logs_certificates("imaas_operator=debug,kube=warn"));
        assert!(logs_certificates("info,rustls_platform_verifier=error"));
    }

    #[test]
    fn a_filter_names_a_level_in_each_of_its_parts() {
        for right in ["info", "OFF", "Debug,kube=warn", "imaas_operator::git=trace,tower-http=off"] {
            assert_eq!(filter(right).as_deref(), Ok(right));
            assert!(EnvFilter::try_new(right).is_ok(), "{right}");
        }
        for wrong in
            ["inof", "wran", "debgu,kube=warn", "", "info,", "info, kube=warn", "=info", "kube=", "3"]
        {
            assert!(filter(wrong).is_err(), "{wrong}");
        }
        let told = filter("info,kube=wran").unwrap_err();
        assert!(told.starts_with("\"kube=wran\" names no level: write off, error, warn, info"), "{told}");
    }
}
