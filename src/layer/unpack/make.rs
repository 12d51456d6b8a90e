//! Making what an entry asks for: files, directories, links, nodes, whiteouts and opaque marks.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use super::dress;
use super::entries::{Attributes, Entries, EntryKind};
use super::error::{EntryName, Fault, Refusal};
use super::options::Ownership;
use super::path::join;
use super::tree::{Late, Spot, Step, Tree, is_whiteout};
use super::walk::{self, Missing};
use crate::format::override_stat::OverrideType;
use crate::format::whiteout;
use crate::layer::lowers::{Lookup, Lower};
use crate::layer::node::Kind;
use crate::sys::fs::{self, AtFlags, FileType, Mode, OFlags};
use crate::sys::{self, Errno};

/// How a new file is opened for its content.
const NEW: OFlags =
    OFlags::CREATE.union(OFlags::EXCL).union(OFlags::WRONLY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Tree<'_> {
    /// Makes, or replaces, anything but a hard link.
    ///
    /// # Errors
    /// Those of the stream, and of the system.
    pub(super) fn make<R: Read>(
        &mut self,
        spot: &Spot,
        name: &OsStr,
        kind: EntryKind,
        link: &[u8],
        attributes: &Attributes,
        entries: &mut Entries<'_, R>,
    ) -> Result<(), Fault> {
        match kind {
            EntryKind::File(_) => self.make_file(spot, name, attributes, |file| write_content(file, entries)),
            EntryKind::Dir => self.make_dir(spot, name, attributes).map(drop),
            EntryKind::Symlink => self.make_symlink(spot, name, link, attributes),
            EntryKind::Pipe => self.make_node(spot, name, OverrideType::Pipe, attributes),
            EntryKind::Block(major, minor) => {
                self.make_node(spot, name, OverrideType::Block(major, minor), attributes)
            }
            EntryKind::Char(0, 0) => Err(Refusal::WhiteoutDevice.into()),
            EntryKind::Char(major, minor) => {
                self.make_node(spot, name, OverrideType::Char(major, minor), attributes)
            }
            EntryKind::HardLink => Err(Refusal::EmptyLink.into()),
        }
    }

    /// Gives the root its attributes.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn dress_root(&mut self, attributes: &Attributes) -> Result<(), Fault> {
        let root = Rc::clone(&self.root);
        self.dress_dir(&root, Vec::new(), attributes)
    }

    /// Makes a directory, or gives the one that is there other attributes. In the place of anything else, a
    /// whiteout too, it hides what the lowers have there.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn make_dir(
        &mut self,
        spot: &Spot,
        name: &OsStr,
        attributes: &Attributes,
    ) -> Result<Spot, Fault> {
        let parent = in_target(spot)?;
        let fault = |e| Fault::System("make a directory", e);
        let mode = Mode::from_raw_mode(0o700);
        let replaced = match fs::mkdirat(parent, name, mode) {
            Ok(()) => Replaced::Nothing,
            Err(Errno::EXIST) => match self.step(parent, name)? {
                Step::Dir(_) => Replaced::Dir,
                _ => {
                    self.remove(spot, parent, name)?;
                    fs::mkdirat(parent, name, mode).map_err(fault)?;
                    Replaced::Other
                }
            },
            Err(e) => return Err(fault(e)),
        };
        let Step::Dir(dir) = self.step(parent, name)? else { return Err(fault(Errno::NOTDIR)) };
        match replaced {
            Replaced::Nothing => self.count_dir()?,
            Replaced::Dir => dress::undress(dir.as_fd())?,
            Replaced::Other => self.mark_opaque(&dir)?,
        }
        let path = join(&spot.path, name.as_bytes());
        self.dress_dir(&dir, path.clone(), attributes)?;
        self.remember(path.clone(), Rc::clone(&dir));
        Ok(Spot { path, dir: Some(dir), view: None })
    }

    fn dress_dir(&mut self, dir: &OwnedFd, path: Vec<u8>, attributes: &Attributes) -> Result<(), Fault> {
        dress::dress(dir, self.ownership, OverrideType::Dir, attributes)?;
        let default_acl = dress::default_acl(self.ownership, attributes);
        self.postpone(path, Late { mtime: attributes.mtime, default_acl })
    }

    /// Makes a regular file with what `fill` writes.
    fn make_file(
        &mut self,
        spot: &Spot,
        name: &OsStr,
        attributes: &Attributes,
        fill: impl FnOnce(&mut File) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.make_regular(spot, name, OverrideType::File, attributes, fill)
    }

    /// Makes a regular file, one that stands in for another type perhaps.
    fn make_regular(
        &mut self,
        spot: &Spot,
        name: &OsStr,
        recorded: OverrideType,
        attributes: &Attributes,
        fill: impl FnOnce(&mut File) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let parent = in_target(spot)?;
        // Set-id bits come with the owner, and nobody else looks in meanwhile.
        let mode = dress::inode_mode(self.ownership, recorded, attributes.mode & 0o777);
        let fd = self.replacing(spot, parent, name, || fs::openat(parent, name, NEW, mode));
        let mut file = File::from(fd.map_err(or_system("make a file"))?);
        fill(&mut file)?;
        let fd = OwnedFd::from(file);
        dress::dress(&fd, self.ownership, recorded, attributes)?;
        dress::set_time(&fd, attributes.mtime)
    }

    /// Makes a symbolic link; where owners are recorded, one that is not root's is a regular file that stands in.
    fn make_symlink(
        &mut self,
        spot: &Spot,
        name: &OsStr,
        target: &[u8],
        attributes: &Attributes,
    ) -> Result<(), Fault> {
        if target.is_empty() {
            return Err(Refusal::EmptyLink.into());
        }
        let attributes = &Attributes { mode: 0o777, ..attributes.clone() };
        if self.ownership == Ownership::Recorded && (attributes.uid, attributes.gid) != (0, 0) {
            return self.make_regular(spot, name, OverrideType::Symlink, attributes, |file| {
                file.write_all(target).map_err(io_fault("write a symbolic link's target"))
            });
        }
        let parent = in_target(spot)?;
        let made =
            self.replacing(spot, parent, name, || fs::symlinkat(OsStr::from_bytes(target), parent, name));
        made.map_err(or_system("make a symbolic link"))?;
        if self.ownership == Ownership::Real {
            dress::dress_name(parent.as_fd(), name, attributes)?;
        }
        dress::set_time_of(parent.as_fd(), name, attributes.mtime)
    }

    /// Makes a FIFO or device; where owners are recorded, or devices cannot be made, a file that stands in.
    fn make_node(
        &mut self,
        spot: &Spot,
        name: &OsStr,
        node: OverrideType,
        attributes: &Attributes,
    ) -> Result<(), Fault> {
        let parent = in_target(spot)?;
        if self.ownership == Ownership::Real {
            let device = match node {
                OverrideType::Block(major, minor) | OverrideType::Char(major, minor) => {
                    fs::makedev(major, minor)
                }
                _ => 0,
            };
            let file_type = FileType::from_raw_mode(node.mode_bits());
            let mode = Mode::from_raw_mode(attributes.mode & 0o777);
            let made =
                self.replacing(spot, parent, name, || fs::mknodat(parent, name, file_type, mode, device));
            match made {
                Ok(()) => {
                    dress::dress_name(parent.as_fd(), name, attributes)?;
                    return dress::set_time_of(parent.as_fd(), name, attributes.mtime);
                }
                // Root in a user namespace may not make devices.
                Err(Blocked::System(Errno::PERM)) => {}
                Err(blocked) => return Err(or_system("make a device or FIFO")(blocked)),
            }
        }
        self.make_regular(spot, name, node, attributes, |_| Ok(()))
    }

    /// Makes another name of a file of this layer, or a copy of one of a lower layer.
    ///
    /// # Errors
    /// [`Refusal::LinkTarget`], [`Refusal::LinkToDirectory`], and those of the system.
    pub(super) fn hard_link(&mut self, spot: &Spot, name: &OsStr, link: &[u8]) -> Result<(), Fault> {
        let components = super::path::components(link, "link target")?;
        let Some((target, dirs)) = components.split_last() else { return Err(Refusal::EmptyLink.into()) };
        let (target, parent) = (OsStr::from_bytes(target), in_target(spot)?);
        let missing = || Fault::from(Refusal::LinkTarget(EntryName(link.to_vec())));
        let is_dir = || Fault::from(Refusal::LinkToDirectory(EntryName(link.to_vec())));
        let mut from = self.walk(dirs, Missing::Keep)?;
        if let Some(dir) = from.dir.clone() {
            match fs::lstatat(&dir, target) {
                Ok(stat) if is_whiteout(&stat) => return Err(missing()),
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    return Err(is_dir());
                }
                Ok(_) if from.path == spot.path && target == name => return Ok(()),
                Ok(_) => {
                    let link = || fs::linkat(&dir, target, parent, name, AtFlags::empty());
                    return match self.replacing(spot, parent, name, link) {
                        // What was replaced held the target.
                        Err(Blocked::System(Errno::NOENT)) => Err(missing()),
                        other => other.map_err(or_system("make a hard link")),
                    };
                }
                Err(Errno::NOENT) => {}
                Err(e) => return Err(Fault::System("find a hard link's target", e)),
            }
        }
        match self.below(&mut from, target)? {
            Lower::Absent => Err(missing()),
            Lower::Dir(..) => Err(is_dir()),
            Lower::File(file) => self.copy(spot, name, &file),
        }
    }

    /// Makes a copy of a lower layer's file.
    fn copy(&mut self, spot: &Spot, name: &OsStr, lower: &Lookup) -> Result<(), Fault> {
        let attributes = &walk::attributes(&lower.file)?;
        match lower.file.node.kind {
            Kind::File => self.copy_data(spot, name, lower, attributes),
            Kind::Symlink => self.make_symlink(spot, name, &lower.file.link_target()?, attributes),
            Kind::Pipe => self.make_node(spot, name, OverrideType::Pipe, attributes),
            Kind::Socket => self.make_node(spot, name, OverrideType::Socket, attributes),
            Kind::Block(major, minor) => {
                self.make_node(spot, name, OverrideType::Block(major, minor), attributes)
            }
            // One that a regular file stands in for, as the real one is a whiteout.
            Kind::Char(0, 0) => {
                self.make_regular(spot, name, OverrideType::Char(0, 0), attributes, |_| Ok(()))
            }
            Kind::Char(major, minor) => {
                self.make_node(spot, name, OverrideType::Char(major, minor), attributes)
            }
            Kind::Dir => Err(Fault::System("copy a lower file", Errno::ISDIR)),
        }
    }

    /// Makes a copy of a lower layer's regular file.
    fn copy_data(
        &mut self,
        spot: &Spot,
        name: &OsStr,
        lower: &Lookup,
        attributes: &Attributes,
    ) -> Result<(), Fault> {
        let missing = || crate::layer::LayerError::DataMissing { path: lower.file.path() };
        let place = lower.data.as_ref().ok_or_else(missing)?;
        let (source, state) = place.dir.open_file(&place.name)?;
        let size = state.size;
        let limit = self.room;
        self.room = limit
            .checked_sub(size)
            .ok_or(Refusal::TooLarge { what: "content, copied from a lower layer,", limit })?;
        self.make_file(spot, name, attributes, |file| {
            let copied =
                std::io::copy(&mut source.take(size), file).map_err(io_fault("copy a lower file"))?;
            if copied == size { Ok(()) } else { Err(Fault::System("copy a lower file", Errno::IO)) }
        })
    }

    /// Hides what the lowers have under `name`. What this layer itself has stays, and a directory of it shows
    /// nothing from below.
    ///
    /// # Errors
    /// Those of the system.
    pub(super) fn whiteout(&mut self, spot: &Spot, name: &OsStr) -> Result<(), Fault> {
        let parent = in_target(spot)?;
        let fault = |e| Fault::System("make a whiteout", e);
        match self.step(parent, name)? {
            Step::Dir(dir) => return self.mark_opaque(&dir),
            Step::Whiteout | Step::Other => return Ok(()),
            Step::Absent => {}
        }
        match fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0) {
            Ok(()) => dress::set_time_of(parent.as_fd(), name, walk::unknown().mtime),
            // Before Linux 5.8, and in some sandboxes.
            Err(Errno::PERM) => {
                let flags = NEW - OFlags::EXCL;
                let mode = Mode::from_raw_mode(0o600);
                fs::openat(parent, whiteout::file_name(name), flags, mode).map(drop).map_err(fault)
            }
            Err(e) => Err(fault(e)),
        }
    }

    /// Runs `make`, once more if something had the name, which is removed then.
    fn replacing<T>(
        &mut self,
        spot: &Spot,
        parent: &OwnedFd,
        name: &OsStr,
        make: impl Fn() -> sys::Result<T>,
    ) -> Result<T, Blocked> {
        match make() {
            Err(Errno::EXIST) => {
                self.remove(spot, parent, name).map_err(Blocked::Other)?;
                make().map_err(Blocked::System)
            }
            other => other.map_err(Blocked::System),
        }
    }
}

/// What was in the place of a new directory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Replaced {
    Nothing,
    Dir,
    Other,
}

/// Why something could not be made.
enum Blocked {
    System(Errno),
    Other(Fault),
}

fn or_system(action: &'static str) -> impl FnOnce(Blocked) -> Fault {
    move |blocked| match blocked {
        Blocked::System(e) => Fault::System(action, e),
        Blocked::Other(fault) => fault,
    }
}

fn io_fault(action: &'static str) -> impl FnOnce(std::io::Error) -> Fault {
    move |e| Fault::System(action, Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// The spot's directory, which walking with [`Missing::Make`] leaves in the target.
fn in_target(spot: &Spot) -> Result<&Rc<OwnedFd>, Fault> {
    spot.dir.as_ref().ok_or(Fault::System("find a directory", Errno::NOENT))
}

/// Writes the present entry's content.
fn write_content<R: Read>(file: &mut File, entries: &mut Entries<'_, R>) -> Result<(), Fault> {
    loop {
        let bytes = entries.content()?;
        if bytes.is_empty() {
            return Ok(());
        }
        file.write_all(bytes).map_err(io_fault("write a file"))?;
        let count = bytes.len();
        entries.consume(count);
    }
}
