//! Pseudoterminals (pty(7)).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};

use super::{Result, check};

/// What terminals are made of.
pub const MULTIPLEXER: &str = "/dev/ptmx";

/// Makes a terminal: the end that a terminal emulator has, and the one that programs have.
///
/// # Errors
/// `ENOENT` without devpts, `ENOSPC` where there are too many.
pub fn open_pair() -> Result<(OwnedFd, OwnedFd)> {
    let ours = open(MULTIPLEXER, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    let unlocked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int.
    check(libc::c_long::from(unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCSPTLCK, &unlocked) }))?;
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes flags of open(2) and no pointer.
    let theirs =
        check(libc::c_long::from(unsafe { libc::ioctl(ours.as_raw_fd(), libc::TIOCGPTPEER, flags) }))?;
    // SAFETY: the call returned a new descriptor, which nobody else owns.
    let theirs = unsafe { OwnedFd::from_raw_fd(theirs as libc::c_int) };
    Ok((ours, theirs))
}
