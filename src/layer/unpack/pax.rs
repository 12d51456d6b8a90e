//! PAX records (POSIX.1-2024 pax, extended header): `LENGTH KEY=VALUE\n`, the length counting the whole record.
//!
//! Read here and not by the tar crate, which takes a newline inside a value for the record's end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::error::Refusal;
use crate::layer::node::Time;

/// What `SCHILY.xattr.` precedes: the name of an extended attribute.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// What precedes everything about GNU's sparse files.
const SPARSE: &[u8] = b"GNU.sparse.";

/// What an extended header says about an entry. An empty value leaves what the entry's own header says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pax {
    /// The path.
    pub path: Option<Vec<u8>>,
    /// The link's target.
    pub link: Option<Vec<u8>>,
    /// The content's length.
    pub size: Option<u64>,
    /// The owner.
    pub uid: Option<i128>,
    /// The group.
    pub gid: Option<i128>,
    /// The time of the last modification.
    pub mtime: Option<Time>,
    /// Extended attributes; of two with one name the later.
    pub xattrs: BTreeMap<OsString, Vec<u8>>,
}

impl Pax {
    /// Reads an extended header's content. Keys that mean nothing here are passed over.
    ///
    /// # Errors
    /// [`Refusal::Pax`] for a malformed record or value, [`Refusal::Sparse`].
    pub fn parse(mut content: &[u8], xattr_bytes: usize) -> Result<Pax, Refusal> {
        let mut pax = Pax::default();
        let mut total = 0_usize;
        while !content.is_empty() {
            let (key, value, rest) = record(content).ok_or(Refusal::Pax("has a malformed record"))?;
            content = rest;
            if let Some(name) = key.strip_prefix(XATTR) {
                total = total.saturating_add(name.len()).saturating_add(value.len());
                if total > xattr_bytes {
                    let limit = xattr_bytes as u64;
                    return Err(Refusal::TooLarge { what: "extended attributes", limit });
                }
                pax.add_xattr(name, value)?;
            } else {
                pax.set(key, value)?;
            }
        }
        Ok(pax)
    }

    fn add_xattr(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if name.is_empty() || name.contains(&0) {
            return Err(Refusal::Pax("has an extended attribute without a valid name"));
        }
        let name = OsString::from_vec(name.to_vec());
        self.xattrs.insert(name, value.to_vec());
        Ok(())
    }

    /// Takes in a record that is no extended attribute.
    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        if key.starts_with(SPARSE) {
            return Err(Refusal::Sparse);
        }
        let given = !value.is_empty();
        match key {
            b"path" => self.path = given.then(|| value.to_vec()),
            b"linkpath" => self.link = given.then(|| value.to_vec()),
            b"size" => self.size = given.then(|| size(value)).transpose()?,
            b"uid" => {
                self.uid = given.then(|| integer(value, "has an owner that is no number")).transpose()?
            }
            b"gid" => {
                self.gid = given.then(|| integer(value, "has a group that is no number")).transpose()?
            }
            b"mtime" => self.mtime = given.then(|| time(value)).transpose()?,
            _ => {}
        }
        Ok(())
    }
}

/// The first record's key and value, and what follows it.
fn record(content: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    // The longest length that makes sense has far fewer digits.
    let space = content.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(digits(&content[..space])?).ok()?;
    let (record, rest) = content.split_at_checked(length)?;
    let (newline, body) = record.get(space + 1..)?.split_last()?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    (*newline == b'\n' && !key.is_empty()).then_some((key, value, rest))
}

/// A number of digits alone.
fn digits(text: &[u8]) -> Option<u64> {
    let plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if plain { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

fn size(value: &[u8]) -> Result<u64, Refusal> {
    digits(value).ok_or(Refusal::Pax("has a size that is no number"))
}

/// A number that may be negative.
fn integer(value: &[u8], wrong: &'static str) -> Result<i128, Refusal> {
    let (sign, magnitude) = match value.strip_prefix(b"-") {
        Some(magnitude) => (-1, magnitude),
        None => (1, value),
    };
    digits(magnitude).map(|number| sign * i128::from(number)).ok_or(Refusal::Pax(wrong))
}

/// Decimal seconds with an optional fraction; what is finer than a nanosecond is cut off towards zero.
fn time(value: &[u8]) -> Result<Time, Refusal> {
    let wrong = Refusal::Pax("has a time that is no number");
    let (negative, magnitude) = match value.strip_prefix(b"-") {
        Some(magnitude) => (true, magnitude),
        None => (false, value),
    };
    let mut parts = magnitude.splitn(2, |byte| *byte == b'.');
    let whole = parts.next().and_then(digits).ok_or_else(|| wrong.clone())?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(wrong);
    }
    let padded = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(9);
    let nanos = padded.fold(0_u32, |sum, digit| sum * 10 + u32::from(digit - b'0'));
    Ok(match (negative, nanos) {
        (false, nanos) => Time { seconds: seconds(i128::from(whole)), nanos },
        (true, 0) => Time { seconds: seconds(-i128::from(whole)), nanos },
        // -1.75 s are -2 s and 250,000,000 ns.
        (true, nanos) => Time { seconds: seconds(-i128::from(whole) - 1), nanos: 1_000_000_000 - nanos },
    })
}

/// Seconds of any size, as near as the system can tell them.
pub fn seconds(seconds: i128) -> i64 {
    i64::try_from(seconds).unwrap_or(if seconds < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(content: &[u8]) -> Result<Pax, Refusal> {
        Pax::parse(content, 1000)
    }

    #[test]
    fn records_are_told_by_their_length() {
        let pax = parse(b"12 path=a/b\n27 SCHILY.xattr.user.c=a\nb\n12 uid=1000\n7 gid=\n").expect("good");
        assert_eq!(pax.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(pax.xattrs, BTreeMap::from([(OsString::from("user.c"), b"a\nb".to_vec())]));
        assert_eq!((pax.uid, pax.gid), (Some(1000), None));
    }

    #[test]
    fn of_two_records_with_one_key_the_later_counts() {
        let pax = parse(b"10 path=a\n10 path=b\n22 SCHILY.xattr.u.x=1\n22 SCHILY.xattr.u.x=2\n");
        let pax = pax.expect("good");
        assert_eq!(pax.path.as_deref(), Some(&b"b"[..]));
        assert_eq!(pax.xattrs, BTreeMap::from([(OsString::from("u.x"), b"2".to_vec())]));
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("7", Some((7, 0))),
            ("7.", Some((7, 0))),
            ("0.5", Some((0, 500_000_000))),
            ("-1.75", Some((-2, 250_000_000))),
            ("-0.000000001", Some((-1, 999_999_999))),
            ("-5", Some((-5, 0))),
            ("1.0000000019", Some((1, 1))),
            ("18446744073709551615", Some((i64::MAX, 0))),
            ("-18446744073709551615.5", Some((i64::MIN, 500_000_000))),
            ("1e3", None),
            ("1.5.5", None),
            ("--1", None),
            (".5", None),
            ("99999999999999999999", None),
        ] {
            let expected = expected.map(|(seconds, nanos)| Time { seconds, nanos });
            assert_eq!(time(text.as_bytes()).ok(), expected, "{text}");
        }
    }

    #[test]
    fn malformed_records() {
        for content in [
            &b"x"[..],
            b"5 a=b",
            b"5 a=b\n",
            b"7 a=b\n",
            b"0 a=b\n",
            b"3 a\n",
            b"4 a\n\n",
            b"5 =b\n",
            b"-6 a=b\n",
            b"+6 a=b\n",
            b" 6 a=b\n",
            b"99999999999999999999999 a=b\n",
            b"18446744073709551615 a=b\n",
            b"1 ",
            b"2 ",
            b"9 uid=-x\n",
            b"11 size=-1\n",
            b"19 SCHILY.xattr.=v\n",
            b"22 SCHILY.xattr.a\0b=v\n",
        ] {
            assert!(parse(content).is_err(), "{:?}", content.escape_ascii().to_string());
        }
        assert!(parse(b"6 a=b\n").is_ok());
        assert_eq!(parse(b"22 GNU.sparse.major=1\n"), Err(Refusal::Sparse));
    }

    #[test]
    fn attributes_are_limited() {
        assert!(Pax::parse(b"22 SCHILY.xattr.u.x=1\n", 4).is_ok());
        assert!(matches!(Pax::parse(b"22 SCHILY.xattr.u.x=1\n", 3), Err(Refusal::TooLarge { .. })));
    }
}
