//! Directories of the tree that an upper is applied to: reached one name at a time from the root's descriptor, no link
//! followed, no mount crossed but where the upper knows of one.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::error::{ApplyError, Why};
use crate::sys::Errno;
use crate::sys::dir::{open_listing, read_all};
use crate::sys::fs::{
    self, Access, AtFlags, BENEATH, CWD, FileType, Mode, O_DIRPATH, ResolveFlags, Stat, accessat,
};

/// An open directory of the tree.
#[derive(Debug)]
pub struct RealDir {
    fd: OwnedFd,
    path: PathBuf,
}

/// A moment as the kernel gives it: seconds and nanoseconds.
pub type Moment = (i64, i64);

/// What makes a tree one that may not be removed.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What changed at or after this moment is not ours to remove.
    pub began: Moment,
    /// What tells a change of a file.
    pub telling: Telling,
    /// A directory that must stay: device and inode number.
    pub kept_out: Option<(u64, u64)>,
}

/// What tells a change of a file that is no directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// Its change time, which nobody can set back.
    Change,
    /// Its time of modification as well: removing another name of the file, as applying does, moves the other one.
    Modification,
}

impl RealDir {
    /// The root of the tree.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn root(path: &Path) -> Result<RealDir, ApplyError> {
        let fd = fs::openat(CWD, path, O_DIRPATH, Mode::empty());
        let fd = fd.map_err(|source| ApplyError::System { path: path.to_owned(), action: "open", source })?;
        Ok(RealDir { fd, path: path.to_owned() })
    }

    /// The directory `name`, on the same mount, or, where `mounts` has its path, on another.
    ///
    /// # Errors
    /// [`Why`] it is not that: `Changed` where it is no directory, `Mount`.
    pub fn open(&self, name: &OsStr, mounts: &[PathBuf]) -> Result<Result<RealDir, Why>, ApplyError> {
        let path = self.path.join(name);
        let open = |how: ResolveFlags| fs::openat2(&self.fd, name, O_DIRPATH, Mode::empty(), how);
        let here = open(BENEATH);
        let fd = match (here, mounts.contains(&path)) {
            (Ok(_), true) | (Err(Errno::XDEV), false) => return Ok(Err(Why::Mount)),
            (Err(Errno::XDEV), true) => open(BENEATH - ResolveFlags::NO_XDEV),
            (here, _) => here,
        };
        match fd {
            Ok(fd) => Ok(Ok(RealDir { fd, path })),
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(Err(Why::Changed)),
            Err(source) => Err(ApplyError::System { path, action: "open", source }),
        }
    }

    /// A directory that was made just now.
    ///
    /// # Errors
    /// What the system says.
    pub fn open_new(&self, name: &OsStr) -> Result<RealDir, ApplyError> {
        let fd = fs::openat2(&self.fd, name, O_DIRPATH, Mode::empty(), BENEATH);
        let fd = fd.map_err(|e| self.failed(name, "open", e))?;
        Ok(RealDir { fd, path: self.path.join(name) })
    }

    /// Its descriptor, for reaching names in it.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The path of `name` in it, for messages.
    pub fn path_of(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    /// Its own path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is under a name; `None` where nothing is.
    ///
    /// # Errors
    /// What the system says.
    pub fn stat(&self, name: &OsStr) -> Result<Option<Stat>, ApplyError> {
        match fs::lstatat(&self.fd, name) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(self.failed(name, "look at", e)),
        }
    }

    /// Whether names may be made and removed in it.
    pub fn is_writable(&self) -> bool {
        accessat(&self.fd, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
    }

    /// Its names that begin so; none where it may not be listed.
    pub fn names_with(&self, prefix: &[u8]) -> Vec<std::ffi::OsString> {
        let entries = read_all(self.fd.as_fd()).unwrap_or_default();
        entries.into_iter().map(|entry| entry.name).filter(|name| begins(name, prefix)).collect()
    }

    /// Makes what was done to its names last.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(&self) -> Result<(), ApplyError> {
        match open_listing(&self.fd).and_then(fs::fsync) {
            // One that may be written and not read.
            Err(Errno::ACCESS | Errno::INVAL) | Ok(()) => Ok(()),
            Err(source) => Err(ApplyError::System { path: self.path.clone(), action: "sync", source }),
        }
    }

    /// Why `name`, with all that is in it, may not be taken away; `None` where it may. `seen` is told all that is.
    ///
    /// # Errors
    /// What the system says.
    pub fn obstacle(
        &self,
        name: &OsStr,
        stat: &Stat,
        limits: &Limits,
        seen: &mut dyn FnMut(&Stat),
    ) -> Result<Option<Why>, ApplyError> {
        seen(stat);
        if limits.kept_out == Some((stat.st_dev, stat.st_ino)) {
            return Ok(Some(Why::KeptOut));
        }
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let excused = !is_dir && limits.telling == Telling::Modification && !modified(stat, limits.began);
        if changed(stat, limits.began) && !excused {
            return Ok(Some(Why::Changed));
        }
        if !is_dir {
            return Ok(None);
        }
        let dir = match self.open(name, &[])? {
            Ok(dir) => dir,
            Err(why) => return Ok(Some(why)),
        };
        for entry in read_all(dir.fd()).map_err(|e| self.failed(name, "list", e))? {
            let Some(stat) = dir.stat(&entry.name)? else { return Ok(Some(Why::Changed)) };
            if let Some(why) = dir.obstacle(&entry.name, &stat, limits, seen)? {
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    /// An error at a name in it.
    pub fn failed(&self, name: &OsStr, action: &'static str, source: Errno) -> ApplyError {
        ApplyError::System { path: self.path.join(name), action, source }
    }
}

fn begins(name: &OsStr, prefix: &[u8]) -> bool {
    std::os::unix::ffi::OsStrExt::as_bytes(name).starts_with(prefix)
}

/// Whether a file was changed at or after a moment: its change time, which nobody can set back, tells.
#[allow(clippy::unnecessary_cast, reason = "the fields' widths differ between machines")]
pub fn changed(stat: &Stat, began: Moment) -> bool {
    (stat.st_ctime as i64, stat.st_ctime_nsec as i64) >= began
}

#[allow(clippy::unnecessary_cast, reason = "the fields' widths differ between machines")]
fn modified(stat: &Stat, began: Moment) -> bool {
    (stat.st_mtime as i64, stat.st_mtime_nsec as i64) >= began
}

/// Whether the two were read of the same file in the same state.
pub fn is_same_state(a: &Stat, b: &Stat) -> bool {
    let state = |s: &Stat| (s.st_dev, s.st_ino, s.st_ctime, s.st_ctime_nsec, s.st_size);
    state(a) == state(b)
}
