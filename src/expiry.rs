//! Points in time as git counts them and as people read them, and when a credential runs out.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// Seconds of a day.
pub const DAY: i64 = 24 * 60 * 60;

/// Seconds since 1970-01-01 UTC, the unit of `password_expiry_utc` (git-credential(1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub i64);

/// Largest difference of two clocks that is ignored, in seconds.
pub const CLOCK_MARGIN: i64 = 120;

/// Seconds before its end from which what nothing renews is pointed out: time to create another.
pub const SOON: i64 = 7 * DAY;

/// Seconds before its end from which a session, or a token that should have been renewed by now, needs
/// attention.
pub const OVERDUE: i64 = 3 * DAY;

/// A clock skew (server clock minus this machine's, in seconds) as it is worth remembering: 0 where
/// it is not known, or within [`CLOCK_MARGIN`].
pub fn notable_skew(skew: Option<i64>) -> i64 {
    skew.filter(|skew| skew.saturating_abs() >= CLOCK_MARGIN)
        .unwrap_or(0)
}

impl UnixTime {
    /// The clock of this machine. A clock before 1970 counts as 1970.
    pub fn now() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixTime(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// This time moved by `seconds`, held at the ends of the range.
    pub fn plus(self, seconds: i64) -> Self {
        UnixTime(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this time, negative where it lies before.
    pub fn since(self, earlier: UnixTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The moment from which a credential is no longer accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Expiry(pub UnixTime);

impl Expiry {
    /// Reads git's decimal form. Anything but digits that fit in an `i64` is `None`, and so is 0,
    /// which is no end for git either.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let seconds = std::str::from_utf8(text).ok()?.parse().ok()?;
        (seconds != 0).then_some(Expiry(UnixTime(seconds)))
    }

    /// Returns whether the moment has come.
    pub fn is_expired(self, now: UnixTime) -> bool {
        self.0 <= now
    }

    /// Seconds that are left, negative once expired.
    pub fn left(self, now: UnixTime) -> i64 {
        self.0.since(now)
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
    counted(seconds / size, unit)
}

/// Time until an end, such as `12 hours` or `29 days`: to the nearest day from two days on.
pub fn until_end(seconds: i64) -> String {
    match seconds < 2 * DAY {
        true => span(seconds),
        false => counted((seconds + DAY / 2) / DAY, "day"),
    }
}

/// `1 day`, `2 days`.
pub fn counted(count: i64, unit: &str) -> String {
    match count {
        1 => format!("1 {unit}"),
        many => format!("{many} {unit}s"),
    }
}

/// Sentence about a server's clock that is ahead of this machine's by `skew` seconds.
pub fn clock(skew: i64, server: &str) -> String {
    let side = if skew > 0 { "behind" } else { "ahead of" };
    let span = span(skew.abs());
    format!("this machine's clock is {span} {side} that of {server}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_takes_digits_and_nothing_else() {
        assert_eq!(
            Expiry::parse(b"1700000000"),
            Some(Expiry(UnixTime(1_700_000_000)))
        );
        for bad in [
            &b""[..],
            b"-1",
            b"+1",
            b"1.5",
            b"1e9",
            b" 1",
            b"99999999999999999999",
            b"0",
        ] {
            assert_eq!(Expiry::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn expired_from_the_very_second() {
        let expiry = Expiry(UnixTime(100));
        assert!(!expiry.is_expired(UnixTime(99)));
        assert!(expiry.is_expired(UnixTime(100)));
    }

    const APRIL: UnixTime = UnixTime(1_713_175_200);

    #[test]
    fn dates_are_english_and_utc() {
        assert_eq!(date(APRIL), "Apr 15, 2024");
        assert_eq!(date(UnixTime(1_709_251_200)), "Mar 1, 2024");
        assert_eq!(iso_date(APRIL), "2024-04-15");
        assert_eq!(rfc3339(APRIL), "2024-04-15T10:00:00Z");
    }

    #[test]
    fn the_time_until_an_end_is_to_the_nearest_day() {
        for (seconds, told) in [
            (59, "59 seconds"),
            (DAY, "1 day"),
            (2 * DAY - 1, "1 day"),
            (30 * DAY - 60, "30 days"),
            (29 * DAY + 60, "29 days"),
            (365 * DAY, "365 days"),
        ] {
            assert_eq!(until_end(seconds), told);
        }
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
