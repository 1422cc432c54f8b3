//! IO: standard output and error, and whether they take colour.

use std::{
    error::Error,
    io::{self, IsTerminal, Write},
};

use imaas_operator::names::is_invisible;
use kube::core::Status;

/// Colours of a text, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// Is the reader a terminal that wants colour?
    pub coloured: bool,
}

/// What a part of a text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Comes.
    Good,
    /// Changes, or wants a look.
    Attention,
    /// Goes, or is wrong.
    Bad,
    /// Less important than the rest.
    Aside,
    /// More important than the rest.
    Heading,
}

impl Style {
    /// For standard output: colour on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
    pub fn of_stdout() -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self { coloured: io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb }
    }

    /// `text` in the colour of its meaning.
    pub fn paint(self, meaning: Meaning, text: &str) -> String {
        if !self.coloured || text.is_empty() {
            return text.to_owned();
        }
        let code = match meaning {
            Meaning::Good => "32",
            Meaning::Attention => "33",
            Meaning::Bad => "31",
            Meaning::Aside => "2",
            Meaning::Heading => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Columns as wide as what is in them, two spaces apart; the last ends where it ends.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let head = head.map(ToOwned::to_owned);
    let all = || std::iter::once(&head).chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    all().map(line).collect()
}

/// Writes to standard output. A reader that went away (`| head`) is no failure.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes to standard error; there is nobody to tell when that fails.
pub fn complain(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// `error` and its causes, each once: many a library repeats its cause in its own words.
pub fn causes(error: &anyhow::Error) -> String {
    error.chain().map(cause).fold(String::new(), |told, cause| {
        if told.is_empty() {
            cause
        } else if told.contains(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    })
}

fn cause(error: &(dyn Error + 'static)) -> String {
    let status = match error.downcast_ref() {
        Some(kube::Error::Api(status)) => Some(status),
        _ => error.downcast_ref::<Box<Status>>(),
    };
    status.map_or_else(|| error.to_string(), |status| reworded(said(status)))
}

/// Why the API server does not let the user do it, where that is what is wrong.
pub fn refusal(error: &anyhow::Error) -> Option<String> {
    match error.downcast_ref()? {
        kube::Error::Api(status) if status.is_forbidden() => Some(reworded(said(status))),
        _ => None,
    }
}

/// What the API server says, without the object and the policy that it names before.
fn said(status: &Status) -> &str {
    let after = |text: &'static str| move |message| str::split_once(message, text).map(|(_, said)| said);
    let message = after(" is forbidden: ")(&status.message).unwrap_or(&status.message);
    after(" denied request: ")(message).unwrap_or(message)
}

/// `said`; of a right that is missing, whose it is not and who gives it.
fn reworded(said: &str) -> String {
    lacking(said).unwrap_or_else(|| said.to_owned())
}

/// Of `User "jo" cannot get resource "releases" in API group "imaas.dev" in the namespace "acme-home"`, as Kubernetes says it.
fn lacking(said: &str) -> Option<String> {
    let (user, rest) = said.strip_prefix("User \"")?.split_once("\" cannot ")?;
    let (verb, rest) = rest.split_once(" resource \"")?;
    let (resource, rest) = rest.split_once('"')?;
    let namespace = rest.split_once(" in the namespace \"").and_then(|(_, rest)| rest.split('"').next());
    Some(match namespace {
        Some(namespace) => format!(
            "you, {user}, may not {verb} {resource} in {namespace}: whoever writes the tenant's file gives you a role there, in `members`"
        ),
        None => format!("you, {user}, may not {verb} {resource} of the whole cluster: ask the platform team"),
    })
}

/// `text` from a file, on one line and without what would steer a terminal or hide from the reader.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if is_invisible(c) { '\u{fffd}' } else { c }).collect()
}

/// `1 tenant`, `2 tenants`.
pub fn count(number: usize, one: &str) -> String {
    match (number, one.strip_suffix('y')) {
        (1, _) => format!("1 {one}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_says_cannot_steer_the_terminal() {
        assert_eq!(plain("a\x1b[31mb\nc\u{202e}d"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
    }

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let cause =
            anyhow::anyhow!("no such file").context("cannot read 'a': no such file").context("no cluster");
        assert_eq!(causes(&cause), "no cluster: cannot read 'a': no such file");
    }

    fn forbidden(message: &str) -> anyhow::Error {
        let status = Status::failure(message, "Forbidden").with_code(403).boxed();
        anyhow::Error::new(kube::Error::Api(status)).context("the decision is not taken")
    }

    #[test]
    fn a_refused_right_is_the_sentence_of_the_api_server() {
        let policy = forbidden(
            "releasedecisions.imaas.dev \"orders-prod-approve-x\" is forbidden: ValidatingAdmissionPolicy 'imaas-decisions' with binding 'imaas-decisions' denied request: you may not approve releases in billing-eu-prod",
        );
        assert_eq!(refusal(&policy).as_deref(), Some("you may not approve releases in billing-eu-prod"));
        let stranger = "User \"jo\" cannot get resource \"integrationservices\" in API group \"imaas.dev\" in the namespace \"acme-home\"";
        let read = forbidden(&format!("integrationservices.imaas.dev \"orders\" is forbidden: {stranger}"));
        let words = "you, jo, may not get integrationservices in acme-home: whoever writes the tenant's file gives you a role there, in `members`";
        assert_eq!(refusal(&read).as_deref(), Some(words));
        assert_eq!(causes(&read), format!("the decision is not taken: {words}"));
        let of_all =
            "User \"jo\" cannot list resource \"tenants\" in API group \"imaas.dev\" at the cluster scope";
        let words = "you, jo, may not list tenants of the whole cluster: ask the platform team";
        assert_eq!(causes(&forbidden(of_all)), format!("the decision is not taken: {words}"));
        let missing = Status::failure("no such kind", "NotFound").with_code(404).boxed();
        let missing = anyhow::Error::new(kube::Error::Api(missing));
        assert_eq!((refusal(&missing), causes(&missing)), (None, "no such kind".to_owned()));
    }

    #[test]
    fn only_a_terminal_gets_colour() {
        assert_eq!(Style { coloured: false }.paint(Meaning::Bad, "x"), "x");
        assert_eq!(Style { coloured: true }.paint(Meaning::Bad, "x"), "\x1b[31mx\x1b[0m");
    }
}
