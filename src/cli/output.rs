//! Output: dates, times that have passed, colours, JSON.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Context;
use crate::app::git_trust;
use crate::config::{self, Config};
use crate::sign_in::InstalledApp;

pub use crate::expiry::{ago, clock, counted, date, iso_date, rfc3339, span, until_end};
use crate::quote::is_plain;
pub use crate::quote::{escaped, quoted, redacted};

/// Writes one JSON document and a newline to stdout. The buffer is wiped: it may hold a token.
pub fn json(document: &impl Serialize) -> io::Result<()> {
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer_pretty(&mut *text, document)?;
    text.push(b'\n');
    match std::str::from_utf8(&text) {
        Ok(shown) if !shown.lines().all(is_plain) => print(&unseen_escaped(shown)),
        _ => print(&text),
    }
}

/// JSON that means the same, without characters that act on a terminal or can't be seen (RFC 8259,
/// section 7). All of them are in strings.
fn unseen_escaped(text: &str) -> Zeroizing<Vec<u8>> {
    let mut shown = Zeroizing::new(Vec::with_capacity(2 * text.len()));
    for c in text.chars() {
        let mut buffer = [0; 4];
        let one = c.encode_utf8(&mut buffer);
        if c == '\n' || is_plain(one) {
            shown.extend_from_slice(one.as_bytes());
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            shown.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
        }
    }
    shown
}

/// Wrong: it does not work, or something was refused.
pub const WRONG: Style = AnsiColor::Red.on_default();
/// A warning: it works, and will not for ever.
pub const WARNING: Style = AnsiColor::Yellow.on_default();
/// Good, where nothing else says so.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// A heading, or a name in a list.
pub const BOLD: Style = Style::new().bold();

/// A text in a style, where stdout takes any. It says the same without: colour is never alone.
pub fn styled(text: &str, style: Style) -> String {
    paint(text, style, &io::stdout())
}

/// The same for stderr.
pub fn styled_error(text: &str, style: Style) -> String {
    paint(text, style, &io::stderr())
}

/// Returns whether stdout takes colour.
pub fn takes_colour() -> bool {
    AutoStream::choice(&io::stdout()) != ColorChoice::Never
}

fn paint<S: RawStream>(text: &str, style: Style, stream: &S) -> String {
    match AutoStream::choice(stream) {
        ColorChoice::Never => text.to_owned(),
        _ => format!("{style}{text}{style:#}"),
    }
}

/// A warning on stderr.
pub fn warn(text: &str) {
    eprintln!("{} {text}", styled_error("warning:", WARNING.bold()));
}

/// Says for which servers, or for the one that is named, git needs a setting besides `--ca-file`.
pub fn warn_untrusted(config: &Config, server: Option<&str>) {
    let all = git_trust::untrusted(config).into_iter();
    for one in all.filter(|one| server.is_none_or(|server| one.server == server)) {
        let name = &one.server;
        warn(&format!(
            "git does not trust the certificates of --ca-file for {name} yet"
        ));
        eprintln!("hint: {}", one.fix());
    }
}

/// The command that leads on, for a person who has just been told that something was done. Nothing
/// where a program reads what is printed.
pub fn next(context: &Context, command: impl fmt::Display) {
    if !context.json && io::stdout().is_terminal() {
        eprintln!("next: {command}");
    }
}

/// A value of git's as text, which it need not be.
pub fn lossy(bytes: &Option<Vec<u8>>) -> Option<String> {
    let bytes = bytes.as_deref()?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// Text in which the home directory is `~`, as people write it. Not for commands to paste, nor JSON.
pub fn tilde(text: &str) -> String {
    let Some(home) = config::variable("HOME").filter(|home| home.len() > 1) else {
        return text.to_owned();
    };
    let home = home.trim_end_matches('/');
    text.replace(&format!("{home}/"), "~/")
}

/// Stdout can't be written, such as to a full disk.
#[derive(Debug, thiserror::Error)]
#[error("can't write to stdout")]
struct StdoutError(#[source] io::Error);

/// Writes to stdout. That nobody reads it any more (`wit token list | head`) is not an error.
pub fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(unwritten),
    }
}

/// A failed write to stdout as an error that says so.
pub fn unwritten(error: io::Error) -> io::Error {
    io::Error::new(error.kind(), StdoutError(error))
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
