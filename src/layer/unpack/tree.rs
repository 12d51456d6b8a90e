//! The target directory while it is filled: open directories, the way to a name, and what is removed.
//!
//! Every step is one component below an open directory, and no link is followed by the system. Where a
//! directory on the way is missing, the lower layers tell what it is like; a symbolic link there is resolved
//! by hand, within the root.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::dress;
use super::error::{EntryName, Fault, Refusal, UnpackError};
use super::options::{Ownership, UnpackOptions};
use super::path::join;
use crate::format::whiteout;
use crate::layer::lowers::{Lower, Stack};
use crate::layer::node::Time;
use crate::sys::Errno;
use crate::sys::dir::{read_all, remove_tree};
use crate::sys::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};

/// So many directories are kept open.
const OPEN: usize = 128;

/// The paths of directories that wait for their times may take this much memory. Without it, deep paths whose
/// parents a tar leaves out would fill the memory.
const PATHS: usize = 512 << 20;

/// How a directory is opened: for names below it, and for its own attributes.
const DIR_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What a directory gets once everything is in it.
#[derive(Debug)]
pub struct Late {
    /// The time of the last modification.
    pub mtime: Time,
    /// The ACL that new files in it inherit.
    pub default_acl: Option<Box<[u8]>>,
}

/// A place in the layer.
#[derive(Debug, Clone)]
pub struct Spot {
    /// The directory's real path below the root: no link on the way.
    pub path: Vec<u8>,
    /// The directory in the target; `None` where the target does not have it.
    pub dir: Option<Rc<OwnedFd>>,
    /// What target and lowers together show there, once that was asked for.
    pub view: Option<Stack>,
}

/// What a name is in a directory of the target.
pub enum Step {
    /// A directory.
    Dir(Rc<OwnedFd>),
    /// Nothing.
    Absent,
    /// A whiteout.
    Whiteout,
    /// Anything else.
    Other,
}

/// The target.
pub struct Tree<'a> {
    pub(super) root: Rc<OwnedFd>,
    target: &'a Path,
    lowers: &'a [PathBuf],
    pub(super) ownership: Ownership,
    /// The longest way to an entry.
    pub(super) depth: usize,
    /// How many bytes may still be copied out of the lowers.
    pub(super) room: u64,
    /// How many directories were made, and may be: as many as entries, as one entry can ask for many.
    dirs: u64,
    max_dirs: u64,
    /// How many bytes the paths in `late` may still take.
    paths: usize,
    /// The roots of target and lowers, for looking up names.
    view: Option<Stack>,
    open: HashMap<Vec<u8>, Rc<OwnedFd>>,
    late: BTreeMap<Vec<u8>, Late>,
}

impl<'a> Tree<'a> {
    /// Opens the target; a link that leads to it is followed, as it is the caller who names it.
    ///
    /// # Errors
    /// [`UnpackError::Target`], also where it is not empty.
    pub fn open(
        target: &'a Path,
        lowers: &'a [PathBuf],
        options: &UnpackOptions,
    ) -> Result<Tree<'a>, UnpackError> {
        let error = |source| UnpackError::Target { path: target.to_owned(), source };
        let root = fs::openat(fs::CWD, target, DIR_FLAGS - OFlags::NOFOLLOW, Mode::empty()).map_err(error)?;
        if !read_all(root.as_fd()).map_err(error)?.is_empty() {
            return Err(error(Errno::NOTEMPTY));
        }
        Ok(Tree {
            root: Rc::new(root),
            target,
            lowers,
            ownership: options.ownership,
            depth: options.limits.depth,
            room: options.limits.total_bytes,
            dirs: 0,
            max_dirs: options.limits.entries,
            paths: PATHS,
            view: None,
            open: HashMap::new(),
            late: BTreeMap::new(),
        })
    }

    /// The topmost lower, if there is one.
    pub fn top_lower(&self) -> Option<&'a Path> {
        self.lowers.first().map(PathBuf::as_path)
    }

    /// The root.
    pub fn root_spot(&self) -> Spot {
        Spot { path: Vec::new(), dir: Some(Rc::clone(&self.root)), view: None }
    }

    /// The open directory nearest above the one with these components, and how many of them lead to it.
    pub fn nearest(&self, components: &[&[u8]]) -> (Spot, usize) {
        let mut path = components.join(&b'/');
        for used in (1..=components.len()).rev() {
            if let Some(dir) = self.open.get(&path) {
                return (Spot { path, dir: Some(Rc::clone(dir)), view: None }, used);
            }
            let end = path.len() - components[used - 1].len();
            path.truncate(end.saturating_sub(1));
        }
        (self.root_spot(), 0)
    }

    /// Keeps a directory open for later entries.
    pub fn remember(&mut self, path: Vec<u8>, dir: Rc<OwnedFd>) {
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        self.open.insert(path, dir);
    }

    /// Counts a directory that is made.
    ///
    /// # Errors
    /// [`UnpackError::Limit`].
    pub(super) fn count_dir(&mut self) -> Result<(), Fault> {
        if self.dirs >= self.max_dirs {
            return Err(UnpackError::Limit { what: "directories", limit: self.max_dirs }.into());
        }
        self.dirs += 1;
        Ok(())
    }

    /// Notes what the directory at `path` gets in the end.
    ///
    /// # Errors
    /// [`UnpackError::Limit`].
    pub(super) fn postpone(&mut self, path: Vec<u8>, late: Late) -> Result<(), Fault> {
        let length = path.len();
        if self.late.insert(path, late).is_none() {
            let error = UnpackError::Limit { what: "bytes in directories' paths", limit: PATHS as u64 };
            self.paths = self.paths.checked_sub(length).ok_or(error)?;
        }
        Ok(())
    }

    /// Gives all directories what was postponed.
    ///
    /// # Errors
    /// [`UnpackError::System`].
    pub fn finish(mut self) -> Result<(), UnpackError> {
        while let Some((path, late)) = self.late.pop_last() {
            self.finish_dir(&path, &late).map_err(|fault| fault.at(&path))?;
        }
        Ok(())
    }

    fn finish_dir(&mut self, path: &[u8], late: &Late) -> Result<(), Fault> {
        let components: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|c| !c.is_empty()).collect();
        let (spot, used) = self.nearest(&components);
        let mut dir = spot.dir.unwrap_or_else(|| Rc::clone(&self.root));
        for (at, name) in components.iter().enumerate().skip(used) {
            dir = match self.step(&dir, OsStr::from_bytes(name))? {
                Step::Dir(dir) => dir,
                _ => return Err(Fault::System("find a directory again", Errno::NOTDIR)),
            };
            // The last one itself is not needed again.
            if at + 1 < components.len() {
                self.remember(components[..=at].join(&b'/'), Rc::clone(&dir));
            }
        }
        if let Some(acl) = &late.default_acl {
            dress::set_default_acl(dir.as_fd(), acl)?;
        }
        dress::set_time(&dir, late.mtime)
    }

    /// What `name` is in a directory of the target.
    pub fn step(&self, dir: &OwnedFd, name: &OsStr) -> Result<Step, Fault> {
        match fs::openat(dir, name, DIR_FLAGS, Mode::empty()) {
            Ok(dir) => Ok(Step::Dir(Rc::new(dir))),
            Err(Errno::NOENT) => Ok(Step::Absent),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let stat = fs::lstatat(dir, name).map_err(|e| Fault::System("look at a directory", e))?;
                Ok(if is_whiteout(&stat) { Step::Whiteout } else { Step::Other })
            }
            Err(e) => Err(Fault::System("open a directory", e)),
        }
    }

    /// What target and lowers show at `name` in `spot`. The target itself has nothing there that counts, or a
    /// whiteout.
    pub fn below(&mut self, spot: &mut Spot, name: &OsStr) -> Result<Lower, Fault> {
        if self.lowers.is_empty() {
            return Ok(Lower::Absent);
        }
        if spot.view.is_none() {
            spot.view = Some(self.view_of(&spot.path)?);
        }
        let view = spot.view.as_ref().map(|view| view.lookup(name)).transpose()?;
        Ok(view.unwrap_or(Lower::Absent))
    }

    /// The union's directory at a real path.
    fn view_of(&mut self, path: &[u8]) -> Result<Stack, Fault> {
        let mut view = match &self.view {
            Some(view) => view.clone(),
            None => {
                let target = std::iter::once(self.target.to_owned());
                let layers: Vec<PathBuf> = target.chain(self.lowers.iter().cloned()).collect();
                self.view.insert(Stack::open(&layers)?).clone()
            }
        };
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            view = match view.lookup(OsStr::from_bytes(name))? {
                Lower::Dir(_, stack) => stack,
                Lower::File(_) | Lower::Absent => view.emptied(),
            };
        }
        Ok(view)
    }

    /// Marks a directory opaque.
    pub fn mark_opaque(&mut self, dir: &OwnedFd) -> Result<(), Fault> {
        // Of the roots it was read whether they are opaque.
        self.view = None;
        dress::mark_opaque(dir, self.ownership)
    }

    /// Removes whatever is called `name`, a directory with all that is in it.
    pub fn remove(&mut self, spot: &Spot, dir: &OwnedFd, name: &OsStr) -> Result<(), Fault> {
        let fault = |e| Fault::System("replace an earlier entry", e);
        let stat = fs::lstatat(dir, name).map_err(fault)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return fs::unlinkat(dir, name, AtFlags::empty()).map_err(fault);
        }
        self.forget(&join(&spot.path, name.as_bytes()));
        remove_tree(dir.as_fd(), name).map_err(fault)
    }

    /// Forgets a directory that is removed, and all below it.
    fn forget(&mut self, path: &[u8]) {
        let below = join(path, b"");
        let is_below = |other: &[u8]| other == path || other.starts_with(&below);
        self.open.retain(|other, _| !is_below(other));
        let gone: Vec<Vec<u8>> = self
            .late
            .range(below.clone()..)
            .map(|(other, _)| other)
            .take_while(|other| other.starts_with(&below))
            .cloned()
            .collect();
        for path in gone.iter().map(Vec::as_slice).chain([path]) {
            if self.late.remove(path).is_some() {
                self.paths += path.len();
            }
        }
        self.view = None;
    }
}

/// Whether it is a whiteout as this module makes them.
pub fn is_whiteout(stat: &Stat) -> bool {
    whiteout::is_device(stat.st_mode, stat.st_rdev)
}

/// The refusal of an entry whose way leads through something at `path`.
pub fn not_a_directory(path: Vec<u8>) -> Fault {
    Refusal::NotADirectory(EntryName(path)).into()
}
