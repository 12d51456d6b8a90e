//! Sizes and times as docker words them.

use plyfs::image::time::{self, Timestamp};

/// A number of bytes in units of a thousand, with three significant digits.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        v if v < 10.0 => 2,
        v if v < 100.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", UNITS[unit])
}

/// What stands for a time that is not known.
pub const UNKNOWN: &str = "N/A";

/// How long ago an RFC 3339 time was; what is no such time as it is.
pub fn ago(time: &str) -> String {
    match time::parse(time) {
        _ if time.is_empty() => UNKNOWN.to_owned(),
        Ok(time) => time::ago(time, Timestamp::now()),
        Err(_) => time.to_owned(),
    }
}

/// An RFC 3339 time as docker shows it: `2024-05-31 12:00:00 +0000 UTC`; what is no such time as it is.
pub fn date(time: &str) -> String {
    match time::parse(time) {
        _ if time.is_empty() => UNKNOWN.to_owned(),
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string(),
        Err(_) => time.to_owned(),
    }
}

/// `part` of `whole`, with how many per cent it is.
pub fn share(part: u64, whole: u64) -> String {
    match u128::from(part).saturating_mul(100).checked_div(u128::from(whole)) {
        Some(percent) => format!("{} ({percent}%)", size(part)),
        None => size(part),
    }
}

/// The first characters of a text, `length` at most; an ellipsis tells that there are more.
pub fn shorten(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

/// An ID of 64 digits: whole, or its first twelve.
pub fn id(text: &str, length: Length) -> String {
    match length {
        Length::Full => text.to_owned(),
        Length::Short => text.strip_prefix("sha256:").unwrap_or(text).chars().take(12).collect(),
    }
}

/// How much of an ID or a command is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// As much as people need.
    Short,
    /// All.
    Full,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_texts_are_worded_as_by_docker() {
        assert_eq!(date("2024-05-31T14:00:00.5+02:00"), "2024-05-31 12:00:00 +0000 UTC");
        assert_eq!((date("soon"), date(""), ago("")), ("soon".into(), "N/A".into(), "N/A".into()));
        assert_eq!((shorten("äöü", 3), shorten("äöüß", 3)), ("äöü".into(), "äö…".into()));
        assert_eq!((share(1, 3), share(0, 0)), ("1B (33%)".into(), "0B".into()));
        assert_eq!(id("sha256:0123456789abcdef", Length::Short), "0123456789ab");
    }

    #[test]
    fn sizes_have_three_digits() {
        let table = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1234, "1.23kB"),
            (12_345_678, "12.3MB"),
            (123_456_789, "123MB"),
            (5_000_000_000, "5GB"),
        ];
        for (bytes, text) in table {
            assert_eq!(size(bytes), text);
        }
    }
}
