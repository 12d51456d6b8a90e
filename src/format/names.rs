//! Names of the private extended attributes: those of a layer's marks, never seen in the merged view.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// The opaque mark of fuse-overlayfs, beside the kernel's two.
pub const FUSE_OVERLAYFS_OPAQUE: &str = "user.fuseoverlayfs.opaque";

/// Owner, mode and type of a file whose inode cannot hold them (containers/storage).
pub const OVERRIDE_STAT: &str = "user.containers.override_stat";

/// The type of a file that a plain one stands in for, as root of the initial user namespace writes it: under a name that
/// nobody else can set, as the file belongs to whoever made it. The form is that of [`OVERRIDE_STAT`]; only the type counts.
pub const TRUSTED_STAND_IN: &str = "trusted.overlay.override_stat";

/// What every private name begins with, [`OVERRIDE_STAT`] left out.
const PRIVATE_PREFIXES: [&[u8]; 3] = [b"trusted.overlay.", b"user.overlay.", b"user.fuseoverlayfs."];

/// Where the kernel's overlay marks are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Namespace {
    /// `trusted.overlay.`: needs `CAP_SYS_ADMIN` in the initial user namespace.
    Trusted,
    /// `user.overlay.`: what unprivileged mounts use (`userxattr`).
    User,
}

/// A mark of the kernel's overlayfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mark {
    /// `opaque`: `y` hides what the lowers hold at this directory; `x` says that it may hold whiteout files.
    Opaque,
    /// `redirect`: where in the lowers this directory or metadata copy came from.
    Redirect,
    /// `metacopy`: the file's data lies in a lower.
    Metacopy,
    /// `origin`: the lower file this one was copied up from.
    Origin,
    /// `impure`: the directory holds copied-up children.
    Impure,
    /// `nlink`: the merged link count, relative to a real one.
    Nlink,
    /// `upper`: on an index directory entry, the upper directory it stands for.
    Upper,
    /// `uuid`: the union's own file system id.
    Uuid,
    /// `protattr`: the immutable and append-only flags of the merged file.
    Protattr,
    /// `whiteout`: on a zero-size regular file, makes it a whiteout.
    Whiteout,
}

/// Every mark with its name in both name spaces.
const TABLE: [(Mark, &str, &str); 10] = [
    (Mark::Opaque, "trusted.overlay.opaque", "user.overlay.opaque"),
    (Mark::Redirect, "trusted.overlay.redirect", "user.overlay.redirect"),
    (Mark::Metacopy, "trusted.overlay.metacopy", "user.overlay.metacopy"),
    (Mark::Origin, "trusted.overlay.origin", "user.overlay.origin"),
    (Mark::Impure, "trusted.overlay.impure", "user.overlay.impure"),
    (Mark::Nlink, "trusted.overlay.nlink", "user.overlay.nlink"),
    (Mark::Upper, "trusted.overlay.upper", "user.overlay.upper"),
    (Mark::Uuid, "trusted.overlay.uuid", "user.overlay.uuid"),
    (Mark::Protattr, "trusted.overlay.protattr", "user.overlay.protattr"),
    (Mark::Whiteout, "trusted.overlay.whiteout", "user.overlay.whiteout"),
];

impl Namespace {
    /// The full name of `mark` in this name space.
    pub fn xattr(self, mark: Mark) -> &'static OsStr {
        // The table is in the order of the enum; a test holds that.
        let (_, trusted, user) = TABLE[mark as usize];
        OsStr::new(match self {
            Namespace::Trusted => trusted,
            Namespace::User => user,
        })
    }
}

/// The mark that `name` is, and its name space; `None` for any other attribute.
pub fn parse(name: &OsStr) -> Option<(Namespace, Mark)> {
    TABLE.iter().find_map(|(mark, trusted, user)| match name {
        n if n == *trusted => Some((Namespace::Trusted, *mark)),
        n if n == *user => Some((Namespace::User, *mark)),
        _ => None,
    })
}

/// Whether the attribute is the layers' own: hidden from, and refused in, the merged view.
pub fn is_private(name: &OsStr) -> bool {
    let bytes = name.as_bytes();
    name == OVERRIDE_STAT || PRIVATE_PREFIXES.iter().any(|prefix| bytes.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for (i, (mark, _, _)) in TABLE.iter().enumerate() {
            assert_eq!(*mark as usize, i);
        }
    }

    #[test]
    fn parse_is_the_inverse_of_xattr() {
        for (mark, _, _) in TABLE {
            for space in [Namespace::Trusted, Namespace::User] {
                assert_eq!(parse(space.xattr(mark)), Some((space, mark)));
            }
        }
        assert_eq!(Namespace::User.xattr(Mark::Origin), "user.overlay.origin");
        assert_eq!(parse(OsStr::new("user.overlay.other")), None);
        assert_eq!(parse(OsStr::new("security.capability")), None);
    }

    #[test]
    fn private_names() {
        for name in [
            "trusted.overlay.x",
            TRUSTED_STAND_IN,
            "user.overlay.opaque",
            "user.fuseoverlayfs.opaque",
            "user.fuseoverlayfs.override_stat",
            "user.containers.override_stat",
        ] {
            assert!(is_private(OsStr::new(name)), "{name}");
        }
        for name in
            ["user.overlay", "user.overlayx", "user.containers.override_stats", "trusted.other", "user.x"]
        {
            assert!(!is_private(OsStr::new(name)), "{name}");
        }
    }
}
