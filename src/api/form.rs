//! The forms of the token API.

use std::fmt;

/// Form of a server's token API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As documented; `wit up` serves it.
    Rest,
    /// tRPC, as the running platform speaks.
    Trpc,
    /// The server's database, without the server.
    Database,
    /// A token about itself.
    SelfToken,
    /// A git host's own API, by the entry of a sign-in.
    Host,
}

impl Form {
    /// Those that a person can name.
    pub const ALL: [Form; 3] = [Form::Rest, Form::Trpc, Form::Database];

    /// The word that options, the configuration and `--json` have for it.
    pub fn name(self) -> &'static str {
        match self {
            Form::Rest => "rest",
            Form::Trpc => "trpc",
            Form::Database => "database",
            Form::SelfToken => "own",
            Form::Host => "host",
        }
    }

    /// The form of that name, of those that a person can name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name() == name)
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
