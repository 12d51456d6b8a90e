//! Making a file of the upper in the tree, beside the place that it will take: complete and on the disk before it has
//! its name.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

use super::Owners;
use super::attributes::{Xattrs, set_owner_and_mode, set_time, set_xattrs, xattrs};
use super::error::ApplyError;
use super::real::RealDir;
use super::same::children;
use crate::layer::LayerError;
use crate::layer::node::{Kind, Node};
use crate::layer::source::Located;
use crate::sys::Errno;
use crate::sys::data::{self, WriteOut};
use crate::sys::fs::{self, AtFlags, FileType, Mode, OFlags, linkat, makedev, mkdirat, mknodat, symlinkat};
use crate::sys::xattr::Target;

/// Where a file of the upper with several names is in the tree already.
pub type Links = HashMap<(u64, u64), (Rc<RealDir>, OsString)>;

/// Makes files of the upper.
#[derive(Debug)]
pub struct Builder {
    /// Whose owners are set.
    pub owners: Owners,
    /// What was made of files with several names, by device and inode number in the upper.
    pub links: Links,
}

impl Builder {
    /// Makes `from` as `name` in `to`, where nothing is. A directory is made with all that is in it.
    ///
    /// # Errors
    /// What the system says; what was made till then stays.
    pub fn make(&mut self, from: &Located, to: &Rc<RealDir>, name: &OsStr) -> Result<(), ApplyError> {
        if let Some((dir, known)) = self.links.get(&from.node.inode) {
            return linkat(dir.fd(), known, to.fd(), name, AtFlags::empty())
                .map_err(|e| to.failed(name, "link", e));
        }
        let failed = |e: Errno| to.failed(name, "make", e);
        match from.node.kind {
            Kind::File => return self.make_file(from, to, name),
            Kind::Dir => self.make_dir(from, to, name)?,
            Kind::Symlink => {
                let target = OsString::from_vec(from.link_target()?);
                symlinkat(&target, to.fd(), name).map_err(failed)?;
            }
            kind => {
                let (file_type, device) = node_of(kind);
                mknodat(to.fd(), name, file_type, Mode::from_raw_mode(0o600), device).map_err(failed)?;
            }
        }
        self.dress(from, to, name)
    }

    /// Remembers where a file with several names is now.
    pub fn remember(&mut self, node: &Node, dir: &Rc<RealDir>, name: &OsStr) {
        if node.nlink > 1 && node.kind != Kind::Dir {
            self.links.insert(node.inode, (dir.clone(), name.to_owned()));
        }
    }

    fn make_dir(&mut self, from: &Located, to: &Rc<RealDir>, name: &OsStr) -> Result<(), ApplyError> {
        mkdirat(to.fd(), name, Mode::from_raw_mode(0o700)).map_err(|e| to.failed(name, "make", e))?;
        let (inside, source) =
            (Rc::new(to.open_new(name)?), Rc::new(from.dir.open_dir(&from.name, &from.node)?));
        for child in children(&source)? {
            self.make(&child, &inside, &child.name)?;
            self.remember(&child.node, &inside, &child.name);
        }
        inside.sync()
    }

    fn make_file(&mut self, from: &Located, to: &Rc<RealDir>, name: &OsStr) -> Result<(), ApplyError> {
        let failed = |action| move |e: Errno| to.failed(name, action, e);
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(to.fd(), name, flags, Mode::from_raw_mode(0o600)).map_err(failed("make"))?;
        let (source, state) = from.dir.open_file(&from.name)?;
        let source = OwnedFd::from(source);
        data::copy(&source, &file, state.size, WriteOut::Later).map_err(failed("write"))?;
        if from.state(&source.into())? != state {
            return Err(LayerError::Changed { path: from.path() }.into());
        }
        self.dress(from, to, name)?;
        fs::fsync(file).map_err(failed("sync"))
    }

    /// Gives what was made owner, mode, attributes and time.
    fn dress(&self, from: &Located, to: &RealDir, name: &OsStr) -> Result<(), ApplyError> {
        let source = Target::At(from.dir.fd(), &from.name);
        let read = |source| ApplyError::System { path: from.path(), action: "read", source };
        let new: Xattrs = xattrs(source, self.owners).map_err(read)?;
        let change = || {
            set_owner_and_mode(to.fd().as_fd(), name, &from.node, self.owners)?;
            let target = Target::At(to.fd(), name);
            set_xattrs(target, &xattrs(target, self.owners)?, &new)?;
            set_time(to.fd(), name, from.node.mtime)
        };
        change().map_err(|e| to.failed(name, "set the attributes of", e))
    }
}

/// The type and device of what mknod(2) makes.
fn node_of(kind: Kind) -> (FileType, u64) {
    match kind {
        Kind::Block(major, minor) => (FileType::BlockDevice, makedev(major, minor)),
        Kind::Char(major, minor) => (FileType::CharacterDevice, makedev(major, minor)),
        _ => (FileType::Fifo, 0),
    }
}
