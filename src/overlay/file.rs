//! Content of regular files: opening, reading, writing, syncing, allocating, seeking.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::format::names::Mark;
use crate::format::redirect::Redirect;
use crate::sys::fs::{self, AtFlags, FallocateFlags, OFlags, StatVfs};
use crate::sys::xattr::setxattr;
use crate::sys::{Errno, dir};

use super::access::Access;
use super::attr::{Attr, Kind, S_ISGID, S_ISUID, S_IXGRP};
use super::caller::Caller;
use super::copy_up::Content;
use super::error::{Error, Result};
use super::inode::{Inode, KERNEL_WRITES, NOT_METACOPY};
use super::name::Name;
use super::object::Object;
use super::real_dir::{RealDir, UPPER};
use super::union::Overlay;

/// A real file for the kernel to read and write by itself.
#[derive(Debug)]
pub struct Backing {
    /// The open file.
    pub fd: Arc<OwnedFd>,
}

/// What a descriptor for the content of an inode was opened for: the inode may be copied up, or its data completed,
/// before the descriptor is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ContentId {
    object: Object,
    is_complete: bool,
}

impl ContentId {
    fn of(inode: &Inode) -> ContentId {
        ContentId { object: inode.object(), is_complete: inode.knows(NOT_METACOPY) }
    }
}

/// Whether set-id bits are to be dropped because content changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetIds {
    /// The caller may keep them.
    Keep,
    /// This caller may not.
    Drop(Caller),
}

/// A span within a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Overlay {
    /// Opens a file that may be the kernel's backing file for as long as it is open, for reading: one of the upper that holds
    /// its own data, or any in a union that cannot copy it up. `None` for others.
    pub fn open_backing(&self, node: u64) -> Result<Option<Backing>> {
        let inode = self.inode(node)?;
        if inode.kind != Kind::File {
            return Err(not_a_file(&inode));
        }
        let stays = self.stack.upper.is_none() || (inode.is_upper() && inode.knows(NOT_METACOPY));
        if !stays {
            return Ok(None);
        }
        if let Some(fd) = self.table.files.get(&inode, true) {
            return Ok(Some(Backing { fd }));
        }
        Ok(Some(Backing { fd: Arc::new(self.open_data(&inode)?) }))
    }

    /// Whether the file system of a file takes direct I/O.
    ///
    /// # Errors
    /// `EINVAL` where it does not.
    pub fn check_direct_io(&self, node: u64) -> Result<()> {
        let inode = self.inode(node)?;
        Ok(self.access(&inode)?.open(OFlags::RDONLY | OFlags::DIRECT).map(drop)?)
    }

    /// Copies a file up for a writer, and cuts it to nothing where it is to be.
    pub fn prepare_writing(&self, node: u64, truncate: bool, ids: SetIds) -> Result<()> {
        let inode = self.inode(node)?;
        self.copy_up(&inode, if truncate { Content::Truncated } else { Content::Data })?;
        if truncate {
            let fd = Arc::new(self.open_upper(&inode)?);
            self.drop_set_ids(&inode, &fd, ids)?;
            fs::ftruncate(&*fd, 0)?;
        }
        Ok(())
    }

    /// Whether the file lies in the upper.
    pub fn is_upper(&self, node: u64) -> Result<bool> {
        Ok(self.inode(node)?.is_upper())
    }

    /// The kernel is given the file to write by itself.
    pub fn kernel_writes(&self, node: u64) {
        if let Ok(inode) = self.inode(node) {
            inode.learn(KERNEL_WRITES);
        }
    }

    /// Whether the kernel may still write a file by itself. A mapping outlives the handle that it was made through, and
    /// nothing is heard of it: the file system below is asked whether anybody has the file open for writing.
    pub fn may_kernel_write(&self, node: u64) -> bool {
        let Ok(inode) = self.inode(node) else { return false };
        if !inode.knows(KERNEL_WRITES) {
            return false;
        }
        // Before asking, so that what is opened meanwhile is not forgotten.
        inode.unlearn(KERNEL_WRITES);
        self.table.files.close(&inode);
        let asked = self.open_data(&inode).and_then(|fd| Ok(fs::is_open_for_writing(fd)?));
        let written = asked.unwrap_or_else(|e| {
            log::debug!("whether inode {node} is written: {e}");
            true
        });
        if written {
            inode.learn(KERNEL_WRITES);
        }
        written
    }

    /// Copies a file up as far as a new size needs it.
    pub fn prepare_resizing(&self, node: u64, size: u64) -> Result<()> {
        let inode = self.inode(node)?;
        self.copy_up(&inode, if size == 0 { Content::Truncated } else { Content::Data }).map(drop)
    }

    /// When the content of a file changed last, in seconds and nanoseconds.
    pub fn content_changed(&self, node: u64) -> Result<(i64, u64)> {
        let (st, _) = self.stat(&*self.inode(node)?)?;
        Ok((st.st_mtime, st.st_mtime_nsec))
    }

    /// Drops the set-id bits of a file of the upper that somebody wrote who may not keep them.
    pub fn drop_set_ids_of(&self, node: u64, ids: SetIds) -> Result<()> {
        let inode = self.inode(node)?;
        let fd = Arc::new(self.open_upper(&inode)?);
        self.drop_set_ids(&inode, &fd, ids)
    }

    /// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
    pub fn read(&self, node: u64, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let inode = self.inode(node)?;
        let fd = self.reader(&inode)?;
        let mut filled = 0;
        while filled < buffer.len() {
            match fs::pread(&*fd, &mut buffer[filled..], offset + filled as u64) {
                // A regular file gives less than asked for at its end only.
                Ok(n) if n < buffer.len() - filled => return Ok(filled + n),
                Ok(n) => filled += n,
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(filled)
    }

    /// Writes all of `bytes`, the file copied up first.
    pub fn write(&self, node: u64, offset: u64, bytes: &[u8], ids: SetIds) -> Result<()> {
        let inode = self.inode(node)?;
        let fd = self.writer(&inode)?;
        self.drop_set_ids(&inode, &fd, ids)?;
        Ok(crate::sys::data::write_all(&fd, bytes, offset)?)
    }

    /// Brings the file's content, and unless `data_only` its attributes, to disk.
    pub fn fsync(&self, node: u64, data_only: bool) -> Result<()> {
        let inode = self.inode(node)?;
        if self.config.volatile || !inode.is_upper() {
            return Ok(());
        }
        let fd = self.reader(&inode)?;
        let _: () = if data_only { fs::fdatasync(&*fd)? } else { fs::fsync(&*fd)? };
        Ok(())
    }

    /// Brings a directory's entries to disk.
    pub fn fsync_dir(&self, node: u64) -> Result<()> {
        let inode = self.inode(node)?;
        if self.config.volatile || !inode.is_upper() || inode.is_unlinked() {
            return Ok(());
        }
        let upper = inode.source_in(UPPER).ok_or(Error::NotDirectory)?;
        Ok(fs::fsync(dir::open_listing(&*self.dirs.fd(&upper)?)?)?)
    }

    /// `fallocate(2)`, the file copied up first; `mode` as there.
    pub fn fallocate(&self, node: u64, span: Span, mode: i32, ids: SetIds) -> Result<()> {
        let inode = self.inode(node)?;
        let fd = self.writer(&inode)?;
        let mode = FallocateFlags::from_bits_retain(mode as u32);
        self.drop_set_ids(&inode, &fd, ids)?;
        Ok(fs::fallocate(&*fd, mode, span.offset, span.length)?)
    }

    /// `lseek(2)` with `SEEK_DATA` or `SEEK_HOLE`.
    pub fn lseek(&self, node: u64, offset: i64, whence: i32) -> Result<i64> {
        let inode = self.inode(node)?;
        let fd = self.reader(&inode)?;
        Ok(fs::lseek(fd.as_fd(), offset, whence)?)
    }

    /// `copy_file_range(2)` between two files of the view; returns the bytes copied.
    pub fn copy_file_range(
        &self,
        from: (u64, u64),
        to: (u64, u64),
        length: u64,
        ids: SetIds,
    ) -> Result<usize> {
        let (source, target) = (self.inode(from.0)?, self.inode(to.0)?);
        let output = self.writer(&target)?;
        let input = self.reader(&source)?;
        let (mut read_at, mut write_at) = (from.1, to.1);
        let length = length.min(1 << 30) as usize;
        self.drop_set_ids(&target, &output, ids)?;
        Ok(fs::copy_file_range(&*input, Some(&mut read_at), &*output, Some(&mut write_at), length)?)
    }

    /// The target of a symbolic link.
    pub fn readlink(&self, node: u64) -> Result<Vec<u8>> {
        let inode = self.inode(node)?;
        if inode.kind != Kind::Symlink {
            return Err(Error::Invalid);
        }
        Ok(self.access(&inode)?.link_target()?)
    }

    /// Sizes and counts of the file system that new files go to.
    pub fn statfs(&self) -> Result<StatVfs> {
        let top = self.stack.layers().next().ok_or(Error::NotFound)?;
        Ok(fs::fstatvfs(&*self.dirs.fd(&top.root)?)?)
    }

    /// Keeps a file that was just made open for the writes that follow.
    pub fn keep_open(&self, node: u64, file: Backing) {
        // Without the inode there is nobody to keep it for.
        if let Ok(inode) = self.inode(node) {
            self.table.files.keep(&inode, file.fd, true, || true);
        }
    }

    /// A descriptor to read from, kept for the next time.
    pub(super) fn reader(&self, inode: &Arc<Inode>) -> Result<Arc<OwnedFd>> {
        if let Some(fd) = self.table.files.get(inode, false) {
            return Ok(fd);
        }
        let content = ContentId::of(inode);
        let fd = self.open_data(inode)?;
        Ok(self.table.files.keep(inode, Arc::new(fd), false, || content == ContentId::of(inode)))
    }

    /// A descriptor to write to, kept for the next time.
    pub(super) fn writer(&self, inode: &Arc<Inode>) -> Result<Arc<OwnedFd>> {
        if let Some(fd) = self.table.files.get(inode, true) {
            return Ok(fd);
        }
        self.copy_up(inode, Content::Data)?;
        let content = ContentId::of(inode);
        let fd = self.open_upper(inode)?;
        Ok(self.table.files.keep(inode, Arc::new(fd), true, || content == ContentId::of(inode)))
    }

    /// Opens the upper's file for reading and writing, even where its own mode forbids that to its owner.
    pub(super) fn open_upper(&self, inode: &Inode) -> Result<OwnedFd> {
        let access = self.access(inode)?;
        Ok(access.as_owner(|| access.open(OFlags::RDWR))?)
    }

    /// Opens the file that holds the data, for reading.
    fn open_data(&self, inode: &Arc<Inode>) -> Result<OwnedFd> {
        if inode.kind != Kind::File {
            return Err(not_a_file(inode));
        }
        let access = self.access(inode)?;
        match self.open_lower_data(inode, &access) {
            Err(Error::System(Errno::ACCESS)) if inode.is_upper() => self.open_upper(inode),
            other => other,
        }
    }

    /// Opens for reading the data of the file at `access`, which may be a metadata copy.
    pub(super) fn open_lower_data(&self, inode: &Inode, access: &Access) -> Result<OwnedFd> {
        match self.data_place(inode, access)? {
            None => Ok(access.open(OFlags::RDONLY)?),
            Some((dir, name)) => Ok(Access::At(self.dirs.fd(&dir)?, name).open(OFlags::RDONLY)?),
        }
    }

    /// Where the data lies if the file at `access` is a metadata copy.
    pub(super) fn data_place(&self, inode: &Inode, access: &Access) -> Result<Option<(Arc<RealDir>, Name)>> {
        if inode.knows(NOT_METACOPY) {
            return Ok(None);
        }
        let (known, object, layer) = {
            let state = inode.state.read();
            (state.file.as_ref().and_then(|f| f.data.clone()), state.object, state.layer)
        };
        if known.is_some() {
            return Ok(known);
        }
        let marks = self.marks_in(layer, access)?;
        if !marks.metacopy {
            inode.learn_of(object, NOT_METACOPY);
            return Ok(None);
        }
        if marks.damage.is_some() {
            return Err(Error::DamagedLayer);
        }
        let (parent, name) = inode.location().ok_or(Error::DamagedLayer)?;
        let place = self.find_data(&parent.sources()?, layer, &name, marks.redirect.as_ref())?;
        inode.with_file_mut(|file| file.data = Some(place.clone()));
        Ok(Some(place))
    }

    /// Counts the blocks of the data for a file whose own inode holds (nearly) none.
    pub(super) fn count_data_blocks(&self, inode: &Inode, attr: &mut Attr) {
        if inode.kind != Kind::File || attr.blocks * 512 >= attr.size || inode.knows(NOT_METACOPY) {
            return;
        }
        let blocks = self.access(inode).and_then(|access| {
            let Some((dir, name)) = self.data_place(inode, &access)? else { return Ok(attr.blocks) };
            Ok(Access::At(self.dirs.fd(&dir)?, name).stat()?.st_blocks as u64)
        });
        match blocks {
            Ok(blocks) => attr.blocks = blocks,
            Err(e) => log::debug!("blocks of inode {}: {e}", inode.ino),
        }
    }

    /// Marks a metadata copy that finds its data by its name or by a sibling's, as the kernel makes them, with the
    /// whole way to the data: it is about to get another name.
    pub(super) fn keep_data_findable(&self, inode: &Inode) -> Result<()> {
        if inode.kind != Kind::File || inode.knows(NOT_METACOPY) {
            return Ok(());
        }
        let access = self.access(inode)?;
        let Some(mark) = self.mark_name(Mark::Redirect) else { return Ok(()) };
        if self.data_place(inode, &access)?.is_none() {
            return Ok(());
        }
        let path = match self.marks_in(UPPER, &access)?.redirect {
            Some(Redirect::Absolute(_)) => return Ok(()),
            Some(sibling) => {
                let (parent, _) = inode.location().ok_or(Error::NotFound)?;
                sibling.resolve(&self.lower_dir_path(&parent)?)
            }
            None => self.lower_path(inode)?,
        };
        Ok(setxattr(access.xattrs(), mark, &Redirect::Absolute(path).encode(), 0)?)
    }

    /// The names from the lowers' common root to a file, as the lowers alone show it.
    pub(super) fn lower_path(&self, inode: &Inode) -> Result<Vec<OsString>> {
        let (parent, name) = inode.location().ok_or(Error::NotFound)?;
        let mut path = self.lower_dir_path(&parent)?;
        path.push(name.to_os_string());
        Ok(path)
    }

    /// Drops the set-id bits that a change of content by an unprivileged caller takes away, as the kernel decides it
    /// (`setattr_should_drop_suidgid`), from a file open as `fd`; the capabilities go by themselves.
    pub(super) fn drop_set_ids(&self, inode: &Inode, fd: &Arc<OwnedFd>, ids: SetIds) -> Result<()> {
        let SetIds::Drop(caller) = ids else { return Ok(()) };
        let access = Access::Open(fd.clone());
        let real = self.real_stat(&access, UPPER, Some(inode.kind))?;
        let mode = real.perm();
        let mut left = mode & !S_ISUID;
        if mode & S_ISGID != 0 && (mode & S_IXGRP != 0 || !caller.is_in_group(self.attr_of(inode, &real).gid))
        {
            left &= !S_ISGID;
        }
        if left != mode {
            self.store_mode(&access, &real, left, inode.kind)?;
            self.tell_attributes_changed(inode);
        }
        Ok(())
    }

    /// Removes a name of the upper.
    pub(super) fn remove_name(&self, dir: &OwnedFd, name: &std::ffi::OsStr) -> Result<()> {
        Ok(fs::unlinkat(dir, name, AtFlags::empty())?)
    }
}

/// Why something other than a regular file has no content here.
fn not_a_file(inode: &Inode) -> Error {
    if inode.is_dir() { Error::IsDirectory } else { Error::System(Errno::NXIO) }
}
