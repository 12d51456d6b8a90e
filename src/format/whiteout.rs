//! Whiteouts by name and by inode. Those by extended attribute are in [`super::names`].

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

/// What the name of a whiteout file begins with (AUFS, OCI layers).
pub const PREFIX: &str = ".wh.";

/// The file whose presence makes its directory opaque (AUFS, OCI layers).
pub const OPAQUE_FILE: &str = ".wh..wh..opq";

/// What the names of AUFS's own files begin with.
const META_PREFIX: &[u8] = b".wh..wh.";

const S_IFMT: u32 = 0o170_000;
const S_IFCHR: u32 = 0o020_000;

/// Whether the name begins with `.wh.`, so that no file of the merged view may bear it.
pub fn is_reserved(name: &OsStr) -> bool {
    name.as_bytes().starts_with(PREFIX.as_bytes())
}

/// The name that a whiteout file called `name` hides. `None` where `name` is no whiteout: a bare `.wh.`,
/// AUFS's own `.wh..wh.*` files, `.wh..` and `.wh...` (which would hide `.` and `..`), and ordinary names.
pub fn hidden_name(name: &OsStr) -> Option<&OsStr> {
    let bytes = name.as_bytes();
    if bytes.starts_with(META_PREFIX) {
        return None;
    }
    match bytes.strip_prefix(PREFIX.as_bytes())? {
        b"" | b"." | b".." => None,
        hidden => Some(OsStr::from_bytes(hidden)),
    }
}

/// The name of the whiteout file that hides `name`.
pub fn file_name(name: &OsStr) -> OsString {
    let mut file = OsString::from(PREFIX);
    file.push(name);
    file
}

/// Whether an inode of this `st_mode` and `st_rdev` is a whiteout: the character device 0:0.
pub fn is_device(mode: u32, rdev: u64) -> bool {
    mode & S_IFMT == S_IFCHR && rdev == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names() {
        let table = [
            (".wh.a", Some("a")),
            (".wh..bashrc", Some(".bashrc")),
            (".wh....", Some("...")),
            (".wh.", None),
            (".wh..", None),
            (".wh...", None),
            (".wh..wh..opq", None),
            (".wh..wh.plnk", None),
            (".wh", None),
            ("a", None),
        ];
        for (name, hidden) in table {
            assert_eq!(hidden_name(OsStr::new(name)), hidden.map(OsStr::new), "{name}");
        }
    }

    #[test]
    fn reserved_names_and_back() {
        assert!(is_reserved(OsStr::new(OPAQUE_FILE)));
        assert!(is_reserved(OsStr::new(PREFIX)));
        assert!(!is_reserved(OsStr::new(".whale")));
        let name = OsStr::from_bytes(b"n\xff");
        assert_eq!(hidden_name(&file_name(name)), Some(name));
    }

    #[test]
    fn only_the_character_device_zero_is_a_whiteout() {
        assert!(is_device(0o020_000, 0));
        assert!(is_device(0o020_644, 0));
        assert!(!is_device(0o020_644, 0x103));
        assert!(!is_device(0o060_644, 0));
        assert!(!is_device(0o100_644, 0));
    }
}
