//! Points in time and durations, as docker and Go write them. Times without a zone are in UTC.

use std::time::Duration;

use jiff::SignedDuration;
pub use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

/// A text that is no time or duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// It is no number of seconds.
    #[error("{0:?} is no number of seconds since 1970, as SOURCE_DATE_EPOCH has to be")]
    Epoch(String),
    /// It is no RFC 3339.
    #[error("{0:?} is no time as in RFC 3339, like 2024-05-31T12:00:00Z")]
    Rfc3339(String),
    /// It is none of what `until=` takes.
    #[error(
        "{0:?} is no time: neither like 2024-05-31T12:00:00Z, nor a date, seconds since 1970, or a duration like 24h"
    )]
    Until(String),
    /// It is no duration.
    #[error("{0:?} is no duration; write numbers with ns, us, ms, s, m or h, like 1h30m")]
    Duration(String),
    /// It is a duration, and too long.
    #[error("{0:?} is longer than durations can be (292 years)")]
    TooLong(String),
}

/// The time to record as an image's creation: `source_date_epoch` (seconds since 1970, as in SOURCE_DATE_EPOCH), or now.
///
/// # Errors
/// The text is no number of seconds.
pub fn created(source_date_epoch: Option<&str>) -> Result<Timestamp, TimeError> {
    let Some(text) = source_date_epoch else { return Ok(Timestamp::now()) };
    let seconds = if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None };
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.ok_or_else(|| TimeError::Epoch(text.to_owned()))
}

/// Writes RFC 3339 in UTC, with as many digits of a second as needed.
pub fn format(time: Timestamp) -> String {
    time.to_string()
}

/// Reads RFC 3339. A second 60 is read as 59.
///
/// # Errors
/// The text is no such time.
pub fn parse(text: &str) -> Result<Timestamp, TimeError> {
    // jiff reads more than the RFC has: signs, week dates, names of zones.
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"-:+.TtZz ".contains(&b));
    let time = if plain && text.starts_with(|c: char| c.is_ascii_digit()) { text.parse().ok() } else { None };
    time.ok_or_else(|| TimeError::Rfc3339(text.to_owned()))
}

/// How long before `now` it was, in docker's words: `3 hours ago`. What is yet to come was less than a second ago.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    format!("{} ago", in_words(now.duration_since(time)))
}

/// A duration, roughly: `About an hour`, `5 weeks`.
fn in_words(duration: SignedDuration) -> String {
    const DAY: i64 = 24;
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    // Rounded, where all others are cut.
    let hours = seconds.saturating_add(1800) / 3600;
    match (seconds, minutes, hours) {
        (..1, _, _) => "Less than a second".to_owned(),
        (1, _, _) => "1 second".to_owned(),
        (..60, _, _) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, ..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        _ if hours < 2 * DAY => format!("{hours} hours"),
        _ if hours < 14 * DAY => format!("{} days", hours / DAY),
        _ if hours < 60 * DAY => format!("{} weeks", hours / (7 * DAY)),
        _ if hours < 730 * DAY => format!("{} months", hours / (30 * DAY)),
        _ => format!("{} years", hours / (365 * DAY)),
    }
}

/// Reads the value of `until=`: RFC 3339 whole or in part (`2024-05-31`, `2024-05-31T12:00`), seconds since 1970 with or
/// without a fraction, or a duration before `now`.
///
/// # Errors
/// The text is none of these.
pub fn parse_until(text: &str, now: Timestamp) -> Result<Timestamp, TimeError> {
    let bad = || TimeError::Until(text.to_owned());
    if let Ok(nanoseconds) = parse_duration(text) {
        return now.checked_sub(SignedDuration::from_nanos(nanoseconds)).map_err(|_| bad());
    }
    let unix = || parse_unix(text);
    parse(text).ok().or_else(unix).or_else(|| parse_civil(text)).ok_or_else(bad)
}

/// `1136073600` or `1136073600.000000001`.
fn parse_unix(text: &str) -> Option<Timestamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

/// A date, or date and time, with or without `Z` behind it.
fn parse_civil(text: &str) -> Option<Timestamp> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    if !text.bytes().all(|b| b.is_ascii_digit() || b"-:.T".contains(&b)) || !text.contains('-') {
        return None;
    }
    let time = match text.parse::<DateTime>() {
        Ok(time) => time,
        // Go's `2006-01-02T15`, which jiff does not read.
        Err(_) => match text.split_once('T') {
            Some((date, hour)) if hour.len() == 2 => {
                let hour = Time::new(hour.parse().ok()?, 0, 0, 0).ok()?;
                date.parse::<Date>().ok()?.to_datetime(hour)
            }
            _ => return None,
        },
    };
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// The units of durations, in nanoseconds.
const UNITS: &[(&str, u64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads a duration as Go writes one (`1h30m`, `1.5s`, `0`), in nanoseconds.
///
/// # Errors
/// The text is no such duration, or it is longer than 292 years.
pub fn parse_duration(text: &str) -> Result<i64, TimeError> {
    let bad = || TimeError::Duration(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (part, after) = parse_part(rest).ok_or_else(bad)?;
        total = part.and_then(|p| total.checked_add(p)).ok_or_else(|| TimeError::TooLong(text.to_owned()))?;
        rest = after;
    }
    let total = i64::try_from(total).map_err(|_| TimeError::TooLong(text.to_owned()))?;
    Ok(if negative { -total } else { total })
}

/// A number with a unit at the beginning of a duration, in nanoseconds (`None` inside where it is too large), and what
/// follows.
fn parse_part(text: &str) -> Option<(Option<u64>, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(number_end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let whole = if whole.is_empty() { Some(0) } else { whole.parse::<u64>().ok() };
    // More digits than these are below a nanosecond in every unit.
    let fraction = fraction.get(..fraction.len().min(18)).unwrap_or_default();
    let numerator = fraction.parse::<u128>().unwrap_or(0);
    let part = numerator * u128::from(*scale) / 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let nanoseconds = whole
        .and_then(|whole| whole.checked_mul(*scale))
        .and_then(|n| n.checked_add(u64::try_from(part).ok()?));
    Some((nanoseconds, rest))
}

/// Writes a duration in nanoseconds so that [`parse_duration`] reads it: `1h30m`, `1.5s`.
pub fn format_duration(nanoseconds: u64) -> String {
    let duration = Duration::from_nanos(nanoseconds);
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    let (seconds, fraction) = (duration.as_secs() % 60, duration.subsec_nanos());
    let mut text = String::new();
    if hours != 0 {
        text.push_str(&format!("{hours}h"));
    }
    if minutes != 0 {
        text.push_str(&format!("{minutes}m"));
    }
    if fraction != 0 {
        let fraction = format!("{fraction:09}");
        text.push_str(&format!("{seconds}.{}s", fraction.trim_end_matches('0')));
    } else if seconds != 0 || text.is_empty() {
        text.push_str(&format!("{seconds}s"));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    fn at(text: &str) -> Timestamp {
        parse(text).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn creation_follows_source_date_epoch() {
        assert_eq!(format(created(Some("0")).expect("good")), "1970-01-01T00:00:00Z");
        assert_eq!(format(created(Some("1700000000")).expect("good")), "2023-11-14T22:13:20Z");
        for bad in ["", "-1", "+1", "1.5", "x", "99999999999999999999", "999999999999999"] {
            assert_eq!(created(Some(bad)), Err(TimeError::Epoch(bad.to_owned())));
        }
        assert!(created(None).expect("now") > at("2020-01-01T00:00:00Z"));
    }

    #[test]
    fn rfc_3339_is_read_and_written() {
        for (text, written) in [
            ("2024-05-31T12:00:00Z", "2024-05-31T12:00:00Z"),
            ("2024-05-31T12:00:00.123456789Z", "2024-05-31T12:00:00.123456789Z"),
            ("2024-05-31T12:00:00.500+02:00", "2024-05-31T10:00:00.5Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(format(at(text)), written);
        }
        for bad in [
            "",
            "2024-05-31",
            "2024-05-31T12:00:00",
            "2024-13-01T00:00:00Z",
            "now",
            "+002024-05-31T12:00:00Z",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_told_in_dockers_words() {
        let now = at("2024-05-31T12:00:00Z");
        for (seconds, expected) in [
            (-5, "Less than a second ago"),
            (0, "Less than a second ago"),
            (1, "1 second ago"),
            (59, "59 seconds ago"),
            (60, "About a minute ago"),
            (120, "2 minutes ago"),
            (3599, "59 minutes ago"),
            (3600, "About an hour ago"),
            (5400, "2 hours ago"),
            (47 * 3600, "47 hours ago"),
            (48 * 3600, "2 days ago"),
            (14 * 86400, "2 weeks ago"),
            (60 * 86400, "2 months ago"),
            (729 * 86400, "24 months ago"),
            (730 * 86400, "2 years ago"),
        ] {
            assert_eq!(ago(now - SignedDuration::from_secs(seconds), now), expected);
        }
        assert_eq!(ago(Timestamp::MIN, Timestamp::MAX), "20012 years ago");
    }

    #[test]
    fn until_takes_what_docker_takes() {
        let now = at("2024-05-31T12:00:00Z");
        for (text, expected) in [
            ("24h", "2024-05-30T12:00:00Z"),
            ("1h30m", "2024-05-31T10:30:00Z"),
            ("2024-05-01", "2024-05-01T00:00:00Z"),
            ("2024-05-01Z", "2024-05-01T00:00:00Z"),
            ("2024-05-01T10", "2024-05-01T10:00:00Z"),
            ("2024-05-01T10:11", "2024-05-01T10:11:00Z"),
            ("2024-05-01T10:11:12.5", "2024-05-01T10:11:12.5Z"),
            ("2024-05-01T10:11:12+01:00", "2024-05-01T09:11:12Z"),
            ("1700000000", "2023-11-14T22:13:20Z"),
            ("1700000000.25", "2023-11-14T22:13:20.25Z"),
        ] {
            assert_eq!(parse_until(text, now).map(format).as_deref(), Ok(expected), "{text}");
        }
        for bad in ["", "yesterday", "1.2.3", "1e9", "2024-05", "2024-05-01T99", "9999999h", "1700000000."] {
            assert_eq!(parse_until(bad, now), Err(TimeError::Until(bad.to_owned())));
        }
        assert!(parse_until("2000000h", at("0001-01-01T00:00:00Z")).is_ok());
        assert!(parse_until("2500000h", Timestamp::MIN).is_err());
    }

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1h30m", HOUR + HOUR / 2),
            ("1.5h", HOUR + HOUR / 2),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("-2ms", -2_000_000),
            ("3us4\u{b5}s5\u{3bc}s6ns", 12_006),
            ("0.1234567890123456789s", 123_456_789),
        ] {
            assert_eq!(parse_duration(text), Ok(expected), "{text}");
        }
        for bad in ["", "-", "5", "s", ".s", "1.2.3s", "1d", "1 s", "1s ", "--1s", "1h-1m", "ä"] {
            assert_eq!(parse_duration(bad), Err(TimeError::Duration(bad.to_owned())), "{bad}");
        }
        for long in ["2562048h", "99999999999999999999s", "18446744073709551615ns1ns"] {
            assert_eq!(parse_duration(long), Err(TimeError::TooLong(long.to_owned())), "{long}");
        }
    }

    proptest! {
        #[test]
        fn durations_go_both_ways(nanoseconds in 0..i64::MAX) {
            let text = format_duration(nanoseconds.unsigned_abs());
            prop_assert_eq!(parse_duration(&text), Ok(nanoseconds));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[0-9hmsTZ:.+-]{0,30}") {
            if let Ok(time) = parse_until(&text, Timestamp::UNIX_EPOCH) {
                prop_assert_eq!(parse(&format(time)), Ok(time));
            }
        }
    }
}
