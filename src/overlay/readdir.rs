//! Listing directories of the view.
//!
//! A directory of one layer is listed straight from it, at the positions the real file system gives. A merged
//! one is listed from its index.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::format::whiteout;
use crate::sys::fs::{self, FileType};
use crate::sys::{Errno, dir};

use super::access::Access;
use super::attr::Kind;
use super::dir_index::{DirIndex, Place};
use super::error::{Error, Result};
use super::inode::Inode;
use super::lookup::Entry;
use super::marks;
use super::merge::{Listed, Merge};
use super::patience::Patience;
use super::real_dir::{LayerNo, UPPER};
use super::state::Source;
use super::union::Overlay;

/// One line of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The name.
    pub name: OsString,
    /// The inode number.
    pub ino: u64,
    /// The type.
    pub kind: Kind,
    /// The position behind this entry: where a later reading goes on.
    pub next: u64,
}

/// Positions of `.` and `..`, which no real directory gives.
const DOT: u64 = 1 << 62 | 1;
const DOT_DOT: u64 = 1 << 62 | 2;
/// How many entries are gathered at once.
const BATCH: usize = 256;
/// How many entries a thread with little time reads to make the index of a directory.
const SHORT_LISTING: usize = 2000;

impl Overlay {
    /// Lists a directory from a position on (0: from the beginning). `take` is given the entries one by one and
    /// returns `false` when it has no room for the one it was given.
    pub fn list(&self, node: u64, from: u64, mut take: impl FnMut(Line) -> bool) -> Result<()> {
        let inode = self.inode(node)?;
        if !inode.is_dir() {
            return Err(Error::NotDirectory);
        }
        let mut position = from;
        if from == 0 || from == DOT {
            if from == 0 && !take(dot(".", inode.ino, DOT)) {
                return Ok(());
            }
            let parent = inode.location().map_or(inode.ino, |(parent, _)| parent.ino);
            if !take(dot("..", parent, DOT_DOT)) {
                return Ok(());
            }
            position = DOT_DOT;
        }
        if position == DOT_DOT {
            position = 0;
        }
        loop {
            let lines = self.batch(&inode, position)?;
            let Some(last) = lines.last() else { return self.listed_to_the_end(&inode) };
            position = last.next;
            for line in lines {
                if !take(line) {
                    return Ok(());
                }
            }
        }
    }

    /// Looks up a name that a listing of the directory has just shown, counting a lookup for the kernel; `None`
    /// where it is gone.
    pub fn lookup_listed(&self, parent: u64, name: &OsStr) -> Result<Option<Entry>> {
        match self.lookup(parent, name) {
            Err(Error::NotFound) => Ok(None),
            other => other,
        }
    }

    /// The next entries of a directory; none at its end.
    fn batch(&self, inode: &Arc<Inode>, position: u64) -> Result<Vec<Line>> {
        if inode.is_unlinked() {
            return Ok(Vec::new());
        }
        let sources = inode.sources()?;
        match &sources[..] {
            [only] if only.dir.layer == UPPER || self.stack.upper.is_none() => {
                self.batch_of_one(inode, only, position)
            }
            // A lower's directory may get an upper part while it is listed; positions must outlast that.
            _ => self.batch_of_index(inode, position),
        }
    }

    /// The index of a lower's directory can be made again with the same positions: it need not be kept.
    fn listed_to_the_end(&self, inode: &Inode) -> Result<()> {
        inode.with_dir_mut(|dir| {
            if dir.sources.len() == 1 {
                dir.index = None;
            }
        })
    }

    fn batch_of_one(&self, inode: &Arc<Inode>, source: &Source, mut position: u64) -> Result<Vec<Line>> {
        // Where a batch holds whiteouts only, the next one may have more.
        for batch in 0.. {
            match self.read_batch(inode, source, position)? {
                (Some(end), lines) if lines.is_empty() => position = end,
                (_, lines) => return Ok(lines),
            }
            if batch >= SHORT_LISTING / BATCH {
                Patience::check_long()?;
            }
        }
        Ok(Vec::new())
    }

    /// The visible ones among the next entries of a real directory, and where these end.
    fn read_batch(
        &self,
        inode: &Arc<Inode>,
        source: &Source,
        position: u64,
    ) -> Result<(Option<u64>, Vec<Line>)> {
        let fd = self.dirs.fd(&source.dir)?;
        let mut read = Vec::new();
        dir::read_from(fd.as_fd(), position, |name, ino, file_type, next| {
            read.push((name.to_os_string(), ino, file_type, next));
            read.len() < BATCH
        })?;
        let end = read.last().map(|(.., next)| *next);
        let mut lines = Vec::with_capacity(read.len());
        for (name, ino, file_type, next) in read {
            if whiteout::is_reserved(&name) {
                continue;
            }
            let access = Access::At(fd.clone(), name.as_os_str().into());
            let Some(Listed::Present(kind, _)) = self.classify(source, &access, file_type)? else { continue };
            let ino = self.listed_number(inode, source.dir.layer, &name, ino)?;
            lines.push(Line { name, ino, kind, next });
        }
        Ok((end, lines))
    }

    fn batch_of_index(&self, inode: &Arc<Inode>, position: u64) -> Result<Vec<Line>> {
        let index = self.index_of(inode)?;
        let entries: Vec<_> = {
            let index = index.lock();
            index.list_from(position).take(BATCH).map(|(next, entry)| (next, entry.clone())).collect()
        };
        let mut lines = Vec::with_capacity(entries.len());
        for (next, entry) in entries {
            let layer = match &entry.place {
                Place::File(layer) => *layer,
                Place::Dirs(layers) => layers.first().copied().unwrap_or(UPPER),
                Place::Whiteout => continue,
            };
            let ino = self.listed_number(inode, layer, &entry.name, entry.real_ino)?;
            lines.push(Line { name: entry.name.to_os_string(), ino, kind: entry.kind, next });
        }
        Ok(lines)
    }

    /// The inode number to list: the real one, unless the upper's file came from a lower.
    fn listed_number(&self, inode: &Arc<Inode>, layer: LayerNo, name: &OsStr, real: u64) -> Result<u64> {
        let impure = layer == UPPER && (real == 0 || inode.with_dir(|d| d.impure)?);
        if impure && let Some(found) = self.find(inode, name)? {
            return Ok(found.ino);
        }
        Ok(self.numbers.shown(self.stack.layer(layer).map_or(0, |l| l.device), real))
    }

    /// Reads and merges the listings of a directory's sources.
    pub(super) fn build_index(&self, sources: &[Source]) -> Result<DirIndex> {
        let mut merge = Merge::default();
        let mut room = if Patience::current() == Patience::Short { SHORT_LISTING } else { usize::MAX };
        for source in sources {
            merge.add(source.dir.layer, self.listing(source, &mut room)?);
        }
        Ok(merge.finish())
    }

    /// What one source says of each name; gives up where it has more entries than `room`, which it takes from.
    fn listing(&self, source: &Source, room: &mut usize) -> Result<Vec<(OsString, Listed)>> {
        let fd = match self.dirs.listing(&source.dir) {
            Err(Errno::ACCESS) => {
                let fd = self.dirs.fd(&source.dir)?;
                Arc::new(Access::of_dir(fd.clone()).as_owner(|| dir::open_listing(&fd))?)
            }
            other => other?,
        };
        let mut listing = Vec::new();
        let entries = dir::read_rest(&fd, *room)?.ok_or(Error::Long)?;
        *room -= entries.len();
        for entry in entries {
            if whiteout::is_reserved(&entry.name) {
                if let Some(hidden) = whiteout::hidden_name(&entry.name) {
                    listing.push((hidden.to_os_string(), Listed::WhiteoutFile));
                }
                continue;
            }
            let access = Access::At(fd.clone(), entry.name.as_os_str().into());
            match self.classify(source, &access, entry.file_type)? {
                Some(Listed::Present(kind, _)) => {
                    listing.push((entry.name, Listed::Present(kind, entry.ino)))
                }
                Some(other) => listing.push((entry.name, other)),
                None => {}
            }
        }
        Ok(listing)
    }

    /// What an entry is; `None` where it went meanwhile. The file itself is asked only where the listing leaves a doubt.
    fn classify(&self, source: &Source, access: &Access, file_type: FileType) -> Result<Option<Listed>> {
        let recorded = self.stack.layer(source.dir.layer).is_some_and(|l| l.override_stat);
        if let Some(kind) = listed_kind(file_type)
            && kind != Kind::Char
            && !(kind == Kind::File && (recorded || source.file_whiteouts))
        {
            return Ok(Some(Listed::Present(kind, 0)));
        }
        let real = match self.real_stat(access, source.dir.layer, None) {
            Ok(real) => real,
            Err(Error::NotFound) => return Ok(None),
            Err(e) => return Err(e),
        };
        let empty = real.kind() == Kind::File && real.st.st_size == 0;
        let is_whiteout = marks::is_whiteout_device(&real.st)
            || (source.file_whiteouts && empty && marks::is_whiteout_file(access.xattrs())?);
        Ok(Some(if is_whiteout { Listed::Whiteout } else { Listed::Present(real.kind(), 0) }))
    }
}

/// `.` or `..`.
fn dot(name: &str, ino: u64, next: u64) -> Line {
    Line { name: name.into(), ino, kind: Kind::Directory, next }
}

/// The type a listing gives, where it gives one.
pub(super) fn listed_kind(file_type: FileType) -> Option<Kind> {
    match file_type {
        FileType::Unknown => None,
        known => Some(Kind::of_mode(fs::FileType::as_raw_mode(known))),
    }
}
