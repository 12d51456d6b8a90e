//! A directory of one layer, and the bounded cache of open directory descriptors.
//!
//! A real directory knows its layer, its parent there and its name, so that its descriptor can be closed at
//! any time and opened again one component at a time, never following a link. A directory of the upper, which may be
//! renamed meanwhile, also knows its object: nothing else that took its name is ever used or kept in its place.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};

use crate::sys::dir::open_listing;
use crate::sys::fs::{self, BENEATH, Mode, O_DIRPATH, OFlags};
use crate::sys::{self, Errno};

use super::name::Name;
use super::object::Object;

/// How often a directory is looked for that is moved between parents meanwhile.
const ATTEMPTS: usize = 64;

/// The number of a layer in its stack: 0 is the upper, lowers count from 1, top first.
pub type LayerNo = u16;

/// The number of the upper layer.
pub const UPPER: LayerNo = 0;

/// Where a real directory lies below its layer's root.
#[derive(Debug)]
enum Place {
    /// It is the root, held open for ever.
    Root(Arc<OwnedFd>),
    /// It has a parent and a name.
    Below(Arc<RealDir>, Name),
    /// It was removed.
    Gone,
}

/// A directory of one layer.
#[derive(Debug)]
pub struct RealDir {
    /// The layer it belongs to.
    pub layer: LayerNo,
    /// Held for reading while the directory is opened by its name, and for writing while it gets another one.
    place: RwLock<Place>,
    /// What it must turn out to be; a lower's directory, which is never renamed, is known by its place alone.
    object: Option<Object>,
    fd: Mutex<Option<Arc<OwnedFd>>>,
    used: AtomicBool,
}

impl RealDir {
    /// The root of a layer.
    pub fn root(layer: LayerNo, fd: OwnedFd) -> Arc<RealDir> {
        RealDir::at(layer, Place::Root(Arc::new(fd)), None)
    }

    /// The directory `name` below `parent`; nothing is opened.
    pub fn child(parent: &Arc<RealDir>, name: Name, object: Object) -> Arc<RealDir> {
        let object = (parent.layer == UPPER).then_some(object);
        RealDir::at(parent.layer, Place::Below(parent.clone(), name), object)
    }

    /// The same of a lower, where the place is enough.
    pub fn lower_child(parent: &Arc<RealDir>, name: Name) -> Arc<RealDir> {
        RealDir::at(parent.layer, Place::Below(parent.clone(), name), None)
    }

    fn at(layer: LayerNo, place: Place, object: Option<Object>) -> Arc<RealDir> {
        Arc::new(RealDir {
            layer,
            place: RwLock::new(place),
            object,
            fd: Mutex::new(None),
            used: AtomicBool::new(false),
        })
    }

    /// Begins to rename the directory in its layer: until this goes, nobody opens it by its name.
    pub fn rename(&self) -> Renaming<'_> {
        Renaming(self.place.write())
    }

    /// The directory was removed from its layer: it can no longer be opened anew.
    pub fn removed(&self) {
        *self.place.write() = Place::Gone;
    }

    /// Its parent and name in the layer; none for the root and for a removed directory.
    pub fn place(&self) -> Option<(Arc<RealDir>, Name)> {
        match &*self.place.read() {
            Place::Below(parent, name) => Some((parent.clone(), name.clone())),
            Place::Root(_) | Place::Gone => None,
        }
    }

    /// Opens it by its present name below `parent`, whose descriptor is `fd`; `None` where it has another parent by now.
    fn open_below(&self, parent: &Arc<RealDir>, fd: &OwnedFd, flags: OFlags) -> sys::Result<Option<OwnedFd>> {
        // Held until it is open, so that no rename of ours comes in between.
        let place = self.place.read();
        let Place::Below(above, name) = &*place else { return Err(Errno::NOENT) };
        if !Arc::ptr_eq(above, parent) {
            return Ok(None);
        }
        let opened = open_below(fd, name, flags)?;
        if let Some(object) = self.object
            && object != Object::of(&fs::fstat(&opened)?)
        {
            return Err(Errno::STALE);
        }
        Ok(Some(opened))
    }

    /// The open descriptor, if it is at hand without a system call.
    fn cached_fd(&self) -> Option<Arc<OwnedFd>> {
        if let Some(fd) = &*self.fd.lock() {
            self.used.store(true, Ordering::Relaxed);
            return Some(fd.clone());
        }
        match &*self.place.read() {
            Place::Root(fd) => Some(fd.clone()),
            _ => None,
        }
    }
}

/// A directory that is being renamed.
#[must_use]
pub struct Renaming<'a>(RwLockWriteGuard<'a, Place>);

impl Renaming<'_> {
    /// It has its new name.
    pub fn done(mut self, parent: &Arc<RealDir>, name: Name) {
        *self.0 = Place::Below(parent.clone(), name);
    }
}

impl Drop for RealDir {
    fn drop(&mut self) {
        // A chain of parents is unlinked step by step: a deep tree must not exhaust the stack.
        let mut next = std::mem::replace(self.place.get_mut(), Place::Gone);
        while let Place::Below(parent, _) = next {
            next = match Arc::into_inner(parent) {
                Some(mut dir) => std::mem::replace(dir.place.get_mut(), Place::Gone),
                None => break,
            };
        }
    }
}

/// The open directory descriptors of all layers, bounded in number; the least recently used are closed.
#[derive(Debug)]
pub struct DirCache {
    limit: usize,
    open: Mutex<VecDeque<Weak<RealDir>>>,
}

impl DirCache {
    /// A cache of at most `limit` descriptors.
    pub fn new(limit: usize) -> DirCache {
        DirCache { limit, open: Mutex::new(VecDeque::new()) }
    }

    /// The open descriptor (`O_PATH`) of `dir`, opened through its parents where it was closed.
    ///
    /// # Errors
    /// `ENOENT` for a removed directory, `ESTALE` where another one has its name, `EMFILE`, `ENFILE`, or what a layer
    /// that changed underneath gives.
    pub fn fd(&self, dir: &Arc<RealDir>) -> sys::Result<Arc<OwnedFd>> {
        self.open(dir, O_DIRPATH)
    }

    /// A descriptor to read the entries of `dir` from, by whoever gets it here alone: others only reach names below it.
    ///
    /// # Errors
    /// As [`DirCache::fd`].
    pub fn listing(&self, dir: &Arc<RealDir>) -> sys::Result<Arc<OwnedFd>> {
        if let Some(fd) = dir.cached_fd() {
            return Ok(Arc::new(open_listing(&fd)?));
        }
        self.open(dir, O_DIRPATH - OFlags::PATH)
    }

    /// The descriptor of `dir` that is kept, or a new one opened with `flags`.
    fn open(&self, dir: &Arc<RealDir>, flags: OFlags) -> sys::Result<Arc<OwnedFd>> {
        for _ in 0..ATTEMPTS {
            if let Some(fd) = dir.cached_fd() {
                return Ok(fd);
            }
            if let Some(fd) = self.open_through_parents(dir, flags)? {
                return Ok(fd);
            }
        }
        Err(Errno::STALE)
    }

    /// Opens the closed ones among the parents of `dir`, top first, then `dir`; `None` where one of them was moved to
    /// another parent meanwhile.
    fn open_through_parents(&self, dir: &Arc<RealDir>, flags: OFlags) -> sys::Result<Option<Arc<OwnedFd>>> {
        let mut closed = vec![dir.clone()];
        let (mut above, mut fd) = loop {
            let last = closed.last().ok_or(Errno::NOENT)?;
            let (parent, _) = last.place().ok_or(Errno::NOENT)?;
            match parent.cached_fd() {
                Some(fd) => break (parent, fd),
                None => closed.push(parent),
            }
        };
        for next in closed.into_iter().rev() {
            let flags = if Arc::ptr_eq(&next, dir) { flags } else { O_DIRPATH };
            let Some(opened) = next.open_below(&above, &fd, flags)? else { return Ok(None) };
            fd = self.insert(&next, Arc::new(opened));
            above = next;
        }
        Ok(Some(fd))
    }

    /// Keeps a descriptor that the caller opened or made.
    pub fn insert(&self, dir: &Arc<RealDir>, fd: Arc<OwnedFd>) -> Arc<OwnedFd> {
        let fresh = dir.fd.lock().replace(fd.clone()).is_none();
        if fresh {
            let mut open = self.open.lock();
            open.push_back(Arc::downgrade(dir));
            self.shrink(&mut open);
        }
        fd
    }

    /// Lets go what is left of directories that nobody knows any more.
    pub fn drop_dead(&self) {
        self.open.lock().retain(|dir| dir.strong_count() > 0);
    }

    /// Closes descriptors that were not used since they were last looked at until the limit holds.
    fn shrink(&self, open: &mut VecDeque<Weak<RealDir>>) {
        while open.len() > self.limit {
            let Some(weak) = open.pop_front() else { return };
            let Some(dir) = weak.upgrade() else { continue };
            if dir.used.swap(false, Ordering::Relaxed) {
                open.push_back(weak);
            } else {
                let closed = dir.fd.lock().take();
                drop(closed);
            }
        }
    }
}

/// Opens the directory `name` below `parent`, inside the same mount.
fn open_below(parent: &OwnedFd, name: &OsStr, flags: OFlags) -> sys::Result<OwnedFd> {
    match fs::openat2(parent.as_fd(), name, flags, Mode::empty(), BENEATH) {
        Err(Errno::NOSYS | Errno::PERM) => fs::openat(parent.as_fd(), name, flags, Mode::empty()),
        other => other,
    }
}

/// Opens the file `name` below `dir` with `flags`, inside the same mount and never through a link.
pub fn open_file_below(dir: &OwnedFd, name: &OsStr, flags: OFlags) -> sys::Result<OwnedFd> {
    fs::openat(
        dir.as_fd(),
        name,
        flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_root(path: &std::path::Path) -> Arc<RealDir> {
        let fd = fs::openat(fs::CWD, path, O_DIRPATH, Mode::empty()).unwrap();
        RealDir::root(1, fd)
    }

    #[test]
    fn descriptors_are_bounded_and_come_back() {
        let tmp = tempfile::tempdir().unwrap();
        let root = open_root(tmp.path());
        let cache = DirCache::new(4);
        let mut dirs = Vec::new();
        for i in 0..32 {
            let name = format!("d{i}");
            std::fs::create_dir(tmp.path().join(&name)).unwrap();
            dirs.push(RealDir::lower_child(&root, OsStr::new(&name).into()));
        }
        for _ in 0..2 {
            for dir in &dirs {
                cache.fd(dir).unwrap();
            }
            let open = dirs.iter().filter(|d| d.fd.lock().is_some()).count();
            assert!(open <= 4, "{open} descriptors open");
        }
    }

    #[test]
    fn a_link_in_place_of_a_directory_is_not_followed() {
        let tmp = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", tmp.path().join("d")).unwrap();
        let dir = RealDir::lower_child(&open_root(tmp.path()), OsStr::new("d").into());
        assert!(DirCache::new(4).fd(&dir).is_err());
    }

    #[test]
    fn a_deep_chain_drops_without_recursion() {
        let tmp = tempfile::tempdir().unwrap();
        let mut dir = open_root(tmp.path());
        for _ in 0..200_000 {
            dir = RealDir::lower_child(&dir, OsStr::new("x").into());
        }
        drop(dir);
    }
}
