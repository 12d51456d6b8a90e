//! New entries: files, directories, links, nodes. What the real file system cannot give the right owner or
//! place at once is prepared in the work directory and published by one rename.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::format::acl;
use crate::format::override_stat::{OverrideStat, OverrideType};
use crate::sys::Errno;
use crate::sys::fs::{self, FileType, Mode, OFlags, RenameFlags};
use crate::sys::xattr::{Target, getxattr_opt, setxattr};

use super::access::Access;
use super::attr::{Kind, S_ISGID};
use super::caller::Caller;
use super::dir_index::{Entry as IndexEntry, Place};
use super::error::{Error, Result};
use super::file::Backing;
use super::inode::Inode;
use super::lookup::{Entry, Found};
use super::marks::{self, Marks, Opaque};
use super::object::Object;
use super::real_dir::{RealDir, UPPER};
use super::union::Overlay;

/// What is to be made.
#[derive(Debug, Clone, Copy)]
pub enum NewFile<'a> {
    /// An empty regular file.
    Regular,
    /// An empty directory.
    Directory,
    /// A symbolic link with this target.
    Symlink(&'a OsStr),
    /// A FIFO, socket or device of this number.
    Node(Kind, u64),
}

impl NewFile<'_> {
    fn kind(&self) -> Kind {
        match self {
            NewFile::Regular => Kind::File,
            NewFile::Directory => Kind::Directory,
            NewFile::Symlink(_) => Kind::Symlink,
            NewFile::Node(kind, _) => *kind,
        }
    }
}

/// Permission bits asked for and the bits the caller's umask takes away.
#[derive(Debug, Clone, Copy)]
pub struct NewMode {
    /// As asked for.
    pub mode: u32,
    /// The umask, which a default ACL of the directory replaces.
    pub umask: u32,
}

/// What the upper has under the name so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spot {
    /// Whether there is a whiteout.
    whiteout: bool,
    /// Whether a lower would show something there.
    below: bool,
}

/// One creation under way.
struct Create<'a> {
    overlay: &'a Overlay,
    parent: &'a Arc<Inode>,
    dir: Arc<RealDir>,
    fd: Arc<OwnedFd>,
    name: &'a OsStr,
    new: NewFile<'a>,
    mode: u32,
    owner: (Option<u32>, Option<u32>),
    default_acl: bool,
}

impl Overlay {
    /// Makes an entry and counts a lookup for the kernel.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::ReservedName`], [`Error::ReadOnly`], ENOSPC and the like;
    /// nothing is visible then.
    pub fn create(
        &self,
        parent: u64,
        name: &OsStr,
        new: NewFile<'_>,
        mode: NewMode,
        caller: Caller,
    ) -> Result<Entry> {
        self.create_open(parent, name, new, mode, caller).map(|(entry, _)| entry)
    }

    /// As [`Overlay::create`]; a regular file is open for reading and writing then, as the kernel's backing file.
    ///
    /// # Errors
    /// As [`Overlay::create`].
    pub fn create_open(
        &self,
        parent: u64,
        name: &OsStr,
        new: NewFile<'_>,
        mode: NewMode,
        caller: Caller,
    ) -> Result<(Entry, Option<Backing>)> {
        let parent = self.inode(parent)?;
        Self::check_name(name)?;
        let dir = self.upper_dir(&parent)?;
        let fd = self.dirs.fd(&dir)?;
        let default_acl = self.has_default_acl(&parent, &fd)?;
        let mode = if default_acl { mode.mode } else { mode.mode & !mode.umask };
        let owner = self.ids.stored_creator(caller.uid, caller.gid);
        let create = Create { overlay: self, parent: &parent, dir, fd, name, new, mode, owner, default_acl };
        create.run()
    }

    /// Whether new entries of a directory inherit an ACL.
    fn has_default_acl(&self, dir: &Inode, fd: &OwnedFd) -> Result<bool> {
        if !self.config.acl {
            return Ok(false);
        }
        if let Some(known) = dir.with_dir(|d| d.default_acl)? {
            return Ok(known);
        }
        let found = getxattr_opt(Target::Fd(fd.as_fd()), acl::DEFAULT.as_ref())?.is_some();
        dir.with_dir_mut(|d| d.default_acl = Some(found))?;
        Ok(found)
    }
}

impl Create<'_> {
    fn run(&self) -> Result<(Entry, Option<Backing>)> {
        let _entries = self.parent.lock_entries();
        let spot = self.spot()?;
        let file = if spot.whiteout || self.needs_preparation()? {
            self.make_prepared(spot)?
        } else {
            match self.make(&self.fd, self.name) {
                Err(Error::Exists) if self.overlay.has_whiteout_device(&self.fd, self.name)? => {
                    // A whiteout in a directory that hides nothing: a leftover of another program.
                    self.make_prepared(Spot { whiteout: true, below: false })?
                }
                other => other?,
            }
        };
        let entry = self.finish(spot, file.clone())?;
        Ok((entry, file.map(|fd| Backing { fd })))
    }

    /// What the merged index knows of the name.
    fn spot(&self) -> Result<Spot> {
        let none = Spot { whiteout: false, below: false };
        if self.parent.with_dir(|d| d.sources.len())? < 2 {
            return Ok(none);
        }
        let index = self.overlay.index_of(self.parent)?;
        let index = index.lock();
        match index.get(self.name) {
            None => Ok(none),
            Some(entry) if entry.is_visible() => Err(Error::Exists),
            Some(entry) => Ok(Spot { whiteout: true, below: entry.below }),
        }
    }

    /// Whether the file system would not make the entry as it is to be.
    fn needs_preparation(&self) -> Result<bool> {
        let own = self.overlay.config.own;
        let same = |wanted: Option<u32>, own| wanted.is_none_or(|id| id == own);
        let foreign = !same(self.owner.0, own.0) || !same(self.owner.1, own.1);
        Ok(foreign || self.is_stand_in() || self.overlay.records(self.new.kind()))
    }

    /// Whether the entry is kept as a regular file with its type recorded: a device 0:0, which would be a
    /// whiteout, and all nodes where owners are recorded.
    fn is_stand_in(&self) -> bool {
        match self.new {
            NewFile::Node(Kind::Char, 0) => true,
            NewFile::Node(..) => self.overlay.config.record_owner,
            _ => false,
        }
    }

    /// Makes the entry, in a directory whose set-group-id bit and default ACL the file system honours; a regular file
    /// stays open.
    fn make(&self, dir: &OwnedFd, name: &OsStr) -> Result<Option<Arc<OwnedFd>>> {
        let mode = Mode::from_raw_mode(self.mode & 0o7777);
        let made = match self.new {
            NewFile::Directory => fs::mkdirat(dir, name, mode).map(|()| None),
            NewFile::Symlink(target) => {
                let target = CString::new(target.as_encoded_bytes()).map_err(|_| Error::Invalid)?;
                fs::symlinkat(target, dir, name).map(|()| None)
            }
            NewFile::Node(kind, rdev) if !self.is_stand_in() => {
                let file_type = FileType::from_raw_mode(kind.mode_bits());
                fs::mknodat(dir, name, file_type, mode, rdev).map(|()| None)
            }
            NewFile::Regular | NewFile::Node(..) => {
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                let opened = fs::openat(dir, name, flags, mode);
                opened.map(|fd| matches!(self.new, NewFile::Regular).then(|| Arc::new(fd)))
            }
        };
        made.map_err(|e| if e == Errno::EXIST { Error::Exists } else { e.into() })
    }

    /// Makes the entry in the work directory and publishes it with one rename.
    fn make_prepared(&self, spot: Spot) -> Result<Option<Arc<OwnedFd>>> {
        let work = &self.overlay.upper()?.work;
        let nursery = if self.default_acl { Some(self.make_nursery()?) } else { None };
        let place = nursery.as_ref().map_or(&*work.dir, |(_, fd)| fd);
        let temporary = work.fresh_name();
        let published = self.make(place, &temporary).and_then(|file| {
            self.dress(place, &temporary, spot)?;
            self.publish(place, &temporary, spot)?;
            Ok(file)
        });
        match nursery {
            Some((name, _)) => work.discard(&name),
            None if published.is_err() => work.discard(&temporary),
            None => {}
        }
        published
    }

    /// A directory in the work directory with the parent's default ACL, for the new entry to inherit it.
    fn make_nursery(&self) -> Result<(OsString, OwnedFd)> {
        let work = &self.overlay.upper()?.work;
        let name = work.fresh_name();
        fs::mkdirat(&*work.dir, &*name, Mode::from_raw_mode(0o700))?;
        let fd = fs::open_dir_path(&*work.dir, &name)?;
        let acl_name = acl::DEFAULT.as_ref();
        if let Some(acl) = getxattr_opt(Target::Fd(self.fd.as_fd()), acl_name)? {
            setxattr(Target::Fd(fd.as_fd()), acl_name, &acl, 0)?;
        }
        Ok((name, fd))
    }

    /// Gives the prepared entry its owner, mode and marks.
    fn dress(&self, place: &OwnedFd, temporary: &OsStr, spot: Spot) -> Result<()> {
        let kind = self.new.kind();
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = Arc::new(fs::openat(place, temporary, flags, Mode::empty())?);
        let file = Access::Fd(fd.clone());
        let parent = fs::fstat(&*self.fd)?;
        let parent_over =
            self.overlay.real_stat(&Access::Fd(self.fd.clone()), UPPER, Some(Kind::Directory))?;
        let mut mode = self.mode;
        let mut owner = self.owner;
        if parent_over.perm() & S_ISGID != 0 {
            owner.1 =
                Some(if self.overlay.config.record_owner { parent_over.owner().1 } else { parent.st_gid });
            if kind == Kind::Directory {
                mode |= S_ISGID;
            }
        }
        if self.overlay.records(kind) {
            self.record(&file, mode, owner)?;
        } else {
            self.give_owner(&file, mode, owner)?;
        }
        if kind == Kind::Directory && spot.below {
            marks::write_opaque(&fd, self.overlay.upper()?.features.marks)?;
        }
        Ok(())
    }

    fn give_owner(&self, file: &Access, mode: u32, owner: (Option<u32>, Option<u32>)) -> Result<()> {
        match file.chown(owner.0, owner.1) {
            Err(Errno::PERM) if self.overlay.ids.squashes() || self.overlay.config.record_owner => {}
            other => other?,
        }
        // A change of owner drops set-id bits; the default ACL has decided about the others.
        if mode & 0o7000 != 0 && self.new.kind() != Kind::Symlink {
            let bits = file.stat()?.st_mode & 0o777 | mode & 0o7000;
            file.chmod(Mode::from_raw_mode(bits))?;
        }
        if self.is_stand_in() {
            let NewFile::Node(kind, rdev) = self.new else { return Err(Error::Invalid) };
            let st = file.stat()?;
            let file_type = stand_in_type(kind, rdev);
            let over = OverrideStat { uid: st.st_uid, gid: st.st_gid, mode: st.st_mode & 0o7777, file_type };
            marks::write_stand_in(file.xattrs(), &over, self.overlay.config.initial_root)
                .map_err(no_stand_in)?;
        }
        Ok(())
    }

    /// Records owner, mode and type in an attribute instead.
    fn record(&self, file: &Access, mode: u32, owner: (Option<u32>, Option<u32>)) -> Result<()> {
        let kind = self.new.kind();
        let file_type = match self.new {
            NewFile::Node(kind, rdev) => stand_in_type(kind, rdev),
            NewFile::Directory => Some(OverrideType::Dir),
            NewFile::Regular => Some(OverrideType::File),
            NewFile::Symlink(_) => Some(OverrideType::Symlink),
        };
        let (uid, gid) = (owner.0.unwrap_or(0), owner.1.unwrap_or(0));
        marks::write_override(file.xattrs(), &OverrideStat { uid, gid, mode: mode & 0o7777, file_type })?;
        self.overlay.store_plain_mode(file, kind)
    }

    /// Moves the prepared entry to its name, over the whiteout that may be there.
    fn publish(&self, place: &OwnedFd, temporary: &OsStr, spot: Spot) -> Result<()> {
        let to = |flags| fs::renameat_with(place, temporary, &*self.fd, self.name, flags);
        if !spot.whiteout {
            return to(RenameFlags::NOREPLACE)
                .map_err(|e| if e == Errno::EXIST { Error::Exists } else { e.into() });
        }
        let over_device = self.overlay.has_whiteout_device(&self.fd, self.name)?;
        if self.new.kind() == Kind::Directory && over_device {
            to(RenameFlags::EXCHANGE)?;
            return self.overlay.remove_name(place, temporary);
        }
        to(if over_device { RenameFlags::empty() } else { RenameFlags::NOREPLACE })?;
        if over_device { Ok(()) } else { self.overlay.remove_whiteout_file(&self.fd, self.name) }
    }

    /// Lets the parent know, and hands the new inode out.
    fn finish(&self, spot: Spot, file: Option<Arc<OwnedFd>>) -> Result<Entry> {
        let overlay = self.overlay;
        let access = file.map_or_else(|| Access::At(self.fd.clone(), self.name.into()), Access::Fd);
        let real = overlay.real_stat(&access, UPPER, Some(self.new.kind()))?;
        let kind = real.kind();
        let device = overlay.upper()?.layer.device;
        let ino = overlay.numbers.shown(device, real.st.st_ino);
        overlay.note_new_entry(self.parent, self.name, kind, real.st.st_ino, spot.below)?;
        let mut sources = Vec::new();
        if kind == Kind::Directory {
            let dir = RealDir::child(&self.dir, self.name.into(), Object::of(&real.st));
            sources.push(super::state::Source { dir, file_whiteouts: false });
        }
        let opaque = if spot.below { Opaque::Yes } else { Opaque::No };
        let marks = Marks { opaque, ..Marks::default() };
        let found = Found { real, ino, layer: UPPER, sources, marks, index_name: None };
        let inode = overlay.adopt_settled(self.parent, self.name, &found)?;
        overlay.remember(&inode, found.real, UPPER)
    }
}

impl Overlay {
    /// Records in a directory's index, if it has one, that the upper now has an entry.
    pub(super) fn note_new_entry(
        &self,
        parent: &Inode,
        name: &OsStr,
        kind: Kind,
        real_ino: u64,
        below: bool,
    ) -> Result<()> {
        let Some(index) = parent.with_dir(|d| d.index.clone())? else { return Ok(()) };
        let place = if kind == Kind::Directory { Place::Dirs([UPPER].into()) } else { Place::File(UPPER) };
        index.lock().insert(IndexEntry { name: name.into(), place, kind, real_ino, below });
        Ok(())
    }

    /// Records that the upper's entry of a name is gone; what lies below is hidden by a whiteout.
    pub(super) fn note_removed_entry(&self, parent: &Inode, name: &OsStr, below: bool) -> Result<()> {
        let Some(index) = parent.with_dir(|d| d.index.clone())? else { return Ok(()) };
        let mut index = index.lock();
        index.remove(name);
        if below {
            let (place, kind) = (Place::Whiteout, Kind::Char);
            index.insert(IndexEntry { name: name.into(), place, kind, real_ino: 0, below });
        }
        Ok(())
    }
}

/// The type recorded for a node that a regular file stands for.
fn stand_in_type(kind: Kind, rdev: u64) -> Option<OverrideType> {
    let (major, minor) = (fs::major(rdev), fs::minor(rdev));
    match kind {
        Kind::Fifo => Some(OverrideType::Pipe),
        Kind::Socket => Some(OverrideType::Socket),
        Kind::Block => Some(OverrideType::Block(major, minor)),
        Kind::Char => Some(OverrideType::Char(major, minor)),
        Kind::File | Kind::Directory | Kind::Symlink => None,
    }
}

/// Without attributes a device 0:0 cannot be told from a whiteout: it is refused.
fn no_stand_in(errno: Errno) -> Error {
    match errno {
        Errno::OPNOTSUPP => Error::System(Errno::PERM),
        other => other.into(),
    }
}
