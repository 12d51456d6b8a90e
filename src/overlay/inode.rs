//! Inodes of the view: one for each file, from its first lookup until the kernel forgets it, through copy-up, rename and
//! hard links.
//!
//! An inode lives as long as the kernel holds lookups on it, a child names it as its parent, or an operation
//! is under way; when the last of these goes, it leaves the table by itself.

use std::ffi::OsStr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};

use super::attr::Kind;
use super::error::{Error, Result};
use super::name::Name;
use super::object::Object;
use super::patience::Patience;
use super::real_dir::{LayerNo, RealDir, UPPER};
use super::state::{DirState, FileState, Source, State};
use super::table::InodeTable;

/// A new inode before it has its node number.
#[derive(Debug)]
pub struct NewInode {
    /// The inode number shown.
    pub ino: u64,
    /// The type.
    pub kind: Kind,
    /// What is known from the start.
    pub known: u8,
    /// Where it is.
    pub state: State,
}

/// A file of the view.
#[derive(Debug)]
pub struct Inode {
    /// The kernel's number for it.
    pub node: u64,
    /// The inode number shown.
    pub ino: u64,
    /// Its type.
    pub kind: Kind,
    /// What is known of the file and need not be asked again: `KNOWS_…` and `HAS_…` bits.
    known: AtomicU8,
    pub(super) nlookup: AtomicU64,
    /// Held while the file itself moves between layers or loses or changes its name; see [`Inode::lock_ops`].
    ops: Mutex<()>,
    /// Held while the merged index of a directory is made.
    indexing: Mutex<()>,
    /// Whether one of the two is held for long.
    busy: AtomicBool,
    /// Held, for a directory, while an entry of its upper part is published or removed; see [`Inode::lock_entries`].
    entries: Mutex<()>,
    /// Counts the times that was taken and given back: odd while it is held.
    entries_version: AtomicU32,
    /// Where the file is now; never held across a system call.
    pub state: RwLock<State>,
    table: Weak<InodeTable>,
}

/// Nobody else changes the entries of a directory's upper part.
#[must_use]
pub struct EntriesGuard<'a> {
    inode: &'a Inode,
    _guard: MutexGuard<'a, ()>,
}

impl Drop for EntriesGuard<'_> {
    fn drop(&mut self) {
        self.inode.entries_version.fetch_add(1, Ordering::SeqCst);
    }
}

/// After so long a short step is looked at again: it may have become long work.
const SHORT_STEP: Duration = Duration::from_millis(1);

/// The file has no `security.capability`.
pub const NO_CAPABILITY: u8 = 1;
/// A `security.capability` was set here.
pub const MAY_HAVE_CAPABILITY: u8 = 4;
/// The file holds its own data.
pub const NOT_METACOPY: u8 = 2;
/// The kernel was given the file to write by itself, and may go on with that through a mapping.
pub const KERNEL_WRITES: u8 = 16;
/// It may have a file among those kept open.
pub const HAS_OPEN_FILE: u8 = 8;

impl Inode {
    /// Whether all bits of `what` are known to hold.
    pub fn knows(&self, what: u8) -> bool {
        self.known.load(Ordering::Relaxed) & what == what
    }

    /// Remembers that `what` holds of this object, if the inode is still that.
    pub fn learn_of(&self, object: Object, what: u8) {
        let state = self.state.read();
        if state.object == object {
            self.learn(what);
        }
    }

    /// Remembers that the file has no `security.capability`, unless one was set meanwhile.
    pub fn learn_no_capability(&self) {
        let learn = |known| (known & MAY_HAVE_CAPABILITY == 0).then_some(known | NO_CAPABILITY);
        // Somebody set one: nothing to remember.
        self.known.fetch_update(Ordering::Relaxed, Ordering::Relaxed, learn).unwrap_or_default();
    }

    /// A `security.capability` is about to be set: from now on the file itself is asked.
    pub fn expect_capability(&self) {
        let change = |known| Some(known & !NO_CAPABILITY | MAY_HAVE_CAPABILITY);
        self.known.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).unwrap_or_default();
    }

    /// Remembers that `what` holds.
    pub fn learn(&self, what: u8) {
        self.known.fetch_or(what, Ordering::Relaxed);
    }

    /// Forgets whether `what` holds.
    pub fn unlearn(&self, what: u8) {
        self.known.fetch_and(!what, Ordering::Relaxed);
    }

    /// Keeps away those who would move the file between layers or change its names.
    ///
    /// # Errors
    /// [`Error::Busy`] where long work holds it and the calling thread has no time to wait for that.
    pub fn lock_ops(&self) -> Result<MutexGuard<'_, ()>> {
        self.lock(&self.ops)
    }

    /// Keeps away those who would make the merged index of a directory, too.
    ///
    /// # Errors
    /// As [`Inode::lock_ops`].
    pub fn lock_indexing(&self) -> Result<MutexGuard<'_, ()>> {
        self.lock(&self.indexing)
    }

    fn lock<'a>(&'a self, mutex: &'a Mutex<()>) -> Result<MutexGuard<'a, ()>> {
        if Patience::current() == Patience::Unlimited {
            return Ok(mutex.lock());
        }
        loop {
            if let Some(guard) = mutex.try_lock() {
                return Ok(guard);
            }
            if self.is_busy() {
                return Err(Error::Busy(self.node));
            }
            // Held for a short step, or by long work that is about to say so.
            if let Some(guard) = mutex.try_lock_for(SHORT_STEP) {
                return Ok(guard);
            }
        }
    }

    /// Keeps away those who would change the entries of a directory's upper part.
    pub fn lock_entries(&self) -> EntriesGuard<'_> {
        let guard = self.entries.lock();
        self.entries_version.fetch_add(1, Ordering::SeqCst);
        EntriesGuard { inode: self, _guard: guard }
    }

    /// Tells later whether an entry of a directory's upper part was changed; `None` while one is.
    pub fn entries_version(&self) -> Option<u32> {
        let version = self.entries_version.load(Ordering::SeqCst);
        version.is_multiple_of(2).then_some(version)
    }

    /// Whether long work is being done on it.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire)
    }

    /// Says whether long work is being done on it.
    pub fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::Release);
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Directory
    }

    /// Whether it has a part in the upper layer.
    pub fn is_upper(&self) -> bool {
        self.state.read().layer == UPPER
    }

    /// The parent and the name by which it is known.
    pub fn location(&self) -> Option<(Arc<Inode>, Name)> {
        let state = self.state.read();
        state.parent.clone().map(|parent| (parent, state.name.clone()))
    }

    /// The sources of a directory.
    pub fn sources(&self) -> Result<Vec<Source>> {
        self.state.read().dir.as_ref().map(|d| d.sources.clone()).ok_or(Error::NotDirectory)
    }

    /// The part of a directory in one layer.
    pub fn source_in(&self, layer: LayerNo) -> Option<Arc<RealDir>> {
        let state = self.state.read();
        let dir = state.dir.as_ref()?;
        dir.sources.iter().find(|s| s.dir.layer == layer).map(|s| s.dir.clone())
    }

    /// Reads something of a directory's state.
    pub fn with_dir<T>(&self, read: impl FnOnce(&DirState) -> T) -> Result<T> {
        self.state.read().dir.as_deref().map(read).ok_or(Error::NotDirectory)
    }

    /// Changes a directory's state.
    pub fn with_dir_mut<T>(&self, write: impl FnOnce(&mut DirState) -> T) -> Result<T> {
        self.state.write().dir.as_deref_mut().map(write).ok_or(Error::NotDirectory)
    }

    /// Changes the file part of the state, which comes into being where it was not yet.
    pub fn with_file_mut<T>(&self, write: impl FnOnce(&mut FileState) -> T) -> T {
        write(self.state.write().file.get_or_insert_with(Box::default))
    }

    /// Whether it is known by this name.
    pub fn has_name(&self, parent: &Inode, name: &OsStr) -> bool {
        self.state.read().has_name(parent, name)
    }

    /// Its entry in the index of hard links, if it has one.
    pub fn indexed_name(&self) -> Option<Name> {
        self.state.read().file.as_ref().and_then(|file| file.index_name.clone())
    }

    /// The real file it is now.
    pub fn object(&self) -> Object {
        self.state.read().object
    }

    /// Whether the kernel knows it.
    pub fn is_looked_up(&self) -> bool {
        self.nlookup.load(Ordering::Relaxed) > 0
    }

    /// Whether the name by which it was known is gone.
    pub fn is_nameless(&self) -> bool {
        self.state.read().file.as_ref().is_some_and(|f| f.nameless || f.unlinked)
    }

    /// Whether its last name was removed.
    pub fn is_unlinked(&self) -> bool {
        let state = self.state.read();
        state.file.as_ref().is_some_and(|f| f.unlinked)
            || state.dir.as_ref().is_some_and(|d| d.removed.is_some())
    }
}

impl Inode {
    /// An inode that nobody has looked up yet.
    pub(super) fn new(table: Weak<InodeTable>, node: u64, new: NewInode) -> Inode {
        Inode {
            node,
            ino: new.ino,
            kind: new.kind,
            known: AtomicU8::new(new.known),
            nlookup: AtomicU64::new(0),
            ops: Mutex::new(()),
            indexing: Mutex::new(()),
            busy: AtomicBool::new(false),
            entries: Mutex::new(()),
            entries_version: AtomicU32::new(0),
            state: RwLock::new(new.state),
            table,
        }
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.files.close(self);
            table.dropped(self);
        }
        // Parents are let go one by one: a deep tree must not exhaust the stack.
        let mut next = self.state.get_mut().parent.take();
        while let Some(parent) = next {
            next = match Arc::into_inner(parent) {
                Some(mut inode) => inode.state.get_mut().parent.take(),
                None => None,
            };
        }
    }
}
