//! Copy-up: a file of a lower gets its own copy in the upper before it changes.
//!
//! The copy is prepared in the work directory and published by one link or rename, so that a failure leaves the
//! lower file visible and nothing behind. Parents go first. Only the inode itself is locked.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use parking_lot::RwLockWriteGuard;

use crate::format::names::Mark;
use crate::format::origin::Origin;
use crate::format::override_stat::{OverrideStat, OverrideType};
use crate::format::redirect::Redirect;
use crate::sys::data::{self, WriteOut};
use crate::sys::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags};
use crate::sys::xattr::{Target, getxattr_opt, removexattr, setxattr};
use crate::sys::{Errno, handle};

use super::access::Access;
use super::attr::{Kind, RealStat};
use super::barrier::Barrier;
use super::copy_attributes::{ignore_unsupported, timestamps};
use super::dir_index::Place;
use super::error::{Error, Result};
use super::inode::{Inode, NOT_METACOPY};
use super::marks;
use super::name::Name;
use super::object::Object;
use super::observer::LongWork;
use super::patience::Patience;
use super::real_dir::{LayerNo, RealDir, UPPER};
use super::state::{SideChange, Source, State};
use super::union::{Overlay, device_number};

/// File capabilities, which any write drops.
pub(super) const CAPABILITY: &str = crate::format::capability::NAME;

/// How much of a regular file is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// All of it.
    Data,
    /// All but the data if `metacopy=on`.
    AttributesSuffice,
    /// None: the caller is about to cut the file to nothing.
    Truncated,
}

/// One copy-up under way.
struct CopyUp<'a> {
    overlay: &'a Overlay,
    inode: &'a Arc<Inode>,
    source: Access,
    real: RealStat,
    layer: LayerNo,
    origin: Option<Origin>,
    content: Content,
}

/// A copy that is complete but not yet visible.
struct Prepared {
    /// The copy; of a regular file open for writing.
    file: Arc<OwnedFd>,
    /// Its name in the work directory; none where the file system has unnamed files.
    name: Option<OsString>,
    /// What the inode becomes.
    object: Object,
}

impl Prepared {
    fn new(file: Arc<OwnedFd>, name: Option<OsString>) -> Result<Prepared> {
        let object = Object::of(&fs::fstat(&*file)?);
        Ok(Prepared { file, name, object })
    }
}

impl Overlay {
    /// Makes sure that the file lies in the upper, with as much of its content as asked for. Returns the copy where it was
    /// made just now.
    ///
    /// # Errors
    /// [`Error::ReadOnly`] without an upper; ENOSPC, EIO and other failures leave everything as it was.
    pub(super) fn copy_up(&self, inode: &Arc<Inode>, content: Content) -> Result<Option<Access>> {
        self.upper()?;
        loop {
            if inode.is_upper() {
                self.link_up(inode)?;
                return self.complete_data(inode, content).map(|()| None);
            }
            if !inode.is_nameless() {
                self.copy_up_parents(inode)?;
            }
            if inode.is_dir() {
                // Made while the lower is alone, the index keeps the positions of a listing that is under way.
                self.index_of(inode)?;
            }
            if inode.kind == Kind::File && (content == Content::Data || !self.config.metacopy) {
                // Not for sure yet, but most files are not empty.
                Patience::check_long()?;
            }
            let _ops = inode.lock_ops()?;
            if inode.is_upper() {
                continue;
            }
            if inode.is_nameless() {
                let copy = CopyUp::new(self, inode, content)?;
                let _work = copy.begin_work()?;
                return copy.keep_unnamed().map(|()| None);
            }
            let Some((parent, name)) = inode.location() else { return Err(Error::NotFound) };
            if !parent.is_upper() {
                continue;
            }
            let copy = CopyUp::new(self, inode, content)?;
            let _work = copy.begin_work()?;
            let made = copy.run(&parent, &name)?;
            if inode.indexed_name().is_none() {
                return Ok(Some(made));
            }
            // Its other names follow.
        }
    }

    /// Copies a file of a lower with several links into the index alone, so that the count of its links can be
    /// kept there while one of them goes. Other files are left where they are.
    pub(super) fn copy_up_to_index(&self, inode: &Arc<Inode>) -> Result<()> {
        if !self.config.index || inode.kind != Kind::File || inode.is_nameless() {
            return Ok(());
        }
        let _ops = inode.lock_ops()?;
        if inode.is_upper() {
            return Ok(());
        }
        let copy = CopyUp::new(self, inode, Content::AttributesSuffice)?;
        if copy.index_name().is_none() {
            return Ok(());
        }
        let _work = copy.begin_work()?;
        copy.keep_unnamed()
    }

    /// Copies up the directories above, from the top down.
    pub(super) fn copy_up_parents(&self, inode: &Arc<Inode>) -> Result<()> {
        let mut missing = Vec::new();
        let mut next = inode.location();
        while let Some((parent, _)) = next {
            if parent.is_upper() {
                break;
            }
            next = parent.location();
            missing.push(parent);
        }
        for parent in missing.iter().rev() {
            if parent.is_unlinked() {
                return Err(Error::NotFound);
            }
            self.copy_up(parent, Content::Data)?;
        }
        Ok(())
    }

    /// The part of a directory in the upper, made where it was missing.
    pub(super) fn upper_dir(&self, inode: &Arc<Inode>) -> Result<Arc<RealDir>> {
        if inode.is_unlinked() {
            return Err(Error::NotFound);
        }
        if !inode.is_dir() {
            return Err(Error::NotDirectory);
        }
        self.copy_up(inode, Content::Data)?;
        inode.source_in(UPPER).ok_or(Error::NotFound)
    }

    /// Brings the data to a metadata copy, in place: until its mark is gone the lower's data counts.
    fn complete_data(&self, inode: &Arc<Inode>, content: Content) -> Result<()> {
        if inode.kind != Kind::File || content == Content::AttributesSuffice || inode.knows(NOT_METACOPY) {
            return Ok(());
        }
        let _ops = inode.lock_ops()?;
        let access = self.access_held(inode)?;
        let Some((dir, name)) = self.data_place(inode, &access)? else { return Ok(()) };
        let _work = match content {
            Content::Truncated => None,
            _ => Some(self.begin_long_work(inode)?),
        };
        let upper = access.open(OFlags::RDWR)?;
        let before = fs::fstat(&upper)?;
        if content == Content::Truncated {
            // Before the mark goes: without it the file's zeros would count.
            fs::ftruncate(&upper, 0)?;
        } else {
            let lower = Access::At(self.dirs.fd(&dir)?, name).open(OFlags::RDONLY)?;
            let capability = getxattr_opt(Target::Open(upper.as_fd()), CAPABILITY.as_ref())?;
            data::copy(&lower, &upper, before.st_size as u64, self.writing_out())?;
            if let Some(capability) = capability {
                // Writing dropped it, but so far nobody has written.
                setxattr(Target::Open(upper.as_fd()), CAPABILITY.as_ref(), &capability, 0)?;
            }
            fs::futimens(&upper, &timestamps(&RealStat { st: before, over: None }.times()))?;
            self.pass_barrier(&upper)?;
        }
        for mark in [Mark::Metacopy, Mark::Redirect] {
            let Some(mark) = self.mark_name(mark) else { continue };
            match removexattr(Target::Open(upper.as_fd()), mark) {
                Ok(()) | Err(Errno::NODATA) => {}
                Err(e) => return Err(e.into()),
            }
        }
        inode.learn(NOT_METACOPY);
        inode.with_file_mut(|file| file.data = None);
        self.table.files.close(inode);
        Ok(())
    }

    /// Sees to it that the content of a copy comes to disk before its name does, unless the mount is volatile.
    fn pass_barrier(&self, file: &OwnedFd) -> Result<()> {
        if !self.config.volatile {
            self.upper()?.features.barrier.pass(file)?;
        }
        Ok(())
    }

    /// When the content of a copy begins to go to disk.
    fn writing_out(&self) -> WriteOut {
        if self.config.volatile { WriteOut::Later } else { WriteOut::Early }
    }

    /// The origin mark for a lower file; `None` where its file system has no handles.
    pub(super) fn origin_of(&self, access: &Access, layer: LayerNo) -> Option<Origin> {
        let handle = match access {
            Access::At(dir, name) => handle::name_to_handle_at(dir.as_fd(), name),
            Access::Fd(fd) | Access::Open(fd) => handle::name_to_handle_at(fd.as_fd(), OsStr::new("")),
        };
        let handle = handle.ok()?;
        let uuid = self.stack.layer(layer)?.uuid.unwrap_or_default();
        Some(Origin { kind: u8::try_from(handle.kind).ok()?, uuid, handle: handle.bytes })
    }

    /// Runs `publish`, which adds an entry that is visible already to a directory of the upper, without the directory's
    /// times telling of it. The directory's `entries` are locked.
    pub(super) fn keeping_times(
        &self,
        inode: &Inode,
        dir: &Arc<OwnedFd>,
        publish: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let access = Access::Fd(dir.clone());
        let before = RealStat { st: access.stat()?, over: None }.times();
        publish()?;
        access.utimens(&timestamps(&before))?;
        let [_, _, ctime] = RealStat { st: access.stat()?, over: None }.times();
        inode.with_dir_mut(|dir| {
            let last = dir.side_change.take().filter(|last| last.ctime == before[2]);
            let shown = last.map_or(before[2], |last| last.shown);
            dir.side_change = Some(Box::new(SideChange { ctime, shown }));
        })
    }

    /// Marks a directory of the upper as holding entries whose numbers come from a lower.
    pub(super) fn mark_impure(&self, parent: &Inode) -> Result<()> {
        if parent.with_dir(|dir| dir.impure)? {
            return Ok(());
        }
        if let (Some(name), Some(dir)) = (self.mark_name(Mark::Impure), parent.source_in(UPPER)) {
            let fd = self.dirs.fd(&dir)?;
            setxattr(Target::Fd(fd.as_fd()), name, b"y", 0)?;
        }
        parent.with_dir_mut(|dir| dir.impure = true)
    }
}

impl<'a> CopyUp<'a> {
    fn new(overlay: &'a Overlay, inode: &'a Arc<Inode>, content: Content) -> Result<CopyUp<'a>> {
        let layer = inode.state.read().layer;
        let source = overlay.access_held(inode)?;
        let real = overlay.real_stat(&source, layer, Some(inode.kind))?;
        let origin = overlay.origin_of(&source, layer);
        Ok(CopyUp { overlay, inode, source, real, layer, origin, content })
    }

    /// Says that long work begins where content is copied or synced.
    fn begin_work(&self) -> Result<Option<LongWork<'a>>> {
        if self.inode.kind != Kind::File || self.is_metacopy() {
            return Ok(None);
        }
        let copies = self.content != Content::Truncated && self.real.st.st_size > 0;
        let syncs = !self.overlay.config.volatile && self.overlay.upper()?.features.barrier == Barrier::Sync;
        if copies || syncs { self.overlay.begin_long_work(self.inode).map(Some) } else { Ok(None) }
    }

    /// Prepares, publishes, and lets the inode know.
    fn run(self, parent: &Arc<Inode>, name: &Name) -> Result<Access> {
        let dir = parent.source_in(UPPER).ok_or(Error::NotFound)?;
        let fd = self.overlay.dirs.fd(&dir)?;
        let prepared = self.prepare()?;
        let index_name = self.index_name();
        let _entries = parent.lock_entries();
        // Whoever finds the copy before the inode knows of it waits for us.
        self.overlay.table.know_object(prepared.object, self.inode);
        let published = self.overlay.keeping_times(parent, &fd, || {
            self.overlay.mark_impure(parent)?;
            if let Some(index_name) = &index_name {
                self.overlay.publish_in_index(&prepared.file, index_name, self.links(), 2)?;
            }
            self.publish(&prepared, &fd, name)
        });
        if let Err(e) = published {
            self.overlay.table.unknow_object(prepared.object, self.inode);
            self.discard(&prepared, index_name.as_deref());
            return Err(e);
        }
        self.became_upper(parent, &dir, name, &prepared, index_name);
        Ok(match self.inode.kind {
            Kind::File => Access::Open(prepared.file),
            _ => Access::Fd(prepared.file),
        })
    }

    /// The copy gets no name, or only the one in the index.
    fn keep_unnamed(self) -> Result<()> {
        if self.inode.kind != Kind::File {
            return Err(Error::NotFound);
        }
        let Prepared { file: copy, name, object } = self.prepare_file()?;
        let index_name = self.index_name().filter(|_| !self.inode.is_unlinked());
        let work = &self.overlay.upper()?.work;
        self.overlay.table.know_object(object, self.inode);
        let kept = match &index_name {
            Some(index_name) => {
                self.overlay.publish_in_index(&copy, index_name, self.links(), 1).map(|()| None)
            }
            None => self.overlay.held.hold(copy, work).map(Some),
        };
        if let Some(name) = &name {
            work.discard(name);
        }
        let held = kept.inspect_err(|_| self.overlay.table.unknow_object(object, self.inode))?;
        {
            let mut state = self.become_copy(object);
            let file = state.file.get_or_insert_with(Box::default);
            file.nlink = index_name.as_ref().map(|_| self.links()).or(file.nlink);
            file.held = held;
            file.index_name = index_name;
            file.linked_up = false;
            file.data = None;
        }
        self.overlay.table.files.close(self.inode);
        self.overlay.lost_links.remove(&self.inode.ino);
        Ok(())
    }

    /// Lets the inode know what it is and holds from now on.
    fn become_copy(&self, object: Object) -> RwLockWriteGuard<'_, State> {
        let is_metacopy = self.is_metacopy();
        let mut state = self.inode.state.write();
        (state.layer, state.object) = (UPPER, object);
        if is_metacopy {
            self.inode.unlearn(NOT_METACOPY);
        } else {
            self.inode.learn(NOT_METACOPY);
        }
        state
    }

    /// Whether only attributes are copied.
    fn is_metacopy(&self) -> bool {
        self.inode.kind == Kind::File
            && self.content == Content::AttributesSuffice
            && self.overlay.config.metacopy
            && !self.inode.is_nameless()
            && self.real.over.is_none()
            && self.may_bear_marks()
    }

    /// Whether its marks will be believed once the copy has its owner.
    fn may_bear_marks(&self) -> bool {
        let owner = self.overlay.owner_of_copy(&self.real, self.layer).ok().and_then(|(uid, _)| uid);
        owner.is_none_or(|uid| self.overlay.config.record_owner || self.overlay.believes_marks_of(uid))
    }

    /// Whether the file has other names in the lower that are to stay the same file.
    fn index_name(&self) -> Option<Name> {
        let linked = self.inode.kind == Kind::File && self.links() > 1;
        let origin = self.origin.as_ref().filter(|_| linked && self.overlay.config.index)?;
        Some(origin.index_name().into())
    }

    /// The links of the lower file that are still visible.
    fn links(&self) -> u32 {
        let lost = self.overlay.lost_links.get(&self.inode.ino).map_or(0, |n| *n);
        (self.real.st.st_nlink as u32).saturating_sub(lost)
    }

    fn prepare(&self) -> Result<Prepared> {
        match self.inode.kind {
            Kind::File => self.prepare_file(),
            _ => self.prepare_named(),
        }
    }

    fn prepare_file(&self) -> Result<Prepared> {
        let work = &self.overlay.upper()?.work;
        // Nobody else reaches what has no name, so it can have its mode at once, if its owner can write it so.
        let plain = self.overlay.records(Kind::File) || self.real.perm() & 0o200 == 0;
        let perm = if plain { 0o600 } else { self.real.perm() };
        let (file, name) = match work.unnamed_file(Mode::from_raw_mode(perm)) {
            Ok(file) => (file, None),
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
                let mode = Mode::from_raw_mode(0o600);
                let name = work.fresh_name();
                let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
                (fs::openat(&*work.dir, &*name, flags, mode)?, Some(name))
            }
            Err(e) => return Err(e.into()),
        };
        let file = Arc::new(file);
        if let Err(e) = self.fill_file(&file) {
            name.inspect(|name| work.discard(name));
            return Err(e);
        }
        Prepared::new(file, name)
    }

    fn fill_file(&self, file: &Arc<OwnedFd>) -> Result<()> {
        let size = self.real.st.st_size as u64;
        if self.is_metacopy() {
            fs::ftruncate(file, size)?;
            self.mark_metacopy(file)?;
        } else if self.content != Content::Truncated {
            let lower = self.overlay.open_lower_data(self.inode, &self.source)?;
            data::copy(&lower, file, size, self.overlay.writing_out())?;
        }
        self.copy_attributes(&Access::Open(file.clone()))?;
        if self.is_metacopy() { Ok(()) } else { self.overlay.pass_barrier(file) }
    }

    /// Marks a copy without data, with the way to the data from the lowers' root.
    fn mark_metacopy(&self, file: &OwnedFd) -> Result<()> {
        let (Some(metacopy), Some(redirect)) =
            (self.overlay.mark_name(Mark::Metacopy), self.overlay.mark_name(Mark::Redirect))
        else {
            return Err(Error::Unsupported);
        };
        let path = self.overlay.lower_path(self.inode)?;
        let target = Target::Open(file.as_fd());
        setxattr(target, redirect, &Redirect::Absolute(path).encode(), 0)?;
        Ok(setxattr(target, metacopy, b"", 0)?)
    }

    fn prepare_named(&self) -> Result<Prepared> {
        let work = &self.overlay.upper()?.work;
        let name = work.fresh_name();
        let made = self.make_named(&work.dir, &name).and_then(|()| {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = Arc::new(fs::openat(&*work.dir, &*name, flags, Mode::empty())?);
            self.copy_attributes(&Access::Fd(file.clone()))?;
            Ok(file)
        });
        match made {
            Ok(file) => Prepared::new(file, Some(name)),
            Err(Error::System(Errno::EXIST)) => Err(Error::System(Errno::EXIST)),
            Err(e) => {
                work.discard(&name);
                Err(e)
            }
        }
    }

    fn make_named(&self, work: &OwnedFd, name: &OsStr) -> Result<()> {
        let mode = Mode::from_raw_mode(0o600);
        match self.inode.kind {
            Kind::Directory => fs::mkdirat(work, name, Mode::from_raw_mode(0o700))?,
            Kind::Symlink => {
                let target = self.source.link_target()?;
                fs::symlinkat(std::ffi::CString::new(target).map_err(|_| Error::DamagedLayer)?, work, name)?;
            }
            _ if self.overlay.config.record_owner || self.is_whiteout_like() => {
                fs::mknodat(work, name, FileType::RegularFile, mode, 0)?;
            }
            kind => {
                let file_type = FileType::from_raw_mode(kind.mode_bits());
                fs::mknodat(work, name, file_type, mode, device_number(&self.real))?;
            }
        }
        Ok(())
    }

    /// Whether it is a character device 0:0, for which an empty file stands wherever owners are kept.
    fn is_whiteout_like(&self) -> bool {
        self.inode.kind == Kind::Char && device_number(&self.real) == 0
    }

    /// Owner, mode, attributes and times, in the order in which none of them undoes another.
    fn copy_attributes(&self, copy: &Access) -> Result<()> {
        self.overlay.store_owner(copy, &self.real, self.layer, self.inode.kind)?;
        if self.is_whiteout_like() && !self.overlay.config.record_owner {
            let file_type = Some(OverrideType::Char(0, 0));
            let (uid, gid) = self.real.owner();
            let over = OverrideStat { uid, gid, mode: self.real.perm(), file_type };
            marks::write_stand_in(copy.xattrs(), &over, self.overlay.config.initial_root)?;
        }
        self.overlay.copy_xattrs(self.source.xattrs(), copy.xattrs(), self.layer)?;
        if let (Some(name), Some(origin)) = (self.overlay.mark_name(Mark::Origin), &self.origin) {
            let linked = self.inode.kind != Kind::Directory && self.links() > 1 && !self.overlay.config.index;
            // Without an index the other names stay the lower file: the copy is another one and says so.
            if !linked {
                setxattr(copy.xattrs(), name, &origin.encode(), 0).or_else(ignore_unsupported)?;
            }
        }
        self.overlay.store_copied_mode(copy, &self.real, self.inode.kind)?;
        copy.utimens(&timestamps(&self.real.times()))?;
        Ok(())
    }

    fn publish(&self, prepared: &Prepared, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        match &prepared.name {
            None => Ok(fs::link_fd(prepared.file.as_fd(), dir.as_fd(), name)?),
            Some(temporary) => {
                let work = &self.overlay.upper()?.work;
                Ok(fs::renameat_with(&*work.dir, &**temporary, dir, name, RenameFlags::NOREPLACE)?)
            }
        }
    }

    /// Removes what was prepared and could not be published.
    fn discard(&self, prepared: &Prepared, index_name: Option<&OsStr>) {
        if let (Some(name), Ok(upper)) = (&prepared.name, self.overlay.upper()) {
            upper.work.discard(name);
        }
        if let (Some(name), Some(index)) = (index_name, self.overlay.index_dir())
            && let Err(e) = fs::unlinkat(&*index, name, AtFlags::empty())
        {
            log::debug!("index entry not removed: {e}");
        }
    }

    /// From now on the inode is the copy.
    fn became_upper(
        &self,
        parent: &Inode,
        dir: &Arc<RealDir>,
        name: &Name,
        prepared: &Prepared,
        index_name: Option<Name>,
    ) {
        let Prepared { file, object, .. } = prepared;
        let object = *object;
        // Its own change time is that of the copying, too.
        let made = fs::fstat(&**file).ok().map(|st| RealStat { st, over: None }.times()[2]);
        let mut state = self.become_copy(object);
        if let Some(own) = &mut state.dir {
            let source = Source { dir: RealDir::child(dir, name.clone(), object), file_whiteouts: false };
            own.sources.insert(0, source);
            own.default_acl = None;
            own.side_change =
                made.map(|made| Box::new(SideChange { ctime: made, shown: self.real.times()[2] }));
        }
        if let Some(file) = &mut state.file {
            file.data = None;
        }
        if let Some(index_name) = index_name {
            let links = self.links();
            let file = state.file.get_or_insert_with(Box::default);
            file.index_name = Some(index_name);
            file.nlink = Some(links);
            file.linked_up = file.other_names.is_empty();
        }
        drop(state);
        // After the inode knows its copy: what is opened from now on is that.
        self.overlay.table.files.close(self.inode);
        if self.inode.kind == Kind::File && self.content != Content::AttributesSuffice {
            // Whoever made it be copied is about to write.
            let object_is = || self.inode.object() == object;
            self.overlay.table.files.keep(self.inode, file.clone(), true, object_is);
        }
        // What is left of the lower's count is in the index entry, or no longer counts.
        self.overlay.lost_links.remove(&self.inode.ino);
        let index = parent.with_dir(|d| d.index.clone()).ok().flatten();
        if let Some(index) = index
            && let Some(entry) = index.lock().get_mut(name)
        {
            entry.place = match &entry.place {
                Place::Dirs(layers) => {
                    Place::Dirs([UPPER].into_iter().chain(layers.iter().copied()).collect())
                }
                _ => Place::File(UPPER),
            };
            entry.below = true;
        }
        if self.inode.is_dir() {
            // Its link count, for one; of a file the kernel asks after the request that copied it.
            self.overlay.tell_attributes_changed(self.inode);
        }
    }
}
