//! A plan in the words of a terminal and of a pull request's comment. Pure.

use std::fmt::Write;

use super::difference::{Action, Change, Field, Plan, Summary, TenantPlan};
use crate::{
    check::Told,
    output::{Meaning, Style, count, plain},
};

impl Action {
    fn sign(self) -> &'static str {
        match self {
            Self::Create => "+",
            Self::Change | Self::Return => "~",
            Self::Remove | Self::Retire => "-",
            Self::Hold => "!",
        }
    }

    /// What happens, in a word or two.
    fn word(self) -> &'static str {
        match self {
            Self::Create => "new",
            Self::Change => "changes",
            Self::Return => "comes back",
            Self::Remove => "goes at once",
            Self::Retire => "retires",
            Self::Hold => "held",
        }
    }

    fn meaning(self) -> Meaning {
        match self {
            Self::Create => Meaning::Good,
            Self::Change | Self::Return => Meaning::Attention,
            Self::Remove | Self::Retire | Self::Hold => Meaning::Bad,
        }
    }
}

/// For a terminal.
pub fn text(plan: &Plan, style: Style) -> String {
    let mut out = format!("{}\n", style.paint(Meaning::Heading, &heading(plan)));
    for tenant in &plan.tenants {
        let title =
            format!("{} tenant {}: {}", tenant.action.sign(), plain(&tenant.name), tenant.action.word());
        // Writing to a String cannot fail.
        let _ = writeln!(out, "\n{}", style.paint(tenant.action.meaning(), &title));
        for (action, line) in lines(tenant) {
            let _ = writeln!(out, "    {} {line}", style.paint(action.meaning(), action.sign()));
        }
        for problem in &tenant.problems {
            let _ = writeln!(out, "    {}", told(problem));
        }
        for sentence in &tenant.told {
            let _ = writeln!(out, "    {sentence}");
        }
    }
    if !plan.tenants.is_empty() {
        out.push('\n');
    }
    for warning in &plan.warnings {
        let _ = writeln!(out, "{} {warning}", style.paint(Meaning::Bad, "WARNING:"));
    }
    let _ = writeln!(out, "{}", style.paint(Meaning::Heading, &summary(&plan.summary)));
    for note in &plan.notes {
        let _ = writeln!(out, "{} {note}", style.paint(Meaning::Attention, "note:"));
    }
    out
}

/// For a comment in a pull request. Whatever a file says stays text: it stands in a fence that it cannot close.
pub fn markdown(plan: &Plan) -> String {
    let mut out = format!("### {}\n\n{}\n", summary(&plan.summary), heading(plan));
    for warning in &plan.warnings {
        let _ = writeln!(out, "\n> [!WARNING]\n> {}", inline(warning));
    }
    for tenant in &plan.tenants {
        let name = plain(&tenant.name).replace('`', "'");
        let _ = writeln!(out, "\n**{} tenant `{name}`: {}**\n", tenant.action.sign(), tenant.action.word());
        for sentence in &tenant.told {
            let _ = writeln!(out, "{}\n", inline(sentence));
        }
        let mut block = String::new();
        for (action, line) in lines(tenant) {
            let _ = writeln!(block, "{} {line}", action.sign());
        }
        for problem in &tenant.problems {
            let _ = writeln!(block, "! {}", told(problem));
        }
        if !block.is_empty() {
            let fence = "`".repeat(longest_run(&block).max(2) + 1);
            let _ = writeln!(out, "{fence}diff\n{block}{fence}");
        }
    }
    for note in &plan.notes {
        let _ = writeln!(out, "\n_Note: {}_", inline(note));
    }
    out
}

fn heading(plan: &Plan) -> String {
    let commit = plan.commit.as_ref().map(|commit| format!(" ({})", commit.get(..12).unwrap_or(commit)));
    format!("Plan against {}{}", plan.against, commit.unwrap_or_default())
}

fn summary(summary: &Summary) -> String {
    let Summary { create, change, retire, hold, unchanged } = summary;
    let parts = [(create, "to create"), (change, "to change"), (retire, "to retire"), (hold, "held")];
    let told: Vec<String> = parts
        .iter()
        .filter(|(count, _)| **count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    let rest = count(*unchanged, "tenant");
    match (told.is_empty(), unchanged) {
        (true, _) => format!("Nothing changes ({rest})"),
        (false, 0) => format!("Tenants: {}", told.join(", ")),
        (false, _) => format!("Tenants: {}, {unchanged} unchanged", told.join(", ")),
    }
}

/// The changes in columns.
fn lines(tenant: &TenantPlan) -> Vec<(Action, String)> {
    let name_width =
        tenant.changes.iter().map(|change| change.name.chars().count()).max().unwrap_or_default().min(40);
    let kind_width =
        tenant.changes.iter().map(|change| change.kind.to_string().len()).max().unwrap_or_default();
    let line = |change: &Change| {
        let mut fields: Vec<String> =
            change.fields.iter().map(|field| told_field(change.action, field)).collect();
        if matches!(change.action, Action::Return | Action::Remove | Action::Retire | Action::Hold) {
            fields.push(change.action.word().to_owned());
        }
        let Change { kind, name, .. } = change;
        format!("{kind:kind_width$}  {name:name_width$}  {}", fields.join(", ")).trim_end().to_owned()
    };
    tenant.changes.iter().map(|change| (change.action, line(change))).collect()
}

fn told_field(action: Action, field: &Field) -> String {
    let Field { name, before, after } = field;
    let or_none = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
    let told = match (action, after) {
        (Action::Create | Action::Return, Some(after)) => format!("{name} {after}"),
        (_, after) => format!("{name} {} → {}", or_none(before), or_none(after)),
    };
    told.trim_start().to_owned()
}

fn told(problem: &Told) -> String {
    format!("{}: {}", problem.place(), problem.sentence())
}

/// Text outside of a fence: nothing in it is markup, a link or a mention.
fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' => out.extend(['\\', c]),
            '@' => out.push_str("&#64;"),
            '&' => out.push_str("&amp;"),
            other => out.push(other),
        }
    }
    out
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or_default()
}
