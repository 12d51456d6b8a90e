//! What a new directory takes over from the one it is made in without anybody having asked for it: ACLs, and the
//! set-group-id bit.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use super::fs::{Mode, chmod_fd};
use super::xattr::{Target, removexattr};
use super::{Errno, Result};

/// The ACLs of a directory: of access to it, and of what is made in it.
const ACLS: [&str; 2] = ["system.posix_acl_access", "system.posix_acl_default"];

/// Takes inherited ACLs and the set-group-id bit from a directory, which has exactly this mode afterwards. The
/// descriptor may be `O_PATH`.
pub fn make_plain(dir: impl AsFd, mode: Mode) -> Result<()> {
    drop_acls(&dir)?;
    chmod_fd(dir.as_fd(), mode)
}

/// Takes the ACLs from a directory; its mode stays.
pub fn drop_acls(dir: impl AsFd) -> Result<()> {
    for name in ACLS {
        match removexattr(Target::Fd(dir.as_fd()), OsStr::new(name)) {
            // None, or a file system that knows none.
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
