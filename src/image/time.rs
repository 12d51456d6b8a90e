//! Points in time and durations, as docker and Go write them.

pub use jiff::Timestamp;

/// A text that is no time or duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {}

/// The time to record as an image's creation: `source_date_epoch` (seconds since 1970, as in SOURCE_DATE_EPOCH), or now.
///
/// # Errors
/// The text is no number of seconds.
pub fn created(_: Option<&str>) -> Result<Timestamp, TimeError> {
    todo!()
}

/// Writes RFC 3339 in UTC, with as many digits of a second as needed.
pub fn format(_: Timestamp) -> String {
    todo!()
}

/// Reads RFC 3339.
///
/// # Errors
/// The text is no such time.
pub fn parse(_: &str) -> Result<Timestamp, TimeError> {
    todo!()
}

/// How long before `now` it was, in docker's words: `3 hours ago`.
pub fn ago(_: Timestamp, _: Timestamp) -> String {
    todo!()
}

/// Reads the value of `until=`: RFC 3339 whole or in part, seconds since 1970, or a duration before `now`.
///
/// # Errors
/// The text is none of these.
pub fn parse_until(_: &str, _: Timestamp) -> Result<Timestamp, TimeError> {
    todo!()
}

/// Reads a duration as Go writes one (`1h30m`, `1.5s`), in nanoseconds.
///
/// # Errors
/// The text is no such duration.
pub fn parse_duration(_: &str) -> Result<i64, TimeError> {
    todo!()
}
