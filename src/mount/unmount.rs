//! Taking mounts away: by path for the user, by device number for the daemon and its watcher.

use std::io;
use std::path::{Path, PathBuf};

use super::mountinfo::{self, Device, Entry};
use crate::fuse::session::fusermount;
pub use crate::fuse::session::fusermount::Lazy;
use crate::sys::Errno;
use crate::sys::mount::{UnmountFlags, unmount as umount2};

/// Why a mount could not be taken away.
#[derive(Debug, thiserror::Error)]
pub enum UnmountError {
    /// The path does not lead anywhere.
    #[error("cannot find {path}: {reason}")]
    Path {
        /// The path as given.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
    /// Nothing is mounted there.
    #[error("nothing is mounted at {0}: name the mount point itself, as /proc/self/mountinfo shows it")]
    NotMounted(PathBuf),
    /// Something else is mounted there.
    #[error("{path} is no FUSE mount but {fs_type}: use umount(8) if you mean it")]
    NotFuse {
        /// The mount point.
        path: PathBuf,
        /// The type of what is mounted there.
        fs_type: String,
    },
    /// A program still uses it.
    #[error(
        "{0} is in use: end the programs that have files open or work in it (fuser -m shows them), or detach it with --lazy"
    )]
    Busy(PathBuf),
    /// The mount table or the unmounting failed.
    #[error("cannot unmount {path}: {reason}")]
    Failed {
        /// The mount point.
        path: PathBuf,
        /// The reason.
        reason: io::Error,
    },
}

/// Unmounts the FUSE file system at `target`: by ourselves where we may, else through fusermount3.
///
/// # Errors
/// `target` is no FUSE mount point, is in use (with [`Lazy::No`]), or the caller may not.
pub fn unmount(target: &Path, lazy: Lazy) -> Result<(), UnmountError> {
    let path = resolve(target).map_err(|reason| UnmountError::Path { path: target.to_owned(), reason })?;
    let failed = |reason| UnmountError::Failed { path: path.clone(), reason };
    let entries = mountinfo::read().map_err(failed)?;
    match mountinfo::topmost(&entries, &path) {
        None => return Err(UnmountError::NotMounted(path)),
        Some(entry) if !entry.is_fuse() => {
            return Err(UnmountError::NotFuse { fs_type: entry.fs_type.display().to_string(), path });
        }
        Some(_) => {}
    }
    match umount(&path, lazy) {
        Err(e) if Errno::from_io_error(&e) == Some(Errno::BUSY) => Err(UnmountError::Busy(path)),
        other => other.map_err(failed),
    }
}

/// The absolute path of the mount point `target`, found without asking the file system mounted there,
/// whose daemon may be dead.
pub(super) fn resolve(target: &Path) -> io::Result<PathBuf> {
    match (target.parent(), target.file_name()) {
        // A trailing slash would lead lstat through the link.
        (Some(parent), Some(name)) if !parent.join(name).is_symlink() => {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            Ok(parent.canonicalize()?.join(name))
        }
        _ => target.canonicalize(),
    }
}

/// Unmounts what is on top at `path`.
fn umount(path: &Path, lazy: Lazy) -> io::Result<()> {
    let flags = match lazy {
        Lazy::Yes => UnmountFlags::DETACH | UnmountFlags::NOFOLLOW,
        Lazy::No => UnmountFlags::NOFOLLOW,
    };
    match umount2(path, flags) {
        Err(Errno::PERM) => fusermount::unmount(path, lazy),
        other => other.map_err(io::Error::from),
    }
}

/// The mount that this daemon made.
#[derive(Debug, Clone)]
pub(super) struct Mounted {
    mountpoint: PathBuf,
    /// Known once the mount is there; it tells our mount from another at the same place.
    device: Option<Device>,
}

impl Mounted {
    /// The mount that was just made at the absolute path `mountpoint`.
    pub fn locate(mountpoint: &Path) -> Mounted {
        let entries = mountinfo::read().unwrap_or_else(|e| {
            log::warn!("reading /proc/self/mountinfo: {e}");
            Vec::new()
        });
        let entry = mountinfo::topmost(&entries, mountpoint).filter(|entry| entry.is_fuse());
        Mounted { mountpoint: mountpoint.to_owned(), device: entry.map(|entry| entry.device) }
    }

    /// A mount of known device number.
    pub fn known(mountpoint: &Path, device: Device) -> Mounted {
        Mounted { mountpoint: mountpoint.to_owned(), device: Some(device) }
    }

    /// The device number, where it could be found out.
    pub fn device(&self) -> Option<Device> {
        self.device
    }

    /// Takes the mount away wherever it is to be seen, moved and bound copies too; detaches what is in
    /// use. Nothing happens where it is gone already.
    ///
    /// # Errors
    /// The last failure; the other places were cleared.
    pub fn take_away(&self) -> io::Result<()> {
        let Some(device) = self.device else {
            return umount_or_detach(&self.mountpoint);
        };
        let entries = mountinfo::read()?;
        let mut taken = Ok(());
        for ours in entries.iter().rev().filter(|entry| entry.device == device && entry.is_fuse()) {
            // One that stays must not keep the others.
            taken = take_one_away(ours, &entries).and(taken);
        }
        taken
    }
}

fn take_one_away(entry: &Entry, entries: &[Entry]) -> io::Result<()> {
    let top = mountinfo::topmost(entries, &entry.mount_point);
    if top.is_some_and(|top| top.device != entry.device) {
        let message = format!("another file system is mounted over {}", entry.mount_point.display());
        return Err(io::Error::other(message));
    }
    umount_or_detach(&entry.mount_point)
}

fn umount_or_detach(path: &Path) -> io::Result<()> {
    match umount(path, Lazy::No) {
        Ok(()) => Ok(()),
        Err(e) => {
            log::debug!("unmounting {}: {e}; detaching it", path.display());
            umount(path, Lazy::Yes)
        }
    }
}
