//! File system calls relative to a directory descriptor.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

pub use rustix::fs::{
    Access, AtFlags, CWD, FallocateFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags,
    SeekFrom, Stat, StatVfs, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, accessat, chmodat, chownat,
    copy_file_range, fallocate, fchmod, fchown, fdatasync, flock, fstat, fstatvfs, fsync, ftruncate,
    futimens, ioctl_ficlone, linkat, major, makedev, minor, mkdirat, mknodat, openat, openat2, readlinkat,
    renameat_with, seek, statat, symlinkat, syncfs, unlinkat, utimensat,
};
pub use rustix::io::{dup, fcntl_dupfd_cloexec, pread, pwrite, read, write};
pub use rustix::process::{Gid, Uid, getegid, geteuid, umask};

use super::{Errno, Result, check};

/// The resolve flags of every multi-component path inside a layer: nothing leads outside it.
pub const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// The flags that open a directory only to reach names below it.
pub const O_DIRPATH: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// `fstatat` of one name, never following a symbolic link.
pub fn lstatat(dir: impl AsFd, name: &OsStr) -> Result<Stat> {
    statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens the directory `name` below `dir` as a path-only descriptor, never following a symbolic link.
pub fn open_dir_path(dir: impl AsFd, name: &OsStr) -> Result<OwnedFd> {
    openat(dir, name, O_DIRPATH, Mode::empty())
}

/// The path under /proc that names an open descriptor, and through it its file, even one without a name.
pub fn proc_fd_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Opens anew, with `flags`, the file that `fd` (possibly `O_PATH`) refers to.
pub fn reopen(fd: BorrowedFd<'_>, flags: OFlags) -> Result<OwnedFd> {
    let flags = (flags | OFlags::CLOEXEC) - OFlags::NOFOLLOW;
    openat(rustix::fs::CWD, proc_fd_path(fd), flags, Mode::empty())
}

/// Gives an `O_TMPFILE` file, or any other open file, the name `name` in `dir`.
pub fn link_fd(fd: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match linkat(fd, "", dir, name, AtFlags::EMPTY_PATH) {
        // Without the capability for it, and before Linux 6.10.
        Err(Errno::NOENT) => linkat(rustix::fs::CWD, proc_fd_path(fd), dir, name, AtFlags::SYMLINK_FOLLOW),
        other => other,
    }
}

/// `fchmod` that also works on an `O_PATH` descriptor.
pub fn chmod_fd(fd: BorrowedFd<'_>, mode: Mode) -> Result<()> {
    match fchmodat2(fd, c"", mode, libc::AT_EMPTY_PATH) {
        Err(Errno::NOSYS | Errno::INVAL) => {
            chmodat(rustix::fs::CWD, proc_fd_path(fd), mode, AtFlags::empty())
        }
        other => other,
    }
}

/// `fchown` that also works on an `O_PATH` descriptor.
pub fn chown_fd(fd: BorrowedFd<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    chownat(fd, "", uid.map(Uid::from_raw), gid.map(Gid::from_raw), AtFlags::EMPTY_PATH)
}

/// `lchown` of one name below `dir`.
pub fn lchownat(dir: BorrowedFd<'_>, name: &OsStr, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    chownat(dir, name, uid.map(Uid::from_raw), gid.map(Gid::from_raw), AtFlags::SYMLINK_NOFOLLOW)
}

/// `futimens` that also works on an `O_PATH` descriptor.
pub fn utimens_fd(fd: BorrowedFd<'_>, times: &Timestamps) -> Result<()> {
    match utimensat(fd, "", times, AtFlags::EMPTY_PATH) {
        // Before Linux 5.8.
        Err(Errno::NOENT | Errno::INVAL) => {
            utimensat(rustix::fs::CWD, proc_fd_path(fd), times, AtFlags::empty())
        }
        other => other,
    }
}

/// `lseek` with any whence, `SEEK_DATA` and `SEEK_HOLE` among them, as raw numbers.
pub fn lseek(fd: BorrowedFd<'_>, offset: i64, whence: i32) -> Result<i64> {
    // SAFETY: lseek takes no pointers and the descriptor is borrowed for the call.
    check(unsafe { libc::lseek(fd.as_raw_fd(), offset, whence) })
}

/// Has the kernel begin to write a range of a file to its disk, without waiting (`sync_file_range`).
pub fn start_writing_out(fd: BorrowedFd<'_>, offset: i64, length: i64) -> Result<()> {
    sync_file_range(fd, offset, length, libc::SYNC_FILE_RANGE_WRITE)
}

/// Writes the content of a file to its disk and waits for that, without making the file system's journal do anything
/// (`sync_file_range`): by itself that makes nothing durable.
pub fn write_out(fd: BorrowedFd<'_>) -> Result<()> {
    let all =
        libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_file_range(fd, 0, 0, all)
}

fn sync_file_range(fd: BorrowedFd<'_>, offset: i64, length: i64, flags: libc::c_uint) -> Result<()> {
    // SAFETY: it takes no pointers and the descriptor is borrowed for the call.
    let ret = unsafe { libc::sync_file_range(fd.as_raw_fd(), offset, length, flags) };
    check(libc::c_long::from(ret)).map(drop)
}

/// Whether anybody has the file of `fd`, open for reading only, open or mapped for writing: then it takes no read lease. The
/// lease goes with the descriptor.
///
/// # Errors
/// `EINVAL` and others where the file system has no leases.
pub fn is_open_for_writing(fd: OwnedFd) -> Result<bool> {
    // Whoever opens the file for writing in this very moment breaks the lease, which is told by a signal that kills.
    static IGNORE_BREAKS: std::sync::Once = std::sync::Once::new();
    // SAFETY: ignoring a signal that nothing here waits for.
    IGNORE_BREAKS.call_once(|| unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
    });
    // SAFETY: it takes no pointers and the descriptor lives for the call.
    let ret = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) };
    match check(libc::c_long::from(ret)) {
        Ok(_) => Ok(false),
        Err(Errno::AGAIN) => Ok(true),
        Err(e) => Err(e),
    }
}

/// Sets the calling process's umask to zero: the engine applies the caller's umask itself.
pub fn clear_umask() {
    umask(Mode::empty());
}

/// `fchmodat2` of one name below `dir`, never following a symbolic link.
pub fn lchmodat(dir: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> Result<()> {
    let path = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
    match fchmodat2(dir, &path, mode, libc::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::NOSYS) => {
            let fd = openat(dir, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            chmod_fd(fd.as_fd(), mode)
        }
        other => other,
    }
}

/// `fchmodat2`, which Linux has since 6.6.
fn fchmodat2(dir: BorrowedFd<'_>, path: &CStr, mode: Mode, flags: libc::c_int) -> Result<()> {
    const SYS_FCHMODAT2: libc::c_long = 452;
    // SAFETY: a NUL-terminated path; the descriptor is borrowed for the call.
    let ret = unsafe { libc::syscall(SYS_FCHMODAT2, dir.as_raw_fd(), path.as_ptr(), mode.bits(), flags) };
    check(ret).map(drop)
}

/// The type of the file system that `fd` lies on (`f_type` of statfs(2)).
pub fn fs_type(fd: BorrowedFd<'_>) -> Result<i64> {
    Ok(rustix::fs::fstatfs(fd)?.f_type)
}
