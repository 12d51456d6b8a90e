//! Does one operation on one side, and says what came of it.
//!
//! Every operation runs with the mount as its root directory. Most of them follow symbolic links, the links are
//! random, and this runs as root: without that, a `chmod` of a link to `/` changes the machine.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{
    self, Access, AtFlags, CWD, FallocateFlags, FileType, Gid, Mode, OFlags, RenameFlags, Timespec,
    Timestamps, Uid, XattrFlags,
};
use rustix::io::{self, Errno};
use rustix::{process, thread};

use crate::handles;
use crate::known;
use crate::op::{Op, Step};
use crate::tree::{self, Attributes, Mtime, Xattrs};

/// Open files a sequence can hold.
pub const SLOTS: usize = 8;

/// What came of an operation; equal on both sides, or a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// How much, and the modification time after it, unless nothing was written.
    Wrote(usize, Option<Mtime>),
    Content(String),
    Listing(Vec<(String, FileType)>),
    Attributes(Attributes),
    /// Of an open file.
    Held(Attributes),
    Xattrs(Xattrs),
    /// The handle was never opened.
    NoHandle,
    Error(Errno),
}

/// One mounted file system, and the files held open on it.
#[derive(Debug)]
pub struct Side {
    root: PathBuf,
    handles: [Option<OwnedFd>; SLOTS],
    started: i64,
}

impl Outcome {
    /// Whether this, of the reference, allows that of the other side.
    pub fn agrees_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Attributes(reference), Self::Attributes(other)) => reference.agree_with(other),
            (Self::Held(reference), Self::Held(other)) => {
                known::nlinks_agree(reference.nlink, other.nlink)
                    && reference.agree_with(&Attributes { nlink: reference.nlink, ..other.clone() })
            }
            _ => self == other,
        }
    }
}

impl Side {
    /// `started`: see [`Attributes::of`].
    pub fn new(root: &Path, started: i64) -> Self {
        Self { root: root.to_owned(), handles: Default::default(), started }
    }

    /// Closes everything, so that the mount can go.
    pub fn close_handles(&mut self) {
        self.handles = Default::default();
    }

    /// Closes one.
    pub fn close_handle(&mut self, slot: usize) {
        self.handles[slot] = None;
    }

    /// Does the operation as its actor, inside the mount.
    pub fn apply(&mut self, step: &Step) -> Outcome {
        let inside = Inside::enter(&self.root);
        become_user(step.actor);
        let outcome = self.act(&step.op).unwrap_or_else(Outcome::Error);
        become_user(0);
        drop(inside);
        outcome
    }

    fn act(&mut self, op: &Op) -> Result<Outcome, Errno> {
        let done = |()| Outcome::Done;
        match op {
            Op::Create { path, exclusive, mode } => {
                let exclusive = if *exclusive { OFlags::EXCL } else { OFlags::empty() };
                self.open(path, OFlags::WRONLY | OFlags::CREATE | exclusive, *mode).map(|_| Outcome::Done)
            }
            Op::Write { path, offset, length, fill } => {
                let file = self.open(path, OFlags::WRONLY, 0)?;
                let written = io::pwrite(&file, &pattern(*length, *fill), *offset)?;
                wrote(&file, written, self.started)
            }
            Op::Append { path, length, fill } => {
                let file = self.open(path, OFlags::WRONLY | OFlags::APPEND, 0)?;
                let written = io::write(&file, &pattern(*length, *fill))?;
                wrote(&file, written, self.started)
            }
            Op::OpenTruncate { path, length, fill } => {
                let file = self.open(path, OFlags::WRONLY | OFlags::TRUNC, 0)?;
                let written = io::write(&file, &pattern(*length, *fill))?;
                wrote(&file, written, self.started)
            }
            Op::OpenForWriting { path } => self.open(path, OFlags::WRONLY, 0).map(|_| Outcome::Done),
            // truncate(2) is not wrapped by rustix; an O_WRONLY open and ftruncate differ from it only in the order of
            // the checks.
            Op::Truncate { path, length } => {
                let file = self.open(path, OFlags::WRONLY, 0)?;
                fs::ftruncate(file, *length).map(done)
            }
            Op::Fallocate { path, mode, offset, length } => {
                let file = self.open(path, OFlags::WRONLY, 0)?;
                fs::fallocate(file, FallocateFlags::from_bits_retain(*mode), *offset, *length).map(done)
            }
            Op::Mkdir { path, mode } => fs::mkdirat(CWD, self.at(path), Mode::from_raw_mode(*mode)).map(done),
            Op::Rmdir { path } => fs::unlinkat(CWD, self.at(path), AtFlags::REMOVEDIR).map(done),
            Op::Unlink { path } => fs::unlinkat(CWD, self.at(path), AtFlags::empty()).map(done),
            Op::Rename { from, to, flags } => {
                let flags = RenameFlags::from_bits_retain(*flags);
                fs::renameat_with(CWD, self.at(from), CWD, self.at(to), flags).map(done)
            }
            Op::Link { from, to } => {
                fs::linkat(CWD, self.at(from), CWD, self.at(to), AtFlags::empty()).map(done)
            }
            Op::Symlink { target, path } => fs::symlinkat(target, CWD, self.at(path)).map(done),
            Op::Mkfifo { path, mode } => self.mknod(path, FileType::Fifo, *mode),
            Op::MknodNull { path, mode } => self.mknod(path, FileType::CharacterDevice, *mode),
            // fchmodat without flags, which follows links; so does the kernel on both sides.
            Op::Chmod { path, mode } => {
                fs::chmodat(CWD, self.at(path), Mode::from_raw_mode(*mode), AtFlags::empty()).map(done)
            }
            Op::Chown { path, uid, gid } => {
                let (uid, gid) = (Uid::from_raw(*uid), Gid::from_raw(*gid));
                fs::chownat(CWD, self.at(path), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).map(done)
            }
            Op::Utimens { path, seconds, nanoseconds } => {
                let time = Timespec { tv_sec: *seconds, tv_nsec: *nanoseconds };
                let times = Timestamps { last_access: time, last_modification: time };
                fs::utimensat(CWD, self.at(path), &times, AtFlags::SYMLINK_NOFOLLOW).map(done)
            }
            Op::SetXattr { path, name, value, flags } => {
                fs::lsetxattr(self.at(path), name, value, XattrFlags::from_bits_retain(*flags)).map(done)
            }
            Op::RemoveXattr { path, name } => fs::lremovexattr(self.at(path), name).map(done),
            Op::ListXattrs { path } => tree::read_xattrs(&self.at(path)).map(Outcome::Xattrs),
            Op::Readdir { path } => tree::list(&self.at(path)).map(Outcome::Listing),
            Op::Read { path } => {
                tree::read_file(&self.at(path)).map(|bytes| Outcome::Content(tree::describe(Ok(bytes))))
            }
            Op::Readlink { path } => fs::readlinkat(CWD, self.at(path), Vec::new())
                .map(|target| Outcome::Content(target.to_string_lossy().into_owned())),
            Op::Stat { path } => {
                let stat = fs::statat(CWD, self.at(path), AtFlags::SYMLINK_NOFOLLOW)?;
                Ok(Outcome::Attributes(Attributes::of(&stat, self.started)))
            }
            Op::Access { path, mode } => {
                fs::accessat(CWD, self.at(path), Access::from_bits_retain(*mode), AtFlags::empty()).map(done)
            }
            Op::Remount | Op::Cross => Ok(Outcome::Done),
            _ => self.act_on_handle(op),
        }
    }

    fn act_on_handle(&mut self, op: &Op) -> Result<Outcome, Errno> {
        let (slot, opened) = match op {
            Op::HandleOpen { slot, path, create, append } => {
                // The old file is closed first, whatever comes of the open.
                self.handles[*slot] = None;
                let create = if *create { OFlags::CREATE } else { OFlags::empty() };
                let append = if *append { OFlags::APPEND } else { OFlags::empty() };
                (*slot, self.open(path, OFlags::RDWR | create | append, 0o644)?)
            }
            Op::HandleOpenToRead { slot, path } => {
                self.handles[*slot] = None;
                (*slot, self.open(path, OFlags::RDONLY, 0)?)
            }
            Op::HandleClose { slot } => {
                self.handles[*slot] = None;
                return Ok(Outcome::Done);
            }
            _ => return handles::act(op, &self.handles, self.started),
        };
        self.handles[slot] = Some(opened);
        Ok(Outcome::Done)
    }

    /// The path as it is from inside.
    fn at(&self, path: &str) -> PathBuf {
        Path::new("/").join(path)
    }

    fn open(&self, path: &str, flags: OFlags, mode: u32) -> Result<OwnedFd, Errno> {
        // Not blocking: the path may be a fifo.
        let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
        fs::open(self.at(path), flags, Mode::from_raw_mode(mode))
    }

    fn mknod(&self, path: &str, kind: FileType, mode: u32) -> Result<Outcome, Errno> {
        let device = if kind == FileType::CharacterDevice { fs::makedev(1, 3) } else { 0 };
        fs::mknodat(CWD, self.at(path), kind, Mode::from_raw_mode(mode), device).map(|()| Outcome::Done)
    }
}

/// While it lives, the root directory of this process is another one. There is one thread.
struct Inside {
    outside: OwnedFd,
}

impl Inside {
    /// Panics rather than go on outside.
    fn enter(root: &Path) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let outside = fs::open("/", flags, Mode::empty()).expect("opening /");
        process::chdir(root).expect("entering the mount");
        process::chroot(".").expect("making the mount the root");
        Self { outside }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        process::fchdir(&self.outside).expect("leaving the mount");
        process::chroot(".").expect("getting the root back");
    }
}

/// What came of a write to a file.
pub fn wrote(file: &OwnedFd, written: usize, started: i64) -> Result<Outcome, Errno> {
    let mtime = Attributes::of(&fs::fstat(file)?, started).mtime;
    Ok(Outcome::Wrote(written, (written > 0).then_some(mtime)))
}

/// Data that tells where it was written.
pub fn pattern(length: usize, fill: u8) -> Vec<u8> {
    (0..length).map(|i| fill.wrapping_add((i % 251) as u8)).collect()
}

/// Switches between root and an ordinary user, with a group of the same number and no others.
fn become_user(user: u32) {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    let root = Uid::ROOT;
    let switched = if user == 0 {
        thread::set_thread_res_uid(root, root, root)
            .and_then(|()| thread::set_thread_res_gid(gid, gid, Gid::ROOT))
            .and_then(|()| thread::set_thread_groups(&[]))
    } else {
        thread::set_thread_groups(&[])
            .and_then(|()| thread::set_thread_res_gid(gid, gid, Gid::ROOT))
            .and_then(|()| thread::set_thread_res_uid(uid, uid, root))
    };
    switched.expect("root can switch users");
}
