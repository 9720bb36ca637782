//! Points in time as git counts them, and when a credential runs out.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01 UTC, the unit of `password_expiry_utc` (git-credential(1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixTime(pub i64);

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
    /// Reads git's decimal form. Anything but digits that fit in an `i64` is `None`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let seconds = std::str::from_utf8(text).ok()?.parse().ok()?;
        Some(Expiry(UnixTime(seconds)))
    }

    /// Whether the moment has come.
    pub fn is_past(self, now: UnixTime) -> bool {
        self.0 <= now
    }

    /// Seconds that are left, negative once expired.
    pub fn left(self, now: UnixTime) -> i64 {
        self.0.since(now)
    }
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
        ] {
            assert_eq!(Expiry::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn expired_from_the_very_second() {
        let expiry = Expiry(UnixTime(100));
        assert!(!expiry.is_past(UnixTime(99)));
        assert!(expiry.is_past(UnixTime(100)));
    }
}
