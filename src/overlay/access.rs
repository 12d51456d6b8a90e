//! How the file behind an inode is reached: through its parent's descriptor and name, or through its own.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, LazyLock};

use crate::sys::fs::{self, AtFlags, Mode, OFlags, Stat, Timestamps};
use crate::sys::xattr::Target;
use crate::sys::{self, Errno};

use super::name::Name;

/// A reachable real file of any type; links are never followed.
#[derive(Debug, Clone)]
pub enum Access {
    /// The name below an open directory.
    At(Arc<OwnedFd>, Name),
    /// The file itself, opened `O_PATH` or better.
    Fd(Arc<OwnedFd>),
    /// The file itself, open for reading or writing.
    Open(Arc<OwnedFd>),
}

/// The longest target of a symbolic link.
const PATH_MAX: usize = 4096;

/// The name of a directory below itself.
static DOT: LazyLock<Name> = LazyLock::new(|| OsStr::new(".").into());

/// Whether the name is that of a directory below itself.
fn is_dot(name: &OsStr) -> bool {
    name == "."
}

impl Access {
    /// An open directory.
    pub fn of_dir(fd: Arc<OwnedFd>) -> Access {
        Access::At(fd, DOT.clone())
    }

    /// Where its extended attributes are.
    pub fn xattrs(&self) -> Target<'_> {
        match self {
            Access::At(dir, name) => Target::At(dir.as_fd(), name),
            Access::Fd(fd) => Target::Fd(fd.as_fd()),
            Access::Open(fd) => Target::Open(fd.as_fd()),
        }
    }

    /// Its real attributes. A directory's own never ask whether it may be searched, here and below.
    pub fn stat(&self) -> sys::Result<Stat> {
        match self {
            Access::At(dir, name) if is_dot(name) => fs::fstat(dir),
            Access::At(dir, name) => fs::lstatat(dir, name),
            Access::Fd(fd) | Access::Open(fd) => fs::fstat(fd),
        }
    }

    /// Runs `operation`, for which the file's own mode may lack what its owner can give: then it has it meanwhile.
    pub fn as_owner<T>(&self, operation: impl Fn() -> sys::Result<T>) -> sys::Result<T> {
        match operation() {
            Err(Errno::ACCESS) => {}
            other => return other,
        }
        let mode = self.stat()?.st_mode & 0o7777;
        if self.chmod(Mode::from_raw_mode(mode | 0o700)).is_err() {
            return Err(Errno::ACCESS);
        }
        let result = operation();
        self.chmod(Mode::from_raw_mode(mode))?;
        result
    }

    /// Opens it; a FIFO never blocks.
    pub fn open(&self, flags: OFlags) -> sys::Result<OwnedFd> {
        match self {
            Access::At(dir, name) => super::real_dir::open_file_below(dir, name, flags),
            Access::Fd(fd) | Access::Open(fd) if flags.contains(OFlags::PATH) => fs::dup(fd),
            Access::Fd(fd) | Access::Open(fd) => reopen(fd, flags),
        }
    }

    /// Sets its permission bits.
    pub fn chmod(&self, mode: Mode) -> sys::Result<()> {
        match self {
            Access::At(dir, name) if is_dot(name) => fs::chmod_fd(dir.as_fd(), mode),
            Access::At(dir, name) => fs::lchmodat(dir.as_fd(), name, mode),
            Access::Fd(fd) => fs::chmod_fd(fd.as_fd(), mode),
            Access::Open(fd) => fs::fchmod(fd, mode),
        }
    }

    /// Sets its owner and group; `None` leaves one alone.
    pub fn chown(&self, uid: Option<u32>, gid: Option<u32>) -> sys::Result<()> {
        match self {
            Access::At(dir, name) if is_dot(name) => fs::chown_fd(dir.as_fd(), uid, gid),
            Access::At(dir, name) => fs::lchownat(dir.as_fd(), name, uid, gid),
            Access::Fd(fd) | Access::Open(fd) => fs::chown_fd(fd.as_fd(), uid, gid),
        }
    }

    /// Sets its times.
    pub fn utimens(&self, times: &Timestamps) -> sys::Result<()> {
        match self {
            Access::At(dir, name) if is_dot(name) => fs::utimens_fd(dir.as_fd(), times),
            Access::At(dir, name) => fs::utimensat(dir, &**name, times, AtFlags::SYMLINK_NOFOLLOW),
            Access::Fd(fd) => fs::utimens_fd(fd.as_fd(), times),
            Access::Open(fd) => fs::futimens(fd, times),
        }
    }

    /// The target of a symbolic link, or the content of a file that stands for one.
    pub fn link_target(&self) -> sys::Result<Vec<u8>> {
        match self.readlink() {
            Err(Errno::INVAL) => {
                let mut target = vec![0; usize::try_from(self.stat()?.st_size).unwrap_or(0).min(PATH_MAX)];
                let length = fs::pread(self.open(OFlags::RDONLY)?, &mut target, 0)?;
                target.truncate(length);
                Ok(target)
            }
            other => other,
        }
    }

    /// The target of a symbolic link.
    fn readlink(&self) -> sys::Result<Vec<u8>> {
        let target = match self {
            Access::At(dir, name) => fs::readlinkat(dir, &**name, Vec::new())?,
            Access::Fd(fd) | Access::Open(fd) => fs::readlinkat(fd, "", Vec::new())?,
        };
        Ok(target.into_bytes())
    }
}

/// How often an opening is repeated that meets a lease: ours last for two system calls.
const LEASES: usize = 100;

/// Opens a file anew through a descriptor; a FIFO never blocks.
fn reopen(fd: &OwnedFd, flags: OFlags) -> sys::Result<OwnedFd> {
    for _ in 0..LEASES {
        match fs::reopen(fd.as_fd(), flags | OFlags::NONBLOCK) {
            Err(Errno::AGAIN) => std::thread::yield_now(),
            other => return other,
        }
    }
    Err(Errno::AGAIN)
}
