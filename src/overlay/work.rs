//! The work directory: where files are prepared before one rename or link publishes them, and where the index
//! of hard links lies. Its layout is the kernel's: `work/` and `index/`.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::sys::fs::{self, AtFlags, FileType, Mode, O_DIRPATH, OFlags};
use crate::sys::inherited::make_plain;
use crate::sys::{self, Errno, dir};

/// An open work directory.
#[derive(Debug)]
pub struct Work {
    /// Where files are prepared.
    pub dir: Arc<OwnedFd>,
    /// Where the index of hard links lies, if there is one.
    pub index: Option<Arc<OwnedFd>>,
    /// The name here of the whiteout device that new whiteouts are links of, once there is one.
    pub whiteout: Mutex<Option<OsString>>,
    next: AtomicU64,
}

impl Work {
    /// Opens the work directory `root`, makes its parts and clears what an earlier mount left.
    ///
    /// Only `work/` is cleared; everything else that may lie there is not ours.
    pub fn open(root: &OwnedFd, with_index: bool) -> sys::Result<Work> {
        let dir = ensure_dir(root, "work")?;
        remove_contents(&dir)?;
        let index = if with_index { Some(Arc::new(ensure_dir(root, "index")?)) } else { None };
        Ok(Work { dir: Arc::new(dir), index, whiteout: Mutex::new(None), next: AtomicU64::new(0) })
    }

    /// A name that nothing in the work directory has or had during this mount.
    pub fn fresh_name(&self) -> OsString {
        OsString::from(format!("#{:x}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Removes a prepared file that was not published, or a directory with all it holds.
    pub fn discard(&self, name: &OsStr) {
        if let Err(e) = remove_tree(&self.dir, name) {
            log::warn!("leftover {} in the work directory: {e}", name.display());
        }
    }

    /// An unnamed file on the upper's file system.
    pub fn unnamed_file(&self, mode: Mode) -> sys::Result<OwnedFd> {
        fs::openat(&*self.dir, ".", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode)
    }
}

/// Opens the directory `name`, made first where it is missing. What is made in it must inherit nothing of what the
/// directory around it passes on: a default ACL would let others read copies of files that they may not read.
fn ensure_dir(root: &OwnedFd, name: &str) -> sys::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o700);
    match fs::mkdirat(root, name, mode) {
        Ok(()) => {}
        // The kernel leaves its own with no permission at all, which only its owner or root gets past.
        Err(Errno::EXIST) => fs::lchmodat(root.as_fd(), name.as_ref(), mode)?,
        Err(e) => return Err(e),
    }
    let dir = fs::openat(root, name, O_DIRPATH, Mode::empty())?;
    make_plain(&dir, mode)?;
    Ok(dir)
}

/// Removes everything in a directory.
pub fn remove_contents(fd: &OwnedFd) -> sys::Result<()> {
    for entry in dir::read_all(fd.as_fd())? {
        remove_entry(fd, &entry.name, entry.file_type)?;
    }
    Ok(())
}

/// Removes one entry, a directory with all it holds.
pub fn remove_tree(parent: &OwnedFd, name: &OsStr) -> sys::Result<()> {
    let st = fs::lstatat(parent, name)?;
    remove_entry(parent, name, FileType::from_raw_mode(st.st_mode))
}

fn remove_entry(parent: &OwnedFd, name: &OsStr, file_type: FileType) -> sys::Result<()> {
    if file_type != FileType::Directory {
        match fs::unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            other => return other,
        }
    }
    if let Err(e) = fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        if !matches!(e, Errno::NOTEMPTY | Errno::EXIST) {
            return Err(e);
        }
        // What its owner may not enter can be opened up by its owner.
        if let Err(e) = fs::lchmodat(parent.as_fd(), name, Mode::from_raw_mode(0o700)) {
            log::debug!("{} not opened up: {e}", name.display());
        }
        remove_contents(&fs::open_dir_path(parent, name)?)?;
        fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}
