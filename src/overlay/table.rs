//! All inodes of a mount: by the kernel's node number, by inode number, and by object where the number does not tell.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use crate::sys::process;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::error::{Error, Result};
use super::inode::{Inode, NewInode};
use super::object::Object;
use super::open_files::FileCache;

/// The kernel's number for the root of the view.
pub const ROOT_NODE: u64 = 1;
/// Node numbers from here on are given out by counting, where the inode number cannot serve as one.
const COUNTED: u64 = 0xfe << 56;

/// So many inodes at a time are forgotten before it is asked whether to give memory back.
const FORGOTTEN_STEP: u64 = 64;

/// What the table holds for a node number.
#[derive(Debug)]
struct Slot {
    inode: Weak<Inode>,
    /// Keeps the inode while the kernel has lookups on it.
    held: Option<Arc<Inode>>,
}

/// All inodes of a mount by node number.
#[derive(Debug)]
pub struct InodeTable {
    /// Files of inodes that are kept open.
    pub files: FileCache,
    slots: DashMap<u64, Slot>,
    /// The node numbers of living inodes that their file's own number does not lead to: of copies, which show that of the
    /// lower's file, and of files whose number another one has.
    by_object: DashMap<Object, u64>,
    /// The inode number of the root, whose node number is always the same.
    root_ino: AtomicU64,
    next: AtomicU64,
    /// Since memory was given back last.
    forgotten: AtomicU64,
}

impl InodeTable {
    /// An empty table, which keeps at most `open_files` files open.
    pub fn new(open_files: usize) -> Arc<InodeTable> {
        Arc::new(InodeTable {
            files: FileCache::new(open_files),
            slots: DashMap::new(),
            by_object: DashMap::new(),
            root_ino: AtomicU64::new(ROOT_NODE),
            next: AtomicU64::new(COUNTED),
            forgotten: AtomicU64::new(0),
        })
    }

    /// Adds the root, which the kernel knows without a lookup and never forgets.
    pub fn insert_root(self: &Arc<Self>, new: NewInode) -> Arc<Inode> {
        self.root_ino.store(new.ino, Ordering::Relaxed);
        let inode = Arc::new(Inode::new(Arc::downgrade(self), ROOT_NODE, new));
        inode.nlookup.store(1, Ordering::Relaxed);
        self.slots.insert(ROOT_NODE, Slot { inode: Arc::downgrade(&inode), held: Some(inode.clone()) });
        inode
    }

    /// The inode the kernel means by `node`.
    pub fn get(&self, node: u64) -> Result<Arc<Inode>> {
        self.slots.get(&node).and_then(|slot| slot.inode.upgrade()).ok_or(Error::Stale)
    }

    /// The living inode with this inode number.
    pub fn by_ino(&self, ino: u64) -> Option<Arc<Inode>> {
        self.slots.get(&self.node_of(ino))?.inode.upgrade()
    }

    /// The living inode of a file that is found by its object.
    pub fn by_object(&self, object: Object) -> Option<Arc<Inode>> {
        if self.by_object.is_empty() {
            return None;
        }
        let node = *self.by_object.get(&object)?;
        self.get(node).ok()
    }

    /// From now on `inode` is found by this object, whatever number that has.
    pub fn know_object(&self, object: Object, inode: &Inode) {
        self.by_object.insert(object, inode.node);
    }

    /// The inode did not become this object after all.
    pub fn unknow_object(&self, object: Object, inode: &Inode) {
        self.by_object.remove_if(&object, |_, node| *node == inode.node);
    }

    /// The node number that a file with this inode number gets.
    fn node_of(&self, ino: u64) -> u64 {
        if ino == self.root_ino.load(Ordering::Relaxed) {
            return ROOT_NODE;
        }
        // The kernel's number of the root, and the one that means none, are no other file's.
        if ino <= ROOT_NODE { COUNTED | 1 << 55 | ino } else { ino }
    }

    /// Adds a new inode, unless one with its inode number lives: that is returned as the error.
    pub fn insert(self: &Arc<Self>, new: NewInode) -> std::result::Result<Arc<Inode>, Arc<Inode>> {
        let node = self.node_of(new.ino);
        let entry = self.slots.entry(node);
        if let Entry::Occupied(occupied) = &entry
            && let Some(living) = occupied.get().inode.upgrade()
        {
            return Err(living);
        }
        let inode = Arc::new(Inode::new(Arc::downgrade(self), node, new));
        entry.insert(Slot { inode: Arc::downgrade(&inode), held: None });
        Ok(inode)
    }

    /// A number for a file whose own inode number another living file has.
    pub fn spare_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Counts one lookup by the kernel.
    pub fn remember(&self, inode: &Arc<Inode>) {
        if let Some(mut slot) = self.slots.get_mut(&inode.node) {
            inode.nlookup.fetch_add(1, Ordering::Relaxed);
            if slot.held.is_none() {
                slot.held = Some(inode.clone());
            }
        }
    }

    /// The kernel gave back `count` lookups; returns whether memory is to be given back by now.
    pub fn forget(&self, node: u64, count: u64) -> bool {
        let released = match self.slots.get_mut(&node) {
            None => None,
            Some(mut slot) => {
                let left = match &slot.held {
                    Some(inode) => {
                        let before = inode.nlookup.load(Ordering::Relaxed);
                        let left = before.saturating_sub(count);
                        inode.nlookup.store(left, Ordering::Relaxed);
                        left
                    }
                    None => return false,
                };
                if left == 0 && node != ROOT_NODE { slot.held.take() } else { None }
            }
        };
        drop(released);
        // Looking at the size of every shard pays only once per many.
        let forgotten = self.forgotten.fetch_add(1, Ordering::Relaxed) + 1;
        let due = forgotten.is_multiple_of(FORGOTTEN_STEP) && forgotten >= self.slots.len() as u64 / 4;
        if due {
            self.forgotten.store(0, Ordering::Relaxed);
        }
        due
    }

    /// An inode went: its slot is freed unless another inode has it by now.
    pub fn dropped(&self, inode: &mut Inode) {
        self.slots.remove_if(&inode.node, |_, slot| slot.inode.strong_count() == 0);
        if !self.by_object.is_empty() {
            let object = inode.state.get_mut().object;
            self.by_object.remove_if(&object, |_, node| *node == inode.node);
        }
    }

    /// Gives memory back, that of the table itself where most of it is empty by now.
    pub fn trim(&self) {
        if self.slots.capacity() > 4 * self.slots.len() + 1024 {
            self.slots.shrink_to_fit();
        }
        process::trim_heap();
    }
}
