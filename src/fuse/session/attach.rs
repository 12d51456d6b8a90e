//! Making the mount: mount(2) where we may, the set-user-id program fusermount3 otherwise.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::fusermount::{self, Lazy};
use super::{Access, SessionOptions};
use crate::sys::Errno;
use crate::sys::fs::{CWD, Mode, OFlags, openat};
use crate::sys::mount::{UnmountFlags, mount, unmount};
use crate::sys::process::{getgid, getuid};

const DEVICE: &str = "/dev/fuse";

/// The kernel's end of a mount.
pub(super) struct Attached {
    /// The FUSE device, bound to the mount.
    pub device: OwnedFd,
    /// Who may use the mount; [`Access::Default`] stands for the mounting user here.
    pub access: Access,
}

/// Mounts at `mountpoint`, by ourselves or through fusermount3.
pub(super) fn attach(mountpoint: &Path, options: &SessionOptions) -> io::Result<Attached> {
    match attach_directly(mountpoint, options) {
        Err(Errno::PERM | Errno::ACCESS) => fusermount::attach(mountpoint, options),
        Err(errno) => Err(explain(errno, mountpoint)),
        Ok(device) => Ok(Attached { device, access: direct_access(options) }),
    }
}

/// Takes away a mount that was just made.
pub(super) fn detach(mountpoint: &Path) {
    let gone = match unmount(mountpoint, UnmountFlags::DETACH) {
        Err(Errno::PERM) => fusermount::unmount(mountpoint, Lazy::Yes),
        other => other.map_err(io::Error::from),
    };
    if let Err(e) = gone {
        log::warn!("unmounting {} after a failed start: {e}", mountpoint.display());
    }
}

fn attach_directly(mountpoint: &Path, options: &SessionOptions) -> Result<OwnedFd, Errno> {
    let root_mode = std::fs::metadata(mountpoint).map_err(|e| errno_of(&e))?.mode();
    let device = openat(CWD, DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    match mount_device(&device, mountpoint, root_mode, options, Labels::Given) {
        // No SELinux, or a user namespace, where the kernel takes no labels.
        Err(Errno::INVAL | Errno::ACCESS) if !options.labels.is_empty() => {
            log::warn!("the kernel takes no SELinux label for this mount; going on without");
            mount_device(&device, mountpoint, root_mode, options, Labels::None)?;
        }
        other => other?,
    }
    Ok(device)
}

/// Whether the mount gets its SELinux labels.
enum Labels {
    Given,
    None,
}

fn mount_device(
    device: &OwnedFd,
    mountpoint: &Path,
    root_mode: u32,
    options: &SessionOptions,
    labels: Labels,
) -> Result<(), Errno> {
    let mut data = OsString::from(format!(
        "fd={},rootmode={root_mode:o},user_id={},group_id={},default_permissions",
        device.as_raw_fd(),
        getuid().as_raw(),
        getgid().as_raw(),
    ));
    data.push(",allow_other");
    if matches!(labels, Labels::Given) {
        for label in &options.labels {
            data.push(",");
            data.push(label);
        }
    }
    let data = CString::new(data.into_vec()).map_err(|_| Errno::INVAL)?;
    let mut fs_type = OsString::from("fuse.");
    fs_type.push(&options.subtype);
    mount(&options.source, mountpoint, &fs_type, options.flags, Some(data.as_c_str()))
}

/// The kernel lets everyone in; that `allow_root` admits two only is checked at each request.
fn direct_access(options: &SessionOptions) -> Access {
    match options.access {
        Access::RootAndOwner => Access::RootAndOwner,
        Access::All | Access::Default => Access::All,
    }
}

fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

fn explain(errno: Errno, mountpoint: &Path) -> io::Error {
    let hint = match errno {
        Errno::NOENT | Errno::NODEV | Errno::NXIO if !Path::new(DEVICE).exists() => {
            format!("{DEVICE} is not there: load the kernel module fuse (modprobe fuse)")
        }
        Errno::NODEV => "the kernel has no FUSE: load the kernel module fuse (modprobe fuse)".to_owned(),
        Errno::NOTDIR => "the mount point must be a directory".to_owned(),
        _ => errno.to_string(),
    };
    io::Error::new(io::Error::from(errno).kind(), format!("cannot mount at {}: {hint}", mountpoint.display()))
}
