//! The system calls, each with an error that names what was tried.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What went wrong, in words.
pub type Result<T> = std::result::Result<T, Fault>;

/// An error of a system call, or a finding without one.
#[derive(Debug, Clone)]
pub struct Fault {
    pub what: String,
    pub errno: i32,
}

impl Fault {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), errno: 0 }
    }

    fn last(what: &str) -> Self {
        let error = io::Error::last_os_error();
        Self { what: format!("{what}: {error}"), errno: error.raw_os_error().unwrap_or(0) }
    }
}

fn check(what: &str, result: libc::c_int) -> Result<()> {
    if result < 0 { Err(Fault::last(what)) } else { Ok(()) }
}

fn check_size(what: &str, result: isize) -> Result<usize> {
    usize::try_from(result).map_err(|_| Fault::last(what))
}

pub fn c(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("a path without a zero byte")
}

fn name(text: &str) -> CString {
    CString::new(text).expect("a name without a zero byte")
}

pub fn open_at(directory: RawFd, path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
    // SAFETY: the path ends with a zero byte; the descriptor that is returned is ours alone.
    unsafe {
        let file = libc::openat(directory, path.as_ptr(), flags | libc::O_CLOEXEC, mode);
        check("open", file)?;
        Ok(OwnedFd::from_raw_fd(file))
    }
}

pub fn open(path: &Path, flags: i32) -> Result<OwnedFd> {
    open_at(libc::AT_FDCWD, &c(path), flags, 0o644)
}

pub fn open_below(directory: &OwnedFd, path: &str, flags: i32) -> Result<OwnedFd> {
    open_at(directory.as_raw_fd(), &name(path), flags, 0o644)
}

pub fn fstat(file: &OwnedFd) -> Result<libc::stat> {
    stat_at(file.as_raw_fd(), c"", libc::AT_EMPTY_PATH)
        .map_err(|f| Fault { what: format!("f{}", f.what), ..f })
}

/// Makes the kernel ask the server of the file system, whatever it knows.
pub fn ask_for_attributes(file: &OwnedFd) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_STATX_FORCE_SYNC;
    // SAFETY: an all-zero statx is a valid value, and the pointers are good for the call.
    unsafe {
        let mut found: libc::statx = std::mem::zeroed();
        let fields = libc::STATX_BASIC_STATS;
        check("fstat", libc::statx(file.as_raw_fd(), c"".as_ptr(), flags, fields, &mut found))
    }
}

pub fn stat(path: &Path) -> Result<libc::stat> {
    stat_at(libc::AT_FDCWD, &c(path), libc::AT_SYMLINK_NOFOLLOW)
}

pub fn stat_below(directory: &OwnedFd, path: &str) -> Result<libc::stat> {
    stat_at(directory.as_raw_fd(), &name(path), libc::AT_SYMLINK_NOFOLLOW)
}

fn stat_at(directory: RawFd, path: &CStr, flags: i32) -> Result<libc::stat> {
    // SAFETY: an all-zero stat is a valid value, and the pointers are good for the call.
    unsafe {
        let mut found: libc::stat = std::mem::zeroed();
        check("stat", libc::fstatat(directory, path.as_ptr(), &mut found, flags))?;
        Ok(found)
    }
}

pub fn pread(file: &OwnedFd, buffer: &mut [u8], offset: u64) -> Result<usize> {
    // SAFETY: the buffer is good for its length.
    check_size("pread", unsafe {
        libc::pread(file.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), offset as i64)
    })
}

pub fn pwrite(file: &OwnedFd, data: &[u8], offset: u64) -> Result<()> {
    // SAFETY: the buffer is good for its length.
    let written = check_size("pwrite", unsafe {
        libc::pwrite(file.as_raw_fd(), data.as_ptr().cast(), data.len(), offset as i64)
    })?;
    if written == data.len() { Ok(()) } else { Err(Fault::new(format!("pwrite wrote {written} bytes"))) }
}

pub fn ftruncate(file: &OwnedFd, length: u64) -> Result<()> {
    // SAFETY: no memory is touched.
    check("ftruncate", unsafe { libc::ftruncate(file.as_raw_fd(), length as i64) })
}

pub fn fallocate(file: &OwnedFd, offset: u64, length: u64) -> Result<()> {
    // SAFETY: no memory is touched.
    check("fallocate", unsafe { libc::fallocate(file.as_raw_fd(), 0, offset as i64, length as i64) })
}

pub fn copy_range(from: &OwnedFd, to: &OwnedFd, offset: u64, length: usize) -> Result<usize> {
    let (mut here, mut there) = (offset as i64, offset as i64);
    // SAFETY: the offsets are good for the call.
    check_size("copy_file_range", unsafe {
        libc::copy_file_range(from.as_raw_fd(), &mut here, to.as_raw_fd(), &mut there, length, 0)
    })
}

pub fn fchmod(file: &OwnedFd, mode: u32) -> Result<()> {
    // SAFETY: no memory is touched.
    check("fchmod", unsafe { libc::fchmod(file.as_raw_fd(), mode) })
}

pub fn futimens(file: &OwnedFd, seconds: i64) -> Result<()> {
    let time = libc::timespec { tv_sec: seconds, tv_nsec: 0 };
    // SAFETY: the times are good for the call.
    check("futimens", unsafe { libc::futimens(file.as_raw_fd(), [time, time].as_ptr()) })
}

pub fn get_xattr(file: &OwnedFd, attribute: &str) -> Result<String> {
    let mut value = [0u8; 64];
    // SAFETY: the buffers are good for the call.
    let length = check_size("fgetxattr", unsafe {
        libc::fgetxattr(file.as_raw_fd(), name(attribute).as_ptr(), value.as_mut_ptr().cast(), value.len())
    })?;
    Ok(String::from_utf8_lossy(&value[..length]).into_owned())
}

pub fn set_xattr(file: &OwnedFd, attribute: &str, value: &str) -> Result<()> {
    // SAFETY: the buffers are good for the call.
    check("fsetxattr", unsafe {
        libc::fsetxattr(file.as_raw_fd(), name(attribute).as_ptr(), value.as_ptr().cast(), value.len(), 0)
    })
}

/// The target of a symbolic link that is held open with O_PATH.
pub fn read_link(file: &OwnedFd) -> Result<String> {
    let mut target = [0u8; 256];
    // SAFETY: the buffers are good for the call.
    let length = check_size("readlink", unsafe {
        libc::readlinkat(file.as_raw_fd(), c"".as_ptr(), target.as_mut_ptr().cast(), target.len())
    })?;
    Ok(String::from_utf8_lossy(&target[..length]).into_owned())
}

/// Another name for an open file.
pub fn link_open(file: &OwnedFd, to: &Path) -> Result<()> {
    let from = name(&format!("/proc/self/fd/{}", file.as_raw_fd()));
    // SAFETY: the paths end with a zero byte.
    check("link of a descriptor", unsafe {
        libc::linkat(libc::AT_FDCWD, from.as_ptr(), libc::AT_FDCWD, c(to).as_ptr(), libc::AT_SYMLINK_FOLLOW)
    })
}

pub fn link(from: &Path, to: &Path) -> Result<()> {
    // SAFETY: the paths end with a zero byte.
    check("link", unsafe {
        libc::linkat(libc::AT_FDCWD, c(from).as_ptr(), libc::AT_FDCWD, c(to).as_ptr(), 0)
    })
}

pub fn symlink(target: &str, path: &Path) -> Result<()> {
    // SAFETY: the paths end with a zero byte.
    check("symlink", unsafe { libc::symlink(name(target).as_ptr(), c(path).as_ptr()) })
}

pub fn unlink(path: &Path) -> Result<()> {
    // SAFETY: the path ends with a zero byte.
    check("unlink", unsafe { libc::unlink(c(path).as_ptr()) })
}

pub fn unlink_below(directory: &OwnedFd, path: &str, flags: i32) -> Result<()> {
    // SAFETY: the path ends with a zero byte.
    check("unlinkat", unsafe { libc::unlinkat(directory.as_raw_fd(), name(path).as_ptr(), flags) })
}

pub fn make_directory_below(directory: &OwnedFd, path: &str) -> Result<()> {
    // SAFETY: the path ends with a zero byte.
    check("mkdirat", unsafe { libc::mkdirat(directory.as_raw_fd(), name(path).as_ptr(), 0o755) })
}

pub fn rename(from: &Path, to: &Path) -> Result<()> {
    rename_with("rename", from, to, 0)
}

pub fn exchange(one: &Path, other: &Path) -> Result<()> {
    rename_with("exchange", one, other, libc::RENAME_EXCHANGE)
}

fn rename_with(what: &str, from: &Path, to: &Path, flags: u32) -> Result<()> {
    // SAFETY: the paths end with a zero byte.
    check(what, unsafe {
        libc::renameat2(libc::AT_FDCWD, c(from).as_ptr(), libc::AT_FDCWD, c(to).as_ptr(), flags)
    })
}

/// The names in an open directory, read anew from the start through a descriptor of its own.
pub fn list(directory: &OwnedFd) -> Result<Vec<String>> {
    let again = open_below(directory, ".", libc::O_RDONLY | libc::O_DIRECTORY)?;
    let mut names = Vec::new();
    let mut buffer = vec![0u8; 32 * 1024];
    loop {
        // SAFETY: the buffer is good for its length.
        let length = check_size("getdents", unsafe {
            libc::syscall(libc::SYS_getdents64, again.as_raw_fd(), buffer.as_mut_ptr(), buffer.len()) as isize
        })?;
        if length == 0 {
            return Ok(names);
        }
        let mut at = 0;
        while at < length {
            let record = usize::from(u16::from_ne_bytes([buffer[at + 16], buffer[at + 17]]));
            let text = buffer[at + 19..at + record].split(|byte| *byte == 0).next().unwrap_or(&[]);
            names.push(String::from_utf8_lossy(text).into_owned());
            at += record;
        }
    }
}
