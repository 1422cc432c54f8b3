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

/// Starts logging to standard error. `filter` is as `RUST_LOG` writes it: `info`, `imaas_operator=debug,kube=warn`.
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

/// `filter`, or `info` when it cannot be read. What it says of a module goes before [`QUIET`].
fn directives(filter: &str) -> EnvFilter {
    EnvFilter::try_new(format!("{QUIET},{filter}"))
        .unwrap_or_else(|_| EnvFilter::new(format!("{QUIET},info")))
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
        assert!(!logs_certificates("no=such=filter"));
        assert!(logs_certificates("info,rustls_platform_verifier=error"));
    }
}
