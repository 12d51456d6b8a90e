//! From a name in a directory of the view to the real files behind it: the walk down the stack and its stops.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::format::whiteout;
use crate::sys::Errno;
use crate::sys::fs::{self, Mode, Stat};

use super::access::Access;
use super::attr::{Attr, Kind, RealStat};
use super::config::RedirectDir;
use super::dir_index::{DirIndex, Place};
use super::error::{Error, Result};
use super::inode::{Inode, NO_CAPABILITY, NOT_METACOPY, NewInode};
use super::locate::O_FILEPATH;
use super::marks::{self, Marks, Opaque};
use super::name::Name;
use super::number;
use super::object::Object;
use super::patience::Patience;
use super::real_dir::{LayerNo, RealDir, UPPER};
use super::state::{DirState, FileState, Source, State};
use super::union::Overlay;

/// How often a file is looked for anew that is moved meanwhile.
const MOVES: usize = 8;
/// The longest name of the file systems that layers lie on, in bytes.
const NAME_MAX: usize = 255;

/// An inode that was handed to the kernel, with what the kernel may remember of it.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// The kernel's number.
    pub node: u64,
    /// Its attributes.
    pub attr: Attr,
}

/// What a name was found to be.
#[derive(Debug)]
pub(super) struct Found {
    /// The attributes of the file, of the top directory where several merge.
    pub real: RealStat,
    /// The inode number to show.
    pub ino: u64,
    /// The layer of the file, or of the top directory.
    pub layer: LayerNo,
    /// The real directories, top first; empty for other files.
    pub sources: Vec<Source>,
    /// Marks of an upper file.
    pub marks: Marks,
    /// The name in the index of hard links that stands for the file.
    pub index_name: Option<Name>,
}

impl Found {
    /// The real file; of several directories the top one.
    pub fn object(&self) -> Object {
        Object::of(&self.real.st)
    }
}

/// A living inode beside what was found.
enum Living {
    /// It is the same file.
    Same(Arc<Inode>),
    /// It is being copied up or renamed, or has just been: then it may be the same file.
    Moving(Arc<Inode>),
    /// There is none.
    None,
}

/// What is asked several times about a name of the upper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// The name.
    Name,
    /// The file that it leads to, held open.
    File,
}

/// What one layer has under a name.
pub(super) enum Seen {
    /// Nothing: the layers below decide.
    Nothing,
    /// A whiteout: the name ends here.
    Whiteout,
    /// Something, reached through this.
    Something(RealStat, Access),
}

impl Overlay {
    /// Looks a name up and counts a lookup for the kernel; `None` where there is no such name.
    pub fn lookup(&self, parent: u64, name: &OsStr) -> Result<Option<Entry>> {
        let parent = self.inode(parent)?;
        match self.find(&parent, name)? {
            None => Ok(None),
            Some(found) => self.hand_out(&parent, name, found).map(Some),
        }
    }

    /// Gives the kernel a reference to what was found.
    pub(super) fn hand_out(&self, parent: &Arc<Inode>, name: &OsStr, found: Found) -> Result<Entry> {
        let (real, layer) = (found.real.clone(), found.layer);
        let inode = self.adopt(parent, name, found)?;
        self.remember(&inode, real, layer)
    }

    /// Gives the kernel a reference to an inode whose file was just looked at.
    pub(super) fn remember(&self, inode: &Arc<Inode>, real: RealStat, layer: LayerNo) -> Result<Entry> {
        let mut attr = self.attr_of(inode, &real);
        if layer != UPPER && inode.is_upper() {
            attr = self.attr(inode)?;
        }
        self.count_data_blocks(inode, &mut attr);
        self.table.remember(inode);
        Ok(Entry { node: inode.node, attr })
    }

    /// The kernel gives back lookups.
    pub fn forget(&self, node: u64, count: u64) {
        if self.table.forget(node, count) {
            self.dirs.drop_dead();
            self.table.trim();
        }
    }

    /// The inode behind a name that must exist.
    pub(super) fn resolve(&self, parent: &Arc<Inode>, name: &OsStr) -> Result<Arc<Inode>> {
        if let Some((living, _)) = self.resolve_living(parent, name) {
            return Ok(living);
        }
        let found = self.find(parent, name)?.ok_or(Error::NotFound)?;
        self.adopt(parent, name, found)
    }

    /// The living inode that a name of the upper leads to, with the attributes of its file: these alone tell which one it
    /// is. `None` where all of it has to be looked up.
    pub(super) fn resolve_living(&self, parent: &Arc<Inode>, name: &OsStr) -> Option<(Arc<Inode>, Stat)> {
        let dir = parent.source_in(UPPER)?;
        let st = fs::lstatat(&*self.dirs.fd(&dir).ok()?, name).ok()?;
        let object = Object::of(&st);
        let number = self.numbers.shown(self.stack.layer(UPPER)?.device, st.st_ino);
        let candidates = [self.table.by_object(object), self.table.by_ino(number)];
        let is_it = |living: &Arc<Inode>| living.object() == object && living.has_name(parent, name);
        let living = candidates.into_iter().flatten().find(is_it)?;
        (!living.is_unlinked()).then_some((living, st))
    }

    /// What a name in a directory is; `None` where nothing is visible.
    pub(super) fn find(&self, parent: &Arc<Inode>, name: &OsStr) -> Result<Option<Found>> {
        if name.len() > NAME_MAX {
            return Err(Error::System(Errno::NAMETOOLONG));
        }
        if whiteout::is_reserved(name) || parent.is_unlinked() {
            return Ok(None);
        }
        // A name stays what it is while its directory's entries are not changed, so that it can be asked for twice. Where
        // they are, what it leads to is held.
        if let Some(version) = parent.entries_version() {
            let found = self.find_as(parent, name, Hold::Name);
            if parent.entries_version() == Some(version) {
                return found;
            }
        }
        self.find_as(parent, name, Hold::File)
    }

    fn find_as(&self, parent: &Arc<Inode>, name: &OsStr, hold: Hold) -> Result<Option<Found>> {
        let sources = parent.sources()?;
        if let [only] = &sources[..] {
            return self.find_in(&sources, &[only.dir.layer], name, hold);
        }
        let index = self.index_of(parent)?;
        let place = index.lock().get(name).map(|entry| entry.place.clone());
        match place {
            None | Some(Place::Whiteout) => Ok(None),
            Some(Place::File(layer)) => self.find_in(&sources, &[layer], name, hold),
            Some(Place::Dirs(layers)) => self.find_in(&sources, &layers, name, hold),
        }
    }

    /// Looks for a name in the sources of the given layers, top first. All but the first of these are known to have a
    /// directory by this name.
    fn find_in(
        &self,
        sources: &[Source],
        layers: &[LayerNo],
        name: &OsStr,
        hold: Hold,
    ) -> Result<Option<Found>> {
        let mut found: Option<Found> = None;
        for source in sources.iter().filter(|s| layers.contains(&s.dir.layer)) {
            let (top, access) = match &found {
                Some(_) => (None, Access::At(self.dirs.fd(&source.dir)?, name.into())),
                None => match self.see(source, name, hold)? {
                    Seen::Nothing => continue,
                    Seen::Whiteout => break,
                    Seen::Something(real, access) if real.kind() != Kind::Directory => {
                        return self.found_file(source, real, &access).map(Some);
                    }
                    Seen::Something(real, access) => (Some(real), access),
                },
            };
            let marks = self.dir_marks(source.dir.layer, &access)?;
            let dir = match &top {
                Some(real) => RealDir::child(&source.dir, name.into(), Object::of(&real.st)),
                None => RealDir::lower_child(&source.dir, name.into()),
            };
            let opaque = marks.opaque;
            let redirect = marks.redirect.clone();
            if let Some(real) = top {
                found = Some(self.found_dir(source, real, marks));
            }
            let Some(found) = &mut found else { break };
            let more_below = layers.last() != Some(&source.dir.layer);
            let ends =
                opaque == Opaque::Yes || (more_below && self.has_opaque_file(source, name, &access)?);
            found.sources.push(Source { dir, file_whiteouts: opaque == Opaque::FileWhiteouts });
            if ends {
                break;
            }
            if let Some(redirect) = redirect {
                found.sources.extend(self.redirected(sources, source.dir.layer, &redirect)?);
                break;
            }
        }
        Ok(found)
    }

    fn has_opaque_file(&self, source: &Source, name: &OsStr, access: &Access) -> Result<bool> {
        match access {
            Access::Fd(dir) => marks::has_opaque_file(dir),
            _ => marks::has_opaque_file_in(&*self.dirs.fd(&source.dir)?, name),
        }
    }

    /// The marks of a directory, redirects only where they are to be followed.
    pub(super) fn dir_marks(&self, layer: LayerNo, access: &Access) -> Result<Marks> {
        let mut marks = self.marks_in(layer, access)?;
        if self.config.redirect_dir == RedirectDir::NoFollow {
            marks.redirect = None;
        }
        Ok(marks)
    }

    /// What one source has under a name.
    pub(super) fn see(&self, source: &Source, name: &OsStr, hold: Hold) -> Result<Seen> {
        let access = match self.entry(source, name, hold) {
            Err(Error::NotFound) => return Ok(Seen::Nothing),
            other => other?,
        };
        let real = match self.real_stat(&access, source.dir.layer, None) {
            Ok(real) => real,
            Err(Error::NotFound) => return Ok(Seen::Nothing),
            Err(e) => return Err(e),
        };
        let empty = real.st.st_size == 0 && real.kind() == Kind::File;
        let is_whiteout = marks::is_whiteout_device(&real.st)
            || (source.file_whiteouts && empty && marks::is_whiteout_file(access.xattrs())?);
        Ok(if is_whiteout { Seen::Whiteout } else { Seen::Something(real, access) })
    }

    /// A name in one source, or the file itself in the upper, where the name may lead elsewhere a moment later.
    fn entry(&self, source: &Source, name: &OsStr, hold: Hold) -> Result<Access> {
        let fd = self.dirs.fd(&source.dir)?;
        if source.dir.layer != UPPER || hold == Hold::Name {
            return Ok(Access::At(fd, name.into()));
        }
        Ok(Access::Fd(Arc::new(fs::openat(&*fd, name, O_FILEPATH, Mode::empty())?)))
    }

    /// A file that is no directory.
    fn found_file(&self, source: &Source, real: RealStat, access: &Access) -> Result<Found> {
        let layer = source.dir.layer;
        let mut ino = self.shown(layer, &real);
        let mut found =
            Found { real, ino, layer, sources: Vec::new(), marks: Marks::default(), index_name: None };
        if layer == UPPER {
            found.marks = self.marks_in(UPPER, access)?;
            if let Some((device, real)) =
                found.marks.origin.as_ref().and_then(|o| number::of_origin(&self.stack, o))
            {
                ino = self.numbers.shown(device, real);
            }
            found.ino = self.table.by_object(found.object()).map_or(ino, |living| living.ino);
            found.index_name = self.index_name_of(&found);
        } else if found.real.st.st_nlink > 1 {
            self.find_indexed(&mut found, source, access)?;
        }
        Ok(found)
    }

    /// The inode number shown for a file of a layer. What is mounted inside a layer has numbers of another device, which
    /// are often the same: those of the roots of file systems.
    fn shown(&self, layer: LayerNo, real: &RealStat) -> u64 {
        match self.stack.layer(layer) {
            Some(layer) if layer.st_dev != real.st.st_dev => {
                self.numbers.shown_elsewhere(real.st.st_dev, real.st.st_ino)
            }
            layer => self.numbers.shown(layer.map_or(0, |l| l.device), real.st.st_ino),
        }
    }

    /// A directory whose sources are still to be listed.
    fn found_dir(&self, source: &Source, real: RealStat, marks: Marks) -> Found {
        let layer = source.dir.layer;
        let origin = if layer == UPPER { marks.origin.as_ref() } else { None };
        let living = self.table.by_object(Object::of(&real.st)).filter(|living| living.is_dir());
        let ino = match (living, origin.and_then(|o| number::of_origin(&self.stack, o))) {
            (Some(living), _) => living.ino,
            (None, Some((device, number))) => self.numbers.shown(device, number),
            (None, None) => self.shown(layer, &real),
        };
        Found { real, ino, layer, sources: Vec::new(), marks, index_name: None }
    }

    /// Whether a directory holds a `.wh.` file for a name.
    pub(super) fn has_whiteout_file(&self, dir: &OwnedFd, name: &OsStr) -> Result<bool> {
        match fs::lstatat(dir, &whiteout::file_name(name)) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// The merged index of a directory, made at its first use.
    pub(super) fn index_of(&self, inode: &Inode) -> Result<Arc<Mutex<DirIndex>>> {
        loop {
            if let Some(index) = inode.with_dir(|d| d.index.clone())? {
                return Ok(index);
            }
            let _making = inode.lock_indexing()?;
            let (index, sources) = inode.with_dir(|d| (d.index.clone(), d.sources.clone()))?;
            if let Some(index) = index {
                return Ok(index);
            }
            let _work = match Patience::current() {
                Patience::Short => None,
                _ => Some(self.begin_long_work(inode)?),
            };
            let built = Arc::new(Mutex::new(self.build_index(&sources)?));
            let kept = inode.with_dir_mut(|dir| {
                // The directory may have got an upper part meanwhile.
                if dir.sources.len() == sources.len() {
                    dir.index = Some(built.clone());
                }
                dir.index.clone()
            })?;
            if let Some(index) = kept {
                return Ok(index);
            }
        }
    }

    /// The inode for what was found: the living one if it is the same file, otherwise a new one. A rename or copy-up that is
    /// under way is waited for.
    pub(super) fn adopt(&self, parent: &Arc<Inode>, name: &OsStr, mut found: Found) -> Result<Arc<Inode>> {
        for _ in 0..MOVES {
            match self.living(parent, name, &found) {
                Living::Moving(living) => drop(living.lock_ops()?),
                Living::Same(living) => return Ok(self.with_name(living, parent, name, &found)),
                Living::None => match self.insert_found(found.ino, parent, name, &found) {
                    Some(inode) => return Ok(inode),
                    None => continue,
                },
            }
            found = self.find(parent, name)?.ok_or(Error::NotFound)?;
        }
        self.adopt_settled(parent, name, &found)
    }

    /// The same for what nobody can be about to move: a new file, or one whose movers were waited for.
    pub(super) fn adopt_settled(
        &self,
        parent: &Arc<Inode>,
        name: &OsStr,
        found: &Found,
    ) -> Result<Arc<Inode>> {
        loop {
            if let Living::Same(living) = self.living(parent, name, found) {
                return Ok(self.with_name(living, parent, name, found));
            }
            let taken = self.table.by_ino(found.ino).is_some();
            let ino = if taken { self.table.spare_number() } else { found.ino };
            if let Some(inode) = self.insert_found(ino, parent, name, found) {
                if taken {
                    self.table.know_object(found.object(), &inode);
                }
                return Ok(inode);
            }
        }
    }

    /// A new inode with this number; `None` where one with it lives by now.
    fn insert_found(&self, ino: u64, parent: &Arc<Inode>, name: &OsStr, found: &Found) -> Option<Arc<Inode>> {
        self.table.insert(self.new_inode(ino, parent, name, found)).ok()
    }

    /// The living inode that is, or seems to become, the file that was found.
    fn living(&self, parent: &Arc<Inode>, name: &OsStr, found: &Found) -> Living {
        let mut moving = None;
        let candidates = [self.table.by_object(found.object()), self.table.by_ino(found.ino)];
        for living in candidates.into_iter().flatten().filter(|living| living.kind == found.real.kind()) {
            let (same, at_name, is_upper) = {
                let state = living.state.read();
                (state.object == found.object(), state.is_named(parent, name), state.layer == UPPER)
            };
            let removed = living.is_dir() && living.is_unlinked();
            if same && !removed && (at_name || !living.is_dir()) {
                return Living::Same(living);
            }
            if !removed && (same || is_upper != (found.layer == UPPER)) {
                moving = Some(living);
            }
        }
        moving.map_or(Living::None, Living::Moving)
    }

    /// A living inode that was found by a name: a file with several links may be known by one more.
    fn with_name(&self, living: Arc<Inode>, parent: &Arc<Inode>, name: &OsStr, found: &Found) -> Arc<Inode> {
        if !living.is_dir() && !living.has_name(parent, name) && (found.layer == UPPER) == living.is_upper() {
            living.state.write().add_name(parent, name);
        }
        living
    }

    fn new_inode(&self, ino: u64, parent: &Arc<Inode>, name: &OsStr, found: &Found) -> NewInode {
        let kind = found.real.kind();
        let mut known = 0;
        let dir = (kind == Kind::Directory).then(|| {
            let impure = found.marks.impure;
            let redirect = found.marks.redirect.clone().filter(|_| found.layer == UPPER);
            Box::new(DirState { sources: found.sources.clone(), impure, redirect, ..DirState::default() })
        });
        if found.layer == UPPER && !found.marks.metacopy {
            known |= NOT_METACOPY;
        }
        // Of an upper file, found or made, all names of attributes were seen. The kernel asks before each first write.
        if found.layer == UPPER && kind == Kind::File && !found.marks.capability {
            known |= NO_CAPABILITY;
        }
        let file = found.index_name.clone().map(|index_name| {
            let nlink = self.union_links(found);
            Box::new(FileState { index_name: Some(index_name), nlink, ..FileState::default() })
        });
        let (layer, object) = (found.layer, found.object());
        let state = State { parent: Some(parent.clone()), name: name.into(), object, layer, dir, file };
        NewInode { ino, kind, known, state }
    }
}
