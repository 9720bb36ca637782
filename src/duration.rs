//! Times as people type them: `90s`, `30m`, `12h`, `7d`, `2w`.

use std::time::Duration;

use crate::quote::escaped;

const DAY: u64 = 86_400;

/// A time with its unit.
pub fn duration(text: &str) -> Result<Duration, String> {
    let seconds = parse(text).ok_or_else(|| {
        let shown = escaped(text);
        format!("not a duration such as 90s, 30m, 12h, 7d or 2w: {shown}")
    })?;
    Ok(Duration::from_secs(seconds))
}

/// Whole days: a number, or a time such as `7d` or `2w`.
pub fn days(text: &str) -> Result<u32, String> {
    let all_digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let days = match all_digits {
        true => text.parse().ok(),
        false => parse(text).filter(|seconds| seconds % DAY == 0),
    };
    let days =
        days.and_then(|days: u64| u32::try_from(if all_digits { days } else { days / DAY }).ok());
    days.ok_or_else(|| {
        let shown = escaped(text);
        format!("not a number of days, or a duration such as 7d or 2w: {shown}")
    })
}

/// At least one whole day.
pub fn some_days(text: &str) -> Result<u32, String> {
    match days(text)? {
        0 => Err("at least 1 day".to_owned()),
        days => Ok(days),
    }
}

/// Seconds; `None` for what has no known unit, or no digits before it.
fn parse(text: &str) -> Option<u64> {
    let unit = match text.chars().last()? {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => DAY,
        'w' => 7 * DAY,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u32 = digits.parse().ok().filter(|_| is_number)?;
    Some(u64::from(count) * unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_digits_and_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * DAY)));
        assert_eq!(duration("2w"), duration("14d"));
        for wrong in [
            "",
            "7",
            "d",
            "-1d",
            "+1d",
            "1.5h",
            "1y",
            "99999999999d",
            "٣d",
            "1h30m",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn days_are_a_number_or_a_duration_of_whole_ones() {
        for (text, expected) in [("30", 30), ("7d", 7), ("2w", 14), ("48h", 2), ("0", 0)] {
            assert_eq!(days(text), Ok(expected), "{text}");
        }
        for wrong in [
            "",
            "x",
            "36h",
            "30m",
            "-5",
            "+5",
            " 30",
            "1.5",
            "99999999999",
            "٣",
        ] {
            assert!(days(wrong).is_err(), "{wrong}");
        }
        assert!(some_days("0").is_err() && some_days("0d").is_err());
    }
}
