//! Checks of everything between git and a token, each with what fixes it.
//!
//! Each part has facts, gathered in bounded time, and a pure check of them.

use serde::Serialize;

use crate::quote::{escaped, quoted, redacted};

pub mod files;
pub mod git;
pub mod home;
pub mod host;
pub mod machine;
pub mod server;
pub mod storage;

/// The options of a command that name an account on a server, from the server's URL and the account.
pub type Naming<'a> = dyn Fn(&str, &str) -> String + 'a;

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name, for scripts.
    pub check: &'static str,
    /// Severity.
    pub state: State,
    /// In one line.
    pub what: String,
    /// The reason, where there is more to say.
    pub why: Option<String>,
    /// One command, or one setting of the environment, that fixes it.
    #[serde(rename = "cure")]
    pub fix: Option<String>,
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// Worth knowing; nothing is broken.
    Note,
    /// Needs attention.
    Wrong,
}

impl Finding {
    fn new(check: &'static str, state: State, what: impl Into<String>) -> Self {
        Finding {
            check,
            state,
            what: shown(&what.into()),
            why: None,
            fix: None,
        }
    }

    /// Everything as it should be.
    pub fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Finding::new(check, State::Ok, what)
    }

    /// Worth knowing; nothing is broken.
    pub fn note(check: &'static str, what: impl Into<String>) -> Self {
        Finding::new(check, State::Note, what)
    }

    /// Needs attention.
    pub fn wrong(check: &'static str, what: impl Into<String>) -> Self {
        Finding::new(check, State::Wrong, what)
    }

    /// With a reason.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(shown(&why.into()));
        self
    }

    /// With what fixes it.
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(shown(&fix.into()));
        self
    }
}

/// The output is made to be pasted into a bug report.
fn shown(text: &str) -> String {
    escaped(&redacted(text))
}
