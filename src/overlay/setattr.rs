//! Changing attributes: mode, owner, size, times.

use crate::format::override_stat::OverrideStat;
use crate::sys::Errno;
use crate::sys::fs::{self, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::access::Access;
use super::attr::{Attr, Kind, RealStat, S_ISGID, S_ISUID, S_IXGRP, Time};
use super::copy_up::Content;
use super::error::{Error, Result};
use super::file::SetIds;
use super::inode::Inode;
use super::marks;
use super::real_dir::UPPER;
use super::union::Overlay;

/// A time to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// The present.
    Now,
    /// A given time.
    At(Time),
}

/// The attributes to change; `None` leaves one alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changes {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner as shown.
    pub uid: Option<u32>,
    /// Group as shown.
    pub gid: Option<u32>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last access.
    pub atime: Option<SetTime>,
    /// Last change of content.
    pub mtime: Option<SetTime>,
}

impl Overlay {
    /// The attributes of an inode.
    pub fn getattr(&self, node: u64) -> Result<Attr> {
        let inode = self.inode(node)?;
        self.attr(&inode)
    }

    /// Changes attributes, the file copied up first; returns the new ones.
    ///
    /// `ids` tells whether a changed size drops the set-id bits.
    pub fn setattr(&self, node: u64, changes: Changes, ids: SetIds) -> Result<Attr> {
        let inode = self.inode(node)?;
        let content = match changes.size {
            Some(0) => Content::Truncated,
            Some(_) => Content::Data,
            // A metadata copy of that owner would not be one for the next mount.
            None if !self.may_own_marks(changes.uid)? => Content::Data,
            None => Content::AttributesSuffice,
        };
        let copied = self.copy_up(&inode, content)?;
        if let Some(size) = changes.size {
            self.truncate(&inode, size, ids)?;
        }
        let access = copied.map_or_else(|| self.access(&inode), Ok)?;
        // A copy-up in a directory puts its times back, and hides the change.
        let _entries = inode.is_dir().then(|| inode.lock_entries());
        if changes.uid.is_some() || changes.gid.is_some() {
            self.chown(&inode, &access, changes.uid, changes.gid)?;
        }
        if let Some(mode) = changes.mode {
            self.change_mode(&access, mode & 0o7777, inode.kind)?;
        }
        if changes.atime.is_some() || changes.mtime.is_some() {
            let spec = |time| timespec(time);
            let times =
                Timestamps { last_access: spec(changes.atime), last_modification: spec(changes.mtime) };
            access.utimens(&times)?;
        }
        if inode.is_dir() {
            return self.attr(&inode);
        }
        let real = self.real_stat(&access, UPPER, Some(inode.kind))?;
        let mut attr = self.attr_of(&inode, &real);
        self.count_data_blocks(&inode, &mut attr);
        Ok(attr)
    }

    /// Whether a file that is given to this user, as shown, may bear marks.
    fn may_own_marks(&self, uid: Option<u32>) -> Result<bool> {
        let stored = uid.map(|id| self.ids.stored_uid(id)).transpose()?.flatten();
        Ok(stored.is_none_or(|uid| self.config.record_owner || self.believes_marks_of(uid)))
    }

    fn truncate(&self, inode: &std::sync::Arc<Inode>, size: u64, ids: SetIds) -> Result<()> {
        if inode.kind != Kind::File {
            return Err(if inode.is_dir() { Error::IsDirectory } else { Error::Invalid });
        }
        let fd = self.writer(inode)?;
        self.drop_set_ids(inode, &fd, ids)?;
        Ok(fs::ftruncate(&*fd, size)?)
    }

    fn chown(&self, inode: &Inode, access: &Access, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
        let uid = uid.map(|id| self.ids.stored_uid(id)).transpose()?.flatten();
        let gid = gid.map(|id| self.ids.stored_gid(id)).transpose()?.flatten();
        if let Some(uid) = uid
            && inode.is_dir()
            && !self.believes_marks_of(uid)
            && inode.with_dir(|dir| dir.redirect.is_some())?
        {
            // What it shows of the lowers would be gone with the next mount.
            return Err(Error::Unsupported);
        }
        if !self.records(inode.kind) {
            return match access.chown(uid, gid) {
                Err(Errno::PERM) if self.ids.squashes() || self.config.record_owner => Ok(()),
                other => Ok(other?),
            };
        }
        let real = self.real_stat(access, UPPER, Some(inode.kind))?;
        let mut over = self.recorded(&real);
        (over.uid, over.gid) = (uid.unwrap_or(over.uid), gid.unwrap_or(over.gid));
        if inode.kind != Kind::Directory {
            let group = if over.mode & S_IXGRP != 0 { S_ISGID } else { 0 };
            over.mode &= !(S_ISUID | group);
        }
        Ok(marks::write_override(access.xattrs(), &over)?)
    }

    fn change_mode(&self, access: &Access, mode: u32, kind: Kind) -> Result<()> {
        if !self.records(kind) {
            return Ok(access.chmod(Mode::from_raw_mode(mode))?);
        }
        let real = self.real_stat(access, UPPER, Some(kind))?;
        self.store_mode(access, &real, mode, kind)
    }

    /// Sets the permission bits of a file of the upper.
    pub(super) fn store_mode(&self, access: &Access, real: &RealStat, mode: u32, kind: Kind) -> Result<()> {
        if self.records(kind) {
            let over = OverrideStat { mode, ..self.recorded(real) };
            return Ok(marks::write_override(access.xattrs(), &over)?);
        }
        Ok(access.chmod(Mode::from_raw_mode(mode))?)
    }

    /// Whether owner and mode of such a file are recorded in an attribute, which links cannot have.
    pub(super) fn records(&self, kind: Kind) -> bool {
        self.config.record_owner && kind != Kind::Symlink
    }

    /// What is recorded, or would be.
    fn recorded(&self, real: &RealStat) -> OverrideStat {
        real.over.unwrap_or(OverrideStat {
            uid: real.st.st_uid,
            gid: real.st.st_gid,
            mode: real.st.st_mode & 0o7777,
            file_type: None,
        })
    }
}

/// A time for `utimensat`.
fn timespec(time: Option<SetTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(SetTime::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        Some(SetTime::At(time)) => Timespec { tv_sec: time.secs, tv_nsec: time.nanos.into() },
    }
}
