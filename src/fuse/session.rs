//! A FUSE session: attaching to the kernel, and serving until the mount is gone.
//!
//! How a mount is made is in [`attach`], the way through the set-user-id program in [`fusermount`]; this
//! file hands the resulting device to the crate fuser.

mod attach;
pub mod fusermount;

use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use crate::sys::mount::MountFlags;
use crate::sys::process::map_large_blocks;

use super::Service;

/// Who may use the mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Access {
    /// Everyone where we may say so (mounting by ourselves), the mounting user otherwise.
    #[default]
    Default,
    /// Everyone (`allow_other`).
    All,
    /// The mounting user and root (`allow_root`).
    RootAndOwner,
}

/// Who checks whether a caller may do what it asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Permissions {
    /// The kernel, by the owners and modes that files show (`default_permissions`).
    #[default]
    Checked,
    /// Nobody, where the mounting user alone gets in: to them the mount is what its container is to root. Where
    /// others may get in, the kernel checks.
    OwnerIsRoot,
}

/// What the mount is to look like: plain data.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// The source that mountinfo shows.
    pub source: OsString,
    /// The file system type that mountinfo shows is `fuse.` and this.
    pub subtype: OsString,
    /// Who may use the mount.
    pub access: Access,
    /// Who checks permissions.
    pub permissions: Permissions,
    /// Flags of mount(2).
    pub flags: MountFlags,
    /// SELinux labels, as `context="LABEL"`.
    pub labels: Vec<OsString>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        SessionOptions {
            source: OsString::from("plyfs"),
            subtype: OsString::from("plyfs"),
            access: Access::Default,
            permissions: Permissions::Checked,
            flags: MountFlags::empty(),
            labels: Vec::new(),
        }
    }
}

/// A mounted union whose kernel side waits to be served.
#[derive(Debug)]
pub struct Session(fuser::Session<Service>);

impl Session {
    /// Mounts `service` at `mountpoint` and agrees with the kernel on the protocol. Requests are answered
    /// once [`Session::run`] is called, and wait until then.
    ///
    /// # Errors
    /// The mount or the agreement failed; nothing stays mounted.
    pub fn mount(service: Service, mountpoint: &Path, options: &SessionOptions) -> io::Result<Session> {
        // Each thread that reads requests has a buffer of 16 MiB, of which it uses little.
        map_large_blocks();
        let attached = attach::attach(mountpoint, options)?;
        let mut config = fuser::Config::default();
        config.n_threads = Some(service.core.readers.threads());
        let acl = match attached.access {
            Access::All => fuser::SessionACL::All,
            Access::RootAndOwner => fuser::SessionACL::RootAndOwner,
            Access::Default => fuser::SessionACL::Owner,
        };
        let notifier = service.notifier();
        service.core.readers.busy_poll().watch(attached.device.as_fd());
        let session = fuser::Session::from_fd(service, attached.device, acl, config).map_err(|e| {
            attach::detach(mountpoint);
            io::Error::new(e.kind(), format!("the kernel and plyfs do not agree on the FUSE protocol: {e}"))
        })?;
        notifier.set(session.notifier()).unwrap_or_default();
        Ok(Session(session))
    }

    /// Serves requests until the file system is unmounted everywhere and no file of it is open.
    ///
    /// # Errors
    /// The session ended otherwise; the mount, if it is still there, is dead.
    pub fn run(self) -> io::Result<()> {
        self.0.run()
    }
}
