//! One directory of one layer, held open: its names with every form of whiteout and opaque mark understood.
//!
//! Knows one layer only; how layers lie on each other is in `lowers` and `merged`.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::LayerError;
use super::node::{self, Body, Entry, Kind, Node, NodeError, Opacity};
use crate::format::names::Mark;
use crate::format::override_stat::Keeper;
use crate::format::whiteout;
use crate::marks::{self, LowerMarks, Reader, Role, Trust};
use crate::sys::Errno;
use crate::sys::dir::read_all;
use crate::sys::fs::{self, Mode, OFlags};
use crate::sys::handle::name_to_handle_at;
use crate::sys::xattr::{Target, getxattr_opt};

/// Extended attributes: names and values.
pub type Xattrs = Vec<(OsString, Vec<u8>)>;

/// An open directory of a layer.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    /// For messages only.
    path: PathBuf,
    opacity: Opacity,
    /// Whose marks count in the layer.
    trust: Trust,
    /// In a layer that records all owners, which its root's record tells.
    keeper: Option<Keeper>,
}

/// A file of a layer: the directory that holds it, its name there, and what was read of it.
#[derive(Debug, Clone)]
pub struct Located {
    /// The directory that holds it.
    pub dir: Rc<Dir>,
    /// Its name in that directory.
    pub name: OsString,
    /// Its metadata.
    pub node: Node,
}

/// What tells whether a regular file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataState {
    /// Its length in bytes.
    pub size: u64,
    /// Modification and change: seconds and nanoseconds. The change counts, as a writer may set the other back.
    times: [(i64, u64); 2],
}

impl DataState {
    fn of(stat: &fs::Stat) -> DataState {
        let times = [(stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec)];
        DataState { size: stat.st_size as u64, times }
    }
}

impl Dir {
    /// Opens the root of a layer that is there for `role`; links in `path` are followed, as it is the caller who names it.
    ///
    /// # Errors
    /// [`LayerError::System`], among others where it is no directory.
    pub fn open_root(path: &Path, role: Role) -> Result<Dir, LayerError> {
        let system = |source| LayerError::System { path: path.to_owned(), action: "open layer", source };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = fs::openat(fs::CWD, path, flags, Mode::empty()).map_err(system)?;
        let trust = Trust::new(Reader::own(), role, &fs::fstat(&fd).map_err(system)?);
        let root = node::read_root(fd.as_fd(), &trust).map_err(|e| located(path.to_owned(), "read", e))?;
        let (opacity, recorded) = match root {
            Entry::Node(root) => (root.opacity, root.recorded),
            Entry::Whiteout => (Opacity::Clear, false),
        };
        let user = Keeper::of(fs::geteuid().as_raw(), fs::getegid().as_raw());
        let keeper = if recorded { user } else { None };
        Dir { fd, path: path.to_owned(), opacity, trust, keeper }.with_opaque_file()
    }

    /// Opens the root of a read-only layer.
    ///
    /// # Errors
    /// As [`Dir::open_root`].
    pub fn open_lower(path: &Path) -> Result<Dir, LayerError> {
        Dir::open_root(path, Role::Lower(LowerMarks::ByAuthor))
    }

    /// What the root of a layer is itself.
    ///
    /// # Errors
    /// [`LayerError::System`] and [`LayerError::Mark`].
    pub fn root_node(&self) -> Result<Entry, LayerError> {
        node::read_root(self.fd.as_fd(), &self.trust).map_err(|e| located(self.path.clone(), "read", e))
    }

    /// Opens the directory `name`, which was read as `node`.
    ///
    /// # Errors
    /// [`LayerError::System`]; a symbolic link put in its place meanwhile is not followed.
    pub fn open_dir(&self, name: &OsStr, node: &Node) -> Result<Dir, LayerError> {
        let fd = fs::open_dir_path(&self.fd, name).map_err(|e| self.system(name, "open", e))?;
        let path = self.path.join(name);
        Dir { fd, path, opacity: node.opacity, trust: self.trust, keeper: self.keeper }.with_opaque_file()
    }

    /// Whether nothing of the layers below shows in this directory.
    pub fn is_opaque(&self) -> bool {
        self.opacity == Opacity::Opaque
    }

    /// The open directory.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The path of `name` in this directory, for messages.
    pub fn path_of(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    /// What the layer says about `name`; `None` where it says nothing. Reserved names have no meaning.
    ///
    /// # Errors
    /// [`LayerError::System`] and [`LayerError::Mark`].
    pub fn find(&self, name: &OsStr) -> Result<Option<Entry>, LayerError> {
        if whiteout::is_reserved(name) {
            return Ok(None);
        }
        match self.read(name)? {
            Some(Entry::Node(node)) if !node.is_dir() => Ok(Some(Entry::Node(node))),
            found if self.has(&whiteout::file_name(name))? => Ok(Some(with_whiteout(found))),
            found => Ok(found),
        }
    }

    /// Everything the layer says in this directory, in byte order of the names.
    ///
    /// # Errors
    /// [`LayerError::System`] and [`LayerError::Mark`].
    pub fn list(&self) -> Result<BTreeMap<OsString, Entry>, LayerError> {
        let mut entries = BTreeMap::new();
        let mut hidden = Vec::new();
        for entry in read_all(self.fd.as_fd()).map_err(|e| self.system(OsStr::new(""), "list", e))? {
            if whiteout::is_reserved(&entry.name) {
                hidden.extend(whiteout::hidden_name(&entry.name).map(OsStr::to_owned));
            } else if let Some(found) = self.read(&entry.name)? {
                entries.insert(entry.name, found);
            }
        }
        for name in hidden {
            let found = entries.remove(&name);
            entries.insert(name, with_whiteout(found));
        }
        Ok(entries)
    }

    /// Opens a regular file for reading; returns it with its present state.
    ///
    /// # Errors
    /// [`LayerError::System`]; [`LayerError::Changed`] where it is no regular file any more.
    pub fn open_file(&self, name: &OsStr) -> Result<(File, DataState), LayerError> {
        // A FIFO put in the file's place must not hold us up.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd =
            fs::openat(&self.fd, name, flags, Mode::empty()).map_err(|e| self.system(name, "open", e))?;
        let stat = fs::fstat(&fd).map_err(|e| self.system(name, "stat", e))?;
        if fs::FileType::from_raw_mode(stat.st_mode) != fs::FileType::RegularFile {
            return Err(LayerError::Changed { path: self.path_of(name) });
        }
        Ok((File::from(fd), DataState::of(&stat)))
    }

    /// What the layer itself has under this name.
    fn read(&self, name: &OsStr) -> Result<Option<Entry>, LayerError> {
        let mut entry = node::read(self.fd.as_fd(), name, self.opacity, &self.trust)
            .map_err(|e| located(self.path_of(name), "read", e))?;
        if let (Some(Entry::Node(node)), Some(keeper)) = (&mut entry, self.keeper)
            && !node.recorded
        {
            (node.uid, node.gid) = keeper.unrecorded_owner(node.uid, node.gid);
        }
        Ok(entry)
    }

    /// Whether there is a directory entry of this name.
    fn has(&self, name: &OsStr) -> Result<bool, LayerError> {
        match fs::lstatat(&self.fd, name) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(false),
            Err(e) => Err(self.system(name, "stat", e)),
        }
    }

    /// Takes an opaque file in the directory into account.
    fn with_opaque_file(mut self) -> Result<Dir, LayerError> {
        if self.has(OsStr::new(whiteout::OPAQUE_FILE))? {
            self.opacity = Opacity::Opaque;
        }
        Ok(self)
    }

    /// An error at `name` in this directory.
    fn system(&self, name: &OsStr, action: &'static str, source: Errno) -> LayerError {
        LayerError::System { path: self.path_of(name), action, source }
    }
}

impl Located {
    /// Its path, for messages.
    pub fn path(&self) -> PathBuf {
        self.dir.path_of(&self.name)
    }

    /// The target of a symbolic link, also of one that a regular file stands in for.
    ///
    /// # Errors
    /// [`LayerError::System`]; [`LayerError::Changed`] where a stand-in is no regular file any more.
    pub fn link_target(&self) -> Result<Vec<u8>, LayerError> {
        if (self.node.kind, self.node.body) != (Kind::Symlink, Body::StandIn) {
            let target = fs::readlinkat(&self.dir.fd, &self.name, Vec::new());
            return target.map(|t| t.into_bytes()).map_err(|e| self.dir.system(&self.name, "read link", e));
        }
        let (mut file, state) = self.dir.open_file(&self.name)?;
        let mut target = Vec::with_capacity(state.size as usize);
        match file.read_to_end(&mut target) {
            Ok(_) => Ok(target),
            Err(e) => Err(self.read_error(&e)),
        }
    }

    /// The present state of this file, which was opened by [`Dir::open_file`].
    ///
    /// # Errors
    /// [`LayerError::System`].
    pub fn state(&self, file: &File) -> Result<DataState, LayerError> {
        let stat = fs::fstat(file).map_err(|e| self.dir.system(&self.name, "stat", e))?;
        Ok(DataState::of(&stat))
    }

    /// The value of a mark of the file, whichever name space it is in, if it counts.
    ///
    /// # Errors
    /// [`LayerError::System`].
    pub fn mark(&self, mark: Mark) -> Result<Option<Vec<u8>>, LayerError> {
        let target = Target::At(self.dir.fd.as_fd(), &self.name);
        marks::value(target, mark, &self.dir.trust).map_err(|e| self.dir.system(&self.name, "read", e))
    }

    /// The type and bytes of the file's handle, as an origin tells it; `None` where the file system has none.
    ///
    /// # Errors
    /// [`LayerError::System`].
    pub fn handle(&self) -> Result<Option<(u8, Vec<u8>)>, LayerError> {
        match name_to_handle_at(self.dir.fd.as_fd(), &self.name) {
            Ok(handle) => Ok(u8::try_from(handle.kind).ok().map(|kind| (kind, handle.bytes))),
            Err(Errno::OPNOTSUPP | Errno::OVERFLOW) => Ok(None),
            Err(e) => Err(self.dir.system(&self.name, "identify", e)),
        }
    }

    /// The error that reading its data met.
    pub fn read_error(&self, error: &io::Error) -> LayerError {
        self.dir.system(&self.name, "read", Errno::from_io_error(error).unwrap_or(Errno::IO))
    }

    /// The attributes that travel with the file, by name.
    ///
    /// # Errors
    /// [`LayerError::System`].
    pub fn xattrs(&self) -> Result<Xattrs, LayerError> {
        let target = Target::At(self.dir.fd.as_fd(), &self.name);
        let mut values = Vec::with_capacity(self.node.xattrs.len());
        for name in &self.node.xattrs {
            let value = getxattr_opt(target, name).map_err(|e| self.dir.system(&self.name, "read", e))?;
            values.extend(value.map(|value| (name.clone(), value)));
        }
        Ok(values)
    }
}

/// The entry that a whiteout file makes of what bears the hidden name in the same layer: the file stays, and
/// a directory shows nothing from below.
fn with_whiteout(found: Option<Entry>) -> Entry {
    match found {
        Some(Entry::Node(mut node)) => {
            node.opacity = Opacity::Opaque;
            Entry::Node(node)
        }
        Some(Entry::Whiteout) | None => Entry::Whiteout,
    }
}

/// A [`NodeError`] with its path.
fn located(path: PathBuf, action: &'static str, error: NodeError) -> LayerError {
    match error {
        NodeError::System(source) => LayerError::System { path, action, source },
        NodeError::Mark(source) => LayerError::Mark { path, source },
    }
}
