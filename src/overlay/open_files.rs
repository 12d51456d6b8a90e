//! Open files behind inodes for I/O without open handles: bounded in number, the oldest unused closed first.

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;

use super::inode::{HAS_OPEN_FILE, Inode};

/// A file kept open.
#[derive(Debug)]
struct Kept {
    fd: Arc<OwnedFd>,
    writable: bool,
    /// Whether it was asked for since it was looked at last.
    used: bool,
}

/// All such descriptors of a mount, by node number; the inodes they belong to know that they have one.
#[derive(Debug)]
pub struct FileCache {
    limit: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    kept: HashMap<u64, Kept>,
    /// The nodes with a file, the oldest first; some of them may have lost theirs.
    queue: VecDeque<u64>,
}

impl FileCache {
    /// A cache of at most `limit` descriptors.
    pub fn new(limit: usize) -> FileCache {
        FileCache { limit, open: Mutex::new(Open::default()) }
    }

    /// The descriptor of an inode, if it has one that is good enough.
    pub fn get(&self, inode: &Inode, writable: bool) -> Option<Arc<OwnedFd>> {
        if !inode.knows(HAS_OPEN_FILE) {
            return None;
        }
        let mut open = self.open.lock();
        let kept = open.kept.get_mut(&inode.node).filter(|k| k.writable || !writable)?;
        kept.used = true;
        Some(kept.fd.clone())
    }

    /// Keeps a descriptor, in place of a weaker one, if `is_current` still says that it is the inode's file: whoever moves
    /// that says so before it has the old one closed here.
    pub fn keep(
        &self,
        inode: &Inode,
        fd: Arc<OwnedFd>,
        writable: bool,
        is_current: impl FnOnce() -> bool,
    ) -> Arc<OwnedFd> {
        let mut open = self.open.lock();
        if !is_current() {
            return fd;
        }
        inode.learn(HAS_OPEN_FILE);
        let before = open.kept.insert(inode.node, Kept { fd: fd.clone(), writable, used: false });
        let mut closed = Vec::new();
        if before.is_none() {
            open.queue.push_back(inode.node);
            open.shrink(self.limit, &mut closed);
        }
        drop(open);
        drop((before, closed));
        fd
    }

    /// Closes the descriptor of an inode that goes, or whose file moved.
    pub fn close(&self, inode: &Inode) {
        if inode.knows(HAS_OPEN_FILE) {
            let closed = {
                let mut open = self.open.lock();
                inode.unlearn(HAS_OPEN_FILE);
                open.kept.remove(&inode.node)
            };
            drop(closed);
        }
    }
}

impl Open {
    /// Takes out what was not used since it was looked at last, until the limit holds.
    fn shrink(&mut self, limit: usize, closed: &mut Vec<Kept>) {
        while self.queue.len() > limit {
            let Some(node) = self.queue.pop_front() else { return };
            let used = self.kept.get_mut(&node).is_some_and(|kept| std::mem::replace(&mut kept.used, false));
            if used {
                self.queue.push_back(node);
            } else {
                closed.extend(self.kept.remove(&node));
            }
        }
    }
}
