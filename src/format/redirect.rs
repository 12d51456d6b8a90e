//! `overlay.redirect`: where in the lowers a renamed directory (or metadata copy) is found.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::FormatError;

/// The place a redirect names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// The components of a path from the layer's root, at least one.
    Absolute(Vec<OsString>),
    /// Another name in the same parent directory.
    Sibling(OsString),
}

impl Redirect {
    /// Reads the attribute's value: `/a/b`, or a single name.
    ///
    /// # Errors
    /// [`FormatError::Redirect`] for an empty value, a NUL, an empty component, `.`, `..`, and for a
    /// relative path of several components.
    pub fn parse(value: &[u8]) -> Result<Redirect, FormatError> {
        match value.strip_prefix(b"/") {
            Some(path) => {
                path.split(|b| *b == b'/').map(component).collect::<Result<_, _>>().map(Redirect::Absolute)
            }
            None if value.contains(&b'/') => {
                Err(FormatError::Redirect("is relative but has several components"))
            }
            None => component(value).map(Redirect::Sibling),
        }
    }

    /// The attribute's value, as [`Redirect::parse`] reads it.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Redirect::Sibling(name) => name.as_bytes().to_vec(),
            Redirect::Absolute(path) => {
                let mut value = Vec::new();
                for name in path {
                    value.push(b'/');
                    value.extend_from_slice(name.as_bytes());
                }
                value
            }
        }
    }

    /// The path from the layer's root that the redirect leads to, for a file whose parent directory in the
    /// lowers is `parent`.
    pub fn resolve(&self, parent: &[OsString]) -> Vec<OsString> {
        match self {
            Redirect::Absolute(path) => path.clone(),
            Redirect::Sibling(name) => parent.iter().chain([name]).cloned().collect(),
        }
    }
}

/// One component of a redirect, if it can be a file's name.
fn component(bytes: &[u8]) -> Result<OsString, FormatError> {
    match bytes {
        b"" => Err(FormatError::Redirect("has an empty component")),
        b"." | b".." => Err(FormatError::Redirect("has a component that is no name")),
        _ if bytes.contains(&0) => Err(FormatError::Redirect("has a NUL")),
        _ => Ok(OsString::from_vec(bytes.to_vec())),
    }
}

/// Whether `name` can stand in a redirect at all; every name of a real directory entry can.
pub fn is_component(name: &OsStr) -> bool {
    !name.as_bytes().contains(&b'/') && component(name.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<OsString> {
        list.iter().map(OsString::from).collect()
    }

    #[test]
    fn good_values_go_both_ways() {
        let table = [
            (&b"/a/b"[..], Redirect::Absolute(names(&["a", "b"]))),
            (b"/a", Redirect::Absolute(names(&["a"]))),
            (b"old", Redirect::Sibling("old".into())),
            (b"...", Redirect::Sibling("...".into())),
            (b"n\xff", Redirect::Sibling(OsString::from_vec(b"n\xff".to_vec()))),
        ];
        for (value, redirect) in table {
            assert_eq!(redirect.encode(), value);
            assert_eq!(Redirect::parse(value), Ok(redirect));
        }
    }

    #[test]
    fn bad_values_are_refused() {
        for value in [
            &b""[..],
            b"/",
            b"//a",
            b"/a/",
            b"/a//b",
            b"/a/../b",
            b"/.",
            b".",
            b"..",
            b"a/b",
            b"../x",
            b"a\0b",
            b"/a\0",
        ] {
            assert!(Redirect::parse(value).is_err(), "{:?}", OsStr::from_bytes(value));
        }
    }

    #[test]
    fn resolving() {
        let parent = names(&["p", "q"]);
        assert_eq!(Redirect::Sibling("x".into()).resolve(&parent), names(&["p", "q", "x"]));
        assert_eq!(Redirect::Absolute(names(&["x"])).resolve(&parent), names(&["x"]));
    }

    #[test]
    fn components() {
        assert!(is_component(OsStr::new("a")));
        assert!(!is_component(OsStr::new("a/b")));
        assert!(!is_component(OsStr::new("..")));
    }
}
