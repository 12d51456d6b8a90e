//! Hard links.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys::Errno;
use crate::sys::fs::{self, AtFlags, RenameFlags};

use super::access::Access;
use super::copy_up::Content;
use super::dir_index::Place;
use super::error::{Error, Result};
use super::inode::Inode;
use super::lookup::Entry;
use super::union::Overlay;

impl Overlay {
    /// Gives a file another name and counts a lookup for the kernel. The file is copied up first.
    pub fn link(&self, node: u64, parent: u64, name: &OsStr) -> Result<Entry> {
        let (inode, parent) = (self.inode(node)?, self.inode(parent)?);
        Self::check_name(name)?;
        if inode.is_dir() {
            return Err(Error::System(Errno::PERM));
        }
        self.copy_up(&inode, Content::AttributesSuffice)?;
        self.keep_data_findable(&inode)?;
        let dir = self.upper_dir(&parent)?;
        let fd = self.dirs.fd(&dir)?;
        let access = self.access(&inode)?;
        {
            let _ops = inode.lock_ops()?;
            let _entries = parent.lock_entries();
            let below = self.publish_link(&access, &parent, &fd, name)?;
            self.links_changed(&inode, 1)?;
            let st = access.stat()?;
            self.note_new_entry(&parent, name, inode.kind, st.st_ino, below)?;
            inode.state.write().add_name(&parent, name);
        }
        if inode.ino != self.numbers.shown(self.upper()?.layer.device, access.stat()?.st_ino) {
            self.mark_impure(&parent)?;
        }
        let attr = self.attr(&inode)?;
        self.table.remember(&inode);
        Ok(Entry { node: inode.node, attr })
    }

    /// Makes the link, over a whiteout where there is one; returns whether a lower has the name too.
    fn publish_link(&self, access: &Access, parent: &Inode, dir: &OwnedFd, name: &OsStr) -> Result<bool> {
        let (mut whiteout, mut below) = (false, false);
        if parent.with_dir(|d| d.sources.len())? > 1 {
            let index = self.index_of(parent)?;
            if let Some(entry) = index.lock().get(name) {
                if entry.place != Place::Whiteout {
                    return Err(Error::Exists);
                }
                (whiteout, below) = (true, entry.below);
            }
        }
        if !whiteout {
            match make_link(access, dir, name) {
                Err(Errno::EXIST) if self.has_whiteout_device(dir, name)? => {}
                Err(Errno::EXIST) => return Err(Error::Exists),
                other => return Ok(other.map(|()| below)?),
            }
        }
        let work = &self.upper()?.work;
        let temporary = work.fresh_name();
        make_link(access, &work.dir, &temporary)?;
        let renamed = fs::renameat_with(&*work.dir, &*temporary, dir, name, RenameFlags::empty());
        renamed.inspect_err(|_| work.discard(&temporary))?;
        self.remove_whiteout_file(dir, name)?;
        Ok(below)
    }
}

/// Links the file at `access` into `dir`.
fn make_link(access: &Access, dir: &OwnedFd, name: &OsStr) -> std::result::Result<(), Errno> {
    match access {
        Access::At(from, old) => fs::linkat(&**from, &**old, dir, name, AtFlags::empty()),
        Access::Fd(fd) | Access::Open(fd) => fs::link_fd(fd.as_fd(), dir.as_fd(), name),
    }
}
