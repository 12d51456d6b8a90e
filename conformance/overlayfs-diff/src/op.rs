//! The operations, as plain values that print as what was done.

use std::fmt;

/// One operation. Paths are relative to the mount point; `.` is the mount point itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Open with O_CREAT for writing, and close.
    Create {
        path: String,
        exclusive: bool,
        mode: u32,
    },
    /// Open for writing and pwrite.
    Write {
        path: String,
        offset: u64,
        length: usize,
        fill: u8,
    },
    /// Open with O_APPEND and write.
    Append {
        path: String,
        length: usize,
        fill: u8,
    },
    /// Open for writing with O_TRUNC, write a little.
    OpenTruncate {
        path: String,
        length: usize,
        fill: u8,
    },
    /// Open for writing, and close without writing.
    OpenForWriting {
        path: String,
    },
    /// truncate(2).
    Truncate {
        path: String,
        length: u64,
    },
    /// fallocate(2); `mode` as the system call takes it.
    Fallocate {
        path: String,
        mode: u32,
        offset: u64,
        length: u64,
    },
    Mkdir {
        path: String,
        mode: u32,
    },
    Rmdir {
        path: String,
    },
    Unlink {
        path: String,
    },
    /// `flags` as renameat2(2) takes them.
    Rename {
        from: String,
        to: String,
        flags: u32,
    },
    Link {
        from: String,
        to: String,
    },
    Symlink {
        target: String,
        path: String,
    },
    Mkfifo {
        path: String,
        mode: u32,
    },
    /// A character device 1:3.
    MknodNull {
        path: String,
        mode: u32,
    },
    Chmod {
        path: String,
        mode: u32,
    },
    /// lchown(2).
    Chown {
        path: String,
        uid: u32,
        gid: u32,
    },
    /// utimensat(2) of both times, not following links.
    Utimens {
        path: String,
        seconds: i64,
        nanoseconds: i64,
    },
    SetXattr {
        path: String,
        name: String,
        value: Vec<u8>,
        flags: u32,
    },
    RemoveXattr {
        path: String,
        name: String,
    },
    ListXattrs {
        path: String,
    },
    Readdir {
        path: String,
    },
    Read {
        path: String,
    },
    Readlink {
        path: String,
    },
    Stat {
        path: String,
    },
    /// access(2).
    Access {
        path: String,
        mode: u32,
    },
    /// Open for reading and writing into a numbered handle; the old one is closed.
    HandleOpen {
        slot: usize,
        path: String,
        create: bool,
        append: bool,
    },
    HandleWrite {
        slot: usize,
        offset: u64,
        length: usize,
        fill: u8,
    },
    HandleRead {
        slot: usize,
    },
    HandleStat {
        slot: usize,
    },
    HandleTruncate {
        slot: usize,
        length: u64,
    },
    HandleChmod {
        slot: usize,
        mode: u32,
    },
    /// Open for reading only, whatever the path is: the old one is closed.
    HandleOpenToRead {
        slot: usize,
        path: String,
    },
    /// pread(2).
    HandleReadAt {
        slot: usize,
        offset: u64,
        length: usize,
    },
    /// read(2), from where the last one ended.
    HandleReadOn {
        slot: usize,
        length: usize,
    },
    /// write(2), where the last one ended, or at the end with O_APPEND.
    HandleWriteOn {
        slot: usize,
        length: usize,
        fill: u8,
    },
    /// fallocate(2); `mode` as the system call takes it.
    HandleFallocate {
        slot: usize,
        mode: u32,
        offset: u64,
        length: u64,
    },
    /// fchown(2).
    HandleChown {
        slot: usize,
        uid: u32,
        gid: u32,
    },
    /// futimens(2) of both times.
    HandleUtimens {
        slot: usize,
        seconds: i64,
    },
    HandleSetXattr {
        slot: usize,
        value: Vec<u8>,
    },
    HandleListXattrs {
        slot: usize,
    },
    /// flock(2), not waiting.
    HandleFlock {
        slot: usize,
        kind: Lock,
    },
    /// A lock of a range that belongs to the open file (F_OFD_SETLK), not waiting.
    HandleLock {
        slot: usize,
        kind: Lock,
        offset: u32,
        length: u32,
    },
    HandleClose {
        slot: usize,
    },
    /// Both are unmounted and mounted again on what they have written.
    Remount,
    /// Both are unmounted, and each is mounted on what the other has written.
    Cross,
}

/// What a lock is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    Shared,
    Exclusive,
    Unlocked,
}

/// An operation and who does it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub op: Op,
    /// 0, or an ordinary user whose group is the same number.
    pub actor: u32,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.actor != 0 {
            write!(f, "as {}: ", self.actor)?;
        }
        self.op.fmt(f)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { path, exclusive, mode } => {
                write!(f, "create {path} {mode:04o}{}", if *exclusive { " O_EXCL" } else { "" })
            }
            Self::Write { path, offset, length, fill } => {
                write!(f, "write {path} offset {offset} length {length} fill {fill}")
            }
            Self::Append { path, length, fill } => write!(f, "append {path} length {length} fill {fill}"),
            Self::OpenTruncate { path, length, fill } => {
                write!(f, "open O_TRUNC {path} and write length {length} fill {fill}")
            }
            Self::OpenForWriting { path } => write!(f, "open for writing and close {path}"),
            Self::Truncate { path, length } => write!(f, "truncate {path} to {length}"),
            Self::Fallocate { path, mode, offset, length } => {
                write!(f, "fallocate {path} mode {mode:#x} offset {offset} length {length}")
            }
            Self::Mkdir { path, mode } => write!(f, "mkdir {path} {mode:04o}"),
            Self::Rmdir { path } => write!(f, "rmdir {path}"),
            Self::Unlink { path } => write!(f, "unlink {path}"),
            Self::Rename { from, to, flags } => {
                let flags = match flags {
                    0 => "",
                    1 => " NOREPLACE",
                    2 => " EXCHANGE",
                    _ => " NOREPLACE|EXCHANGE",
                };
                write!(f, "rename {from} -> {to}{flags}")
            }
            Self::Link { from, to } => write!(f, "link {from} -> {to}"),
            Self::Symlink { target, path } => write!(f, "symlink {path} -> {target}"),
            Self::Mkfifo { path, mode } => write!(f, "mkfifo {path} {mode:04o}"),
            Self::MknodNull { path, mode } => write!(f, "mknod {path} {mode:04o} c 1 3"),
            Self::Chmod { path, mode } => write!(f, "chmod {path} {mode:04o}"),
            Self::Chown { path, uid, gid } => write!(f, "lchown {path} {uid}:{gid}"),
            Self::Utimens { path, seconds, nanoseconds } => {
                write!(f, "utimensat {path} {seconds}.{nanoseconds:09}")
            }
            Self::SetXattr { path, name, value, flags } => {
                write!(f, "setxattr {path} {name} {value:02x?} flags {flags}")
            }
            Self::RemoveXattr { path, name } => write!(f, "removexattr {path} {name}"),
            Self::ListXattrs { path } => write!(f, "list xattrs of {path}"),
            Self::Readdir { path } => write!(f, "readdir {path}"),
            Self::Read { path } => write!(f, "read {path}"),
            Self::Readlink { path } => write!(f, "readlink {path}"),
            Self::Stat { path } => write!(f, "lstat {path}"),
            Self::Access { path, mode } => write!(f, "access {path} {mode}"),
            Self::HandleOpen { slot, path, create, append } => write!(
                f,
                "handle {slot}: open {path} O_RDWR{}{}",
                if *create { "|O_CREAT" } else { "" },
                if *append { "|O_APPEND" } else { "" }
            ),
            Self::HandleWrite { slot, offset, length, fill } => {
                write!(f, "handle {slot}: write offset {offset} length {length} fill {fill}")
            }
            Self::HandleRead { slot } => write!(f, "handle {slot}: read all"),
            Self::HandleStat { slot } => write!(f, "handle {slot}: fstat"),
            Self::HandleTruncate { slot, length } => write!(f, "handle {slot}: ftruncate to {length}"),
            Self::HandleChmod { slot, mode } => write!(f, "handle {slot}: fchmod {mode:04o}"),
            Self::HandleClose { slot } => write!(f, "handle {slot}: close"),
            Self::HandleOpenToRead { slot, path } => write!(f, "handle {slot}: open {path} O_RDONLY"),
            Self::HandleReadAt { slot, offset, length } => {
                write!(f, "handle {slot}: pread offset {offset} length {length}")
            }
            Self::HandleReadOn { slot, length } => write!(f, "handle {slot}: read on, length {length}"),
            Self::HandleWriteOn { slot, length, fill } => {
                write!(f, "handle {slot}: write on, length {length} fill {fill}")
            }
            Self::HandleFallocate { slot, mode, offset, length } => {
                write!(f, "handle {slot}: fallocate mode {mode:#x} offset {offset} length {length}")
            }
            Self::HandleChown { slot, uid, gid } => write!(f, "handle {slot}: fchown {uid}:{gid}"),
            Self::HandleUtimens { slot, seconds } => write!(f, "handle {slot}: futimens {seconds}"),
            Self::HandleSetXattr { slot, value } => {
                write!(f, "handle {slot}: fsetxattr user.held {value:02x?}")
            }
            Self::HandleListXattrs { slot } => write!(f, "handle {slot}: list xattrs"),
            Self::HandleFlock { slot, kind } => write!(f, "handle {slot}: flock {kind:?}"),
            Self::HandleLock { slot, kind, offset, length } => {
                write!(f, "handle {slot}: lock {kind:?} offset {offset} length {length}")
            }
            Self::Remount => f.write_str("remount both"),
            Self::Cross => f.write_str("remount, each on the other's upper"),
        }
    }
}
