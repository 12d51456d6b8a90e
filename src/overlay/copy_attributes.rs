//! Owner, mode, extended attributes and times, as a copy in the upper gets them.

use crate::format::names::is_private;
use crate::format::override_stat::{OverrideStat, OverrideType};
use crate::sys::Errno;
use crate::sys::fs::{self, Mode, Timespec, Timestamps};
use crate::sys::xattr::{Target, getxattr, listxattr, setxattr};

use super::access::Access;
use super::attr::{Kind, RealStat, Time};
use super::error::Result;
use super::marks;
use super::real_dir::LayerNo;
use super::union::Overlay;

impl Overlay {
    /// Gives a file of the upper the owner that `real` has in `layer`, in its inode or recorded with the mode. Drops its
    /// set-id bits and capabilities.
    pub(super) fn store_owner(
        &self,
        copy: &Access,
        real: &RealStat,
        layer: LayerNo,
        kind: Kind,
    ) -> Result<()> {
        let (uid, gid) = self.owner_of_copy(real, layer)?;
        if self.records(kind) {
            let file_type = recorded_type(kind, real);
            let over =
                OverrideStat { uid: uid.unwrap_or(0), gid: gid.unwrap_or(0), mode: real.perm(), file_type };
            return Ok(marks::write_override(copy.xattrs(), &over)?);
        }
        let now = copy.stat()?;
        let differs = uid.is_some_and(|uid| uid != now.st_uid) || gid.is_some_and(|gid| gid != now.st_gid);
        match if differs { copy.chown(uid, gid) } else { Ok(()) } {
            Ok(()) => Ok(()),
            Err(Errno::PERM) if self.ids.squashes() || self.config.record_owner => Ok(()),
            // An owner that the user namespace has no number for, and that nobody is shown.
            Err(Errno::INVAL) if self.ids.squashes() => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// The owner on the upper's disk of a copy of a file in `layer`; `None` where squashing leaves one alone.
    pub(super) fn owner_of_copy(
        &self,
        real: &RealStat,
        layer: LayerNo,
    ) -> Result<(Option<u32>, Option<u32>)> {
        let (uid, gid) = real.owner();
        if self.is_premapped(layer) {
            return Ok((self.ids.stored_uid(uid)?, self.ids.stored_gid(gid)?));
        }
        Ok((Some(uid), Some(gid)))
    }

    /// Gives a file of the upper the mode that `real` has, after its owner and attributes: a change of owner drops set-id
    /// bits, an ordinary user cannot set attributes of a file that only may be read, and an ACL changes the mode.
    pub(super) fn store_copied_mode(&self, copy: &Access, real: &RealStat, kind: Kind) -> Result<()> {
        if self.records(kind) {
            return self.store_plain_mode(copy, kind);
        }
        if kind != Kind::Symlink && copy.stat()?.st_mode & 0o7777 != real.perm() {
            copy.chmod(Mode::from_raw_mode(real.perm()))?;
        }
        Ok(())
    }

    /// The mode on disk of a file whose real one is recorded in an attribute.
    pub(super) fn store_plain_mode(&self, file: &Access, kind: Kind) -> Result<()> {
        if kind != Kind::Symlink {
            file.chmod(Mode::from_raw_mode(0o755))?;
        }
        Ok(())
    }

    /// Copies all attributes but the union's own; what the upper cannot hold or we may not set is left out.
    /// Those of a file in `layer` speak of ids as that layer's do.
    pub(super) fn copy_xattrs(&self, from: Target<'_>, to: Target<'_>, layer: LayerNo) -> Result<()> {
        let premapped = self.is_premapped(layer);
        for name in listxattr(from)? {
            if is_private(&name) {
                continue;
            }
            let value = match getxattr(from, &name) {
                Ok(value) => value,
                Err(Errno::NODATA | Errno::PERM | Errno::OPNOTSUPP | Errno::ACCESS) => continue,
                Err(e) => return Err(e.into()),
            };
            let value = match premapped {
                false => value,
                true => match self.ids.stored_xattr(&name, value) {
                    Ok(value) => value,
                    // Capabilities for a root that the upper has no number for.
                    Err(_) => continue,
                },
            };
            setxattr(to, &name, &value, 0).or_else(ignore_unsupported)?;
        }
        Ok(())
    }
}

/// A failure that means "not here" is none.
pub(super) fn ignore_unsupported(errno: Errno) -> std::result::Result<(), Errno> {
    match errno {
        Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL => Ok(()),
        other => Err(other),
    }
}

/// The type to record for a copy.
fn recorded_type(kind: Kind, real: &RealStat) -> Option<OverrideType> {
    let (major, minor) = (fs::major(real.st.st_rdev), fs::minor(real.st.st_rdev));
    Some(match kind {
        _ if real.over.as_ref().is_some_and(|o| o.file_type.is_some()) => {
            return real.over.as_ref().and_then(|o| o.file_type);
        }
        Kind::File => OverrideType::File,
        Kind::Directory => OverrideType::Dir,
        Kind::Symlink => OverrideType::Symlink,
        Kind::Fifo => OverrideType::Pipe,
        Kind::Socket => OverrideType::Socket,
        Kind::Char => OverrideType::Char(major, minor),
        Kind::Block => OverrideType::Block(major, minor),
    })
}

/// Access and modification times for the kernel.
pub(super) fn timestamps(times: &[Time; 3]) -> Timestamps {
    let spec = |time: &Time| Timespec { tv_sec: time.secs, tv_nsec: time.nanos.into() };
    Timestamps { last_access: spec(&times[0]), last_modification: spec(&times[1]) }
}
