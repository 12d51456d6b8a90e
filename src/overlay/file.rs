//! Content of regular files: opening, reading, writing, syncing, allocating, seeking.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::format::names::Mark;
use crate::format::redirect::Redirect;
use crate::sys::fs::{self, AtFlags, FallocateFlags, Mode, OFlags, StatVfs};
use crate::sys::xattr::setxattr;
use crate::sys::{Errno, dir};

use super::access::Access;
use super::attr::{Attr, Kind, S_ISGID, S_ISUID, S_IXGRP};
use super::copy_up::Content;
use super::error::{Error, Result};
use super::inode::{APART, Inode, NOT_METACOPY};
use super::name::Name;
use super::real_dir::{LayerNo, RealDir, UPPER};
use super::union::Overlay;

/// A real file for the kernel to read and write by itself.
#[derive(Debug)]
pub struct Backing {
    /// The open file.
    pub fd: Arc<OwnedFd>,
    /// Whether it is the upper's, so that it may be written.
    pub upper: bool,
}

impl Backing {
    /// What matters for who may write it; nothing where the file cannot be asked.
    pub fn condition(&self) -> Condition {
        fs::fstat(&*self.fd).map_or_else(
            |_| Condition::default(),
            |st| Condition {
                mtime: Some((st.st_mtime, st.st_mtime_nsec)),
                set_ids: st.st_mode & (S_ISUID | S_ISGID) != 0,
            },
        )
    }
}

/// What is to be known of a file that the kernel writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Condition {
    /// When its content last changed, in seconds and nanoseconds.
    pub mtime: Option<(i64, u64)>,
    /// Whether a write may have to drop set-id bits.
    pub set_ids: bool,
}

/// Whether set-id bits are to be dropped because content changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetIds {
    /// The caller may keep them.
    Keep,
    /// The caller may not.
    Drop,
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
    /// Opens a file for reading as the kernel's backing file.
    pub fn open_for_reading(&self, node: u64) -> Result<Backing> {
        let inode = self.inode(node)?;
        let upper = inode.is_upper();
        let fd = Arc::new(self.open_data(&inode)?);
        // Between the look and the opening a copy-up may have come: then the file opened is the upper's.
        Ok(Backing { fd, upper: upper && inode.knows(NOT_METACOPY) })
    }

    /// Opens a file for writing and reading, copied up first.
    pub fn open_for_writing(&self, node: u64, truncate: bool, ids: SetIds) -> Result<Backing> {
        let inode = self.inode(node)?;
        self.copy_up(&inode, if truncate { Content::Truncated } else { Content::Data })?;
        let fd = Arc::new(self.open_upper(&inode)?);
        if truncate {
            fs::ftruncate(&*fd, 0)?;
            self.drop_set_ids(&inode, ids)?;
        }
        Ok(Backing { fd, upper: true })
    }

    /// Whether the file is still the lower's, so that opening it for writing copies it.
    pub fn is_lower_file(&self, node: u64) -> Result<bool> {
        let inode = self.inode(node)?;
        Ok(!inode.is_upper() || (inode.kind == Kind::File && !inode.knows(NOT_METACOPY)))
    }

    /// Copies a file up for a writer while the inode goes on being the lower file for those who read it:
    /// the name leads to another inode from now on.
    pub fn copy_up_apart(&self, node: u64, truncate: bool) -> Result<()> {
        let inode = self.inode(node)?;
        let (parent, name) = inode.location().ok_or(Error::NotFound)?;
        if inode.is_upper() {
            // Copied up for its attributes alone while it was read: it stays the file its readers know.
            let pinned = self.access(&inode)?.open(OFlags::PATH)?;
            inode.with_file_mut(|file| file.pinned = Some(Arc::new(pinned)));
            inode.learn(APART);
        } else {
            self.copy_up_parents(&inode)?;
        }
        self.table.renumber(inode.ino);
        let apart = self.resolve(&parent, &name)?;
        for (parent, name) in inode.state.read().names() {
            apart.state.write().add_name(&parent, &name);
        }
        let content = if truncate { Content::Truncated } else { Content::Data };
        self.copy_up(&apart, content)?;
        inode.learn(APART);
        Ok(())
    }

    /// The names of a file that has more than one, with the directories' nodes.
    pub fn several_names(&self, node: u64) -> Vec<(u64, OsString)> {
        let names = self.inode(node).map(|inode| inode.state.read().names()).unwrap_or_default();
        let several = names.len() > 1;
        let named = names.into_iter().filter(|_| several);
        named.map(|(parent, name)| (parent.node, name.to_os_string())).collect()
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
        crate::sys::data::write_all(&fd, bytes, offset)?;
        self.drop_set_ids(&inode, ids)
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
        fs::fallocate(&*fd, mode, span.offset, span.length)?;
        self.drop_set_ids(&inode, ids)
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
        let copied = fs::copy_file_range(&*input, Some(&mut read_at), &*output, Some(&mut write_at), length)?;
        self.drop_set_ids(&target, ids)?;
        Ok(copied)
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
            self.table.files.keep(&inode, file.fd, true);
        }
    }

    /// A descriptor to read from, kept for the next time.
    pub(super) fn reader(&self, inode: &Arc<Inode>) -> Result<Arc<OwnedFd>> {
        if let Some(fd) = self.table.files.get(inode, false) {
            return Ok(fd);
        }
        let fd = self.open_data(inode)?;
        Ok(self.table.files.keep(inode, Arc::new(fd), false))
    }

    /// A descriptor to write to, kept for the next time.
    pub(super) fn writer(&self, inode: &Arc<Inode>) -> Result<Arc<OwnedFd>> {
        if let Some(fd) = self.table.files.get(inode, true) {
            return Ok(fd);
        }
        self.copy_up(inode, Content::Data)?;
        let fd = self.open_upper(inode)?;
        Ok(self.table.files.keep(inode, Arc::new(fd), true))
    }

    /// Opens the upper's file for reading and writing, even where its own mode forbids that to its owner.
    pub(super) fn open_upper(&self, inode: &Inode) -> Result<OwnedFd> {
        let access = self.access(inode)?;
        match access.open(OFlags::RDWR) {
            Err(Errno::ACCESS) => {}
            other => return Ok(other?),
        }
        let mode = access.stat()?.st_mode & 0o7777;
        access.chmod(Mode::from_raw_mode(mode | 0o600))?;
        let opened = access.open(OFlags::RDWR);
        access.chmod(Mode::from_raw_mode(mode))?;
        Ok(opened?)
    }

    /// Opens the file that holds the data, for reading.
    fn open_data(&self, inode: &Arc<Inode>) -> Result<OwnedFd> {
        if inode.kind != Kind::File {
            return Err(if inode.is_dir() { Error::IsDirectory } else { Error::System(Errno::NXIO) });
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
        let known = inode.state.read().file.as_ref().and_then(|f| f.data.clone());
        if known.is_some() {
            return Ok(known);
        }
        let layer: LayerNo = inode.state.read().layer;
        let marks = self.marks_in(layer, access)?;
        if !marks.metacopy {
            inode.learn(NOT_METACOPY);
            return Ok(None);
        }
        if marks.damage.is_some() {
            return Err(Error::DamagedLayer);
        }
        let redirect = marks.redirect;
        let (parent, name) = inode.location().ok_or(Error::DamagedLayer)?;
        let place = self.find_data(&parent.sources()?, layer, &name, redirect.as_ref())?;
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

    /// Drops the set-id bits of a file whose content was changed by one who may not keep them.
    pub(super) fn drop_set_ids(&self, inode: &Inode, ids: SetIds) -> Result<()> {
        if ids == SetIds::Keep {
            return Ok(());
        }
        let access = self.access(inode)?;
        let real = self.real_stat(&access, UPPER, Some(inode.kind))?;
        let mode = real.perm();
        let group = if mode & S_IXGRP != 0 { S_ISGID } else { 0 };
        let left = mode & !(S_ISUID | group);
        if left != mode {
            self.store_mode(&access, &real, left, inode.kind)?;
        }
        Ok(())
    }

    /// Removes a name of the upper.
    pub(super) fn remove_name(&self, dir: &OwnedFd, name: &std::ffi::OsStr) -> Result<()> {
        Ok(fs::unlinkat(dir, name, AtFlags::empty())?)
    }
}
