//! Removing names: unlink and rmdir. A whiteout is left only where a lower has the name.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::format::whiteout::is_reserved;
use crate::sys::fs::{self, AtFlags};
use crate::sys::{Errno, dir};

use super::access::Access;
use super::attr::Kind;
use super::error::{Error, Result};
use super::held::Held;
use super::inode::Inode;
use super::locks::lock_entries_pair;
use super::marks;
use super::readdir::listed_kind;
use super::real_dir::UPPER;
use super::state::Source;
use super::union::Overlay;

/// Where a name that is to go stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// The upper has it.
    pub in_upper: bool,
    /// A lower shows something by this name once the upper's entry is gone.
    pub below: bool,
}

/// What must be kept of a file that loses a name, so that those who hold it open still reach it.
#[derive(Debug)]
pub(super) struct Farewell {
    inode: Arc<Inode>,
    held: Option<Arc<Held>>,
    real_links: u32,
    in_upper: bool,
}

impl Overlay {
    /// Removes a name of a file that is no directory.
    pub fn unlink(&self, parent: u64, name: &OsStr) -> Result<()> {
        let parent = self.inode(parent)?;
        self.upper()?;
        let (inode, links) = match self.resolve_living(&parent, name) {
            Some((living, st)) => (living, st.st_nlink),
            None => {
                let found = self.find(&parent, name)?.ok_or(Error::NotFound)?;
                let links = found.real.st.st_nlink;
                (self.adopt(&parent, name, found)?, links)
            }
        };
        if inode.is_dir() {
            return Err(Error::IsDirectory);
        }
        if links > 1 {
            self.copy_up_to_index(&inode)?;
        }
        let dir = self.upper_dir(&parent)?;
        let fd = self.dirs.fd(&dir)?;
        let _ops = inode.lock_ops()?;
        let _entries = parent.lock_entries();
        if !inode.has_name(&parent, name) {
            return Err(Error::Stale);
        }
        let standing = self.standing(&parent, &fd, name)?;
        let farewell = self.prepare_farewell(&inode, standing)?;
        match standing {
            Standing { in_upper: true, below: true } => self.replace_file_by_whiteout(&fd, name)?,
            Standing { in_upper: true, below: false } => self.remove_name(&fd, name)?,
            Standing { in_upper: false, .. } => self.add_whiteout(&fd, name)?,
        }
        self.note_removed_entry(&parent, name, standing.below)?;
        self.lost_name(farewell, &parent, name)
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, parent: u64, name: &OsStr) -> Result<()> {
        let parent = self.inode(parent)?;
        self.upper()?;
        let inode = self.resolve(&parent, name)?;
        if !inode.is_dir() {
            return Err(Error::NotDirectory);
        }
        let dir = self.upper_dir(&parent)?;
        let fd = self.dirs.fd(&dir)?;
        let _ops = inode.lock_ops()?;
        let _entries = lock_entries_pair(&inode, Some(&parent));
        if !inode.has_name(&parent, name) {
            return Err(Error::Stale);
        }
        if !self.is_empty(&inode)? {
            return Err(Error::NotEmpty);
        }
        let last = self.attr(&inode)?;
        let standing = self.standing(&parent, &fd, name)?;
        match standing {
            Standing { in_upper: true, below: true } => self.replace_dir_by_whiteout(&fd, name)?,
            Standing { in_upper: true, below: false } => self.remove_dir(&fd, name)?,
            Standing { in_upper: false, .. } => self.add_whiteout(&fd, name)?,
        }
        self.note_removed_entry(&parent, name, standing.below)?;
        self.dir_removed(&inode, last)
    }

    /// The directory is gone; those who hold it open see it empty.
    pub(super) fn dir_removed(&self, inode: &Inode, last: super::attr::Attr) -> Result<()> {
        inode.with_dir_mut(|dir| {
            if let Some(upper) = dir.upper() {
                upper.dir.removed();
            }
            dir.removed = Some(Box::new(super::attr::Attr { nlink: 0, ..last }));
            dir.index = None;
        })
    }

    /// Removes a directory of the upper that is empty but for whiteouts.
    fn remove_dir(&self, fd: &OwnedFd, name: &OsStr) -> Result<()> {
        match fs::unlinkat(fd, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => self.take_away(fd, name),
            other => Ok(other?),
        }
    }

    /// Where a visible name stands, told by the merged index where there are several layers.
    pub(super) fn standing(&self, parent: &Inode, dir: &OwnedFd, name: &OsStr) -> Result<Standing> {
        if parent.with_dir(|d| d.sources.len())? < 2 {
            return Ok(Standing { in_upper: true, below: false });
        }
        let index = self.index_of(parent)?;
        let entry = index.lock().get(name).map(|e| (e.in_upper(), e.below));
        match entry {
            Some((true, below)) => Ok(Standing { in_upper: true, below }),
            Some((false, _)) => Ok(Standing { in_upper: false, below: true }),
            None => {
                let in_upper = fs::lstatat(dir, name).is_ok();
                if in_upper { Ok(Standing { in_upper, below: false }) } else { Err(Error::NotFound) }
            }
        }
    }

    /// Holds on to a file before one of its names goes.
    pub(super) fn prepare_farewell(&self, inode: &Arc<Inode>, standing: Standing) -> Result<Farewell> {
        let access = self.access_held(inode)?;
        let indexed = self.indexed(inode).is_some();
        let real_links = if indexed { 0 } else { access.stat()?.st_nlink as u32 };
        let (known, held) = {
            let state = inode.state.read();
            (state.names().len(), state.file.as_ref().and_then(|file| file.held.clone()))
        };
        let held = match &access {
            Access::Fd(fd)
                if standing.in_upper && !indexed && held.is_none() && (real_links <= 1 || known <= 1) =>
            {
                Some(self.held.hold(fd.clone(), &self.upper()?.work)?)
            }
            _ => held,
        };
        Ok(Farewell { inode: inode.clone(), held, real_links, in_upper: standing.in_upper })
    }

    /// The name is gone: counts the links that are left.
    pub(super) fn lost_name(&self, farewell: Farewell, parent: &Inode, name: &OsStr) -> Result<()> {
        let inode = &farewell.inode;
        let named = inode.state.write().drop_name(parent, name);
        if self.indexed(inode).is_some() {
            return self.links_changed(inode, -1);
        }
        if farewell.in_upper {
            let last = farewell.real_links <= 1;
            if last || !named {
                inode.with_file_mut(|file| {
                    file.unlinked = last;
                    file.held = farewell.held;
                });
            }
        } else if !inode.is_upper() {
            self.lost_lower_name(inode, farewell.real_links);
        }
        Ok(())
    }

    /// A file of a lower has one visible name less.
    fn lost_lower_name(&self, inode: &Inode, links: u32) {
        let lost = {
            let mut lost = self.lost_links.entry(inode.ino).or_insert(0);
            *lost += 1;
            *lost
        };
        if lost >= links {
            self.lost_links.remove(&inode.ino);
            inode.with_file_mut(|file| {
                file.unlinked = true;
                file.nlink = Some(0);
            });
        }
    }

    /// Whether nothing is visible in a directory.
    pub(super) fn is_empty(&self, inode: &Inode) -> Result<bool> {
        let sources = inode.sources()?;
        if let [only] = &sources[..] {
            return self.is_source_empty(only);
        }
        Ok(self.index_of(inode)?.lock().is_empty())
    }

    /// Whether one real directory holds nothing but whiteouts.
    fn is_source_empty(&self, source: &Source) -> Result<bool> {
        let fd = self.dirs.fd(&source.dir)?;
        let names = Access::of_dir(fd.clone()).as_owner(|| {
            let mut names = Vec::new();
            dir::read_from(fd.as_fd(), 0, |name, _, file_type, _| {
                names.push((name.to_os_string(), file_type));
                // Going on pays only while what was seen may turn out to be a whiteout.
                match file_type {
                    fs::FileType::CharacterDevice | fs::FileType::Unknown => true,
                    fs::FileType::RegularFile => source.file_whiteouts || is_reserved(name),
                    _ => false,
                }
            })?;
            Ok(names)
        })?;
        for (name, file_type) in names {
            if is_reserved(&name) {
                continue;
            }
            let kind = listed_kind(file_type);
            if !matches!(kind, None | Some(Kind::Char | Kind::File)) {
                return Ok(false);
            }
            let st = fs::lstatat(&*fd, &name)?;
            let access = Access::At(fd.clone(), name.as_os_str().into());
            let marked =
                source.file_whiteouts && st.st_size == 0 && marks::is_whiteout_file(access.xattrs())?;
            if !marks::is_whiteout_device(&st) && !marked {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the whiteouts from a directory of the upper that shows nothing; it hides the lowers before.
    pub(super) fn clear_whiteouts(&self, inode: &Inode) -> Result<()> {
        let Some(upper) = inode.source_in(UPPER) else { return Ok(()) };
        let fd = self.dirs.fd(&upper)?;
        if inode.with_dir(|d| d.sources.len())? > 1 {
            marks::write_opaque(&fd, self.upper()?.features.marks)?;
            inode.with_dir_mut(|d| {
                d.sources.truncate(1);
                d.index = None;
            })?;
        }
        for entry in dir::read_all(fd.as_fd())? {
            self.remove_name(&fd, &entry.name)?;
        }
        Ok(())
    }
}
