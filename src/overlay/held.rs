//! Files that lost their last known name while their inode lives: held, so that those who have them open still reach them
//! and nothing else gets their number.
//!
//! A file is held by a descriptor, of which there are few: any user can have thousands of files open and remove them. Beyond
//! a bound it gets a name in the work directory instead.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::fs::{self, AtFlags};

use super::error::Result;
use super::work::Work;

/// A held file; dropping it lets the file go.
#[derive(Debug)]
pub enum Held {
    /// By a descriptor, `O_PATH` or better.
    Open(Arc<OwnedFd>, #[expect(dead_code, reason = "counts while it is kept")] Permit),
    /// By a name in the work directory.
    InWork(WorkName),
}

/// A name in the work directory, removed with the value.
#[derive(Debug)]
pub struct WorkName {
    /// The work directory.
    pub dir: Arc<OwnedFd>,
    /// The name in it.
    pub name: OsString,
}

impl Drop for WorkName {
    fn drop(&mut self) {
        if let Err(e) = fs::unlinkat(&*self.dir, &*self.name, AtFlags::empty()) {
            log::debug!("leftover {} in the work directory: {e}", self.name.display());
        }
    }
}

/// Leave to keep one descriptor.
#[derive(Debug)]
pub struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts the files that are held by descriptors.
#[derive(Debug)]
pub struct HeldFiles {
    limit: usize,
    open: Arc<AtomicUsize>,
}

impl HeldFiles {
    /// At most `limit` descriptors.
    pub fn new(limit: usize) -> HeldFiles {
        HeldFiles { limit, open: Arc::default() }
    }

    /// Holds the file that `fd` refers to, which must still have a name or be a new one that never had any.
    ///
    /// # Errors
    /// Those of link(2) where descriptors are used up and the file cannot be linked.
    pub fn hold(&self, fd: Arc<OwnedFd>, work: &Work) -> Result<Arc<Held>> {
        let permit = Permit(self.open.clone());
        if self.open.fetch_add(1, Ordering::Relaxed) < self.limit {
            return Ok(Arc::new(Held::Open(fd, permit)));
        }
        drop(permit);
        let name = work.fresh_name();
        fs::link_fd(fd.as_fd(), work.dir.as_fd(), &name)?;
        Ok(Arc::new(Held::InWork(WorkName { dir: work.dir.clone(), name })))
    }
}
