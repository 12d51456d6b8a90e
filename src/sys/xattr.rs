//! Extended attributes of a name below a directory descriptor, or of an open file, links never followed.
//!
//! Linux 6.13 has `getxattrat` and its kin; before it the same is reached through /proc/self/fd.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::{AtomicBool, Ordering};

use super::fs::{Mode, OFlags, Stat, dup, fstat, openat, proc_fd_path};
use super::{Errno, Result, check};

/// The largest value and the largest name list that Linux allows.
const XATTR_MAX: usize = 64 * 1024;
const SYS_SETXATTRAT: libc::c_long = 463;
const SYS_GETXATTRAT: libc::c_long = 464;
const SYS_LISTXATTRAT: libc::c_long = 465;
const SYS_REMOVEXATTRAT: libc::c_long = 466;

/// Whether the kernel lacks the `*xattrat` calls; learnt at the first use.
static NO_XATTRAT: AtomicBool = AtomicBool::new(false);

/// `struct xattr_args` of linux/xattr.h.
#[repr(C)]
struct XattrArgs {
    value: u64,
    size: u32,
    flags: u32,
}

/// The file whose attributes are meant.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// The name below the directory; a symbolic link is not followed.
    At(BorrowedFd<'a>, &'a OsStr),
    /// The file itself, which may be open with `O_PATH` only.
    Fd(BorrowedFd<'a>),
    /// The file itself, open for reading or writing.
    Open(BorrowedFd<'a>),
}

impl Target<'_> {
    /// The file itself, held by an `O_PATH` descriptor, with its attributes: whatever becomes of the name, what is read
    /// of it from now on is this file's.
    pub fn hold(&self) -> Result<(OwnedFd, Stat)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = match self {
            Target::At(dir, name) => openat(dir, *name, flags, Mode::empty())?,
            Target::Fd(fd) | Target::Open(fd) => dup(fd)?,
        };
        let stat = fstat(&held)?;
        Ok((held, stat))
    }

    /// Directory descriptor, path and flags for an `*at` call.
    fn at(&self) -> Result<(i32, CString, libc::c_uint)> {
        Ok(match self {
            Target::At(dir, name) => {
                (dir.as_raw_fd(), c_string(name.as_bytes())?, libc::AT_SYMLINK_NOFOLLOW as u32)
            }
            Target::Open(fd) => (fd.as_raw_fd(), CString::default(), libc::AT_EMPTY_PATH as u32),
            // AT_EMPTY_PATH would refuse an O_PATH descriptor.
            Target::Fd(fd) => (libc::AT_FDCWD, c_string(proc_fd_path(*fd).as_bytes())?, 0),
        })
    }

    /// The path for the `l*xattr` calls, or for the link-following ones where it names a descriptor.
    fn proc_path(&self) -> Result<(CString, bool)> {
        Ok(match self {
            Target::At(dir, name) => {
                let mut path = proc_fd_path(*dir).into_bytes();
                path.push(b'/');
                path.extend_from_slice(name.as_bytes());
                (c_string(&path)?, false)
            }
            Target::Fd(fd) | Target::Open(fd) => (c_string(proc_fd_path(*fd).as_bytes())?, true),
        })
    }
}

/// A name or path for the kernel; one with a NUL inside cannot exist.
fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Errno::INVAL)
}

/// Runs `modern` unless the kernel is known to lack the call, then `fallback`.
fn either<T>(modern: impl FnOnce() -> Result<T>, fallback: impl FnOnce() -> Result<T>) -> Result<T> {
    if !NO_XATTRAT.load(Ordering::Relaxed) {
        match modern() {
            Err(Errno::NOSYS) => NO_XATTRAT.store(true, Ordering::Relaxed),
            other => return other,
        }
    }
    fallback()
}

/// `getxattr` into `buf`; returns the length. An empty `buf` asks for the length alone.
pub fn getxattr_into(target: Target<'_>, name: &OsStr, buf: &mut [u8]) -> Result<usize> {
    let cname = c_string(name.as_bytes())?;
    let ptr = if buf.is_empty() { std::ptr::null_mut() } else { buf.as_mut_ptr() };
    let len = buf.len();
    let modern = || {
        let (dir, path, flags) = target.at()?;
        let args = XattrArgs { value: ptr as u64, size: len as u32, flags: 0 };
        // SAFETY: the strings are NUL-terminated, `args` has the kernel's layout and size and names a
        // buffer of `len` writable bytes; all outlive the call.
        check(unsafe {
            libc::syscall(
                SYS_GETXATTRAT,
                dir,
                path.as_ptr(),
                flags,
                cname.as_ptr(),
                &args as *const XattrArgs,
                size_of::<XattrArgs>(),
            )
        })
    };
    let fallback = || {
        let (path, follow) = target.proc_path()?;
        let call = if follow { libc::getxattr } else { libc::lgetxattr };
        // SAFETY: NUL-terminated strings, and a buffer of `len` writable bytes.
        check(unsafe { call(path.as_ptr(), cname.as_ptr(), ptr.cast(), len) } as libc::c_long)
    };
    either(modern, fallback).map(|n| n as usize)
}

/// The value of the attribute `name`.
pub fn getxattr(target: Target<'_>, name: &OsStr) -> Result<Vec<u8>> {
    let mut buf = [0u8; 256];
    match getxattr_into(target, name, &mut buf) {
        Ok(n) => Ok(buf[..n].to_vec()),
        Err(Errno::RANGE) => {
            let mut big = vec![0; XATTR_MAX];
            let n = getxattr_into(target, name, &mut big)?;
            big.truncate(n);
            Ok(big)
        }
        Err(e) => Err(e),
    }
}

/// The value of the attribute, or `None` where there is none or the file system has no such attributes.
pub fn getxattr_opt(target: Target<'_>, name: &OsStr) -> Result<Option<Vec<u8>>> {
    match getxattr(target, name) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::PERM) => Ok(None),
        Err(e) => Err(e),
    }
}

/// `listxattr` into `buf`; returns the length of the NUL-separated list.
fn listxattr_into(target: Target<'_>, buf: &mut [u8]) -> Result<usize> {
    let (ptr, len) = (buf.as_mut_ptr(), buf.len());
    let modern = || {
        let (dir, path, flags) = target.at()?;
        // SAFETY: a NUL-terminated path and a buffer of `len` writable bytes.
        check(unsafe { libc::syscall(SYS_LISTXATTRAT, dir, path.as_ptr(), flags, ptr, len) })
    };
    let fallback = || {
        let (path, follow) = target.proc_path()?;
        let call = if follow { libc::listxattr } else { libc::llistxattr };
        // SAFETY: a NUL-terminated path and a buffer of `len` writable bytes.
        check(unsafe { call(path.as_ptr(), ptr.cast(), len) } as libc::c_long)
    };
    either(modern, fallback).map(|n| n as usize)
}

/// The names of all attributes; empty where the file system has none.
pub fn listxattr(target: Target<'_>) -> Result<Vec<OsString>> {
    let mut small = [0u8; 512];
    match listxattr_into(target, &mut small) {
        Ok(n) => Ok(split_names(&small[..n])),
        Err(Errno::RANGE) => {
            let mut big = vec![0; XATTR_MAX];
            let n = listxattr_into(target, &mut big)?;
            Ok(split_names(&big[..n]))
        }
        Err(Errno::OPNOTSUPP) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Splits a NUL-separated list of names.
fn split_names(list: &[u8]) -> Vec<OsString> {
    list.split(|b| *b == 0).filter(|n| !n.is_empty()).map(|n| OsString::from_vec(n.to_vec())).collect()
}

/// `setxattr`; `flags` are `XATTR_CREATE` and `XATTR_REPLACE` as raw bits.
pub fn setxattr(target: Target<'_>, name: &OsStr, value: &[u8], flags: u32) -> Result<()> {
    let cname = c_string(name.as_bytes())?;
    let modern = || {
        let (dir, path, at) = target.at()?;
        let args = XattrArgs { value: value.as_ptr() as u64, size: value.len() as u32, flags };
        // SAFETY: NUL-terminated strings; `args` names `value.len()` readable bytes.
        check(unsafe {
            libc::syscall(
                SYS_SETXATTRAT,
                dir,
                path.as_ptr(),
                at,
                cname.as_ptr(),
                &args as *const XattrArgs,
                size_of::<XattrArgs>(),
            )
        })
    };
    let fallback = || {
        let (path, follow) = target.proc_path()?;
        let call = if follow { libc::setxattr } else { libc::lsetxattr };
        // SAFETY: NUL-terminated strings and `value.len()` readable bytes.
        check(unsafe {
            call(path.as_ptr(), cname.as_ptr(), value.as_ptr().cast(), value.len(), flags as libc::c_int)
        } as libc::c_long)
    };
    either(modern, fallback).map(drop)
}

/// `removexattr`.
pub fn removexattr(target: Target<'_>, name: &OsStr) -> Result<()> {
    let cname = c_string(name.as_bytes())?;
    let modern = || {
        let (dir, path, at) = target.at()?;
        // SAFETY: NUL-terminated strings.
        check(unsafe { libc::syscall(SYS_REMOVEXATTRAT, dir, path.as_ptr(), at, cname.as_ptr()) })
    };
    let fallback = || {
        let (path, follow) = target.proc_path()?;
        let call = if follow { libc::removexattr } else { libc::lremovexattr };
        // SAFETY: NUL-terminated strings.
        check(unsafe { call(path.as_ptr(), cname.as_ptr()) } as libc::c_long)
    };
    either(modern, fallback).map(drop)
}
