//! Bytes → tree of values that know where they stand. Refuses what a description never needs. Pure.
//!
//! Built on the events of `granit-parser`, which `serde-saphyr` stands on too: it alone tells the position of keys.

use std::{borrow::Cow, collections::HashMap};

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};
use serde_json::{Map, Number, Value};

use super::{MAX_BYTES, Problem, slip::slip, words::of_parser};
use crate::names::is_invisible;

/// The deepest nesting; the deepest valid file has eight.
const MAX_DEPTH: usize = 24;

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub line: u32,
    pub column: u32,
}

impl Place {
    fn of(marker: Marker) -> Self {
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { line: number(marker.line()), column: number(marker.col() + 1) }
    }

    pub fn problem(self, message: impl Into<String>) -> Problem {
        Problem { line: self.line, column: self.column, path: String::new(), message: message.into() }
    }
}

/// A value and where it begins and ends.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub content: Content,
    pub start: Place,
    pub end: Place,
}

#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Null, boolean, number or text.
    Scalar(Value),
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// One line of a mapping.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub value: Node,
}

impl Node {
    /// Those of a mapping, else none.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Mapping(entries) => entries,
            Content::Scalar(_) | Content::Sequence(_) => &[],
        }
    }

    /// A tree without places.
    pub fn of(value: &Value) -> Self {
        let content = match value {
            Value::Array(items) => Content::Sequence(items.iter().map(Self::of).collect()),
            Value::Object(fields) => Content::Mapping(
                fields
                    .iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        place: Place::default(),
                        value: Self::of(value),
                    })
                    .collect(),
            ),
            scalar => Content::Scalar(scalar.clone()),
        };
        Self { content, start: Place::default(), end: Place::default() }
    }

    /// The value without places.
    pub fn json(&self) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::Sequence(items) => items.iter().map(Self::json).collect(),
            Content::Mapping(entries) => {
                let fields: Map<_, _> =
                    entries.iter().map(|entry| (entry.key.clone(), entry.value.json())).collect();
                Value::Object(fields)
            }
        }
    }

    /// The entry of a mapping.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.content {
            Content::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            Content::Scalar(_) | Content::Sequence(_) => None,
        }
    }

    /// A problem with this value.
    pub fn problem(&self, path: String, message: impl Into<String>) -> Problem {
        Problem { path, ..self.start.problem(message) }
    }

    /// Does this value span the position?
    pub fn contains(&self, line: u32, column: u32) -> bool {
        let place = Place { line, column };
        self.start <= place && place < self.end
    }
}

impl Entry {
    /// A problem with the key.
    pub fn problem(&self, path: String, message: impl Into<String>) -> Problem {
        Problem { path, ..self.place.problem(message) }
    }
}

/// The most that is read of the platform's definitions, in bytes: as `kubectl get -o yaml` prints them.
const MAX_DEFINITIONS: usize = 4 << 20;

/// The only document of `text`, which is a mapping, and what is wrong with its YAML. `Err` where reading stopped.
pub(super) fn compose(text: &[u8]) -> Result<(Node, Vec<Problem>), Problem> {
    let text = readable(text, MAX_BYTES)?;
    let alone = |text| {
        let (mut roots, problems) = composed(text, true)?;
        let first = Place { line: 1, column: 1 };
        match roots.pop() {
            Some(root) if matches!(root.content, Content::Mapping(_)) => Ok((root, problems)),
            None | Some(Node { content: Content::Scalar(Value::Null), .. }) => {
                Err(first.problem("the file is empty"))
            }
            Some(root) => {
                Err(root.problem(String::new(), "expected fields such as `apiVersion: imaas.dev/v1alpha1`"))
            }
        }
    };
    alone(text).map_err(|problem| slip(text, &problem).unwrap_or(problem))
}

/// All documents of `text`, of whatever content, and what is wrong with their YAML. `Err` where reading stopped.
pub(super) fn documents(text: &[u8]) -> Result<(Vec<Node>, Vec<Problem>), Problem> {
    let text = readable(text, MAX_DEFINITIONS)?;
    composed(text, false).map_err(|problem| slip(text, &problem).unwrap_or(problem))
}

fn composed(text: &str, is_alone: bool) -> Result<(Vec<Node>, Vec<Problem>), Problem> {
    let options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut composer =
        Composer { parser: Parser::new_from_str_with_options(text, options), problems: Vec::new() };
    let mut roots = Vec::new();
    loop {
        let (event, span) = composer.next()?;
        match event {
            Event::StreamStart | Event::DocumentEnd => {}
            Event::DocumentStart(..) if is_alone && !roots.is_empty() => {
                return Err(
                    Place::of(span.start).problem("a second document begins: one file is one document")
                );
            }
            Event::DocumentStart(..) => {
                let (event, span) = composer.next()?;
                roots.push(composer.node(event, span, 0)?);
            }
            Event::StreamEnd => return Ok((roots, composer.problems)),
            _ => return Err(Place::of(span.start).problem("not understood as YAML")),
        }
    }
}

/// The bytes as text that an editor shows in full.
fn readable(bytes: &[u8], most: usize) -> Result<&str, Problem> {
    let first = Place { line: 1, column: 1 };
    if bytes.len() > most {
        return Err(first.problem(format!("the file has {} bytes, at most {most} are read", bytes.len())));
    }
    if bytes.starts_with(&[0xFE, 0xFF]) || bytes.starts_with(&[0xFF, 0xFE]) {
        return Err(first.problem("the file is UTF-16: save it as UTF-8"));
    }
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        return Err(first.problem("the file begins with a byte order mark: save it as UTF-8 without one"));
    }
    let text = str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        end_of(&before).problem("not UTF-8 from here on: save the file as UTF-8")
    })?;
    match text.char_indices().find(|(_, c)| is_hidden(*c)) {
        Some((at, c)) => Err(end_of(&text[..at])
            .problem(format!("the invisible character U+{:04X} stands here: remove it", u32::from(c)))),
        None => Ok(text),
    }
}

/// What is read must be what is seen.
fn is_hidden(c: char) -> bool {
    is_invisible(c) && !matches!(c, '\n' | '\r' | '\t')
}

/// The place just after `text`.
fn end_of(text: &str) -> Place {
    let line = text.matches('\n').count() + 1;
    let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place { line: number(line), column: number(column) }
}

struct Composer<'a> {
    parser: Parser<'a, StrInput<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Composer<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(Place::of(*error.marker()).problem(of_parser(&error.info()))),
            None => Ok((Event::StreamEnd, Span::empty(Marker::new(0, 1, 0)))),
        }
    }

    /// The value that begins with `event`.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Problem> {
        let start = Place::of(span.start);
        if depth > MAX_DEPTH {
            return Err(start.problem(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        if event.anchor_id().is_some_and(|id| id != 0) && !event.is_alias() {
            self.problems.push(
                start.problem("anchors (`&name`) are not accepted: write the value out where it is used"),
            );
        }
        if event.tag().is_some() {
            let at = span.tag_start().map_or(start, Place::of);
            self.problems.push(at.problem("tags (`!name`) are not accepted: remove it"));
        }
        match event {
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.problems.push(start.problem("aliases (`*name`) are not accepted: write the value out"));
                Ok(Node { content: Content::Scalar(Value::Null), start, end: Place::of(span.end) })
            }
            Event::Scalar(text, style, ..) => {
                // By an escape such as `"\u202E"`; written out it was found before. Nothing else is told of such a file,
                // since that might repeat it.
                if let Some(c) = text.chars().find(|c| is_hidden(*c)) {
                    return Err(start.problem(format!(
                        "the text holds the invisible character U+{:04X}: leave it out",
                        u32::from(c)
                    )));
                }
                Ok(Node { content: Content::Scalar(scalar(text, style)), start, end: Place::of(span.end) })
            }
            Event::SequenceStart(..) => self.sequence(start, depth),
            Event::MappingStart(..) => self.mapping(start, depth),
            _ => Err(start.problem("not understood as YAML")),
        }
    }

    fn sequence(&mut self, start: Place, depth: usize) -> Result<Node, Problem> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Node { content: Content::Sequence(items), start, end: Place::of(span.end) });
            }
            items.push(self.node(event, span, depth + 1)?);
        }
    }

    fn mapping(&mut self, start: Place, depth: usize) -> Result<Node, Problem> {
        let mut entries = Vec::<Entry>::new();
        let mut lines = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Node { content: Content::Mapping(entries), start, end: Place::of(span.end) });
            }
            let place = Place::of(span.start);
            let plain = matches!(event, Event::Scalar(_, ScalarStyle::Plain, ..));
            let key = match &event {
                Event::Scalar(text, ..) => text.to_string(),
                _ => String::new(),
            };
            let is_text = matches!(self.node(event, span, depth + 1)?.content, Content::Scalar(value) if !value.is_null());
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            if !is_text {
                self.problems.push(place.problem("a key must be a plain word"));
            } else if plain && key == "<<" {
                self.problems.push(place.problem("merge keys (`<<`) are not accepted: write the fields out"));
            } else if let Some(first) = lines.insert(key.clone(), place.line) {
                self.problems.push(place.problem(format!("`{key}` is given twice, first in line {first}")));
            } else {
                entries.push(Entry { key, place, value });
            }
        }
    }
}

/// A scalar by the core schema of YAML 1.2. Where YAML 1.1 reads something else (`yes`, `010`), it stays text, and
/// the schema then says what was expected.
fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.into_owned());
    }
    match text.as_ref() {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        plain => number(plain).map_or_else(|| Value::String(plain.to_owned()), Value::Number),
    }
}

/// A decimal number without a leading zero.
fn number(text: &str) -> Option<Number> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') || digits.len() > 40 {
        return None;
    }
    if digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit() {
        return None;
    }
    if !digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
        return None;
    }
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if let Ok(whole) = unsigned.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = unsigned.parse::<u64>() {
        return Some(whole.into());
    }
    unsigned.parse::<f64>().ok().and_then(Number::from_f64)
}
