//! The private marks of real files: read from any layer, written to the upper.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use crate::format::names::{FUSE_OVERLAYFS_OPAQUE, Mark, Namespace, OVERRIDE_STAT, parse};
use crate::format::origin::Origin;
use crate::format::override_stat::OverrideStat;
use crate::format::redirect::Redirect;
use crate::format::whiteout;
use crate::sys::fs::{self, Mode, OFlags, Stat};
use crate::sys::xattr::{Target, getxattr, getxattr_opt, listxattr, setxattr};
use crate::sys::{self, Errno};

use super::copy_up::CAPABILITY;
use super::error::{Error, Result};

/// What a directory says of the layers below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Opaque {
    /// It merges with them.
    #[default]
    No,
    /// It hides them.
    Yes,
    /// It merges, and may hold whiteouts in the form of marked empty files.
    FileWhiteouts,
}

/// The marks of one file.
#[derive(Debug, Default)]
pub struct Marks {
    /// For directories.
    pub opaque: Opaque,
    /// Where the lower part, or the data, lies instead of under the same name.
    pub redirect: Option<Redirect>,
    /// The lower file it was copied up from.
    pub origin: Option<Origin>,
    /// Whether its data lies in a lower.
    pub metacopy: bool,
    /// Whether a directory holds copied-up entries.
    pub impure: bool,
    /// Link count of the union.
    pub nlink: Option<Vec<u8>>,
    /// Recorded owner, mode and type.
    pub override_stat: Option<OverrideStat>,
    /// Whether it has file capabilities; no mark, but listed beside them.
    pub capability: bool,
}

/// Reads all marks of a file. Marks other than opaqueness count in `namespace` only: what leaked into an image
/// from elsewhere must not lead anywhere.
pub fn read(target: Target<'_>, namespace: Namespace) -> Result<Marks> {
    let mut marks = Marks::default();
    for name in listxattr(target)? {
        if name == FUSE_OVERLAYFS_OPAQUE && getxattr(target, &name)? == b"y" {
            marks.opaque = Opaque::Yes;
        } else if name == OVERRIDE_STAT {
            marks.override_stat = OverrideStat::parse(&getxattr(target, &name)?).ok();
        } else if name == CAPABILITY {
            marks.capability = true;
        } else if let Some((ns, mark)) = parse(&name)
            && (ns == namespace || mark == Mark::Opaque)
        {
            marks.read_mark(target, &name, mark)?;
        }
    }
    Ok(marks)
}

impl Marks {
    fn read_mark(&mut self, target: Target<'_>, name: &OsStr, mark: Mark) -> Result<()> {
        let value = match getxattr(target, name) {
            Ok(value) => value,
            Err(Errno::NODATA | Errno::PERM) => return Ok(()),
            Err(e) => return Err(e.into()),
        };
        match mark {
            Mark::Opaque if value == b"y" => self.opaque = Opaque::Yes,
            Mark::Opaque if value == b"x" && self.opaque == Opaque::No => self.opaque = Opaque::FileWhiteouts,
            Mark::Redirect => {
                let redirect = Redirect::parse(&value).map_err(|e| {
                    log::error!("a redirect mark in a layer is damaged: {e}");
                    Error::DamagedLayer
                })?;
                self.redirect = Some(redirect);
            }
            Mark::Origin => self.origin = Origin::decode(&value),
            Mark::Metacopy => self.metacopy = true,
            Mark::Impure => self.impure = value == b"y",
            Mark::Nlink => self.nlink = Some(value),
            Mark::Opaque | Mark::Upper | Mark::Uuid | Mark::Protattr | Mark::Whiteout => {}
        }
        Ok(())
    }
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

/// Whether an empty regular file is marked as a whiteout.
pub fn is_whiteout_file(target: Target<'_>) -> Result<bool> {
    for namespace in [Namespace::Trusted, Namespace::User] {
        if getxattr_opt(target, namespace.xattr(Mark::Whiteout))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is recorded of a file in `override_stat`; a damaged record counts as none.
pub fn read_override(target: Target<'_>) -> sys::Result<Option<OverrideStat>> {
    Ok(getxattr_opt(target, OVERRIDE_STAT.as_ref())?.and_then(|value| OverrideStat::parse(&value).ok()))
}

/// Records owner, mode and type.
pub fn write_override(target: Target<'_>, over: &OverrideStat) -> sys::Result<()> {
    setxattr(target, OVERRIDE_STAT.as_ref(), &over.encode(), 0)
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
