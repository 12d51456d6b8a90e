//! Open files behind inodes for I/O without open handles: bounded in number, the oldest unused closed first.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::inode::Inode;

/// A file kept open.
#[derive(Debug)]
struct Kept {
    fd: Arc<OwnedFd>,
    writable: bool,
}

/// The descriptor that an inode has open, if any.
#[derive(Debug, Default)]
pub struct OpenFiles {
    kept: Mutex<Option<Kept>>,
    used: AtomicBool,
}

/// All such descriptors of a mount.
#[derive(Debug)]
pub struct FileCache {
    limit: usize,
    open: Mutex<VecDeque<Weak<Inode>>>,
}

impl FileCache {
    /// A cache of at most `limit` descriptors.
    pub fn new(limit: usize) -> FileCache {
        FileCache { limit, open: Mutex::new(VecDeque::new()) }
    }

    /// The descriptor of an inode, if it has one that is good enough.
    pub fn get(&self, inode: &Inode, writable: bool) -> Option<Arc<OwnedFd>> {
        let kept = inode.open_files.kept.lock();
        let kept = kept.as_ref().filter(|k| k.writable || !writable)?;
        inode.open_files.used.store(true, Ordering::Relaxed);
        Some(kept.fd.clone())
    }

    /// Keeps a descriptor, in place of a weaker one.
    pub fn keep(&self, inode: &Arc<Inode>, fd: Arc<OwnedFd>, writable: bool) -> Arc<OwnedFd> {
        let before = inode.open_files.kept.lock().replace(Kept { fd: fd.clone(), writable });
        if before.is_none() {
            let mut open = self.open.lock();
            open.push_back(Arc::downgrade(inode));
            self.shrink(&mut open);
        }
        fd
    }

    /// Closes the descriptor of an inode whose file moved.
    pub fn close(&self, inode: &Inode) {
        let closed = inode.open_files.kept.lock().take();
        drop(closed);
    }

    fn shrink(&self, open: &mut VecDeque<Weak<Inode>>) {
        while open.len() > self.limit {
            let Some(weak) = open.pop_front() else { return };
            let Some(inode) = weak.upgrade() else { continue };
            if inode.open_files.used.swap(false, Ordering::Relaxed) {
                open.push_back(weak);
            } else {
                self.close(&inode);
            }
        }
    }
}
