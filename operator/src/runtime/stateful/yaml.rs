//! Routes of Camel in a YAML file: the YAML DSL, Camel K's `Integration`, and what a `Pipe` takes from. Pure. Events of the
//! file in its order: no tree, no alias is followed, depth is bounded.

use granit_parser::{Event, Parser};

use super::{Found, camel};

/// Deepest nesting; each step of a route that decides or loops is three.
const DEPTH: usize = 200;
/// Stands for the place in a list.
const ITEM: &str = "-";

/// What is open: of a mapping the key whose value is awaited.
enum Open {
    List,
    Mapping(Option<String>),
}

/// The routes in `text`; nothing of a file that has none.
pub(super) fn find(text: &str) -> Found {
    let mut found = Found::default();
    if !text.contains("from") && !text.contains("source") {
        return found;
    }
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        emit_comments: false,
        flow_nesting_limit: DEPTH,
        block_nesting_limit: DEPTH,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut open = Vec::new();
    while let Some(event) = parser.next_event() {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                let why = format!("the YAML cannot be read further: {}", error.info());
                found.not_known(number(error.marker().line()), why);
                break;
            }
        };
        match event {
            Event::MappingStart(..) => open.push(Open::Mapping(None)),
            Event::SequenceStart(..) => open.push(Open::List),
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                ended(&mut open, None);
            }
            Event::Scalar(value, ..) => {
                if let Some(uri) = address(&open, &value) {
                    camel::add(&mut found, number(span.start.line()), &uri);
                }
                ended(&mut open, Some(&value));
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => ended(&mut open, None),
            _ => {}
        }
    }
    found
}

/// A whole node has been read: a key, or the value of one.
fn ended(open: &mut [Open], text: Option<&str>) {
    if let Some(Open::Mapping(key)) = open.last_mut() {
        *key = match key {
            Some(_) => None,
            None => Some(text.unwrap_or_default().to_owned()),
        };
    }
}

/// The address to consume from, if `value` at this place is one.
fn address(open: &[Open], value: &str) -> Option<String> {
    if matches!(open.last()?, Open::Mapping(None)) {
        return None;
    }
    let key = |at: &Open| match at {
        Open::List => ITEM.to_owned(),
        Open::Mapping(key) => key.clone().unwrap_or_default(),
    };
    let path: Vec<String> = open.iter().rev().take(3).map(key).collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    match path[..] {
        ["from", ..] | ["uri", "from" | "source", ..] => Some(value.to_owned()),
        ["name", "ref", "source"] => Some(format!("kamelet:{value}")),
        _ => None,
    }
}

fn number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}
