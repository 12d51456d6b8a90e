//! Cutting an option string (`-o`) into options, and `lowerdir` into paths: escapes and quotes.
//!
//! `\,` `\:` `\\` and `\"` stand for the character itself; any other backslash is an ordinary character, so
//! that names such as `a\x2db` survive. A value in double quotes may hold bare commas; quotes count only
//! around a whole value. All on bytes: a path need not be UTF-8.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The characters that a backslash may precede.
const ESCAPED: &[u8] = b",:\\\"";

/// One option as it was written, its value still escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawOption<'a> {
    /// What stands before the first `=`.
    pub name: &'a [u8],
    /// What stands behind it, without quotes.
    pub value: Option<RawValue<'a>>,
}

/// An option's value as it was written, its escapes in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RawValue<'a>(&'a [u8]);

impl RawValue<'_> {
    /// The value with its escapes resolved.
    pub fn unescape(self) -> OsString {
        OsString::from_vec(unescape(self.0))
    }

    /// The paths of a `lowerdir` list; empty ones are left out.
    pub fn paths(self) -> Vec<PathBuf> {
        let mut paths = Vec::new();
        let mut rest = self.0;
        loop {
            let end = find_bare(rest, b':');
            if end > 0 {
                paths.push(PathBuf::from(OsString::from_vec(unescape(&rest[..end]))));
            }
            match rest.get(end + 1..) {
                Some(next) => rest = next,
                None => return paths,
            }
        }
    }
}

/// Cuts `text` at its commas. Empty options are left out.
pub(super) fn split(text: &[u8]) -> Vec<RawOption<'_>> {
    let mut options = Vec::new();
    let mut rest = text;
    loop {
        let (option, length) = first_option(rest);
        if length > 0 {
            options.push(option);
        }
        match rest.get(length + 1..) {
            Some(next) => rest = next,
            None => return options,
        }
    }
}

/// The first option of `text` and the number of bytes it takes.
fn first_option(text: &[u8]) -> (RawOption<'_>, usize) {
    let end = find_bare(text, b',');
    let Some(equals) = text[..end].iter().position(|byte| *byte == b'=') else {
        return (RawOption { name: &text[..end], value: None }, end);
    };
    let value = &text[equals + 1..];
    let (raw, length) = quoted(value)
        .map_or_else(|| (&text[equals + 1..end], end), |inner| (inner, equals + 1 + inner.len() + 2));
    (RawOption { name: &text[..equals], value: Some(RawValue(raw)) }, length)
}

/// The content of the quotes that `text` begins with, where the closing one ends the option.
fn quoted(text: &[u8]) -> Option<&[u8]> {
    let inner = text.strip_prefix(b"\"")?;
    let mut from = 0;
    loop {
        let close = from + find_bare(&inner[from..], b'"');
        match inner.get(close..) {
            Some([b'"'] | [b'"', b',', ..]) => return Some(&inner[..close]),
            Some([b'"', ..]) => from = close + 1,
            _ => return None,
        }
    }
}

/// Where `stop` first stands without a backslash; the length of `text` where it does not.
fn find_bare(text: &[u8], stop: u8) -> usize {
    let mut at = 0;
    while at < text.len() {
        match text[at..] {
            [b'\\', next, ..] if ESCAPED.contains(&next) => at += 2,
            [byte, ..] if byte == stop => return at,
            _ => at += 1,
        }
    }
    text.len()
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        match tail {
            [next, behind @ ..] if *first == b'\\' && ESCAPED.contains(next) => {
                plain.push(*next);
                rest = behind;
            }
            _ => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

/// `text` written so that it stands as one value, or as one path of a `lowerdir` list.
#[cfg(test)]
fn escape(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        if ESCAPED.contains(byte) {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let option = |o: RawOption<'_>| match o.value {
            Some(value) => format!("{}={}", show(o.name), show(&unescape(value.0))),
            None => show(o.name),
        };
        split(text.as_bytes()).into_iter().map(option).collect()
    }

    #[test]
    fn options_are_cut_at_bare_commas() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            (",,,", &[]),
            ("ro", &["ro"]),
            ("workdir=/w,,volatile", &["workdir=/w", "volatile"]),
            ("workdir=/w,", &["workdir=/w"]),
            (r"upperdir=/a\,b,ro", &["upperdir=/a,b", "ro"]),
            (r"upperdir=/a\\,ro", &[r"upperdir=/a\", "ro"]),
            (r"upperdir=/a\x2db,ro", &[r"upperdir=/a\x2db", "ro"]),
            ("a=b=c,d==", &["a=b=c", "d=="]),
            ("=x,=", &["=x", "="]),
            (r#"context="a:s0:c1,c2",ro"#, &["context=a:s0:c1,c2", "ro"]),
            (r#"context="a:s0:c1,c2""#, &["context=a:s0:c1,c2"]),
            (r#"context="","#, &["context="]),
            (r#"u="a"b",c""#, &[r#"u=a"b"#, r#"c""#]),
            (r#"u="a\",b",c"#, &[r#"u=a",b"#, "c"]),
            (r#"upperdir=/a"b,ro"#, &[r#"upperdir=/a"b"#, "ro"]),
            (r#"upperdir="/a,ro"#, &[r#"upperdir="/a"#, "ro"]),
            ("trailing=\\", &["trailing=\\"]),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), *expected, "{text:?}");
        }
    }

    #[test]
    fn lower_lists_are_cut_at_bare_colons() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("a", &["a"]),
            ("a:", &["a"]),
            (":a", &["a"]),
            ("a::b", &["a", "b"]),
            (r"/a\:b:/c", &["/a:b", "/c"]),
            (r"/a\\:/c", &[r"/a\", "/c"]),
            (r"/a\,b:c", &["/a,b", "c"]),
            ("l/../x:l/Y", &["l/../x", "l/Y"]),
        ];
        for (text, expected) in cases {
            let paths = RawValue(text.as_bytes()).paths();
            assert_eq!(paths, expected.iter().map(PathBuf::from).collect::<Vec<_>>(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_cut_without_a_panic(text in prop::collection::vec(any::<u8>(), 0..200)) {
            for option in split(&text) {
                if let Some(value) = option.value {
                    value.unescape();
                    value.paths();
                }
            }
        }

        #[test]
        fn hostile_text_is_cut_without_a_panic(text in "[a=,:\"\\\\]{0,40}") {
            for option in split(text.as_bytes()) {
                if let Some(value) = option.value {
                    value.unescape();
                    value.paths();
                }
            }
        }

        #[test]
        fn escaped_values_come_back(values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)) {
            let written: Vec<Vec<u8>> = values.iter().map(|v| [b"k=".as_slice(), &escape(v)].concat()).collect();
            let text = written.join(&b','.clone());
            let read: Vec<Vec<u8>> =
                split(&text).into_iter().filter_map(|o| o.value).map(|v| v.unescape().into_vec()).collect();
            prop_assert_eq!(read, values);
        }

        #[test]
        fn escaped_paths_come_back(paths in prop::collection::vec(prop::collection::vec(1u8.., 1..40), 0..6)) {
            let text = paths.iter().map(|p| escape(p)).collect::<Vec<_>>().join(&b':'.clone());
            let read: Vec<Vec<u8>> =
                RawValue(&text).paths().into_iter().map(|p| p.into_os_string().into_vec()).collect();
            prop_assert_eq!(read, paths);
        }
    }
}
