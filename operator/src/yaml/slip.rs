//! What was probably meant where the parser stopped: slips of a hand that writes YAML, told where each was made. Pure.

use super::{
    Problem,
    node::Place,
    words::{UNCLOSED, quoted, unspaced},
};

/// A line that says something.
struct Line<'a> {
    number: u32,
    /// How far its first character is indented.
    indent: usize,
    /// The same of its text, which follows any `- `.
    margin: usize,
    text: &'a str,
}

impl<'a> Line<'a> {
    fn of((content, number): (&'a str, u32)) -> Option<Self> {
        let unindented = content.trim_start_matches(' ');
        let mut text = unindented;
        while let Some(rest) = text.strip_prefix("- ") {
            text = rest.trim_start_matches(' ');
        }
        let [indent, margin] = [unindented, text].map(|rest| content.len() - rest.len());
        let is_said = !text.trim_end().is_empty() && !text.starts_with('#');
        is_said.then(|| Self { number, indent, margin, text: text.trim_end() })
    }

    /// A problem with what stands behind so many characters of it.
    fn problem(&self, before: usize, message: impl Into<String>) -> Problem {
        let column = u32::try_from(before + 1).unwrap_or(u32::MAX);
        Place { line: self.number, column }.problem(message)
    }
}

/// Told in place of `stopped`, with which reading `text` ended.
pub(super) fn slip(text: &str, stopped: &Problem) -> Option<Problem> {
    indented_by_tab(text, stopped.line).or_else(|| misread(text, stopped))
}

fn misread(text: &str, stopped: &Problem) -> Option<Problem> {
    let read = text.lines().zip(1..).take_while(|(_, number)| *number <= stopped.line);
    let lines: Vec<_> = read.filter_map(Line::of).collect();
    let (at, before) = lines.split_last()?;
    match stopped.message.as_str() {
        "mapping values are not allowed in this context" => {
            second_colon(at).or_else(|| without_value(before.last()?)).or_else(|| misplaced(at, before))
        }
        "simple key expected ':'" => without_value(at),
        told if told.contains("did not find expected") => misplaced(at, before),
        told if told.contains("quoted scalar") => unclosed(&lines, stopped),
        _ => None,
    }
}

/// A problem at `line`, which follows from a tab there or in a line beside it.
fn indented_by_tab(text: &str, line: u32) -> Option<Problem> {
    let lines = text.lines().zip(1..).skip_while(|(_, number)| number + 1 < line);
    let of_line = |(content, number): (&str, u32)| {
        let indentation = &content[..content.len() - content.trim_start_matches([' ', '\t']).len()];
        let column = u32::try_from(indentation.find('\t')?).ok()? + 1;
        Some(Place { line: number, column })
    };
    let at = lines.take_while(|(_, number)| *number <= line + 1).find_map(of_line)?;
    Some(at.problem("a tab indents this line, which YAML does not take: use spaces"))
}

/// `contact: x: y`.
fn second_colon(line: &Line<'_>) -> Option<Problem> {
    let (key, value) = line.text.split_once(": ")?;
    let is_second = value.contains(": ") || value.ends_with(':');
    is_second.then(|| {
        let message =
            format!("text that holds a `: ` must stand in quotes: write `{key}: {}`", quoted(value));
        line.problem(line.margin + line.text.len() - value.len(), message)
    })
}

/// `name:orders`, or `name` alone.
fn without_value(line: &Line<'_>) -> Option<Problem> {
    if let Some(key) = unspaced(line.text) {
        let message = format!("a space is missing after the colon: write `{key}: …`");
        return Some(line.problem(line.margin + key.len(), message));
    }
    let is_word = line.text.chars().all(|c| c.is_ascii_alphanumeric());
    let message = || format!("a colon is missing: write `{}: …`", line.text);
    is_word.then(|| line.problem(line.margin + line.text.len(), message()))
}

/// Where `at` begins between the columns of the lines `before` it, or right of one that has a value.
fn misplaced(at: &Line<'_>, before: &[Line<'_>]) -> Option<Problem> {
    let column = |line: &Line<'_>| if at.indent < at.margin { line.indent } else { line.margin };
    let is_right = |line: &&Line<'_>| column(line) > column(at);
    // What it is to stand below: of the lines that are further right the one that is so least, else the last one.
    let beside = before.iter().rev().take_while(is_right).min_by_key(|line| column(line)).or(before.last())?;
    let message = format!(
        "this line begins at column {}, and line {} at column {}: begin both at the same, or this one further right if it belongs to that",
        column(at) + 1,
        beside.number,
        column(beside) + 1
    );
    (column(beside) != column(at)).then(|| at.problem(column(at), message))
}

/// A quote above that `stopped` follows from, else one that ends the text too early.
fn unclosed(lines: &[Line<'_>], stopped: &Problem) -> Option<Problem> {
    let above = lines.iter().rev().filter(|line| line.number < stopped.line);
    let opened = above.filter_map(|line| Some(line.problem(line.margin + open_quote(line.text)?, UNCLOSED)));
    opened.into_iter().next().or_else(|| {
        let message =
            "the text ended at the quote before this: write all of it in one pair of quotes, as \"it's me\"";
        Some(Problem { message: message.to_owned(), ..stopped.clone() })
    })
}

/// How many characters stand before a quote in `text` that does not end there.
fn open_quote(text: &str) -> Option<usize> {
    let (mut open, mut last) = (None, ' ');
    for (before, c) in text.chars().enumerate() {
        match open {
            Some((_, quote)) if quote == c && last != '\\' => open = None,
            None if matches!(c, '"' | '\'') && " [{,".contains(last) => open = Some((before, c)),
            Some(_) | None => {}
        }
        last = c;
    }
    open.map(|(before, _)| before)
}
