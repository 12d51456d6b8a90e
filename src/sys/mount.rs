//! Mounts: private read-only clones of layers, mounting and unmounting, descriptors handed over by a
//! mount program.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

pub use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::{Result, check};

const MOUNT_ATTR_RDONLY: u64 = 0x1;

/// `struct mount_attr` of linux/mount.h.
#[repr(C)]
struct MountAttr {
    attr_set: u64,
    attr_clr: u64,
    propagation: u64,
    userns_fd: u64,
}

/// A private, detached, read-only copy of the mount at the directory `dir`, without the mounts below it.
///
/// Nothing reached through the returned descriptor can be written, whatever the caller's rights.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN over the mount namespace; `EINVAL` for a mount that may not be cloned.
pub fn clone_read_only(dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(dir, "", flags)?;
    mount_setattr_read_only(tree.as_fd())?;
    Ok(tree)
}

/// `mount_setattr(MOUNT_ATTR_RDONLY)` on the mount that `fd` is the root of.
fn mount_setattr_read_only(fd: BorrowedFd<'_>) -> Result<()> {
    let attr = MountAttr { attr_set: MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: an empty NUL-terminated path and a `struct mount_attr` of the declared size.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &attr as *const MountAttr,
            size_of::<MountAttr>(),
        )
    })
    .map(drop)
}

/// Waits for one message on `socket` and returns the descriptor that came with it (`SCM_RIGHTS`);
/// `None` where the peer closed the socket or sent none.
pub fn receive_descriptor(socket: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let mut byte = [0u8];
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut data = [IoSliceMut::new(&mut byte)];
    recvmsg(socket, &mut data, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    Ok(ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}
