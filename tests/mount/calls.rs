//! System calls that neither std nor the rustix of this crate has: mappings, truncation by path, locks of an open file.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A shared mapping of the first bytes of a file.
pub struct Mapping {
    address: *mut u8,
    length: usize,
}

/// What may be done in a mapping.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    Read,
    Write,
}

impl Mapping {
    /// Maps `length` bytes.
    pub fn new(file: &File, length: usize, protection: Protection) -> io::Result<Mapping> {
        let protection = match protection {
            Protection::Read => libc::PROT_READ,
            Protection::Write => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: the kernel chooses the address, so no memory in use is replaced.
        let address = unsafe {
            libc::mmap(std::ptr::null_mut(), length, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { address: address.cast(), length })
    }

    /// A copy of what is mapped from `offset` on. Others may change it at any time.
    pub fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.length);
        // SAFETY: in bounds of a live mapping; volatile, because it changes underneath.
        (offset..offset + length).map(|at| unsafe { self.address.add(at).read_volatile() }).collect()
    }

    /// Changes what is mapped, which must be writable.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length);
        for (at, byte) in bytes.iter().enumerate() {
            // SAFETY: in bounds of a live mapping; no reference to it exists.
            unsafe { self.address.add(offset + at).write_volatile(*byte) };
        }
    }

    /// Brings what was written to the file.
    pub fn sync(&self) {
        // SAFETY: the whole of a live mapping.
        let done = unsafe { libc::msync(self.address.cast(), self.length, libc::MS_SYNC) };
        assert_eq!(done, 0, "{}", io::Error::last_os_error());
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the whole of a mapping that nobody uses any more.
        unsafe { libc::munmap(self.address.cast(), self.length) };
    }
}

/// `truncate(2)`: by path, without an open file.
pub fn truncate(path: &Path, length: i64) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a NUL-terminated path.
    match unsafe { libc::truncate(path.as_ptr(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Locks the whole of an open file for writing, as fcntl(2) does; fails where another open file has the lock.
pub fn lock_record(file: &File) -> io::Result<()> {
    // SAFETY: all-zero is a valid flock: from the start, to the end.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::F_WRLCK as libc::c_short;
    // SAFETY: the pointer is to a live flock.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
