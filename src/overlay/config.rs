//! What a union is made of and how it behaves: plain data, filled by the callers.

use std::path::PathBuf;

use crate::format::idmap::IdMap;
pub use crate::marks::LowerMarks;

/// How a directory that has a lower part is renamed (`redirect_dir=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectDir {
    /// The rename leaves an `overlay.redirect` mark that leads to the lower part.
    #[default]
    On,
    /// The rename fails with EXDEV; marks found are followed.
    Off,
    /// The rename fails with EXDEV; marks found are ignored.
    NoFollow,
}

/// How owners and modes are kept in the upper (`xattr_permissions=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XattrPermissions {
    /// In the inodes themselves.
    #[default]
    Off,
    /// In `user.containers.override_stat`; the inodes keep the daemon's owner.
    User,
}

/// The form in which deletions are written to the upper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhiteoutForm {
    /// A character device 0:0, or a file where the upper refuses such devices.
    #[default]
    Auto,
    /// Always an empty file `.wh.NAME`.
    File,
}

/// What holds where an upper, a work directory or a mount point lies inside a lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nesting {
    /// The mount is refused: the union would show, and change, what it is made of.
    #[default]
    Refused,
    /// It is mounted: whoever asks for it lets nobody reach that place through the union.
    Hidden,
}

/// The description of a union mount. Paths are opened as given, never normalised.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The read-only layers, top first; at least one. An empty path is skipped.
    pub lowers: Vec<PathBuf>,
    /// The writable layer; none makes the union read-only.
    pub upper: Option<PathBuf>,
    /// The work directory, on the upper's file system; needed with `upper`.
    pub work: Option<PathBuf>,
    /// Which of the lowers' private marks count.
    pub lower_marks: LowerMarks,
    /// Where the union will be mounted, so that a mount inside one of its own layers is refused.
    pub mountpoint: Option<PathBuf>,
    /// Whether the union's own directories may lie inside a lower.
    pub nesting: Nesting,
    /// Renaming of directories with a lower part.
    pub redirect_dir: RedirectDir,
    /// Whether hard links of the lowers stay linked over a copy-up.
    pub index: bool,
    /// Whether an attribute change copies up no data.
    pub metacopy: bool,
    /// Whether nothing is ever synced to disk.
    pub volatile: bool,
    /// Whether POSIX ACLs are offered.
    pub acl: bool,
    /// User ids on disk to user ids shown.
    pub uid_map: IdMap,
    /// Group ids on disk to group ids shown.
    pub gid_map: IdMap,
    /// All files belong to this user.
    pub squash_uid: Option<u32>,
    /// All files belong to this group.
    pub squash_gid: Option<u32>,
    /// Where owners and modes are kept.
    pub xattr_permissions: XattrPermissions,
    /// The form of new whiteouts.
    pub whiteouts: WhiteoutForm,
    /// Whether every file reports one link.
    pub static_nlink: bool,
    /// Whether the private marks are written in the `user.` name space even where `trusted.` could be.
    pub user_xattr: bool,
}
