//! Whether a `deployment.toml` of WSO2 Micro Integrator lets it deploy while it runs. Pure.
//!
//! Whoever mounts or builds in such a file without `[server] hot_deployment = false` turns it on; readiness, which counts
//! faulty applications, is then not to be believed.

use toml::de::DeTable;

/// What such a file is called, wherever it lies.
pub const FILE: &str = "deployment.toml";

const ADVICE: &str = "Micro Integrator deploys artifacts while it runs, so that it is ready before they are: write `hot_deployment = false` under `[server]`";

/// Line and column, from 1, and what is to be changed there; nothing where it is off. Where nothing says anything, which turns
/// it on, too, that is the beginning.
pub fn warning(text: &str) -> Option<((u32, u32), String)> {
    let deployment = match DeTable::parse(text) {
        Ok(deployment) => deployment.into_inner(),
        Err(error) => {
            let message = format!(
                "whether Micro Integrator deploys artifacts while it runs is not known, since this is not read as TOML: {}",
                error.message()
            );
            return Some((place(text, error.span().map_or(0, |span| span.start)), message));
        }
    };
    let server = deployment.get("server").and_then(|server| server.get_ref().as_table());
    let start = match server.and_then(|server| server.get("hot_deployment")) {
        Some(said) if said.get_ref().as_bool() == Some(false) => return None,
        Some(said) => said.span().start,
        None => 0,
    };
    Some((place(text, start), ADVICE.to_owned()))
}

/// Of a byte of `text`.
fn place(text: &str, byte: usize) -> (u32, u32) {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    let number = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
    (number(before.matches('\n').count()), number(line.chars().count()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_to_be_off_under_server_is_off() {
        for (text, place) in [
            ("[server]\nhostname = \"localhost\"\nhot_deployment = false # as in a container\n", None),
            ("server.hot_deployment=false\n[user_store]\ntype = \"ldap\"\n", None),
            ("server = {hostname = \"localhost\", hot_deployment = false}\n", None),
            ("[\"server\"]\n'hot_deployment' = false\n", None),
            ("[server]\nhostname = \"#1\" # [x]\n\"hot_deployment\" = false\n", None),
            ("[server]\n hot_deployment = true\n", Some((2, 19))),
            ("[server]\nhot_deployment = \"false\"\n", Some((2, 18))),
            ("[server]\nhostname = \"localhost\"\n", Some((1, 1))),
            ("[server]\n# hot_deployment = false\n", Some((1, 1))),
            ("[server]\n[transport.http]\nhot_deployment = false\n", Some((1, 1))),
            ("[server]\nmotd = \"\"\"\nhot_deployment = false\n\"\"\"\n", Some((1, 1))),
            ("server = 1\n", Some((1, 1))),
            ("", Some((1, 1))),
        ] {
            let told = warning(text);
            assert_eq!(told.as_ref().map(|(place, _)| *place), place, "{text}");
            assert!(told.is_none_or(|(_, message)| message == ADVICE), "{text}");
        }
    }

    #[test]
    fn what_is_no_toml_is_told_where_it_is_none() {
        for (text, place, words) in [
            ("[server]\nhost = 'ö' x\n", (2, 12), "not read as TOML: "),
            ("[server]\nhot_deployment = false\nhot_deployment = false\n", (3, 1), "duplicate key"),
        ] {
            let (at, message) = warning(text).unwrap();
            assert_eq!(at, place, "{text}: {message}");
            assert!(message.contains(words), "{message}");
        }
    }
}
