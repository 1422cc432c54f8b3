//! Routes of Camel in Java and Kotlin: `from("timer:tick")`, `from(timer("tick"))` of the endpoint DSL, and
//! `@Consume("file:inbox")`. Pure. It reads words, strings and comments and no more of the language; an address that is not
//! written there is told as not known.

use super::{Found, camel};

/// Names of what begins a route.
const BEGINNINGS: [&str; 3] = ["from", "fromF", "Consume"];

/// The routes in `text`; nothing of a file that does not use Camel.
pub(super) fn find(text: &str) -> Found {
    let mut found = Found::default();
    if !text.contains("org.apache.camel") {
        return found;
    }
    let mut source = Source { text, at: 0, line: 1 };
    let mut before = Token::Other('\n');
    while let Some(token) = source.token() {
        if let Token::Word(word) = token
            && BEGINNINGS.contains(&word)
        {
            let line = source.line;
            let is_bare = before != Token::Other('.');
            route(&mut source, &mut found, (line, is_bare && word != "Consume"));
        }
        before = token;
    }
    found
}

/// What stands in the brackets after `from`. Unless it `is_told`, it may be the `from` of something else.
fn route(source: &mut Source<'_>, found: &mut Found, (line, is_told): (u32, bool)) {
    let mut ahead = source.clone();
    if ahead.token() != Some(Token::Other('(')) {
        return;
    }
    let mut first = ahead.token();
    // `@Consume(uri = "…")`.
    if matches!(first, Some(Token::Word("uri" | "value"))) && ahead.clone().token() == Some(Token::Other('='))
    {
        ahead.token();
        first = ahead.token();
    }
    match first {
        Some(Token::Text(uri)) => camel::add(found, line, uri),
        Some(Token::Word(word)) => {
            let mut component = word;
            let mut next = ahead.token();
            // `StaticEndpointBuilders.timer("tick")`: the last of the names.
            while next == Some(Token::Other('.')) {
                let Some(Token::Word(word)) = ahead.token() else { return };
                component = word;
                next = ahead.token();
            }
            match (next, ahead.token()) {
                (Some(Token::Other('(')), Some(Token::Text(name))) => {
                    camel::add(found, line, &format!("{}:{name}", kebab(component)));
                }
                (Some(Token::Other('(')), _) => camel::add(found, line, &kebab(component)),
                _ if is_told => {
                    let name: String = word.chars().take(super::LONGEST_NAME).collect();
                    found.not_known(line, format!("the route is from the value of `{name}`"));
                }
                _ => {}
            }
        }
        Some(Token::Other(_)) | None => {}
    }
    *source = ahead;
}

/// `aws2S3` of the endpoint DSL is the component `aws2-s3`.
fn kebab(word: &str) -> String {
    let mut name = String::new();
    for c in word.chars() {
        if c.is_ascii_uppercase() {
            name.push('-');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    /// What a string holds, as it is written.
    Text(&'a str),
    Other(char),
}

#[derive(Clone)]
struct Source<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

impl<'a> Source<'a> {
    /// The next word, string or sign that is no space and in no comment.
    fn token(&mut self) -> Option<Token<'a>> {
        loop {
            let rest = &self.text[self.at..];
            let first = rest.chars().next()?;
            if first.is_whitespace() {
                self.pass(first.len_utf8());
            } else if rest.starts_with("//") {
                self.pass(rest.find('\n').unwrap_or(rest.len()));
            } else if let Some(comment) = rest.strip_prefix("/*") {
                self.pass(comment.find("*/").map_or(rest.len(), |end| end + 4));
            } else if let Some(block) = rest.strip_prefix("\"\"\"") {
                let end = block.find("\"\"\"").unwrap_or(block.len());
                self.pass((end + 6).min(rest.len()));
                return Some(Token::Text(block[..end].trim()));
            } else if first == '"' || first == '\'' {
                let end = closing(rest, first);
                self.pass((end + 1).min(rest.len()));
                return Some(Token::Text(&rest[1..end]));
            } else if is_of_word(first) {
                let end = rest.find(|c| !is_of_word(c)).unwrap_or(rest.len());
                self.pass(end);
                return Some(Token::Word(&rest[..end]));
            } else {
                self.pass(first.len_utf8());
                return Some(Token::Other(first));
            }
        }
    }

    fn pass(&mut self, bytes: usize) {
        let lines = self.text[self.at..self.at + bytes].matches('\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.at += bytes;
    }
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Where the string that `text` begins with ends; at the end of the line, if nowhere before.
fn closing(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return at,
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            c if c == quote => return at,
            _ => {}
        }
    }
    text.len()
}
