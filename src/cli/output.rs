//! How things are shown: dates, times that have passed, colours, JSON.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config;
use crate::sign_in::InstalledApp;

pub use crate::expiry::{ago, clock, counted, date, iso_date, rfc3339, span};
pub use crate::quote::{escaped, quoted, redacted};

/// Writes one JSON document and a newline to stdout. The buffer is wiped: it may hold a token.
pub fn json(document: &impl Serialize) -> io::Result<()> {
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer_pretty(&mut *text, document)?;
    text.push(b'\n');
    print(&text)
}

/// A line in a colour (SGR, ECMA-48 section 8.3.117), where stdout is a terminal that shows any.
pub fn coloured(line: &str, colour: u8) -> String {
    match takes_colour() {
        true => format!("\u{1b}[{colour}m{line}\u{1b}[0m"),
        false => line.to_owned(),
    }
}

/// Never with `NO_COLOR` (no-color.org), nor on a terminal that says it is dumb.
fn takes_colour() -> bool {
    !config::terminal_is_dumb()
        && config::variable("NO_COLOR").is_none()
        && io::stdout().is_terminal()
}

/// Text in which the home directory is `~`, as people write it. Not for commands to paste, nor JSON.
pub fn tilde(text: &str) -> String {
    let Some(home) = config::variable("HOME").filter(|home| home.len() > 1) else {
        return text.to_owned();
    };
    let home = home.trim_end_matches('/');
    text.replace(&format!("{home}/"), "~/")
}

/// Writes to stdout. That nobody reads it any more (`wit token list | head`) is not an error.
pub fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// `replaced, ends in 52 minutes`.
pub fn replaced(left: i64) -> String {
    format!("replaced, ends in {}", span(left.max(0)))
}

/// A GitHub App as JSON output has it, without its key.
pub fn app(app: &InstalledApp) -> Value {
    json!({
        "id": app.id,
        "name": app.slug,
        "owner": app.owner,
        "installation": app.installation,
        "repositories": app.repositories,
        "permissions": app.permissions,
    })
}

/// The name of this machine, escaped and at most 80 characters long; empty where it has none.
pub fn machine() -> String {
    let host = hostname::get().unwrap_or_default();
    escaped(&host.to_string_lossy()).chars().take(80).collect()
}
