//! One layer: its root, its device, and how its files say who owns them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::override_stat::Keeper;
use crate::marks::{Recorded, Trust, recorded};
use crate::sys::fs::{self, Mode, OFlags, Stat};
use crate::sys::xattr::Target;
use crate::sys::{self, dir, handle, mount};

use super::real_dir::{LayerNo, RealDir};

/// The type of the kernel's overlayfs in statfs(2).
const OVERLAYFS_SUPER_MAGIC: i64 = 0x794c_7630;

/// A layer directory, opened once for as long as the mount lives.
#[derive(Debug)]
pub struct Layer {
    /// The path as given, for messages.
    pub path: PathBuf,
    /// Its root.
    pub root: Arc<RealDir>,
    /// Tells its device from those of the other layers: 0 for the first, and so on.
    pub device: u8,
    /// That device (`st_dev`).
    pub st_dev: u64,
    /// The UUID of its file system, where it has one.
    pub uuid: Option<[u8; 16]>,
    /// Whose marks count in it.
    pub trust: Trust,
    /// Whether owners, modes and types are recorded in `user.containers.override_stat`.
    pub override_stat: bool,
    /// In a layer that records all owners, which its root's attribute tells.
    pub keeper: Option<Keeper>,
    /// Whether the mount it was given through maps ids itself.
    pub idmapped: bool,
    /// Whether its file system is stacked on others itself.
    pub stacked: bool,
}

/// A directory opened as given by the user, before it is a layer.
#[derive(Debug)]
pub struct Opened {
    /// The path as given.
    pub path: PathBuf,
    /// Its `O_PATH` descriptor.
    pub fd: OwnedFd,
    /// Its attributes.
    pub st: Stat,
}

impl Opened {
    /// Opens a directory; links in the path are followed, as the user gave it.
    pub fn new(path: &Path) -> sys::Result<Opened> {
        let fd =
            fs::openat(fs::CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let st = fs::fstat(&fd)?;
        Ok(Opened { path: path.to_path_buf(), fd, st })
    }

    /// Whether the two are the same directory.
    pub fn is_same(&self, other: &Opened) -> bool {
        (self.st.st_dev, self.st.st_ino) == (other.st.st_dev, other.st.st_ino)
    }

    /// Whether this directory lies below `other` (or is it), by walking up.
    pub fn is_within(&self, other: &Opened) -> sys::Result<bool> {
        let mut here = fs::dup(&self.fd)?;
        let mut last = None;
        loop {
            let st = fs::fstat(&here)?;
            let id = (st.st_dev, st.st_ino);
            if id == (other.st.st_dev, other.st.st_ino) {
                return Ok(true);
            }
            if last == Some(id) {
                return Ok(false);
            }
            last = Some(id);
            let up = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            here = fs::openat(&here, "..", up, Mode::empty())?;
        }
    }
}

/// What the stack decides about a layer from the outside.
#[derive(Debug, Clone, Copy)]
pub struct LayerRole {
    /// Its number.
    pub number: LayerNo,
    /// Its device's number among the stack's devices.
    pub device: u8,
    /// Whose marks count in it.
    pub trust: Trust,
    /// Whether owners are recorded in attributes in the whole stack.
    pub override_stat: bool,
}

impl Layer {
    /// A lower: held through a private read-only clone of its mount where that is allowed.
    pub fn lower(opened: Opened, role: LayerRole, idmapped: bool) -> Layer {
        match mount::clone_read_only(opened.fd.as_fd()) {
            Ok(clone) => {
                let fd = opened.fd;
                let layer = Layer::new(Opened { fd: clone, ..opened }, role, idmapped);
                drop(fd);
                layer
            }
            Err(e) => {
                log::debug!("no private clone of {}: {e}", opened.path.display());
                Layer::new(opened, role, idmapped)
            }
        }
    }

    /// The upper.
    pub fn upper(opened: Opened, role: LayerRole) -> Layer {
        Layer::new(opened, role, false)
    }

    fn new(opened: Opened, role: LayerRole, idmapped: bool) -> Layer {
        let recorded = recorded(Target::Fd(opened.fd.as_fd()), &opened.st, &role.trust);
        let recorded = matches!(recorded, Ok(Some(Recorded::All(_) | Recorded::Damaged(_))));
        let user = Keeper::of(fs::geteuid().as_raw(), fs::getegid().as_raw());
        let uuid = uuid_of(opened.fd.as_fd());
        let stacked = fs::fs_type(opened.fd.as_fd()).is_ok_and(|t| t == OVERLAYFS_SUPER_MAGIC);
        Layer {
            path: opened.path,
            device: role.device,
            st_dev: opened.st.st_dev,
            root: RealDir::root(role.number, opened.fd),
            uuid,
            trust: role.trust,
            override_stat: role.override_stat || recorded,
            keeper: if recorded { user } else { None },
            idmapped,
            stacked,
        }
    }
}

/// The UUID of the file system below a directory descriptor.
fn uuid_of(fd: BorrowedFd<'_>) -> Option<[u8; 16]> {
    let listing = dir::open_listing(fd).ok()?;
    handle::fs_uuid(listing.as_fd())
}
