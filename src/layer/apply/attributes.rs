//! Owner, mode, attributes and time of a file: read from an upper, compared with the tree's, and set there.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use super::Owners;
use crate::format::acl;
use crate::format::names::is_private;
use crate::layer::node::{Node, Time, is_portable};
use crate::sys::fs::{
    self, AtFlags, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, lchmodat, lchownat, utimensat,
};
use crate::sys::xattr::{Target, getxattr_opt, listxattr, removexattr, setxattr};
use crate::sys::{Errno, Result};

/// Extended attributes by name.
pub type Xattrs = BTreeMap<OsString, Vec<u8>>;

/// The attributes that are carried over: a user's own, capabilities, access control lists, an administrator's.
///
/// # Errors
/// What the system says.
pub fn xattrs(target: Target<'_>, owners: Owners) -> Result<Xattrs> {
    let mut found = Xattrs::new();
    for name in listxattr(target)?.into_iter().filter(|name| is_carried(name, owners)) {
        if let Some(value) = getxattr_opt(target, &name)? {
            found.insert(name, value);
        }
    }
    Ok(found)
}

fn is_carried(name: &OsStr, owners: Owners) -> bool {
    match owners {
        Owners::All => is_portable(name) || (name.as_bytes().starts_with(b"trusted.") && !is_private(name)),
        // A list may name users that a user namespace has no number for.
        Owners::Own => is_portable(name) && !acl::is_acl(name),
    }
}

/// Makes the attributes of `target`, which are `old`, those of `new`. What the file system cannot hold is left out,
/// with a warning.
///
/// # Errors
/// What the system says.
pub fn set_xattrs(target: Target<'_>, old: &Xattrs, new: &Xattrs) -> Result<()> {
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        match removexattr(target, name) {
            Err(Errno::NODATA) | Ok(()) => {}
            Err(e) => return Err(e),
        }
    }
    for (name, value) in new.iter().filter(|(name, value)| old.get(*name) != Some(value)) {
        match setxattr(target, name, value, 0) {
            Err(Errno::OPNOTSUPP) => log::warn!("attribute {name:?} is left out: no room for it there"),
            other => other?,
        }
    }
    Ok(())
}

/// Whether owner and mode are those of the node.
pub fn is_owned_so(node: &Node, stat: &Stat, owners: Owners) -> bool {
    let owner = owners == Owners::Own || (node.uid, node.gid) == (stat.st_uid, stat.st_gid);
    owner && node.mode == stat.st_mode & 0o7777
}

/// Gives `name` the owner and mode of the node. The mode comes last: a change of owner takes bits away.
///
/// # Errors
/// What the system says.
pub fn set_owner_and_mode(dir: BorrowedFd<'_>, name: &OsStr, node: &Node, owners: Owners) -> Result<()> {
    let before = fs::lstatat(dir, name)?;
    if owners == Owners::All && (node.uid, node.gid) != (before.st_uid, before.st_gid) {
        lchownat(dir, name, Some(node.uid), Some(node.gid))?;
    }
    if fs::FileType::from_raw_mode(before.st_mode) == fs::FileType::Symlink {
        return Ok(());
    }
    lchmodat(dir, name, Mode::from_raw_mode(node.mode))
}

/// Gives `name` a time of modification.
///
/// # Errors
/// What the system says.
pub fn set_time(dir: BorrowedFd<'_>, name: &OsStr, time: Time) -> Result<()> {
    let last_modification = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) as _ };
    let last_access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    utimensat(dir, name, &Timestamps { last_access, last_modification }, AtFlags::SYMLINK_NOFOLLOW)
}

/// Whether it was modified then.
#[allow(clippy::unnecessary_cast, reason = "the fields' widths differ between machines")]
pub fn is_modified_at(stat: &Stat, time: Time) -> bool {
    (stat.st_mtime as i64, stat.st_mtime_nsec as u32) == (time.seconds, time.nanos)
}
