//! Reading the marks of one file, those that cannot be believed left out.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::format::FormatError;
use crate::format::capability;
use crate::format::names::{FUSE_OVERLAYFS_OPAQUE, Mark, Namespace, OVERRIDE_STAT, TRUSTED_STAND_IN, parse};
use crate::format::origin::Origin;
use crate::format::override_stat::{OverrideStat, OverrideType};
use crate::format::redirect::Redirect;
use crate::sys::fs::{FileType, Mode, Stat, chmod_fd};
use crate::sys::xattr::{Target, getxattr_opt, listxattr};
use crate::sys::{Errno, Result};

use super::trust::{Belief, Trust};

/// What a directory says of the layers below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Opaque {
    /// It merges with them.
    #[default]
    No,
    /// It hides them.
    Yes,
    /// It merges, and may hold whiteouts in the form of marked empty files.
    FileWhiteouts,
}

/// The marks of one file, its record of owner, mode and type left out.
#[derive(Debug, Default)]
pub struct Marks {
    /// For directories.
    pub opaque: Opaque,
    /// Where the lower part, or the data, lies instead of under the same name.
    pub redirect: Option<Redirect>,
    /// What is wrong with a redirect that leads nowhere. Such a directory is opaque.
    pub damage: Option<FormatError>,
    /// The lower file it was copied up from.
    pub origin: Option<Origin>,
    /// Whether its data lies in a lower.
    pub metacopy: bool,
    /// Whether a directory holds copied-up entries.
    pub impure: bool,
    /// Link count of the union.
    pub nlink: Option<Vec<u8>>,
    /// Whether it has file capabilities; no mark, but listed beside them.
    pub capability: bool,
}

/// Owner, mode and type as recorded beside a file's inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// All of them.
    All(OverrideStat),
    /// The type alone: owner and mode are the inode's.
    Type(OverrideType),
    /// A record that cannot be read.
    Damaged(FormatError),
}

/// One file whose marks are read.
struct File<'a> {
    target: Target<'a>,
    trust: &'a Trust,
    /// The file itself, once its owner was asked for.
    held: Option<(OwnedFd, Stat)>,
}

/// Reads the marks of a file that has attributes of these names.
///
/// # Errors
/// What the system says; a mark that went meanwhile is none.
pub fn read(target: Target<'_>, names: &[OsString], trust: &Trust) -> Result<Marks> {
    let mut marks = Marks::default();
    let mut file = File { target, trust, held: None };
    // What an administrator says comes last, and holds.
    for namespace in [Namespace::User, Namespace::Trusted] {
        for name in names {
            match parse(name) {
                Some((of, mark)) if of == namespace => file.take(&mut marks, namespace, mark)?,
                None if namespace == Namespace::User => file.take_other(&mut marks, name)?,
                _ => {}
            }
        }
    }
    if marks.damage.is_some() {
        marks.opaque = Opaque::Yes;
    }
    Ok(marks)
}

/// The value of one mark, whichever name space it is in that is believed.
///
/// # Errors
/// What the system says.
pub fn value(target: Target<'_>, mark: Mark, trust: &Trust) -> Result<Option<Vec<u8>>> {
    let mut file = File { target, trust, held: None };
    for namespace in [Namespace::Trusted, Namespace::User] {
        if let Some(value) = file.believed(namespace.xattr(mark), trust.leads(namespace))? {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// Whether an empty regular file is marked as a whiteout. Only asked in directories that may hold such files.
///
/// # Errors
/// What the system says.
pub fn is_whiteout_file(target: Target<'_>) -> Result<bool> {
    for namespace in [Namespace::Trusted, Namespace::User] {
        if getxattr_opt(target, namespace.xattr(Mark::Whiteout))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is recorded of the file, which has these attributes.
///
/// # Errors
/// What the system says.
pub fn recorded(target: Target<'_>, stat: &Stat, trust: &Trust) -> Result<Option<Recorded>> {
    let mut file = File { target, trust, held: None };
    if trust.holds(trust.belief(Namespace::User), stat.st_uid) {
        if let Some(value) = file.record(OVERRIDE_STAT, trust.belief(Namespace::User), stat)? {
            return Ok(Some(match OverrideStat::parse(&value) {
                Ok(over) => Recorded::All(OverrideStat { file_type: fitting(over.file_type, stat), ..over }),
                Err(e) => Recorded::Damaged(e),
            }));
        }
    } else if trust.takes_masked_modes()
        && let Some(value) = value_of(target, OVERRIDE_STAT.as_ref())?
        && let Some(over) = OverrideStat::parse(&value).ok().and_then(|over| harmless(over, stat))
    {
        return Ok(Some(Recorded::All(over)));
    }
    let value = file.record(TRUSTED_STAND_IN, trust.belief(Namespace::Trusted), stat)?;
    Ok(match value.map(|value| OverrideStat::parse(&value)) {
        Some(Ok(over)) => fitting(over.file_type, stat).map(Recorded::Type),
        Some(Err(e)) => Some(Recorded::Damaged(e)),
        None => None,
    })
}

/// What a record of a stranger's says that its author could as well have done with chmod(2): other permission bits of a file
/// or directory that keeps its owner and group. containers/storage makes such records where it was told to mask modes.
fn harmless(over: OverrideStat, stat: &Stat) -> Option<OverrideStat> {
    let own = (over.uid, over.gid) == (stat.st_uid, stat.st_gid);
    let plain = matches!(over.file_type, None | Some(OverrideType::File | OverrideType::Dir));
    (own && plain && fitting(over.file_type, stat) == over.file_type)
        .then_some(OverrideStat { mode: over.mode & 0o777, ..over })
}

/// The value of an attribute. The name space `user.` may be read by those only who may read the file; the owner is not kept
/// from it by the mode, which lets them read for a moment.
fn value_of(target: Target<'_>, name: &OsStr) -> Result<Option<Vec<u8>>> {
    match getxattr_opt(target, name) {
        Err(Errno::ACCESS) => {}
        other => return other,
    }
    if !listxattr(target)?.iter().any(|listed| listed == name) {
        return Ok(None);
    }
    let (file, stat) = target.hold()?;
    let mode = stat.st_mode & 0o7777;
    chmod_fd(file.as_fd(), Mode::from_raw_mode(mode | 0o400))?;
    let value = getxattr_opt(Target::Fd(file.as_fd()), name);
    chmod_fd(file.as_fd(), Mode::from_raw_mode(mode))?;
    value
}

/// The type, if this inode can stand in for it: a directory for none but itself.
fn fitting(file_type: Option<OverrideType>, stat: &Stat) -> Option<OverrideType> {
    let inode = FileType::from_raw_mode(stat.st_mode);
    file_type.filter(|file_type| match file_type {
        OverrideType::Dir => inode == FileType::Directory,
        _ => inode == FileType::RegularFile,
    })
}

impl File<'_> {
    /// Takes a mark of the kernel's into account.
    fn take(&mut self, marks: &mut Marks, namespace: Namespace, mark: Mark) -> Result<()> {
        let name = namespace.xattr(mark);
        if mark == Mark::Opaque {
            return self.take_opaque(marks, name);
        }
        let Some(value) = self.believed(name, self.trust.leads(namespace))? else { return Ok(()) };
        match mark {
            Mark::Redirect => match Redirect::parse(&value) {
                Ok(redirect) => (marks.redirect, marks.damage) = (Some(redirect), None),
                Err(e) => {
                    self.tell_damage(&e);
                    (marks.redirect, marks.damage) = (None, Some(e));
                }
            },
            Mark::Origin => marks.origin = Origin::decode(&value),
            Mark::Metacopy if self.trust.follows_metacopy(namespace) => marks.metacopy = true,
            Mark::Metacopy => self.tell_unfollowed(),
            Mark::Impure => marks.impure = value == b"y",
            Mark::Nlink => marks.nlink = Some(value),
            Mark::Opaque | Mark::Upper | Mark::Uuid | Mark::Protattr | Mark::Whiteout => {}
        }
        Ok(())
    }

    fn take_opaque(&self, marks: &mut Marks, name: &OsStr) -> Result<()> {
        if !self.trust.hides() {
            return Ok(());
        }
        match value_of(self.target, name)?.as_deref() {
            Some(b"y") => marks.opaque = Opaque::Yes,
            Some(b"x") if marks.opaque == Opaque::No && name != FUSE_OVERLAYFS_OPAQUE => {
                marks.opaque = Opaque::FileWhiteouts;
            }
            _ => {}
        }
        Ok(())
    }

    fn take_other(&self, marks: &mut Marks, name: &OsStr) -> Result<()> {
        if name == FUSE_OVERLAYFS_OPAQUE {
            return self.take_opaque(marks, name);
        }
        marks.capability |= name == capability::NAME;
        Ok(())
    }

    /// The value of an attribute if it can be believed.
    fn believed(&mut self, name: &OsStr, belief: Belief) -> Result<Option<Vec<u8>>> {
        match belief {
            Belief::Never => Ok(None),
            Belief::Always => value_of(self.target, name),
            Belief::IfOwn | Belief::IfMapped => {
                if value_of(self.target, name)?.is_none() {
                    return Ok(None);
                }
                let trust = self.trust;
                let (held, stat) = self.held()?;
                if trust.holds(belief, stat.st_uid) {
                    value_of(Target::Fd(held.as_fd()), name)
                } else {
                    Ok(None)
                }
            }
        }
    }

    /// As [`File::believed`], and only if it is the very file that `stat` tells of.
    fn record(&mut self, name: &str, belief: Belief, stat: &Stat) -> Result<Option<Vec<u8>>> {
        let value = self.believed(name.as_ref(), belief)?;
        Ok(value.filter(|_| {
            let held = self.held.as_ref();
            held.is_none_or(|(_, held)| (held.st_dev, held.st_ino) == (stat.st_dev, stat.st_ino))
        }))
    }

    /// The file itself and its attributes.
    fn held(&mut self) -> Result<&(OwnedFd, Stat)> {
        if self.held.is_none() {
            self.held = Some(self.target.hold()?);
        }
        self.held.as_ref().ok_or(Errno::NOENT)
    }

    fn tell_damage(&self, error: &FormatError) {
        static TOLD: AtomicBool = AtomicBool::new(false);
        if !TOLD.swap(true, Ordering::Relaxed) {
            log::warn!(
                "{} in a layer: its {error}; it shows nothing of the layers below, nor does any other with such a mark",
                self.shown()
            );
        }
    }

    fn tell_unfollowed(&self) {
        static TOLD: AtomicBool = AtomicBool::new(false);
        if !TOLD.swap(true, Ordering::Relaxed) {
            log::warn!(
                "{} in a lower layer is a metadata copy, which is not followed to its data; if you made it, and others \
                 like it, mount with metacopy=on",
                self.shown()
            );
        }
    }

    /// The file's name, for messages.
    fn shown(&self) -> String {
        match self.target {
            Target::At(_, name) => format!("{name:?}"),
            Target::Fd(_) | Target::Open(_) => "a file".to_owned(),
        }
    }
}
