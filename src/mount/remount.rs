//! Changing the flags of a live mount (`-o remount,ro`).
//!
//! The kernel keeps these flags, so no daemon is asked: mount(2) with `MS_REMOUNT` changes them for every
//! FUSE file system. Only whether a union could be written to at all is the daemon's to say.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::mountinfo::{self, Entry};
use super::options::{FlagChange, flags_of};
use super::unmount::resolve;
use crate::sys::Errno;
use crate::sys::mount::{MountFlags, mount_remount};
use crate::sys::xattr::{Target, setxattr};

/// An attribute that no file has. Replacing it changes nothing, yet a read-only union refuses.
const PROBE: &str = "user.plyfs.probe";
/// The flag of setxattr(2) by which an attribute is changed, never made.
const XATTR_REPLACE: u32 = 2;

/// Why the flags of a mount could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum RemountError {
    /// There is no FUSE mount.
    #[error("no FUSE file system is mounted at {0}: nothing to remount")]
    NotMounted(PathBuf),
    /// The union has no layer to write to.
    #[error(
        "{0} has no upper directory and cannot be made writable: unmount it and mount it with upperdir= and workdir="
    )]
    NoUpper(PathBuf),
    /// The kernel refused.
    #[error("cannot remount {path}: {reason}")]
    Failed {
        /// The mount point.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
}

/// Applies `change` to the flags of the mount at `target`; the other flags stay.
///
/// # Errors
/// `target` is no FUSE mount point; it would be made writable and has no upper; the caller may not. The
/// flags are then as they were.
pub fn remount(target: &Path, change: FlagChange) -> Result<(), RemountError> {
    let failed = |reason: io::Error| RemountError::Failed { path: target.to_owned(), reason };
    let path = resolve(target).map_err(failed)?;
    let entries = mountinfo::read().map_err(failed)?;
    let entry = mountinfo::topmost(&entries, &path)
        .filter(|entry| entry.is_fuse())
        .ok_or_else(|| RemountError::NotMounted(path.clone()))?;

    let old = current_flags(entry);
    let new = change.apply(old);
    mount_remount(&path, new, "").map_err(|e| failed(e.into()))?;
    let made_writable = old.contains(MountFlags::RDONLY) && !new.contains(MountFlags::RDONLY);
    if made_writable && refuses_changes(&path) {
        mount_remount(&path, old, "").map_err(|e| failed(e.into()))?;
        return Err(RemountError::NoUpper(path));
    }
    Ok(())
}

/// The flags as mountinfo shows them.
fn current_flags(entry: &Entry) -> MountFlags {
    let mut flags = flags_of(&entry.mount_options).apply(MountFlags::empty());
    flags |= flags_of(&entry.super_options).apply(MountFlags::empty());
    flags.set(MountFlags::RDONLY, entry.is_read_only());
    flags
}

/// Whether the union at `path` itself, not the kernel, says that it is read-only.
fn refuses_changes(path: &Path) -> bool {
    let probed = File::open(path)
        .map(|root| setxattr(Target::Fd(root.as_fd()), OsStr::new(PROBE), b"", XATTR_REPLACE));
    probed.is_ok_and(|answer| answer == Err(Errno::ROFS))
}
