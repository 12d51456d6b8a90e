//! One name of one layer directory: its metadata with the marks applied, or a whiteout.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;

use crate::format::FormatError;
use crate::format::names::{self, Mark};
use crate::format::override_stat::{OverrideStat, OverrideType};
use crate::format::redirect::Redirect;
use crate::format::whiteout;
use crate::format::{acl, capability};
use crate::marks::{self, Opaque, Recorded, Trust};
use crate::sys::fs::{FileType, Stat, lstatat, major, minor};
use crate::sys::xattr::{Target, listxattr};
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

/// Reads the name below `dir` in a layer whose marks count as far as `trust` says; `None` where there is no such file.
/// `opacity` is the directory's own. Whiteouts by name are the caller's matter.
pub fn read(
    dir: BorrowedFd<'_>,
    name: &OsStr,
    opacity: Opacity,
    trust: &Trust,
) -> Result<Option<Entry>, NodeError> {
    let stat = match lstatat(dir, name) {
        Ok(stat) => stat,
        Err(Errno::NOENT | Errno::NAMETOOLONG) => return Ok(None),
        Err(e) => return Err(e.into()),
    };
    if whiteout::is_device(stat.st_mode, stat.st_rdev) {
        return Ok(Some(Entry::Whiteout));
    }
    from_stat(&stat, Target::At(dir, name), opacity, trust).map(Some)
}

/// Reads the open directory itself: a layer's root.
pub fn read_root(dir: BorrowedFd<'_>, trust: &Trust) -> Result<Entry, NodeError> {
    from_stat(&sys::fs::fstat(dir)?, Target::Fd(dir), Opacity::Clear, trust)
}

/// The entry that an inode and its marks make.
fn from_stat(stat: &Stat, target: Target<'_>, parent: Opacity, trust: &Trust) -> Result<Entry, NodeError> {
    let file_type = FileType::from_raw_mode(stat.st_mode);
    let mut xattrs = listxattr(target)?;
    let regular = file_type == FileType::RegularFile;
    if regular && parent == Opacity::WhiteoutFiles && stat.st_size == 0 && has(&xattrs, Mark::Whiteout) {
        return Ok(Entry::Whiteout);
    }
    let mut node = plain(stat);
    if xattrs.iter().any(|name| names::is_private(name)) {
        read_marks(&mut node, stat, target, &xattrs, trust)?;
    }
    // Beside a record an ACL speaks of other ids than the record does.
    xattrs.retain(|n| is_portable(n) && !(node.recorded && acl::is_acl(n)));
    xattrs.sort();
    node.xattrs = xattrs;
    Ok(Entry::Node(node))
}

/// Takes in the marks that count.
fn read_marks(
    node: &mut Node,
    stat: &Stat,
    target: Target<'_>,
    xattrs: &[OsString],
    trust: &Trust,
) -> Result<(), NodeError> {
    let marks = marks::read(target, xattrs, trust)?;
    node.opacity = match marks.opaque {
        Opaque::No => Opacity::Clear,
        Opaque::Yes => Opacity::Opaque,
        Opaque::FileWhiteouts => Opacity::WhiteoutFiles,
    };
    node.metacopy = node.kind == Kind::File && marks.metacopy;
    if node.metacopy || node.is_dir() {
        if let Some(damage) = marks.damage {
            return Err(damage.into());
        }
        node.redirect = marks.redirect;
    }
    match marks::recorded(target, stat, trust)? {
        None => {}
        Some(Recorded::All(recorded)) => apply(node, recorded),
        Some(Recorded::Type(stands_for)) => stand_in(node, stands_for),
        Some(Recorded::Damaged(damage)) => return Err(damage.into()),
    }
    Ok(())
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

/// Puts the recorded owner, mode and type over the inode's own.
fn apply(node: &mut Node, recorded: OverrideStat) {
    (node.uid, node.gid, node.mode) = (recorded.uid, recorded.gid, recorded.mode);
    node.recorded = true;
    if let Some(file_type) = recorded.file_type {
        stand_in(node, file_type);
    }
}

/// Makes it the file that the inode stands for.
fn stand_in(node: &mut Node, file_type: OverrideType) {
    let kind = match file_type {
        OverrideType::Symlink => Kind::Symlink,
        OverrideType::Pipe => Kind::Pipe,
        OverrideType::Socket => Kind::Socket,
        OverrideType::Block(major, minor) => Kind::Block(major, minor),
        OverrideType::Char(major, minor) => Kind::Char(major, minor),
        OverrideType::File | OverrideType::Dir => return,
    };
    (node.kind, node.body) = (kind, Body::StandIn);
}

/// Whether the list holds the mark, in either name space.
fn has(xattrs: &[OsString], mark: Mark) -> bool {
    xattrs.iter().any(|name| matches!(names::parse(name), Some((_, found)) if found == mark))
}

/// Whether an attribute travels with the file: `user.*`, the file capabilities and ACLs, no mark.
pub fn is_portable(name: &OsStr) -> bool {
    let own = name.as_bytes().starts_with(b"user.") || name == capability::NAME || acl::is_acl(name);
    own && !names::is_private(name)
}
