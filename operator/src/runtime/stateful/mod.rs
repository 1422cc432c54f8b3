//! What makes an integration unsafe to run as many: files of its source in, artifacts that every instance would run on its
//! own out. Pure, and bounded: one file at a time, whose size the caller bounds.
//!
//! ```text
//! path, bytes -> xml (Synapse, Camel) | archive (.car) | yaml, java (Camel) -> Finding: artifact, file, line, why
//! ```
//! What a file is shows in its content, not in the runtime that the service names: a Camel application runs as `container`
//! too. Found is what is written down; what is computed when it runs is told as not known.

mod archive;
mod camel;
mod java;
mod source;
mod xml;
mod yaml;

pub use source::Source;

use std::fmt;

use crate::{
    api::{DescriptorSpec, Instances},
    git::names::printable,
};

/// Largest file that is looked at, in bytes. What Git does not bring anyway is above it.
pub const FILE_BYTES: u64 = 1 << 20;
/// Kept of each: what is found, and what is not known.
const KEPT: usize = 100;
/// Names of artifacts, in characters.
const LONGEST_NAME: usize = 100;
/// Directories whose files never are in an image: the tests, the build's own, and what a package manager brings.
const OUTSIDE: [&str; 3] = ["src/test", "target", "node_modules"];
/// Ending of a carbon application.
pub const ARCHIVE: &str = ".car";
/// Endings of files that can hold an artifact.
const ENDINGS: [&str; 6] = [".xml", ARCHIVE, ".yaml", ".yml", ".java", ".kt"];

/// Why two instances must not do it at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// It starts by the clock.
    Clock,
    /// It takes files, messages or rows from one place.
    Takes,
    /// Everybody who listens gets everything.
    Broadcast,
    /// It sends on what is stored.
    Forwards,
}

impl fmt::Display for Risk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clock => "starts in every instance",
            Self::Takes => "looks at the same place in every instance, so that two may take the same",
            Self::Broadcast => "gets every event in every instance",
            Self::Forwards => "sends on what is stored in every instance",
        })
    }
}

/// An artifact that every instance would run on its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path of the file; of what an archive holds, `a.car!/path`.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// Such as `scheduled task "cleanup"`.
    pub artifact: String,
    /// Why it matters.
    pub risk: Risk,
}

impl Finding {
    /// The artifact and why it matters.
    pub fn sentence(&self) -> String {
        format!("the {} {}", self.artifact, self.risk)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.sentence())
    }
}

/// What to do about a finding.
pub const ADVICE: &str =
    "say `instances: one`, or in `coordination` how its instances see to it that one does it";

/// Something in which an artifact may be that was not looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unknown {
    /// Path of the file.
    pub file: String,
    /// From 1; 0 for the file as a whole.
    pub line: u32,
    /// Why.
    pub why: String,
}

/// Where work waits that an artifact takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumed {
    /// Path of the file; of what an archive holds, `a.car!/path`.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// Where.
    pub source: Source,
}

/// What a file says, before it has a path.
#[derive(Debug, Default)]
struct Found {
    artifacts: Vec<(u32, String, Risk)>,
    sources: Vec<(u32, Source)>,
    unknown: Vec<(u32, String)>,
}

impl Found {
    fn add(&mut self, line: u32, artifact: String, risk: Risk) {
        if self.artifacts.len() < KEPT {
            self.artifacts.push((line, artifact, risk));
        }
    }

    fn takes(&mut self, line: u32, source: Option<Source>) {
        if self.sources.len() < KEPT {
            self.sources.extend(source.map(|source| (line, source)));
        }
    }

    fn not_known(&mut self, line: u32, why: impl Into<String>) {
        if self.unknown.len() < KEPT {
            self.unknown.push((line, why.into()));
        }
    }
}

/// A look at the files of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// In the order of the files; no more than the first hundred.
    pub findings: Vec<Finding>,
    /// Where work waits that it takes; no more than the first hundred.
    pub consumed: Vec<Consumed>,
    /// What could not be told.
    pub unknown: Vec<Unknown>,
}

impl Look {
    /// Is this directory, by its path, part of what is built?
    pub fn enters(directory: &str) -> bool {
        let name = directory.rsplit('/').next().unwrap_or(directory);
        let is_outside =
            |outside: &&str| directory == *outside || directory.ends_with(&format!("/{outside}"));
        !name.starts_with('.') && !OUTSIDE.iter().any(is_outside)
    }

    /// Can this file, by its path, hold an artifact?
    pub fn wants(file: &str) -> bool {
        ENDINGS.iter().any(|ending| file.ends_with(ending)) && !file.ends_with("imaas.yaml")
    }

    /// Looks at one file that [`Look::wants`].
    pub fn file(&mut self, path: &str, content: &[u8]) {
        if path.ends_with(ARCHIVE) {
            return archive::look(self, path, content);
        }
        let text = String::from_utf8_lossy(content);
        let found = match path.rsplit('.').next().unwrap_or_default() {
            "xml" => xml::find(&text),
            "java" | "kt" => java::find(&text),
            _ => yaml::find(&text),
        };
        self.add(path, found);
    }

    /// The file, or what an archive holds, was not looked at.
    pub fn skipped(&mut self, path: &str, why: impl Into<String>) {
        self.not_known(path, 0, why.into());
    }

    fn add(&mut self, path: &str, found: Found) {
        let Found { artifacts, sources, unknown } = found;
        for (line, source) in sources {
            if self.consumed.len() < KEPT {
                self.consumed.push(Consumed { file: printable(path), line, source });
            }
        }
        for (line, artifact, risk) in artifacts {
            if self.findings.len() < KEPT {
                self.findings.push(Finding { file: printable(path), line, artifact, risk });
            }
        }
        for (line, why) in unknown {
            self.not_known(path, line, why);
        }
    }

    fn not_known(&mut self, path: &str, line: u32, why: String) {
        if self.unknown.len() < KEPT {
            self.unknown.push(Unknown { file: printable(path), line, why });
        }
    }
}

/// May two instances of it run at a time, without a word on how they agree? Then it must have nothing that both would do.
pub fn is_uncoordinated(settings: &DescriptorSpec) -> bool {
    settings.instances() == Instances::Many && settings.coordination.is_none()
}

/// An artifact's name as it is told.
fn named(kind: &str, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("{kind} {:?}", name.chars().take(LONGEST_NAME).collect::<String>()),
        None => format!("{kind} without a name"),
    }
}

#[cfg(test)]
mod tests;
