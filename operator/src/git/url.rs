//! Text of a repository's URL in, a `GitUrl` that is safe to connect to and safe to print out. Everything that Git would
//! take as a path, a helper, an option or a credential is refused here, before any transport code.

use std::fmt;
use std::sync::Arc;

use url::{Host, Url};

use super::address;
pub use super::allowed::{UrlPolicy, allowed_host};

/// Why a URL is refused. No variant carries the text of the URL: it may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than 2,048 bytes.
    #[error("url: longer than 2048 bytes; use a shorter one")]
    TooLong,
    /// White space, control characters, backslash or characters outside of ASCII.
    #[error(
        "url: has white space, a backslash, or a character outside of printable ASCII; percent-encode it"
    )]
    Characters,
    /// Not of the form `https://host/path`.
    #[error("url: must be written https://<host>/<path>")]
    Form,
    /// SSH, in either spelling.
    #[error("url: ssh is not supported yet; use https://<host>/<path> with a credentials Secret")]
    Ssh,
    /// Plain HTTP outside of development.
    #[error("url: http is refused because it is not encrypted; use https")]
    PlainHttp,
    /// Any other scheme: file, git, ext, ...
    #[error("url: only the scheme https is accepted")]
    Scheme,
    /// A user or password in the URL.
    #[error("url: must not hold a user or password; remove it and name a Secret in `credentials`")]
    UserPart,
    /// `?...` or `#...`.
    #[error("url: must not have a query or a fragment; remove everything from `?` or `#` on")]
    QueryOrFragment,
    /// Empty, or with `..`, `//`, encoded separators, or a part that starts with `-`.
    #[error(
        "url: the path must be plain: not empty, no `.`, `..`, `//`, encoded `/` or `\\`, and no part that starts with `-`"
    )]
    Path,
    /// Not a host name, or one that ends in a dot.
    #[error("url: the host is not a plain host name or address")]
    Host,
    /// Inside the cluster or in a private network.
    #[error(
        "url: the host {0} is inside the cluster or a private network; the platform team can allow it by name"
    )]
    HostRefused(String),
    /// A port that the platform did not name for this host.
    #[error(
        "url: the port {1} of the host {0} is not allowed; leave the port out for 443, or ask the platform team to name {0}:{1} in the chart's `git.allowedHosts`"
    )]
    PortRefused(String, u16),
}

impl UrlError {
    /// Can the platform team allow it?
    pub fn is_refused_host(&self) -> bool {
        matches!(self, Self::HostRefused(_) | Self::PortRefused(..))
    }
}

/// A checked URL of a repository. `Display` prints it: it holds no credential.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GitUrl {
    text: Arc<str>,
    host: Arc<str>,
}

impl GitUrl {
    /// Checks `text` against the rules above.
    pub fn parse(text: &str, policy: &UrlPolicy) -> Result<Self, UrlError> {
        check_text(text)?;
        let url = Url::parse(text).map_err(|_| UrlError::Form)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlError::UserPart);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(UrlError::QueryOrFragment);
        }
        check_host(&url, policy)?;
        check_path(text, &url)?;
        match url.scheme() {
            "https" => {}
            "http" if policy.development => {}
            "http" => return Err(UrlError::PlainHttp),
            _ => return Err(UrlError::Scheme),
        }
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or(443));
        if !policy.allows_port(host, port) {
            return Err(UrlError::PortRefused(host.to_owned(), port));
        }
        let host = host.into();
        Ok(Self { text: url.as_str().trim_end_matches('/').into(), host })
    }

    /// Host without port, as it is compared with `UrlPolicy::allowed_hosts`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The text, without a trailing `/`.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What can be said of the text before it is parsed. The parser drops tabs and turns `\` into `/`, so they must go first.
fn check_text(text: &str) -> Result<(), UrlError> {
    if text.len() > 2048 {
        return Err(UrlError::TooLong);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return Err(UrlError::Characters);
    }
    let lower = text.to_ascii_lowercase();
    let Some((scheme, rest)) = lower.split_once("://") else {
        let scp_like =
            lower.split_once(':').is_some_and(|(user, _)| user.contains('@') && !user.contains('/'));
        return Err(if scp_like { UrlError::Ssh } else { UrlError::Form });
    };
    match scheme {
        "ssh" | "git+ssh" | "ssh+git" => return Err(UrlError::Ssh),
        "http" | "https" => {}
        _ => return Err(UrlError::Scheme),
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(UrlError::UserPart);
    }
    if authority.is_empty() || authority.starts_with('-') {
        return Err(UrlError::Host);
    }
    Ok(())
}

/// An address is judged here, because the resolver never sees it; a name also by its address when it is connected.
fn check_host(url: &Url, policy: &UrlPolicy) -> Result<(), UrlError> {
    let host = url.host().ok_or(UrlError::Host)?;
    let name = host.to_string();
    if policy.allows_host(&name) {
        return Ok(());
    }
    let refused = match host {
        Host::Ipv4(v4) => address::is_refused(v4.into()),
        Host::Ipv6(v6) => address::is_refused(v6.into()),
        Host::Domain(domain) => {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
            if domain.ends_with('.') || !domain.chars().all(plain) {
                return Err(UrlError::Host);
            }
            is_internal_name(domain)
        }
    };
    if refused { Err(UrlError::HostRefused(name)) } else { Ok(()) }
}

/// Names that only mean something inside: a search path of the cluster's DNS would complete them.
fn is_internal_name(domain: &str) -> bool {
    let last = domain.rsplit('.').next().unwrap_or_default();
    !domain.contains('.') || matches!(last, "svc" | "local" | "localhost" | "internal")
}

fn check_path(text: &str, url: &Url) -> Result<(), UrlError> {
    let path = url.path().trim_end_matches('/').strip_prefix('/').ok_or(UrlError::Path)?;
    // The parser resolves `..`, so what was written is looked at as well.
    let written =
        text.split_once("://").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
    let dots = |part: &str| {
        let part = part.to_ascii_lowercase().replace("%2e", ".");
        part == "." || part == ".."
    };
    let encoded = |part: &str| {
        let part = part.to_ascii_lowercase();
        ["%2f", "%5c", "%00", "%0a", "%0d"].iter().any(|code| part.contains(code))
    };
    let bad = |part: &str| part.is_empty() || part.starts_with('-') || dots(part) || encoded(part);
    if path.split('/').any(bad) || written.trim_end_matches('/').split('/').any(bad) {
        return Err(UrlError::Path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<GitUrl, UrlError> {
        GitUrl::parse(text, &UrlPolicy::default())
    }

    #[test]
    fn an_ordinary_url_passes_and_prints_as_written() {
        for text in [
            "https://git.example.com/acme/orders.git",
            "https://git.example.com/a/b/c",
            "https://dev.azure.com/org/my%20project/_git/repo",
            "https://140.82.121.4/acme/orders",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        assert_eq!(parse("https://git.example.com/a/").unwrap().to_string(), "https://git.example.com/a");
    }

    #[test]
    fn g01_paths_and_files_are_refused() {
        for text in
            ["file:///etc", "/etc", "../x", "", "https://", "file://localhost/etc", "C:\\repo", "https:/a/b"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn g02_helpers_and_other_schemes_are_refused() {
        for text in [
            "ext::sh -c id",
            "ext::sh",
            "fd::3",
            "hg::x",
            "gopher://h/x",
            "git://h.example/x",
            "ftp://h.example/x",
        ] {
            assert!(
                matches!(parse(text), Err(UrlError::Characters | UrlError::Form | UrlError::Scheme)),
                "{text}"
            );
        }
    }

    #[test]
    fn g03_ssh_and_options_are_refused() {
        for text in
            ["ssh://-oProxyCommand=id/x", "git@-oX:y", "git@git.example.com:a/b.git", "SSH://git@h.example/x"]
        {
            assert_eq!(parse(text), Err(UrlError::Ssh), "{text}");
        }
        for text in ["--upload-pack=id", "https://-oX/y", "https://h.example/--upload-pack=id", "-oX:y"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn g04_addresses_inside_are_refused_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "2130706433",
            "0177.0.0.1",
            "0x7f.1",
            "127.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "169.254.169.254",
            "10.0.0.1",
            "localhost",
            "kubernetes",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "metadata.google.internal",
        ] {
            let outcome = parse(&format!("https://{host}/a/b"));
            assert!(matches!(outcome, Err(UrlError::HostRefused(_))), "{host}: {outcome:?}");
        }
        assert_eq!(parse("https://kubernetes.default.svc./a"), Err(UrlError::Host));
    }

    #[test]
    fn a_host_that_the_platform_names_is_allowed() {
        let policy =
            UrlPolicy { development: false, allowed_hosts: vec!["git.internal".into(), "::1".into()] };
        assert!(GitUrl::parse("https://git.internal/a", &policy).is_ok());
        assert!(GitUrl::parse("https://GIT.internal:443/a", &policy).is_ok());
        assert!(GitUrl::parse("https://[::1]/a", &policy).is_ok());
        assert!(GitUrl::parse("https://other.internal/a", &policy).is_err());
    }

    #[test]
    fn only_ports_that_the_platform_names_are_asked() {
        let hosts = ["git.corp.example:8443", "both.example", "both.example:8443", "[::1]:444"];
        let policy = UrlPolicy { development: false, allowed_hosts: hosts.map(Into::into).to_vec() };
        let parse = |text: &str| GitUrl::parse(text, &policy);
        for text in [
            "https://git.corp.example:8443/a",
            "https://both.example/a",
            "https://both.example:8443/a",
            "https://[::1]:444/a",
            "https://public.example/a",
            "https://public.example:443/a",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
        for (host, port) in [
            ("git.corp.example", 443),
            ("git.corp.example", 22),
            ("both.example", 22),
            ("[::1]", 443),
            ("public.example", 8443),
        ] {
            let error = parse(&format!("https://{host}:{port}/a")).unwrap_err();
            assert_eq!(error, UrlError::PortRefused(host.to_owned(), port));
            assert!(error.is_refused_host() && error.to_string().contains("git.allowedHosts"));
        }
        assert!(
            ["", ":443", "a:b", "a:0", "a:70000", "[::1", "[::1]x", "https://a"]
                .iter()
                .all(|entry| allowed_host(entry).is_none())
        );
        assert_eq!(
            (allowed_host("fd00::1"), allowed_host("[fd00::1]")),
            (Some(("fd00::1", 443)), Some(("fd00::1", 443)))
        );
    }

    #[test]
    fn http_needs_development() {
        let development = UrlPolicy { development: true, allowed_hosts: vec![] };
        assert_eq!(parse("http://git.example.com/a"), Err(UrlError::PlainHttp));
        assert!(GitUrl::parse("http://git.example.com/a", &development).is_ok());
    }

    #[test]
    fn g06_a_credential_in_the_url_is_refused_and_not_repeated() {
        for text in [
            "https://bob:hunter2@git.example.com/a",
            "https://hunter2@git.example.com/a",
            "https://@h.example/a",
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error, UrlError::UserPart, "{text}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
        for text in [
            "ssh://bob:hunter2@h/x",
            "bob:hunter2@h:x",
            "https://a b:hunter2@h/x",
            "https://h.example/x?hunter2",
        ] {
            let error = parse(text).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn queries_fragments_and_odd_paths_are_refused() {
        assert_eq!(parse("https://h.example/a?b=c"), Err(UrlError::QueryOrFragment));
        assert_eq!(parse("https://h.example/a#b"), Err(UrlError::QueryOrFragment));
        for path in
            ["", "/", "/a/../b", "/a/%2e%2E/b", "/a//b", "/a/%2fb", "/./a", "/a/-b", "/a%0a", "/a%5cb"]
        {
            assert_eq!(parse(&format!("https://h.example{path}")), Err(UrlError::Path), "{path}");
        }
        assert_eq!(parse("https://h.example/a\\b"), Err(UrlError::Characters));
        assert_eq!(parse("https://h.example/a\nb"), Err(UrlError::Characters));
        assert_eq!(parse("https://h\u{430}.example/a"), Err(UrlError::Characters));
    }
}
