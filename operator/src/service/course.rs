//! What an environment runs: what Git asks for, or what people and failures make of it. Pure.
//!
//! It asks what is there now and remembers nothing, so that a crash between any two writes ends the same.

use super::{
    Problem,
    decision::{Rollback, Standing},
    history::{History, Past},
};
use crate::{
    api::integration_service::{FailedRelease, Held},
    conditions::Reason,
};

/// What Git asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The release that was made of it; nothing where none can be made now.
    pub release: Option<&'a Past>,
    /// The head of the branch.
    pub commit: Option<&'a str>,
    /// It was asked for in this pass: else it is what was told last, and nothing new comes of it.
    pub is_new: bool,
    /// Something else is awaited before a release can be made.
    pub awaits: bool,
}

/// Where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The service.
    pub service: &'a str,
    /// The environment.
    pub environment: &'a str,
    /// What runs.
    pub current: Option<&'a str>,
    /// What is tried beside it.
    pub trial: Option<&'a str>,
    /// What ran well last.
    pub last_good: Option<&'a str>,
    /// All releases of the service.
    pub history: &'a History,
    /// What people decided.
    pub standing: &'a Standing,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// This release runs.
    pub runs: Option<String>,
    /// Why not what Git asks for.
    pub problems: Vec<Problem>,
    /// What Git, or a person, asks for was given up.
    pub failed: Option<FailedRelease>,
    /// Which attempt that is, or was.
    pub attempt: Option<i32>,
    /// Git asks for something else since the rollback.
    pub rollback_is_over: bool,
}

impl Course {
    /// Why another release than the one that Git asks for runs, where an older one does.
    pub fn way_back(&self) -> Option<Reason> {
        let mut reasons = self.problems.iter().rev().map(|problem| problem.reason);
        reasons.find(|one| matches!(one, Reason::Failed | Reason::Rejected | Reason::RolledBack))
    }

    /// This release, which was given up, runs well.
    pub fn came_right(&mut self, release: &str) {
        if self.failed.as_ref().is_some_and(|failed| failed.release == release) {
            self.failed = None;
            self.problems.retain(|problem| problem.reason != Reason::Failed);
        }
    }
}

/// What runs at `place`.
pub fn course(asked: Asked<'_>, place: Place<'_>) -> Course {
    let rollback = place.standing.rollback.as_ref();
    let stands = rollback.is_none_or(|rollback| stands(rollback, asked));
    let rollback = rollback.filter(|_| stands);
    // It goes on while nothing can be made of what Git asks for, or that is held.
    let trial = place.trial.and_then(|trial| place.history.named(trial));
    let wish = match rollback {
        Some(rollback) => place.history.named(&rollback.release),
        None => asked.release.or(trial),
    };
    let is_tried = |past: &Past| Some(past.name.as_str()) == place.trial;
    let is_other = |past: &Past| Some(past.name.as_str()) != place.current && !is_tried(past);
    let hold = place
        .standing
        .hold
        .as_ref()
        .filter(|_| rollback.is_none() && (asked.awaits || asked.release.is_some_and(is_other)));
    let is_begun = |past: &&Past| rollback.is_some() || asked.is_new || is_tried(past);
    let next = if hold.is_some() { trial } else { wish.filter(is_begun) };
    let runs = place.runs(next).map(|past| past.name.clone());
    let mut problems = Vec::new();
    problems.extend(rollback.map(|rollback| place.rolled_back(rollback)));
    problems.extend(hold.map(|hold| place.held(hold)));
    problems.extend(wish.and_then(|wish| place.refused(wish, runs.as_deref())));
    let attempts = |past: &Past| past.failures + i32::from(past.failed.is_none());
    Course {
        runs,
        problems,
        failed: wish.and_then(|wish| {
            let message = wish.failed.clone()?;
            Some(FailedRelease { release: wish.name.clone(), message, last_words: wish.last_words.clone() })
        }),
        attempt: wish.map(attempts).filter(|attempt| *attempt > 1),
        rollback_is_over: !stands,
    }
}

/// Until Git asks for something else than it did then.
fn stands(rollback: &Rollback, asked: Asked<'_>) -> bool {
    let Some(release) = asked.release.filter(|_| asked.is_new) else { return true };
    if release.name == rollback.release {
        return false;
    }
    rollback.from.as_ref() == Some(&release.name)
        || rollback.content.is_some() && rollback.content == release.content
        || rollback.commit.is_some() && rollback.commit.as_deref() == asked.commit
}

impl<'a> Place<'a> {
    /// `wish`, else the best of what ran here.
    fn runs(self, wish: Option<&'a Past>) -> Option<&'a Past> {
        let named = |name: Option<&str>| name.and_then(|name| self.history.named(name));
        let current = named(self.current);
        let may = |past: &&Past| past.failed.is_none() && self.standing.rejects(past).is_none();
        let good = |past: &&Past| past.healthy && may(past);
        let stays = if wish.is_some() { current.filter(good) } else { current.filter(may) };
        wish.filter(may)
            .or(stays)
            .or_else(|| named(self.last_good).filter(may))
            .or_else(|| self.history.newest_first(self.environment).find(good))
            // Nothing to go back to: what fails stays, and may yet come right.
            .or(current)
            .or_else(|| wish.filter(|wish| self.standing.rejects(wish).is_none()))
    }

    fn rolled_back(self, rollback: &Rollback) -> Problem {
        let Held { by, reason, .. } = &rollback.held;
        let Place { service, environment, .. } = self;
        let message = format!(
            "{by} went back to {}{}; it stays until a newer commit asks for something else, or: kubectl imaas resume {service} {environment}",
            rollback.release,
            why(reason.as_ref())
        );
        Problem::new(Reason::RolledBack, message)
    }

    fn held(self, hold: &Held) -> Problem {
        let Held { by, reason, until, .. } = hold;
        let until =
            until.as_ref().map_or_else(|| "until: ".to_owned(), |until| format!("until {until}, or: "));
        let message = format!(
            "held by {by}{}; nothing new runs {until}kubectl imaas resume {} {}",
            why(reason.as_ref()),
            self.service,
            self.environment
        );
        Problem::new(Reason::Held, message)
    }

    /// Why `wish` does not run, or should not.
    fn refused(self, wish: &Past, runs: Option<&str>) -> Option<Problem> {
        let Place { service, environment, .. } = self;
        let now = match runs {
            Some(runs) if runs == wish.name => "there is nothing to go back to, so it stays".to_owned(),
            Some(runs) => format!("back on {runs}"),
            None => "nothing runs".to_owned(),
        };
        if let Some(rejection) = self.standing.rejects(wish) {
            let why = why(rejection.reason.as_ref());
            let message = format!(
                "{} was rejected by {}{why} for ever; {now}; {}",
                wish.name,
                rejection.by,
                rejection.way_out()
            );
            return Some(Problem::new(Reason::Rejected, message));
        }
        let failed = wish.failed.as_ref()?;
        let retry = if runs == Some(wish.name.as_str()) {
            String::new()
        } else {
            format!(", or: kubectl imaas retry {service} {environment}")
        };
        let message = format!("{} failed ({failed}); {now}; push a fix{retry}", wish.name);
        Some(Problem::new(Reason::Failed, message))
    }
}

fn why(reason: Option<&String>) -> String {
    reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
