//! What a registry says of where a token is had. Pure.

use std::collections::HashMap;

/// The parameters of a `Bearer` challenge (RFC 7235), `None` for any other scheme.
pub(super) fn bearer_parameters(challenge: &str) -> Option<HashMap<String, String>> {
    let (scheme, mut rest) = challenge.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = HashMap::new();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => after.find(',').map_or((after, ""), |comma| after.split_at(comma)),
        };
        parameters.insert(name.trim().to_ascii_lowercase(), value.to_owned());
        rest = after.trim_start().trim_start_matches(',');
    }
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_read_by_its_quotes() {
        let parameters = bearer_parameters(
            r#"Bearer realm="https://auth.example.com/token",service="registry",scope="repository:a/b:pull,push""#,
        )
        .unwrap();
        assert_eq!(parameters["realm"], "https://auth.example.com/token");
        assert_eq!(parameters["service"], "registry");
        assert_eq!(parameters["scope"], "repository:a/b:pull,push");
        assert_eq!(bearer_parameters("bearer service=x, realm=y").unwrap()["realm"], "y");
        assert_eq!(bearer_parameters("Basic realm=\"x\""), None);
        assert_eq!(bearer_parameters("Bearer realm=\"x"), None);
    }
}
