//! Attributes as the view shows them.

use crate::format::override_stat::OverrideStat;
use crate::sys::fs::Stat;

/// The type of a file in the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Named pipe.
    Fifo,
    /// Socket.
    Socket,
    /// Character device.
    Char,
    /// Block device.
    Block,
}

impl Kind {
    /// The type in `st_mode`; an unknown one counts as a regular file.
    pub fn of_mode(mode: u32) -> Kind {
        match mode & S_IFMT {
            S_IFDIR => Kind::Directory,
            S_IFLNK => Kind::Symlink,
            S_IFIFO => Kind::Fifo,
            S_IFSOCK => Kind::Socket,
            S_IFCHR => Kind::Char,
            S_IFBLK => Kind::Block,
            _ => Kind::File,
        }
    }

    /// The `S_IF…` bits.
    pub fn mode_bits(self) -> u32 {
        match self {
            Kind::File => S_IFREG,
            Kind::Directory => S_IFDIR,
            Kind::Symlink => S_IFLNK,
            Kind::Fifo => S_IFIFO,
            Kind::Socket => S_IFSOCK,
            Kind::Char => S_IFCHR,
            Kind::Block => S_IFBLK,
        }
    }
}

/// The type bits of `st_mode`.
pub const S_IFMT: u32 = 0o170000;
const S_IFDIR: u32 = 0o040000;
const S_IFLNK: u32 = 0o120000;
const S_IFIFO: u32 = 0o010000;
const S_IFSOCK: u32 = 0o140000;
const S_IFCHR: u32 = 0o020000;
const S_IFBLK: u32 = 0o060000;
const S_IFREG: u32 = 0o100000;
/// Set-user-id.
pub const S_ISUID: u32 = 0o4000;
/// Set-group-id.
pub const S_ISGID: u32 = 0o2000;
/// Execution by the group.
pub const S_IXGRP: u32 = 0o0010;

/// A point in time: seconds since 1970, possibly negative, and nanoseconds within the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// What stat(2) shows of a file in the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// The inode number, stable over copy-up and rename.
    pub ino: u64,
    /// The type.
    pub kind: Kind,
    /// Permission bits, set-id and sticky bits included.
    pub perm: u32,
    /// Number of links.
    pub nlink: u32,
    /// Owner as shown.
    pub uid: u32,
    /// Group as shown.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Allocated blocks of 512 bytes.
    pub blocks: u64,
    /// Preferred block size for I/O.
    pub blksize: u32,
    /// Device number of a device.
    pub rdev: u64,
    /// Last access.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of attributes.
    pub ctime: Time,
}

/// The attributes a layer holds for a file: its inode's, with what `override_stat` says instead.
#[derive(Debug, Clone)]
pub struct RealStat {
    /// The inode's own.
    pub st: Stat,
    /// What is recorded in the extended attribute.
    pub over: Option<OverrideStat>,
}

impl RealStat {
    /// The file's type, or the recorded one.
    pub fn kind(&self) -> Kind {
        let recorded = self.over.as_ref().and_then(|o| o.file_type.as_ref());
        Kind::of_mode(recorded.map_or(self.st.st_mode, |t| t.mode_bits()))
    }

    /// Permission bits on disk or recorded.
    pub fn perm(&self) -> u32 {
        self.over.as_ref().map_or(self.st.st_mode, |o| o.mode) & 0o7777
    }

    /// Owner and group on disk or recorded.
    pub fn owner(&self) -> (u32, u32) {
        self.over.as_ref().map_or((self.st.st_uid, self.st.st_gid), |o| (o.uid, o.gid))
    }

    /// The times of the inode: access, modification, change.
    pub fn times(&self) -> [Time; 3] {
        let time = |secs, nanos| Time { secs, nanos };
        let st = &self.st;
        [
            time(st.st_atime, st.st_atime_nsec as u32),
            time(st.st_mtime, st.st_mtime_nsec as u32),
            time(st.st_ctime, st.st_ctime_nsec as u32),
        ]
    }
}
