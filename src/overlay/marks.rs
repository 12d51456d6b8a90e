//! The private marks of real files: read from any layer, written to the upper.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::format::names::{Mark, Namespace, OVERRIDE_STAT, TRUSTED_STAND_IN};
use crate::format::override_stat::OverrideStat;
use crate::format::whiteout;
use crate::marks::Trust;
pub use crate::marks::{Marks, Opaque, is_whiteout_file};
use crate::sys::fs::{self, Mode, OFlags, Stat};
use crate::sys::xattr::{Target, listxattr, setxattr};
use crate::sys::{self, Errno};

use super::error::Result;

/// Reads all marks of a file of a layer that count there.
pub fn read(target: Target<'_>, trust: &Trust) -> Result<Marks> {
    Ok(crate::marks::read(target, &listxattr(target)?, trust)?)
}

/// Whether the opened directory holds the file that makes it opaque.
pub fn has_opaque_file(dir: &OwnedFd) -> Result<bool> {
    match fs::lstatat(dir, whiteout::OPAQUE_FILE.as_ref()) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The same of the directory `name` below `parent`, which it need not be opened for.
pub fn has_opaque_file_in(parent: &OwnedFd, name: &OsStr) -> Result<bool> {
    let path = Path::new(name).join(whiteout::OPAQUE_FILE);
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match fs::openat2(parent, &path, flags, Mode::empty(), fs::BENEATH) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(Errno::NOSYS | Errno::PERM) => has_opaque_file(&fs::open_dir_path(parent, name)?),
        Err(e) => Err(e.into()),
    }
}

/// Whether an entry is a whiteout by its attributes alone.
pub fn is_whiteout_device(st: &Stat) -> bool {
    whiteout::is_device(st.st_mode, st.st_rdev)
}

/// Records owner, mode and type.
pub fn write_override(target: Target<'_>, over: &OverrideStat) -> sys::Result<()> {
    setxattr(target, OVERRIDE_STAT.as_ref(), &over.encode(), 0)
}

/// Records that an empty file of another's stands for one of this type. Root of the initial user namespace does it where
/// only root can, so that it counts whoever owns the file.
pub fn write_stand_in(target: Target<'_>, stands_for: &OverrideStat, initial_root: bool) -> sys::Result<()> {
    let name = if initial_root { TRUSTED_STAND_IN } else { OVERRIDE_STAT };
    setxattr(target, name.as_ref(), &stands_for.encode(), 0)
}

/// Makes a directory of the upper hide the lowers, by a file where there are no attributes.
pub fn write_opaque(dir: &OwnedFd, marks: Option<Namespace>) -> sys::Result<()> {
    match marks {
        Some(namespace) => setxattr(Target::Fd(dir.as_fd()), namespace.xattr(Mark::Opaque), b"y", 0),
        None => {
            let flags = fs::OFlags::CREATE | fs::OFlags::WRONLY | fs::OFlags::CLOEXEC;
            fs::openat(dir, whiteout::OPAQUE_FILE, flags, fs::Mode::from_raw_mode(0o600)).map(drop)
        }
    }
}
