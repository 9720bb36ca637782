//! How things are shown: escaped text, dates, times that have passed, JSON.

use std::io::{self, Write};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use zeroize::Zeroizing;

pub use crate::api::http::{escaped, redacted};
use crate::expiry::UnixTime;

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

/// `2024-04-15`, in UTC.
pub fn iso_date(at: UnixTime) -> String {
    formatted(at, |at| {
        at.format(format_description!("[year]-[month]-[day]")).ok()
    })
}

/// `Apr 15, 2024`, in UTC and English wherever the machine stands.
pub fn date(at: UnixTime) -> String {
    formatted(at, |at| {
        let format = format_description!("[month repr:short] [day padding:none], [year]");
        at.format(format).ok()
    })
}

/// `2024-04-15T10:00:00Z`.
pub fn rfc3339(at: UnixTime) -> String {
    formatted(at, |at| at.format(&Rfc3339).ok())
}

fn formatted(at: UnixTime, format: impl Fn(OffsetDateTime) -> Option<String>) -> String {
    OffsetDateTime::from_unix_timestamp(at.0)
        .ok()
        .and_then(format)
        .unwrap_or_else(|| format!("@{}", at.0))
}

/// `2 hours ago`. What lies ahead, by clocks that differ, is just now.
pub fn ago(at: UnixTime, now: UnixTime) -> String {
    match now.since(at) {
        seconds if seconds < 60 => "just now".into(),
        seconds => format!("{} ago", span(seconds)),
    }
}

/// `2 hours`: the largest unit that fits, cut.
pub fn span(seconds: i64) -> String {
    const UNITS: [(i64, &str); 5] = [
        (365 * 86_400, "year"),
        (30 * 86_400, "month"),
        (86_400, "day"),
        (3_600, "hour"),
        (60, "minute"),
    ];
    let (size, unit) = UNITS
        .into_iter()
        .find(|(size, _)| seconds >= *size)
        .unwrap_or((1, "second"));
    match seconds / size {
        1 => format!("1 {unit}"),
        many => format!("{many} {unit}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const APRIL: UnixTime = UnixTime(1_713_175_200);

    #[test]
    fn dates_are_english_and_utc() {
        assert_eq!(date(APRIL), "Apr 15, 2024");
        assert_eq!(date(UnixTime(1_709_251_200)), "Mar 1, 2024");
        assert_eq!(iso_date(APRIL), "2024-04-15");
        assert_eq!(rfc3339(APRIL), "2024-04-15T10:00:00Z");
    }

    #[test]
    fn what_has_passed_is_told_in_its_largest_unit() {
        for (seconds, told) in [
            (-5, "just now"),
            (59, "just now"),
            (60, "1 minute ago"),
            (7_300, "2 hours ago"),
            (86_400, "1 day ago"),
            (45 * 86_400, "1 month ago"),
            (800 * 86_400, "2 years ago"),
        ] {
            assert_eq!(ago(APRIL, APRIL.plus(seconds)), told);
        }
    }
}
