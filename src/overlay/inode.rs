//! Inodes of the view and the table that maps the kernel's node numbers to them.
//!
//! An inode lives as long as the kernel holds lookups on it, a child names it as its parent, or an operation
//! is under way; when the last of these goes, it leaves the table by itself.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::{Mutex, RwLock};

use crate::format::redirect::Redirect;
use crate::sys::process;

use super::attr::{Attr, Kind};
use super::dir_index::DirIndex;
use super::error::{Error, Result};
use super::name::Name;
use super::open_files::FileCache;
use super::real_dir::{LayerNo, RealDir, UPPER};

/// The kernel's number for the root of the view.
pub const ROOT_NODE: u64 = 1;
/// Node numbers from here on are given out by counting, where the inode number cannot serve as one.
const COUNTED: u64 = 0xfe << 56;

/// So many inodes at a time are forgotten before it is asked whether to give memory back.
const FORGOTTEN_STEP: u64 = 64;

/// One real directory that a directory of the view is made of.
#[derive(Debug, Clone)]
pub struct Source {
    /// The directory in its layer.
    pub dir: Arc<RealDir>,
    /// Whether it may hold whiteouts in the form of marked empty files (`overlay.opaque` is `x`).
    pub file_whiteouts: bool,
}

/// What only directories have.
#[derive(Debug, Default)]
pub struct DirState {
    /// The real directories, top first.
    pub sources: Vec<Source>,
    /// The merged names, where they were needed.
    pub index: Option<Arc<Mutex<DirIndex>>>,
    /// Where the lower part lies, if the upper part says that it is elsewhere.
    pub redirect: Option<Redirect>,
    /// Whether the upper part has a default ACL; unknown until asked.
    pub default_acl: Option<bool>,
    /// Whether the upper part is marked as holding copied-up entries.
    pub impure: bool,
    /// The last attributes of a directory that was removed.
    pub removed: Option<Box<Attr>>,
}

impl DirState {
    /// The part in the upper layer.
    pub fn upper(&self) -> Option<&Source> {
        self.sources.first().filter(|s| s.dir.layer == UPPER)
    }

    /// The parts in lower layers.
    pub fn lowers(&self) -> &[Source] {
        let skip = usize::from(self.upper().is_some());
        &self.sources[skip..]
    }
}

/// What a file that is not a directory keeps beyond its name.
#[derive(Debug, Default)]
pub struct FileState {
    /// The file itself, held where no known name leads to it any more.
    pub pinned: Option<Arc<OwnedFd>>,
    /// Where the data lies, when the file at the name holds attributes only.
    pub data: Option<(Arc<RealDir>, Name)>,
    /// Names beside the one in the state by which a file with several links is known here.
    pub other_names: Vec<(Arc<Inode>, Name)>,
    /// Whether the name in the state is gone, though other names may exist that are not known here.
    pub nameless: bool,
    /// Whether all its names were removed.
    pub unlinked: bool,
    /// Links of the whole union, where the real file's count does not tell.
    pub nlink: Option<u32>,
    /// The name of its entry in the index of hard links.
    pub index_name: Option<Name>,
    /// Whether all known names of an indexed file are names in the upper, too.
    pub linked_up: bool,
}

/// The changing part of an inode.
#[derive(Debug)]
pub struct State {
    /// The directory and the name by which the file is known here; none for the root.
    pub parent: Option<Arc<Inode>>,
    /// The name in `parent`.
    pub name: Name,
    /// The layer the file lies in; for a directory that of its top source.
    pub layer: LayerNo,
    /// Present for directories.
    pub dir: Option<Box<DirState>>,
    /// Present for files with more to say than a name.
    pub file: Option<Box<FileState>>,
}

impl State {
    /// Whether the file is known by this name in the first place.
    pub fn is_named(&self, parent: &Inode, name: &OsStr) -> bool {
        self.parent.as_ref().is_some_and(|p| p.node == parent.node) && *self.name == *name
    }

    /// The file is known by this name, too; in the first place where it had lost all others.
    pub fn add_name(&mut self, parent: &Arc<Inode>, name: &OsStr) {
        let known = self.is_named(parent, name);
        let file = self.file.get_or_insert_with(Box::default);
        if file.nameless || file.unlinked || file.pinned.is_some() {
            self.parent = Some(parent.clone());
            self.name = name.into();
            (file.nameless, file.unlinked, file.pinned) = (false, false, None);
        } else if !known && !file.other_names.iter().any(|(p, n)| p.node == parent.node && **n == *name) {
            file.other_names.push((parent.clone(), name.into()));
            file.linked_up = false;
        }
    }

    /// All names by which the file is known.
    pub fn names(&self) -> Vec<(Arc<Inode>, Name)> {
        let nameless = self.file.as_ref().is_some_and(|f| f.nameless || f.unlinked);
        let first = self.parent.clone().filter(|_| !nameless).map(|parent| (parent, self.name.clone()));
        let others = self.file.as_ref().map_or_else(Vec::new, |f| f.other_names.clone());
        first.into_iter().chain(others).collect()
    }

    /// The file has this name no more; returns whether another one is known.
    pub fn drop_name(&mut self, parent: &Inode, name: &OsStr) -> bool {
        let first = self.is_named(parent, name);
        let file = self.file.get_or_insert_with(Box::default);
        file.other_names.retain(|(p, n)| p.node != parent.node || **n != *name);
        if first {
            match file.other_names.pop() {
                Some((parent, name)) => (self.parent, self.name) = (Some(parent), name),
                None => file.nameless = true,
            }
        }
        !file.nameless
    }

    /// The file has another name instead of the old one.
    pub fn change_name(&mut self, old: (&Inode, &OsStr), new: (&Arc<Inode>, &OsStr)) {
        let first = self.is_named(old.0, old.1) || self.dir.is_some();
        if first {
            (self.parent, self.name) = (Some(new.0.clone()), new.1.into());
            return;
        }
        if let Some(file) = &mut self.file {
            file.other_names.retain(|(p, n)| p.node != old.0.node || **n != *old.1);
        }
        self.add_name(new.0, new.1);
    }
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
    nlookup: AtomicU64,
    /// Held while the file itself moves between layers or loses or changes its name.
    pub ops: Mutex<()>,
    /// Held, for a directory, while an entry of its upper part is published or removed.
    pub entries: Mutex<()>,
    /// Where the file is now; never held across a system call.
    pub state: RwLock<State>,
    table: Weak<InodeTable>,
}

/// The file has no `security.capability`.
pub const NO_CAPABILITY: u8 = 1;
/// The file holds its own data.
pub const NOT_METACOPY: u8 = 2;
/// It is kept for those who read the lower's file; the names lead to another inode, that of the copy.
pub const APART: u8 = 4;
/// It may have a file among those kept open.
pub const HAS_OPEN_FILE: u8 = 8;

impl Inode {
    /// Whether all bits of `what` are known to hold.
    pub fn knows(&self, what: u8) -> bool {
        self.known.load(Ordering::Relaxed) & what == what
    }

    /// Remembers that `what` holds.
    pub fn learn(&self, what: u8) {
        self.known.fetch_or(what, Ordering::Relaxed);
    }

    /// Forgets whether `what` holds.
    pub fn unlearn(&self, what: u8) {
        self.known.fetch_and(!what, Ordering::Relaxed);
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

    /// Whether the real file is reached by this name, and by nothing else.
    pub fn is_reached_by(&self, parent: &Inode, name: &OsStr) -> bool {
        let state = self.state.read();
        let elsewhere = |file: &FileState| {
            file.pinned.is_some() || file.index_name.is_some() || file.nameless || file.unlinked
        };
        state.is_named(parent, name) && !state.file.as_deref().is_some_and(elsewhere)
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

impl Drop for Inode {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.files.close(self);
            table.dropped(self.node, self.ino);
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
    /// Inode numbers whose file has a counted node number.
    renumbered: DashMap<u64, u64>,
    next: AtomicU64,
    /// Since memory was given back last.
    forgotten: AtomicU64,
}

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

impl InodeTable {
    /// An empty table, which keeps at most `open_files` files open.
    pub fn new(open_files: usize) -> Arc<InodeTable> {
        Arc::new(InodeTable {
            files: FileCache::new(open_files),
            slots: DashMap::new(),
            renumbered: DashMap::new(),
            next: AtomicU64::new(COUNTED),
            forgotten: AtomicU64::new(0),
        })
    }

    /// Adds the root, which the kernel knows without a lookup and never forgets.
    pub fn insert_root(self: &Arc<Self>, new: NewInode) -> Arc<Inode> {
        self.renumbered.insert(new.ino, ROOT_NODE);
        let inode = Arc::new(self.build(ROOT_NODE, new));
        inode.nlookup.store(1, Ordering::Relaxed);
        self.slots.insert(ROOT_NODE, Slot { inode: Arc::downgrade(&inode), held: Some(inode.clone()) });
        inode
    }

    fn build(self: &Arc<Self>, node: u64, new: NewInode) -> Inode {
        Inode {
            node,
            ino: new.ino,
            kind: new.kind,
            known: AtomicU8::new(new.known),
            nlookup: AtomicU64::new(0),
            ops: Mutex::new(()),
            entries: Mutex::new(()),
            state: RwLock::new(new.state),
            table: Arc::downgrade(self),
        }
    }

    /// The inode the kernel means by `node`.
    pub fn get(&self, node: u64) -> Result<Arc<Inode>> {
        self.slots.get(&node).and_then(|slot| slot.inode.upgrade()).ok_or(Error::Stale)
    }

    /// The living inode with this inode number.
    pub fn by_ino(&self, ino: u64) -> Option<Arc<Inode>> {
        self.slots.get(&self.node_of(ino))?.inode.upgrade()
    }

    /// The node number that a file with this inode number has or would get.
    fn node_of(&self, ino: u64) -> u64 {
        if !self.renumbered.is_empty()
            && let Some(node) = self.renumbered.get(&ino)
        {
            return *node;
        }
        ino
    }

    /// A node number that no inode number can be.
    fn count(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Adds a new inode, unless one with its inode number lives: that is returned as the error.
    pub fn insert(self: &Arc<Self>, new: NewInode) -> std::result::Result<Arc<Inode>, Arc<Inode>> {
        let mut node = self.node_of(new.ino);
        if node <= ROOT_NODE && new.ino <= ROOT_NODE {
            node = self.renumber(new.ino);
        }
        let entry = self.slots.entry(node);
        if let Entry::Occupied(occupied) = &entry
            && let Some(living) = occupied.get().inode.upgrade()
        {
            return Err(living);
        }
        let inode = Arc::new(self.build(node, new));
        entry.insert(Slot { inode: Arc::downgrade(&inode), held: None });
        Ok(inode)
    }

    /// A number for a file whose own inode number another living file has.
    pub fn spare_number(&self) -> u64 {
        self.count()
    }

    /// From now on the file with this inode number gets a new node number.
    ///
    /// The inode that has the old one lives on until it is forgotten.
    pub fn renumber(&self, ino: u64) -> u64 {
        let node = self.count();
        self.renumbered.insert(ino, node);
        node
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
    fn dropped(&self, node: u64, ino: u64) {
        self.slots.remove_if(&node, |_, slot| slot.inode.strong_count() == 0);
        if !self.renumbered.is_empty() {
            self.renumbered.remove_if(&ino, |_, n| *n == node);
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
