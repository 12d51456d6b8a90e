//! System calls: the only unsafe code of the project.
//!
//! Functions are named after the system call they make. What rustix offers is re-exported as it is;
//! what it lacks is written here over libc, with owned descriptors and [`Errno`] results.

pub mod data;
pub mod dir;
pub mod fs;
pub mod handle;
pub mod inherited;
pub mod mount;
pub mod poll;
pub mod process;
pub mod random;
pub mod socket;
pub mod xattr;

pub use rustix::io::Errno;

/// The result of a system call.
pub type Result<T> = std::result::Result<T, Errno>;

/// Turns the return value of a raw libc call into a [`Result`].
fn check(ret: libc::c_long) -> Result<libc::c_long> {
    if ret < 0 { Err(last_errno()) } else { Ok(ret) }
}

/// The calling thread's errno, as left by the last failed libc call.
fn last_errno() -> Errno {
    let raw = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Errno::from_raw_os_error(raw)
}
