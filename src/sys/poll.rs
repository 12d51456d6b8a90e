//! `poll`: whether a descriptor has something to read, without waiting for it.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Result;

/// Whether a read would not wait: there is something, or an error that it would tell.
pub fn is_readable(fd: impl AsFd) -> Result<bool> {
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    Ok(poll(&mut fds, Some(&Timespec::default()))? > 0)
}
