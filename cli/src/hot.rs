//! Whether a `deployment.toml` of WSO2 Micro Integrator lets it deploy while it runs. Pure.
//!
//! Whoever mounts or builds in such a file without `[server] hot_deployment = false` turns it on; readiness, which counts
//! faulty applications, is then not to be believed.

/// What such a file is called, wherever it lies.
pub const FILE: &str = "deployment.toml";

/// What to write.
pub const ADVICE: &str = "Micro Integrator deploys artifacts while it runs, so that it is ready before they are: write `hot_deployment = false` under `[server]`";

/// The line that turns it on, from 1; the first where none says anything, which does so, too.
pub fn hot(text: &str) -> Option<u32> {
    let mut table = String::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.starts_with('[') {
            table = format!("{}.", line.trim_matches(['[', ']']).trim());
        } else if let Some((key, value)) = line.split_once('=')
            && format!("{table}{}", key.trim()) == "server.hot_deployment"
        {
            return (value.trim() != "false").then_some(number);
        }
    }
    Some(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_to_be_off_under_server_is_off() {
        for (text, line) in [
            ("[server]\nhostname = \"localhost\"\nhot_deployment = false # as in a container\n", None),
            ("server.hot_deployment=false\n[user_store]\ntype = \"ldap\"\n", None),
            ("[server]\n hot_deployment = true\n", Some(2)),
            ("[server]\nhostname = \"localhost\"\n", Some(1)),
            ("[server]\n# hot_deployment = false\n", Some(1)),
            ("[server]\n[transport.http]\nhot_deployment = false\n", Some(1)),
            ("", Some(1)),
        ] {
            assert_eq!(hot(text), line, "{text}");
        }
    }
}
