//! Owner, mode, attributes and times of a file that was made, in the inode or recorded beside it.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use super::entries::Attributes;
use super::error::Fault;
use super::options::Ownership;
use crate::format::acl;
use crate::format::names::{Mark, Namespace, OVERRIDE_STAT, TRUSTED_STAND_IN, is_private};
use crate::format::override_stat::{OverrideStat, OverrideType};
use crate::format::whiteout;
use crate::layer::node::{Time, is_portable};
use crate::sys::fs::{self, AtFlags, Mode, OFlags, Stat, Timespec, Timestamps};
use crate::sys::xattr::{Target, listxattr, removexattr, setxattr};
use crate::sys::{self, Errno};

const CAPABILITY: &str = "security.capability";
const SET_ID: u32 = 0o6000;

/// What becomes of an attribute of a tar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is set.
    Set,
    /// It is set once the directory is complete, as it would be inherited.
    Late,
    /// It is left out.
    Drop,
    /// It is left out, and should not have been there.
    DropLoudly,
}

/// The permission bits that the inode itself gets.
pub fn inode_mode(ownership: Ownership, recorded: OverrideType, mode: u32) -> Mode {
    Mode::from_raw_mode(match (ownership, recorded) {
        (Ownership::Real, _) => mode,
        (Ownership::Recorded, OverrideType::Dir) => 0o755,
        (Ownership::Recorded, OverrideType::File) if mode & 0o111 != 0 => 0o755,
        (Ownership::Recorded, _) => 0o644,
    })
}

/// Gives the open file, directory or stand-in its owner, mode and attributes, times left out. `recorded` is
/// its type; one that differs from the inode's is recorded in any case.
pub fn dress(
    fd: &OwnedFd,
    ownership: Ownership,
    recorded: OverrideType,
    attributes: &Attributes,
) -> Result<(), Fault> {
    let stat = fs::fstat(fd).map_err(|e| Fault::System("read attributes", e))?;
    let target = Target::Fd(fd.as_fd());
    let stands_in = !matches!(recorded, OverrideType::File | OverrideType::Dir);
    if ownership == Ownership::Recorded || stands_in {
        record(target, ownership, recorded, attributes)?;
    }
    let mode = inode_mode(ownership, recorded, attributes.mode);
    let mut changed = false;
    if ownership == Ownership::Real && !owned(&stat, attributes) {
        fs::chown_fd(fd.as_fd(), Some(attributes.uid), Some(attributes.gid))
            .map_err(|e| Fault::System("set owner", e))?;
        changed = true;
    }
    // A change of owner drops the set-id bits.
    if stat.st_mode & 0o7777 != mode.bits() || changed && mode.bits() & SET_ID != 0 {
        fs::fchmod(fd, mode).map_err(|e| Fault::System("set mode", e))?;
    }
    set_xattrs(target, ownership, attributes)
}

/// Gives the symbolic link, FIFO or device `name` its owner, mode and attributes, times left out.
pub fn dress_name(dir: BorrowedFd<'_>, name: &OsStr, attributes: &Attributes) -> Result<(), Fault> {
    let stat = fs::lstatat(dir, name).map_err(|e| Fault::System("read attributes", e))?;
    let mut changed = false;
    if !owned(&stat, attributes) {
        fs::lchownat(dir, name, Some(attributes.uid), Some(attributes.gid))
            .map_err(|e| Fault::System("set owner", e))?;
        changed = true;
    }
    let is_link = fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::Symlink;
    let wrong = stat.st_mode & 0o7777 != attributes.mode || changed && attributes.mode & SET_ID != 0;
    if !is_link && wrong {
        fs::lchmodat(dir, name, Mode::from_raw_mode(attributes.mode))
            .map_err(|e| Fault::System("set mode", e))?;
    }
    set_xattrs(Target::At(dir, name), Ownership::Real, attributes)
}

fn owned(stat: &Stat, attributes: &Attributes) -> bool {
    (stat.st_uid, stat.st_gid) == (attributes.uid, attributes.gid)
}

/// Records owner, mode and type. Where the inode gets the owner, only root's record counts (`marks`).
fn record(
    target: Target<'_>,
    ownership: Ownership,
    file_type: OverrideType,
    attributes: &Attributes,
) -> Result<(), Fault> {
    let Attributes { uid, gid, mode, .. } = *attributes;
    let value = OverrideStat { uid, gid, mode, file_type: Some(file_type) }.encode();
    let recorded = match ownership {
        Ownership::Real => match setxattr(target, TRUSTED_STAND_IN.as_ref(), &value, 0) {
            Err(Errno::PERM | Errno::OPNOTSUPP) => setxattr(target, OVERRIDE_STAT.as_ref(), &value, 0),
            other => other,
        },
        Ownership::Recorded => setxattr(target, OVERRIDE_STAT.as_ref(), &value, 0),
    };
    recorded.map_err(|e| Fault::System("record owner and mode in an extended attribute", e))
}

/// Sets those of the attributes that are to be set.
fn set_xattrs(target: Target<'_>, ownership: Ownership, attributes: &Attributes) -> Result<(), Fault> {
    for (name, value) in &attributes.xattrs {
        match fate(name, ownership) {
            Fate::Set => set_xattr(target, name, value)?,
            Fate::Late => {}
            Fate::Drop => log::debug!("attribute {name:?} is left out of a layer's file"),
            Fate::DropLoudly => {
                log::warn!(
                    "attribute {name:?} is left out of a layer's file: it is private to overlay mounts"
                );
            }
        }
    }
    Ok(())
}

/// Sets one attribute; one that this file or file system cannot have is left out.
fn set_xattr(target: Target<'_>, name: &OsStr, value: &[u8]) -> Result<(), Fault> {
    match setxattr(target, name, value, 0) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP) => {
            log::warn!("attribute {name:?} is left out: the file system cannot hold it");
            Ok(())
        }
        // Symbolic links and devices have no user attributes.
        Err(Errno::PERM) if name.as_bytes().starts_with(b"user.") => {
            log::debug!("attribute {name:?} is left out: this type of file cannot have it");
            Ok(())
        }
        // A damaged ACL must not keep a layer from being unpacked: other tools pass over it too.
        Err(e) if acl::is_acl(name) => {
            log::warn!("attribute {name:?} is left out: {e}");
            Ok(())
        }
        Err(e) => Err(Fault::System("set an extended attribute", e)),
    }
}

fn fate(name: &OsStr, ownership: Ownership) -> Fate {
    if is_private(name) {
        return Fate::DropLoudly;
    }
    let real = ownership == Ownership::Real;
    match name.to_str() {
        _ if name.as_bytes().starts_with(b"user.") => Fate::Set,
        Some(CAPABILITY | acl::ACCESS) if real => Fate::Set,
        Some(acl::DEFAULT) if real => Fate::Late,
        _ => Fate::Drop,
    }
}

/// The ACL that new files in a directory inherit, if the attributes hold one that is to be set.
pub fn default_acl(ownership: Ownership, attributes: &Attributes) -> Option<Box<[u8]>> {
    let mut late = attributes.xattrs.iter().filter(|(name, _)| fate(name, ownership) == Fate::Late);
    late.next().map(|(_, value)| value.as_slice().into())
}

/// Sets a directory's inherited ACL.
pub fn set_default_acl(dir: BorrowedFd<'_>, acl: &[u8]) -> Result<(), Fault> {
    set_xattr(Target::Fd(dir), acl::DEFAULT.as_ref(), acl)
}

/// Removes what attributes a directory has from before: another entry for it says all of them anew.
pub fn undress(dir: BorrowedFd<'_>) -> Result<(), Fault> {
    let fault = |e| Fault::System("replace extended attributes", e);
    for name in listxattr(Target::Fd(dir)).map_err(fault)? {
        if is_portable(&name) {
            match removexattr(Target::Fd(dir), &name) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(e) => return Err(fault(e)),
            }
        }
    }
    Ok(())
}

/// Takes away the ACL that everything in the target would inherit.
pub fn remove_default_acl(dir: BorrowedFd<'_>) -> Result<(), Fault> {
    match removexattr(Target::Fd(dir), acl::DEFAULT.as_ref()) {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        Err(e) => Err(Fault::System("remove the inherited ACL", e)),
    }
}

/// Marks a directory opaque: by the attribute that the mount of this owner reads, or by a file where the file
/// system has no attributes.
pub fn mark_opaque(dir: &OwnedFd, ownership: Ownership) -> Result<(), Fault> {
    let set = |space: Namespace| setxattr(Target::Fd(dir.as_fd()), space.xattr(Mark::Opaque), b"y", 0);
    let marked = match ownership {
        // Root in a user namespace may not set the privileged mark; its mounts read the other one.
        Ownership::Real => match set(Namespace::Trusted) {
            Err(Errno::PERM | Errno::OPNOTSUPP) => set(Namespace::User),
            other => other,
        },
        Ownership::Recorded => set(Namespace::User),
    };
    match marked {
        Err(Errno::OPNOTSUPP) => opaque_file(dir),
        other => other,
    }
    .map_err(|e| Fault::System("mark a directory opaque", e))
}

fn opaque_file(dir: &OwnedFd) -> sys::Result<()> {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(dir, whiteout::OPAQUE_FILE, flags, Mode::from_raw_mode(0o600)).map(drop)
}

/// Sets the times of an open file.
pub fn set_time(fd: &OwnedFd, time: Time) -> Result<(), Fault> {
    fs::futimens(fd, &timestamps(time)).map_err(|e| Fault::System("set times", e))
}

/// Sets the times of a name, without following it.
pub fn set_time_of(dir: BorrowedFd<'_>, name: &OsStr, time: Time) -> Result<(), Fault> {
    fs::utimensat(dir, name, &timestamps(time), AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| Fault::System("set times", e))
}

/// Both times alike: no reading is recorded in a layer.
fn timestamps(time: Time) -> Timestamps {
    let time = Timespec { tv_sec: time.seconds, tv_nsec: i64::from(time.nanos) as _ };
    Timestamps { last_access: time, last_modification: time }
}
