//! What is done through files that stay open over later operations.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{self, FallocateFlags, FlockOperation, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::{self, Errno};

use crate::apply::{Outcome, SLOTS, pattern, wrote};
use crate::op::{Lock, Op};
use crate::tree::{self, Attributes};

/// Does an operation on an open file; `started` as in [`Attributes::of`].
pub fn act(op: &Op, handles: &[Option<OwnedFd>; SLOTS], started: i64) -> Result<Outcome, Errno> {
    let Some(slot) = slot(op) else { return Ok(Outcome::Done) };
    let Some(file) = &handles[slot] else { return Ok(Outcome::NoHandle) };
    let done = |()| Outcome::Done;
    match op {
        Op::HandleWrite { offset, length, fill, .. } => {
            let written = io::pwrite(file, &pattern(*length, *fill), *offset)?;
            wrote(file, written, started)
        }
        Op::HandleWriteOn { length, fill, .. } => {
            let written = io::write(file, &pattern(*length, *fill))?;
            wrote(file, written, started)
        }
        Op::HandleRead { .. } => {
            tree::read_all(file).map(|bytes| Outcome::Content(tree::describe(Ok(bytes))))
        }
        Op::HandleReadAt { offset, length, .. } => read(*length, |buffer| io::pread(file, buffer, *offset)),
        Op::HandleReadOn { length, .. } => read(*length, |buffer| io::read(file, buffer)),
        Op::HandleTruncate { length, .. } => fs::ftruncate(file, *length).map(done),
        Op::HandleFallocate { mode, offset, length, .. } => {
            fs::fallocate(file, FallocateFlags::from_bits_retain(*mode), *offset, *length).map(done)
        }
        Op::HandleFlock { kind, .. } => fs::flock(file, flock(*kind)).map(done),
        Op::HandleLock { kind, offset, length, .. } => lock(file, *kind, *offset, *length).map(done),
        _ => act_on_attributes(op, file, started),
    }
}

fn act_on_attributes(op: &Op, file: &OwnedFd, started: i64) -> Result<Outcome, Errno> {
    let done = |()| Outcome::Done;
    match op {
        Op::HandleChmod { mode, .. } => fs::fchmod(file, Mode::from_raw_mode(*mode)).map(done),
        Op::HandleChown { uid, gid, .. } => {
            fs::fchown(file, Some(Uid::from_raw(*uid)), Some(Gid::from_raw(*gid))).map(done)
        }
        Op::HandleUtimens { seconds, .. } => {
            let time = Timespec { tv_sec: *seconds, tv_nsec: 0 };
            fs::futimens(file, &Timestamps { last_access: time, last_modification: time }).map(done)
        }
        Op::HandleSetXattr { value, .. } => {
            fs::fsetxattr(file, "user.held", value, XattrFlags::empty()).map(done)
        }
        Op::HandleListXattrs { .. } => tree::read_xattrs_of(file).map(Outcome::Xattrs),
        _ => Ok(Outcome::Held(Attributes::of(&fs::fstat(file)?, started))),
    }
}

/// The open file whose attributes an operation changes, if it does.
pub fn changed(op: &Op) -> Option<usize> {
    match op {
        Op::HandleChmod { slot, .. }
        | Op::HandleChown { slot, .. }
        | Op::HandleUtimens { slot, .. }
        | Op::HandleSetXattr { slot, .. } => Some(*slot),
        _ => None,
    }
}

/// The open file that an operation is for, if it is for one.
fn slot(op: &Op) -> Option<usize> {
    match op {
        Op::HandleWrite { slot, .. }
        | Op::HandleWriteOn { slot, .. }
        | Op::HandleRead { slot }
        | Op::HandleReadAt { slot, .. }
        | Op::HandleReadOn { slot, .. }
        | Op::HandleStat { slot }
        | Op::HandleTruncate { slot, .. }
        | Op::HandleFallocate { slot, .. }
        | Op::HandleChmod { slot, .. }
        | Op::HandleChown { slot, .. }
        | Op::HandleUtimens { slot, .. }
        | Op::HandleSetXattr { slot, .. }
        | Op::HandleListXattrs { slot }
        | Op::HandleFlock { slot, .. }
        | Op::HandleLock { slot, .. } => Some(*slot),
        _ => None,
    }
}

fn read(length: usize, call: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> Result<Outcome, Errno> {
    let mut buffer = vec![0; length];
    let found = call(&mut buffer)?;
    buffer.truncate(found);
    Ok(Outcome::Content(tree::describe(Ok(buffer))))
}

fn flock(kind: Lock) -> FlockOperation {
    match kind {
        Lock::Shared => FlockOperation::NonBlockingLockShared,
        Lock::Exclusive => FlockOperation::NonBlockingLockExclusive,
        Lock::Unlocked => FlockOperation::NonBlockingUnlock,
    }
}

/// A lock of the open file, as rustix has only those of the process.
fn lock(file: &OwnedFd, kind: Lock, offset: u32, length: u32) -> Result<(), Errno> {
    let kind = match kind {
        Lock::Shared => libc::F_RDLCK,
        Lock::Exclusive => libc::F_WRLCK,
        Lock::Unlocked => libc::F_UNLCK,
    };
    let range = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset.into(),
        l_len: length.into(),
        l_pid: 0,
    };
    // SAFETY: the descriptor is open, and the range is good for the call.
    let result = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &range) };
    if result == 0 {
        return Ok(());
    }
    Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
}
