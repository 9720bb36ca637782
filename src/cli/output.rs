//! How things are shown: escaped text, dates, times that have passed, JSON.

use std::io::{self, Write};

use serde::Serialize;
use zeroize::Zeroizing;

pub use crate::api::http::{escaped, redacted};
pub use crate::expiry::{ago, date, iso_date, rfc3339, span};

/// Writes one JSON document and a newline to stdout. The buffer is wiped: it may hold a token.
pub fn json(document: &impl Serialize) -> io::Result<()> {
    let mut text = Zeroizing::new(Vec::with_capacity(4096));
    serde_json::to_writer_pretty(&mut *text, document)?;
    text.push(b'\n');
    print(&text)
}

/// Writes to stdout. That nobody reads it any more (`wit token list | head`) is not an error.
pub fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// The name of this machine, escaped and at most 80 characters long; empty where it has none.
pub fn machine() -> String {
    let host = hostname::get().unwrap_or_default();
    escaped(&host.to_string_lossy()).chars().take(80).collect()
}
