//! A report in the words of people and of GitHub Actions. Pure.

use std::{collections::BTreeSet, fmt::Write};

use super::Report;
use crate::{
    check::{QUOTE, Told},
    output::{Meaning, Style, count, plain},
};

/// For people: each problem with its line, then one line of summary, then what was not checked.
pub fn text(report: &Report, style: Style) -> String {
    let mut out = String::new();
    for problem in &report.problems {
        let place = style.paint(Meaning::Heading, &problem.place());
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{place}: {}", problem.sentence());
        out += &quoted(problem, style);
    }
    let Report { checked, platform, problems, warnings, notes } = report;
    for warning in warnings {
        let place = style.paint(Meaning::Heading, &warning.place());
        let _ =
            writeln!(out, "{place}: {} {}", style.paint(Meaning::Attention, "warning:"), warning.sentence());
        out += &quoted(warning, style);
    }
    let warned =
        if warnings.is_empty() { String::new() } else { format!(", {}", count(warnings.len(), "warning")) };
    let beside = platform.as_ref().map(|from| format!(", beside {from}")).unwrap_or_default();
    if problems.is_empty() {
        let _ = writeln!(out, "{checked}{beside}: {}{warned}", style.paint(Meaning::Good, "no problems"));
    } else {
        let files: BTreeSet<&str> = problems.iter().map(|problem| problem.file.as_str()).collect();
        let found = format!("{} in {}", count(problems.len(), "problem"), count(files.len(), "file"));
        let _ = writeln!(out, "\n{}{warned} ({checked}{beside})", style.paint(Meaning::Bad, &found));
    }
    for note in notes {
        let _ = writeln!(out, "{} {note}", style.paint(Meaning::Attention, "not checked:"));
    }
    out
}

/// The line, and a mark below the place.
fn quoted(problem: &Told, style: Style) -> String {
    let Some(line) = &problem.quote else { return String::new() };
    let shown = plain(&masked(&line.replace('\t', " ")));
    let number = problem.line.to_string();
    let margin = " ".repeat(number.len());
    let mut out = format!("  {} {shown}\n", style.paint(Meaning::Aside, &format!("{number} |")));
    let before = (problem.column as usize).saturating_sub(1);
    if before < QUOTE {
        let mark = style.paint(Meaning::Bad, "^");
        let _ = writeln!(
            out,
            "  {} {}{mark}",
            style.paint(Meaning::Aside, &format!("{margin} |")),
            " ".repeat(before)
        );
    }
    out
}

/// `line` without the logins that stand in its addresses: it may be read in a CI's log by more people than the file.
fn masked(line: &str) -> String {
    let (mut told, mut rest) = (String::with_capacity(line.len()), line);
    while let Some((before, address)) = rest.split_once("://") {
        let host = address.find(|c: char| c.is_whitespace() || "\"'".contains(c)).unwrap_or(address.len());
        let login = address[..host].rfind('@').unwrap_or_default();
        told.extend([before, "://", &"*".repeat(address[..login].chars().count())]);
        rest = &address[login..];
    }
    told + rest
}

/// Workflow commands: `::error file=…,line=…,col=…::…`, and `::warning`. `path` makes the path that GitHub knows.
pub fn github(report: &Report, path: impl Fn(&str) -> String) -> String {
    let mut out = String::new();
    let problems = report.problems.iter().map(|problem| ("error", problem));
    for (command, told) in problems.chain(report.warnings.iter().map(|warning| ("warning", warning))) {
        let mut place = format!("file={}", property(&plain(&path(&told.file))));
        if told.line > 0 {
            let _ = write!(place, ",line={},col={}", told.line, told.column);
        }
        let _ = writeln!(out, "::{command} {place}::{}", message(&told.sentence()));
    }
    for note in &report.notes {
        let _ = writeln!(out, "::warning ::{}", message(&format!("not checked: {note}")));
    }
    let _ = writeln!(out, "{}: {}", report.checked, count(report.problems.len(), "problem"));
    out
}

/// As GitHub's runner takes it back apart.
fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::Checked;

    #[test]
    fn a_login_in_an_address_is_shown_to_nobody() {
        for (line, shown) in [
            ("url: \"amqp://jo:geheim@r:5672/\" # a@b", "url: \"amqp://*********@r:5672/\" # a@b"),
            (
                "a http://x:y/z@h, b: https://git.example.com/a.git",
                "a http://*****@h, b: https://git.example.com/a.git",
            ),
            ("runtme: camel", "runtme: camel"),
        ] {
            assert_eq!(masked(line), shown);
        }
    }

    fn report() -> Report {
        let told = |line, column, field: &str, message: &str, quote: Option<&str>| Told {
            file: "tenants/acme.yaml".into(),
            line,
            column,
            field: field.into(),
            message: message.into(),
            quote: quote.map(Into::into),
        };
        let unknown = "unknown field, did you mean \"runtime\"?";
        let problems = vec![
            told(14, 7, "spec.services[0].runtme", unknown, Some("      runtme: camel")),
            told(0, 0, "", "100% wrong\n::error", None),
        ];
        let notes = vec!["nothing is known".to_owned()];
        Report {
            checked: Checked { tenants: Some(2), services: Some(3), ..Checked::default() },
            platform: Some("platform.yaml".into()),
            problems,
            warnings: vec![told(
                9,
                5,
                "spec.services[0].exportTo[0].tenant",
                "there is no tenant \"beta\" here",
                None,
            )],
            notes,
        }
    }

    #[test]
    fn people_see_the_line_and_what_to_write() {
        insta::assert_snapshot!(text(&report(), Style::default()));
    }

    #[test]
    fn all_well_is_one_line() {
        let well = Report { problems: Vec::new(), warnings: Vec::new(), notes: Vec::new(), ..report() };
        assert_eq!(
            text(&well, Style::default()),
            "2 tenants, 3 services, beside platform.yaml: no problems\n"
        );
    }

    #[test]
    fn annotations_are_escaped_as_github_reads_them() {
        let told = github(&report(), |file| format!("a:b,{file}"));
        let lines: Vec<_> = told.lines().collect();
        assert_eq!(
            lines[0],
            "::error file=a%3Ab%2Ctenants/acme.yaml,line=14,col=7::spec.services[0].runtme: unknown field, did you mean \"runtime\"?"
        );
        assert_eq!(lines[1], "::error file=a%3Ab%2Ctenants/acme.yaml::100%25 wrong%0A::error");
        assert_eq!(
            lines[2],
            "::warning file=a%3Ab%2Ctenants/acme.yaml,line=9,col=5::spec.services[0].exportTo[0].tenant: there is no tenant \"beta\" here"
        );
        assert_eq!(lines[3], "::warning ::not checked: nothing is known");
        assert_eq!(lines.len(), 5);
    }
}
