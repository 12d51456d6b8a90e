//! What the upper's file system can do, tried out once in the work directory.

use std::os::fd::{AsFd, OwnedFd};

use crate::format::names::{Mark, Namespace};
use crate::sys::fs::{self, AtFlags, FileType, Mode};
use crate::sys::xattr::{Target, removexattr, setxattr};
use crate::sys::{Errno, process};

use super::barrier::Barrier;
use super::config::{Config, WhiteoutForm};
use super::work::Work;

/// How marks and whiteouts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// The name space for private marks, where the upper has extended attributes at all.
    pub marks: Option<Namespace>,
    /// Whether whiteouts are devices rather than files.
    pub whiteout_devices: bool,
    /// What keeps a copy's content from coming to disk later than its name.
    pub barrier: Barrier,
}

/// The name space in which marks are read and, where possible, written.
pub fn namespace(config: &Config) -> Namespace {
    if config.user_xattr || !process::is_initial_admin() { Namespace::User } else { Namespace::Trusted }
}

impl Features {
    /// Tries out the work directory.
    pub fn probe(config: &Config, work: &Work) -> Features {
        let marks = [namespace(config), Namespace::User].into_iter().find(|ns| has_xattrs(&work.dir, *ns));
        let whiteout_devices = config.whiteouts == WhiteoutForm::Auto && has_whiteouts(work);
        Features { marks, whiteout_devices, barrier: Barrier::of(&work.dir) }
    }
}

/// Whether a mark can be set on a directory.
fn has_xattrs(dir: &OwnedFd, namespace: Namespace) -> bool {
    let name = namespace.xattr(Mark::Opaque);
    let set = setxattr(Target::Fd(dir.as_fd()), name, b"n", 0).is_ok();
    if set && let Err(e) = removexattr(Target::Fd(dir.as_fd()), name) {
        log::debug!("trial attribute left on the work directory: {e}");
    }
    set
}

/// Whether a character device 0:0 can be made.
fn has_whiteouts(work: &Work) -> bool {
    let name = work.fresh_name();
    let made = fs::mknodat(&*work.dir, &*name, FileType::CharacterDevice, Mode::empty(), 0);
    match made {
        Ok(()) => fs::unlinkat(&*work.dir, &*name, AtFlags::empty()).is_ok(),
        Err(Errno::PERM | Errno::ACCESS | Errno::OPNOTSUPP | Errno::INVAL) => false,
        Err(e) => {
            log::debug!("trial whiteout: {e}");
            false
        }
    }
}
