//! Hard links of lower files: one inode before and after a copy-up.
//!
//! A copied-up file that had several links in the lower also gets a name in the index, formed from the lower
//! file's handle as the kernel does with `index=on`. A name that is still in the lower finds the copy there.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::format::names::Mark;
use crate::format::nlink::{NlinkBase, NlinkDelta};
use crate::sys::Errno;
use crate::sys::fs::{self, AtFlags};
use crate::sys::xattr::{Target, setxattr};

use super::access::Access;
use super::dir_index::Place;
use super::error::{Error, Result};
use super::inode::Inode;
use super::lookup::Found;
use super::name::Name;
use super::number;
use super::real_dir::UPPER;
use super::state::Source;
use super::union::Overlay;

impl Overlay {
    /// Replaces a lower file with several links by its copy, if it has one under another name.
    pub(super) fn find_indexed(&self, found: &mut Found, source: &Source, access: &Access) -> Result<()> {
        let Some(index) = self.index_dir().filter(|_| self.config.index) else { return Ok(()) };
        let Some(origin) = self.origin_of(access, source.dir.layer) else { return Ok(()) };
        let name: Name = origin.index_name().into();
        let access = Access::At(index, name.clone());
        let real = match self.real_stat(&access, UPPER, None) {
            Ok(real) => real,
            Err(Error::NotFound | Error::System(Errno::NAMETOOLONG)) => return Ok(()),
            Err(e) => return Err(e),
        };
        found.marks = self.marks_in(UPPER, &access)?;
        found.real = real;
        found.layer = UPPER;
        found.index_name = Some(name);
        Ok(())
    }

    /// The index entry of an upper file, if it has one.
    pub(super) fn index_name_of(&self, found: &Found) -> Option<Name> {
        if found.real.st.st_nlink < 2 || !self.config.index {
            return None;
        }
        let name = found.marks.origin.as_ref()?.index_name();
        number::of_origin(&self.stack, found.marks.origin.as_ref()?)?;
        let st = fs::lstatat(&*self.index_dir()?, &name).ok()?;
        (st.st_ino == found.real.st.st_ino).then(|| name.into())
    }

    /// The links of an indexed file over the whole union.
    pub(super) fn union_links(&self, found: &Found) -> Option<u32> {
        let delta = NlinkDelta::parse(found.marks.nlink.as_deref()?).ok()?;
        match delta.base {
            NlinkBase::Upper => delta.apply(found.real.st.st_nlink as u32),
            // Relative to the lower's count, which the kernel writes only while an operation is under way.
            NlinkBase::Lower => None,
        }
    }

    /// Gives a prepared copy its name in the index and records the union's link count beside the `real` one that
    /// the copy is about to have.
    pub(super) fn publish_in_index(&self, file: &OwnedFd, name: &OsStr, links: u32, real: u32) -> Result<()> {
        let index = self.index_dir().ok_or(Error::Unsupported)?;
        match fs::link_fd(file.as_fd(), index.as_fd(), name) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                // Left by a copy-up that a crash cut short: no name in the upper leads to it.
                fs::unlinkat(&*index, name, AtFlags::empty())?;
                fs::link_fd(file.as_fd(), index.as_fd(), name)?;
            }
            Err(e) => return Err(e.into()),
        }
        self.write_links(Target::Fd(file.as_fd()), links, real)
    }

    /// Records the union's link count relative to the real one.
    fn write_links(&self, target: Target<'_>, links: u32, real: u32) -> Result<()> {
        let Some(name) = self.mark_name(Mark::Nlink) else { return Ok(()) };
        let delta = NlinkDelta { base: NlinkBase::Upper, delta: links as i32 - real as i32 };
        Ok(setxattr(target, name, &delta.encode(), 0)?)
    }

    /// Links of an indexed file came or went; the last one takes the index entry with it.
    ///
    /// `change` is applied to the union's count after the real links changed.
    pub(super) fn links_changed(&self, inode: &Inode, change: i32) -> Result<()> {
        let Some((index_name, links)) = self.indexed(inode) else { return Ok(()) };
        let links = links.saturating_add_signed(change);
        let index = self.index_dir().ok_or(Error::Unsupported)?;
        let access = Access::At(index.clone(), index_name.clone());
        if links > 0 {
            let real = access.stat()?.st_nlink as u32;
            self.write_links(access.xattrs(), links, real)?;
            inode.with_file_mut(|file| file.nlink = Some(links));
            return Ok(());
        }
        let file = Arc::new(access.open(fs::OFlags::PATH)?);
        let held = self.held.hold(file, &self.upper()?.work)?;
        fs::unlinkat(&*index, &*index_name, AtFlags::empty())?;
        inode.with_file_mut(|file| {
            file.held = Some(held);
            file.index_name = None;
            file.nlink = Some(0);
            file.unlinked = true;
        });
        Ok(())
    }

    /// The index entry and the union's link count of an indexed file.
    pub(super) fn indexed(&self, inode: &Inode) -> Option<(Name, u32)> {
        let state = inode.state.read();
        let file = state.file.as_ref()?;
        Some((file.index_name.clone()?, file.nlink.unwrap_or(1)))
    }

    /// Makes all known names of an indexed file names in the upper, so that whoever reads the upper alone finds
    /// its changes under each of them.
    pub(super) fn link_up(&self, inode: &Inode) -> Result<()> {
        let names = {
            let state = inode.state.read();
            match &state.file {
                Some(file) if file.index_name.is_some() && !file.linked_up => state.names(),
                _ => return Ok(()),
            }
        };
        for (parent, name) in names {
            let dir = self.upper_dir(&parent)?;
            let fd = self.dirs.fd(&dir)?;
            let _entries = parent.lock_entries();
            self.keeping_times(&parent, &fd, || {
                self.link_name_up(inode, &parent, &fd, &name)?;
                self.mark_impure(&parent)
            })?;
        }
        inode.with_file_mut(|file| file.linked_up = true);
        Ok(())
    }

    /// Makes a visible name of an indexed file a name in the upper. The parent's entries are locked.
    pub(super) fn link_name_up(
        &self,
        inode: &Inode,
        parent: &Inode,
        dir: &OwnedFd,
        name: &OsStr,
    ) -> Result<()> {
        let Some((index_name, links)) = self.indexed(inode) else { return Ok(()) };
        match fs::lstatat(dir, name) {
            Ok(_) => return Ok(()),
            Err(Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let index = self.index_dir().ok_or(Error::Unsupported)?;
        fs::linkat(&*index, &*index_name, dir, name, AtFlags::empty())?;
        let access = Access::At(index, index_name);
        let real = access.stat()?.st_nlink as u32;
        self.write_links(access.xattrs(), links, real)?;
        if let Some(merged) = parent.with_dir(|d| d.index.clone())?
            && let Some(entry) = merged.lock().get_mut(name)
        {
            entry.place = Place::File(UPPER);
            entry.below = true;
        }
        Ok(())
    }
}
