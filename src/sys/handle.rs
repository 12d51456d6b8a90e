//! File handles (`name_to_handle_at`) and file system UUIDs, the raw material of `overlay.origin`.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use super::{Errno, Result, check};

/// The kernel's `MAX_HANDLE_SZ`.
const MAX_HANDLE: usize = 128;
/// `_IOR(0x15, 0, struct fsuuid2)`, Linux 6.9.
const FS_IOC_GETFSUUID: libc::Ioctl = 0x8011_1500u32 as libc::Ioctl;

/// What the file system calls a file, whatever its names: the kernel's `struct file_handle`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileHandle {
    /// The kernel's handle type, which says how `bytes` are to be read.
    pub kind: i32,
    /// The opaque handle.
    pub bytes: Vec<u8>,
}

/// `struct file_handle` with room for the largest handle.
#[repr(C)]
struct RawHandle {
    handle_bytes: u32,
    handle_type: i32,
    f_handle: [u8; MAX_HANDLE],
}

/// The handle of the name below `dir` (of `dir` itself where the name is empty), links not followed.
///
/// # Errors
/// `EOPNOTSUPP` where the file system has no handles.
pub fn name_to_handle_at(dir: BorrowedFd<'_>, name: &OsStr) -> Result<FileHandle> {
    let path = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
    let flags = if name.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    let mut raw = RawHandle { handle_bytes: MAX_HANDLE as u32, handle_type: 0, f_handle: [0; MAX_HANDLE] };
    let mut mount_id: libc::c_int = 0;
    // SAFETY: a NUL-terminated path, a handle buffer of the size it declares, a place for the mount id.
    check(unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            dir.as_raw_fd(),
            path.as_ptr(),
            &mut raw as *mut RawHandle,
            &mut mount_id as *mut libc::c_int,
            flags,
        )
    })?;
    let len = (raw.handle_bytes as usize).min(MAX_HANDLE);
    Ok(FileHandle { kind: raw.handle_type, bytes: raw.f_handle[..len].to_vec() })
}

/// `struct fsuuid2` of linux/fs.h.
#[repr(C)]
struct FsUuid2 {
    len: u8,
    uuid: [u8; 16],
}

/// The UUID of the file system that the directory `dir` (opened for reading) lies on; `None` where it has
/// none or the kernel cannot say.
pub fn fs_uuid(dir: BorrowedFd<'_>) -> Option<[u8; 16]> {
    let mut raw = FsUuid2 { len: 0, uuid: [0; 16] };
    // SAFETY: the ioctl writes one `struct fsuuid2`.
    let ret = unsafe { libc::ioctl(dir.as_raw_fd(), FS_IOC_GETFSUUID, &mut raw as *mut FsUuid2) };
    (ret == 0 && raw.len == 16).then_some(raw.uuid)
}
