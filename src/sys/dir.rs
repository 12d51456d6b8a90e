//! Reading real directories: `getdents64` with positions.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom};

use super::fs::FileType;
use super::{Errno, Result};

/// One entry of a real directory; `.` and `..` are never reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// The entry's name.
    pub name: OsString,
    /// The real inode number.
    pub ino: u64,
    /// The type the directory records; [`FileType::Unknown`] where the file system does not say.
    pub file_type: FileType,
    /// The position (`d_off`) from which a later reading goes on behind this entry.
    pub next: u64,
}

/// Opens the directory that `dir` (possibly `O_PATH`) refers to, for reading its entries.
pub fn open_listing(dir: impl AsFd) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, ".", flags, Mode::empty())
}

/// Calls `visit` for each entry from position `from` (0: the beginning) on, until it returns `false`
/// or the directory ends. Returns whether the end was reached.
pub fn read_from(
    dir: BorrowedFd<'_>,
    from: u64,
    visit: impl FnMut(&OsStr, u64, FileType, u64) -> bool,
) -> Result<bool> {
    let fd = open_listing(dir)?;
    if from != 0 {
        rustix::fs::seek(&fd, SeekFrom::Start(from))?;
    }
    read_on(&fd, visit)
}

/// The same from where `fd`, open for reading, stands.
fn read_on(fd: &OwnedFd, mut visit: impl FnMut(&OsStr, u64, FileType, u64) -> bool) -> Result<bool> {
    // Not on the stack, where all of its pages would be touched, in each thread.
    let mut buffer = Vec::<u8>::with_capacity(32 * 1024);
    let mut raw = RawDir::new(fd, buffer.spare_capacity_mut());
    while let Some(entry) = raw.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if !visit(OsStr::from_bytes(name), entry.ino(), entry.file_type(), entry.next_entry_cookie()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads the whole directory.
pub fn read_all(dir: BorrowedFd<'_>) -> Result<Vec<DirEntry>> {
    Ok(read_rest(&open_listing(dir)?, usize::MAX)?.unwrap_or_default())
}

/// Reads a directory from where `fd`, open for reading, stands; `None` where it has more than `most` entries.
pub fn read_rest(fd: &OwnedFd, most: usize) -> Result<Option<Vec<DirEntry>>> {
    let mut entries = Vec::new();
    let complete = read_on(fd, |name, ino, file_type, next| {
        let room = entries.len() < most;
        if room {
            let name = OsString::from_vec(name.as_bytes().to_vec());
            entries.push(DirEntry { name, ino, file_type, next });
        }
        room
    })?;
    Ok(complete.then_some(entries))
}

/// Removes a directory with its content, no link followed.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    for entry in read_all(dir.as_fd())? {
        match rustix::fs::unlinkat(&dir, &entry.name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => remove_tree(dir.as_fd(), &entry.name)?,
            other => other?,
        }
    }
    rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)
}
