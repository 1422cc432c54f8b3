//! Which of the tenants that are gone from Git wait for a person. Pure. Only removals are ever held; everything else of
//! the same commit flows.

use std::fmt;

use crate::retirement::{allowed_to_vanish, confirmation};

/// Why it is doubted that the tenants are meant to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The source has tenants, and it is not known from what: its status was lost.
    Unknown,
    /// The commit shares no history with this one, the last that was not doubted.
    Unrelated(String),
    /// `spec.path` was this directory.
    Moved(String),
    /// No tenant file is left.
    Empty,
    /// More than [`allowed_to_vanish`] of so many.
    Many(usize),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("it is not known which commit had them"),
            Self::Unrelated(before) => {
                let before: String = before.chars().take(12).collect();
                write!(f, "this history shares nothing with commit {before} before it")
            }
            Self::Moved(before) => write!(f, "spec.path was {before} before"),
            Self::Empty => f.write_str("no tenant file is left"),
            Self::Many(of) => write!(f, "they are more than {} of {of}", allowed_to_vanish(*of)),
        }
    }
}

/// Tenants that serve on without a mark of retirement, until somebody confirms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Their names, sorted; at least one.
    pub tenants: Vec<String>,
    /// Why.
    pub doubt: Doubt,
    /// The value of [`crate::names::CONFIRM_REMOVAL`] that lets them go.
    pub confirmation: String,
}

/// The tenants of one source that Git no longer has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gone<'a> {
    /// Those that bear the mark since an earlier commit.
    pub marked: &'a [String],
    /// The others, sorted.
    pub new: &'a [String],
    /// How many it has in all.
    pub of: usize,
    /// Is no tenant file left?
    pub is_all: bool,
}

impl Gone<'_> {
    /// What of it waits; `confirmed` is what somebody confirmed. The confirmation is for all that is gone, so that it
    /// stays the same while one after the other is marked.
    pub fn held(&self, doubt: Option<Doubt>, confirmed: Option<&str>) -> Option<Held> {
        let Self { marked, new, of, is_all } = *self;
        let many = || (new.len() > allowed_to_vanish(of)).then_some(Doubt::Many(of));
        let doubt = doubt.or(is_all.then_some(Doubt::Empty)).or_else(many)?;
        let confirmation = confirmation(marked.iter().chain(new).map(String::as_str));
        let is_held = !new.is_empty() && confirmed != Some(&*confirmation);
        is_held.then(|| Held { tenants: new.to_vec(), doubt, confirmation })
    }
}
