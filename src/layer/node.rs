//! One name of one layer directory: its metadata with the marks applied, or a whiteout.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use crate::format::FormatError;
use crate::format::acl;
use crate::format::names::{self, Mark, Namespace};
use crate::format::override_stat::{OverrideStat, OverrideType};
use crate::format::redirect::Redirect;
use crate::format::whiteout;
use crate::sys::fs::{FileType, Stat, lstatat, major, minor};
use crate::sys::xattr::{Target, getxattr_opt, listxattr};
use crate::sys::{self, Errno};

/// What a layer says about a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The name is deleted: what the layers below have is hidden.
    Whiteout,
    /// The layer has a file of this name.
    Node(Node),
}

/// The type of a file in the merged view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A FIFO.
    Pipe,
    /// A socket.
    Socket,
    /// A block device of this major and minor number.
    Block(u32, u32),
    /// A character device of this major and minor number.
    Char(u32, u32),
}

/// A moment: seconds since the epoch, possibly negative, and nanoseconds after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// Nanoseconds, below 10⁹.
    pub nanos: u32,
}

/// Whether the inode itself is the file, or another file stands in for it (`override_stat`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// The inode is the file.
    Own,
    /// A regular file stands in: a symbolic link's target is its content.
    StandIn,
}

/// What hides the lower part of a directory, as far as the directory's inode and its parent say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opacity {
    /// Lower directories merge in.
    Clear,
    /// Lower directories merge in; files with the whiteout attribute are whiteouts (`overlay.opaque=x`).
    WhiteoutFiles,
    /// Nothing below shows.
    Opaque,
}

/// The metadata of a file as the merged view shows it, and where its marks lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The type.
    pub kind: Kind,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The permission bits, `07777` at most.
    pub mode: u32,
    /// The time of the last modification.
    pub mtime: Time,
    /// The inode's size in bytes; not the data's, where that lies in a lower layer.
    pub size: u64,
    /// Device and inode number.
    pub inode: (u64, u64),
    /// The real link count.
    pub nlink: u64,
    /// Whether another file stands in for this one.
    pub body: Body,
    /// Whether owner and mode are recorded ones.
    pub recorded: bool,
    /// For a directory: whether lower ones merge in.
    pub opacity: Opacity,
    /// Whether the file's data lies in a lower layer.
    pub metacopy: bool,
    /// Where the lower part lies, if not at the same path.
    pub redirect: Option<Redirect>,
    /// The attributes that belong to the file: neither the layer's marks nor the host's labels. Sorted.
    pub xattrs: Vec<OsString>,
}

/// Why a name could not be read.
#[derive(Debug)]
pub enum NodeError {
    /// A system call failed.
    System(Errno),
    /// A mark cannot be understood.
    Mark(FormatError),
}

impl From<Errno> for NodeError {
    fn from(e: Errno) -> NodeError {
        NodeError::System(e)
    }
}

impl From<FormatError> for NodeError {
    fn from(e: FormatError) -> NodeError {
        NodeError::Mark(e)
    }
}

impl Node {
    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }
}

/// Reads the name below `dir`; `None` where there is no such file. `opacity` is the directory's own.
/// Whiteouts by name are the caller's matter.
pub fn read(dir: BorrowedFd<'_>, name: &OsStr, opacity: Opacity) -> Result<Option<Entry>, NodeError> {
    let stat = match lstatat(dir, name) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NAMETOOLONG) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    if whiteout::is_device(stat.st_mode, stat.st_rdev) {
        return Ok(Some(Entry::Whiteout));
    }
    from_stat(&stat, Target::At(dir, name), opacity).map(Some)
}

/// Reads the open directory itself: a layer's root.
pub fn read_root(dir: BorrowedFd<'_>) -> Result<Entry, NodeError> {
    from_stat(&sys::fs::fstat(dir)?, Target::Fd(dir), Opacity::Clear)
}

/// The entry that an inode and its marks make.
fn from_stat(stat: &Stat, target: Target<'_>, parent: Opacity) -> Result<Entry, NodeError> {
    let file_type = FileType::from_raw_mode(stat.st_mode);
    let mut xattrs = listxattr(target)?;
    let regular = file_type == FileType::RegularFile;
    if regular && parent == Opacity::WhiteoutFiles && stat.st_size == 0 && has(&xattrs, Mark::Whiteout) {
        return Ok(Entry::Whiteout);
    }
    let mut node = plain(stat);
    if has(&xattrs, Mark::Opaque) || xattrs.iter().any(|n| n == names::FUSE_OVERLAYFS_OPAQUE) {
        node.opacity = opacity(target, &xattrs)?;
    }
    node.metacopy = regular && has(&xattrs, Mark::Metacopy);
    if (node.metacopy || node.is_dir()) && has(&xattrs, Mark::Redirect) {
        node.redirect = mark(target, Mark::Redirect)?.map(|v| Redirect::parse(&v)).transpose()?;
    }
    if xattrs.iter().any(|n| n == names::OVERRIDE_STAT)
        && let Some(value) = getxattr_opt(target, OsStr::new(names::OVERRIDE_STAT))?
    {
        apply(&mut node, OverrideStat::parse(&value)?);
    }
    // Beside a record an ACL speaks of other ids than the record does.
    xattrs.retain(|n| is_portable(n) && !(node.recorded && acl::is_acl(n)));
    xattrs.sort();
    node.xattrs = xattrs;
    Ok(Entry::Node(node))
}

/// The kind of file that an inode is.
#[allow(clippy::unnecessary_cast, reason = "the fields' widths differ between machines")]
pub fn kind_of(stat: &Stat) -> Kind {
    let device = (major(stat.st_rdev), minor(stat.st_rdev));
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Pipe,
        FileType::Socket => Kind::Socket,
        FileType::BlockDevice => Kind::Block(device.0, device.1),
        FileType::CharacterDevice => Kind::Char(device.0, device.1),
        FileType::RegularFile | FileType::Unknown => Kind::File,
    }
}

/// What the inode alone says.
#[allow(clippy::unnecessary_cast, reason = "the fields' widths differ between machines")]
fn plain(stat: &Stat) -> Node {
    Node {
        kind: kind_of(stat),
        uid: stat.st_uid,
        gid: stat.st_gid,
        mode: stat.st_mode & 0o7777,
        mtime: Time { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 },
        size: stat.st_size as u64,
        inode: (stat.st_dev, stat.st_ino),
        nlink: stat.st_nlink as u64,
        body: Body::Own,
        recorded: false,
        opacity: Opacity::Clear,
        metacopy: false,
        redirect: None,
        xattrs: Vec::new(),
    }
}

/// Puts the recorded owner, mode and type over the inode's own. A type that this inode cannot stand in for
/// is passed over.
fn apply(node: &mut Node, recorded: OverrideStat) {
    (node.uid, node.gid, node.mode) = (recorded.uid, recorded.gid, recorded.mode);
    node.recorded = true;
    let kind = match recorded.file_type {
        Some(OverrideType::Symlink) => Kind::Symlink,
        Some(OverrideType::Pipe) => Kind::Pipe,
        Some(OverrideType::Socket) => Kind::Socket,
        Some(OverrideType::Block(major, minor)) => Kind::Block(major, minor),
        Some(OverrideType::Char(major, minor)) => Kind::Char(major, minor),
        Some(OverrideType::File | OverrideType::Dir) | None => return,
    };
    if node.kind == Kind::File {
        (node.kind, node.body) = (kind, Body::StandIn);
    }
}

/// Whether the list holds the mark, in either name space.
fn has(xattrs: &[OsString], mark: Mark) -> bool {
    xattrs.iter().any(|name| matches!(names::parse(name), Some((_, found)) if found == mark))
}

/// The mark's value; the privileged name space first.
pub fn mark(target: Target<'_>, mark: Mark) -> sys::Result<Option<Vec<u8>>> {
    match getxattr_opt(target, Namespace::Trusted.xattr(mark))? {
        Some(value) => Ok(Some(value)),
        None => getxattr_opt(target, Namespace::User.xattr(mark)),
    }
}

/// What the opaque marks among `xattrs` say together.
fn opacity(target: Target<'_>, xattrs: &[OsString]) -> sys::Result<Opacity> {
    let mut opacity = Opacity::Clear;
    for name in xattrs {
        let kernel = matches!(names::parse(name), Some((_, Mark::Opaque)));
        if !kernel && name != names::FUSE_OVERLAYFS_OPAQUE {
            continue;
        }
        match getxattr_opt(target, name)?.as_deref() {
            Some(b"y") => return Ok(Opacity::Opaque),
            Some(b"x") if kernel => opacity = Opacity::WhiteoutFiles,
            _ => {}
        }
    }
    Ok(opacity)
}

/// Whether an attribute travels with the file: `user.*`, the file capabilities and ACLs, no mark.
pub fn is_portable(name: &OsStr) -> bool {
    let own = name.as_bytes().starts_with(b"user.") || name == "security.capability" || acl::is_acl(name);
    own && !names::is_private(name)
}
