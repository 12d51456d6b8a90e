//! The name of an entry, kept for each inode: most are short, and lie in place.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

/// The longest name that lies in place, in bytes: what fills up the room that the longer form takes.
const SHORT: usize = 22;

/// The name of an entry in a directory; copying it is cheap.
#[derive(Clone)]
pub struct Name(Form);

#[derive(Clone)]
enum Form {
    Short(u8, [u8; SHORT]),
    Long(Arc<OsStr>),
}

impl Deref for Name {
    type Target = OsStr;

    fn deref(&self) -> &OsStr {
        match &self.0 {
            Form::Short(length, bytes) => OsStr::from_bytes(&bytes[..usize::from(*length)]),
            Form::Long(name) => name,
        }
    }
}

impl From<&OsStr> for Name {
    fn from(name: &OsStr) -> Name {
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..name.len()) {
            Some(start) => {
                start.copy_from_slice(name.as_bytes());
                Name(Form::Short(name.len() as u8, bytes))
            }
            None => Name(Form::Long(name.into())),
        }
    }
}

impl From<OsString> for Name {
    fn from(name: OsString) -> Name {
        name.as_os_str().into()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        **self == **other
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl std::borrow::Borrow<OsStr> for Name {
    fn borrow(&self) -> &OsStr {
        self
    }
}

impl AsRef<OsStr> for Name {
    fn as_ref(&self) -> &OsStr {
        self
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_lengths_come_back() {
        assert_eq!(size_of::<Name>(), 24);
        for length in 0..=255 {
            let bytes: Vec<u8> = (0..length).map(|i| 255 - i).collect();
            let name = Name::from(OsStr::from_bytes(&bytes));
            assert_eq!(name.as_bytes(), bytes);
            assert_eq!(name.clone(), name);
            assert_eq!(matches!(name.0, Form::Short(..)), bytes.len() <= SHORT);
        }
    }
}
