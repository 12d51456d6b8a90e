//! Writing and removing whiteouts in the upper.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;

use crate::format::whiteout;
use crate::sys::Errno;
use crate::sys::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags};

use super::error::Result;
use super::marks;
use super::union::Overlay;

impl Overlay {
    /// Hides a name that the upper does not have.
    pub(super) fn add_whiteout(&self, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        if self.upper()?.features.whiteout_devices {
            return self.make_whiteout_device(dir, name);
        }
        self.add_whiteout_file(dir, name)
    }

    /// Makes a whiteout device: another link of one that all share, which is much cheaper than a new inode.
    fn make_whiteout_device(&self, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        let work = &self.upper()?.work;
        let mut shared = work.whiteout.lock();
        if let Some(first) = &*shared {
            match fs::linkat(&*work.dir, &**first, dir, name, AtFlags::empty()) {
                // As many links as an inode can have, or a file system without links: a new inode then.
                Err(Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::NOENT) => {}
                other => return Ok(other?),
            }
        }
        let first = work.fresh_name();
        fs::mknodat(&*work.dir, &*first, FileType::CharacterDevice, Mode::empty(), 0)?;
        match fs::linkat(&*work.dir, &*first, dir, name, AtFlags::empty()) {
            Ok(()) => {
                *shared = Some(first);
                Ok(())
            }
            Err(Errno::PERM | Errno::OPNOTSUPP) => {
                Ok(fs::renameat_with(&*work.dir, &*first, dir, name, RenameFlags::NOREPLACE)?)
            }
            Err(e) => {
                work.discard(&first);
                Err(e.into())
            }
        }
    }

    /// Hides a name by a file beside it.
    pub(super) fn add_whiteout_file(&self, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        fs::openat(dir, whiteout::file_name(name), flags, Mode::from_raw_mode(0o600))?;
        Ok(())
    }

    /// Puts a whiteout in the place of a file of the upper.
    pub(super) fn replace_file_by_whiteout(&self, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        let upper = self.upper()?;
        if !upper.features.whiteout_devices {
            // The file hides the lowers until it is gone, so nothing shows through in between.
            self.add_whiteout_file(dir, name)?;
            return self.remove_name(dir, name);
        }
        let temporary = self.prepare_whiteout()?;
        let renamed = fs::renameat_with(&*upper.work.dir, &*temporary, dir, name, RenameFlags::empty());
        renamed.inspect_err(|_| upper.work.discard(&temporary))?;
        Ok(())
    }

    /// Puts a whiteout in the place of a directory of the upper, which goes with the whiteouts it holds.
    pub(super) fn replace_dir_by_whiteout(&self, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        let upper = self.upper()?;
        let work = &upper.work;
        if upper.features.whiteout_devices {
            let temporary = self.prepare_whiteout()?;
            match fs::renameat_with(&*work.dir, &*temporary, dir, name, RenameFlags::EXCHANGE) {
                Ok(()) => {
                    work.discard(&temporary);
                    return Ok(());
                }
                Err(e) => {
                    work.discard(&temporary);
                    if !matches!(e, Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) {
                        return Err(e.into());
                    }
                }
            }
        } else {
            self.add_whiteout_file(dir, name)?;
        }
        self.take_away(dir, name)?;
        if upper.features.whiteout_devices { self.add_whiteout(dir, name) } else { Ok(()) }
    }

    /// Moves an entry of the upper into the work directory and removes it there, with all it holds.
    pub(super) fn take_away(&self, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        let work = &self.upper()?.work;
        let temporary = work.fresh_name();
        fs::renameat_with(dir, name, &*work.dir, &*temporary, RenameFlags::empty())?;
        work.discard(&temporary);
        Ok(())
    }

    /// A whiteout with a name in the work directory.
    pub(super) fn prepare_whiteout(&self) -> Result<OsString> {
        let work = &self.upper()?.work;
        let name = work.fresh_name();
        self.make_whiteout_device(&work.dir, &name)?;
        Ok(name)
    }

    /// Whether the upper has a whiteout device under a name.
    pub(super) fn has_whiteout_device(&self, dir: &OwnedFd, name: &OsStr) -> Result<bool> {
        match fs::lstatat(dir, name) {
            Ok(st) => Ok(marks::is_whiteout_device(&st)),
            Err(Errno::NOENT) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Removes the file that hides a name, if there is one; a device is replaced, never removed.
    pub(super) fn remove_whiteout_file(&self, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        match fs::unlinkat(dir, whiteout::file_name(name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
