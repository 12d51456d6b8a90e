//! From a name in a directory of the view to the real files behind it: the walk down the stack and its stops.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::format::redirect::Redirect;
use crate::format::whiteout;
use crate::sys::{Errno, fs};

use super::access::Access;
use super::attr::{Attr, Kind, RealStat};
use super::config::RedirectDir;
use super::dir_index::{DirIndex, Place};
use super::error::{Error, Result};
use super::inode::{APART, DirState, FileState, Inode, NO_CAPABILITY, NOT_METACOPY, NewInode, Source, State};
use super::marks::{self, Marks, Opaque};
use super::name::Name;
use super::number;
use super::real_dir::{LayerNo, RealDir, UPPER};
use super::union::Overlay;

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

/// What one layer has under a name.
enum Seen {
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
        let mut attr = self.attr_of(&inode, &real);
        if layer != UPPER && inode.is_upper() {
            attr = self.attr(&inode)?;
        }
        self.count_data_blocks(&inode, &mut attr);
        self.table.remember(&inode);
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
        let found = self.find(parent, name)?.ok_or(Error::NotFound)?;
        self.adopt(parent, name, found)
    }

    /// What a name in a directory is; `None` where nothing is visible.
    pub(super) fn find(&self, parent: &Arc<Inode>, name: &OsStr) -> Result<Option<Found>> {
        if name.len() > NAME_MAX {
            return Err(Error::System(Errno::NAMETOOLONG));
        }
        if whiteout::is_reserved(name) || parent.is_unlinked() {
            return Ok(None);
        }
        let sources = parent.sources()?;
        if let [only] = &sources[..] {
            return self.find_in(&sources, &[only.dir.layer], name);
        }
        let index = self.index_of(parent)?;
        let place = index.lock().get(name).map(|entry| entry.place.clone());
        match place {
            None | Some(Place::Whiteout) => Ok(None),
            Some(Place::File(layer)) => self.find_in(&sources, &[layer], name),
            Some(Place::Dirs(layers)) => self.find_in(&sources, &layers, name),
        }
    }

    /// Looks for a name in the sources of the given layers, top first. All but the first of these are known to have a
    /// directory by this name.
    fn find_in(&self, sources: &[Source], layers: &[LayerNo], name: &OsStr) -> Result<Option<Found>> {
        let mut found: Option<Found> = None;
        for source in sources.iter().filter(|s| layers.contains(&s.dir.layer)) {
            let (top, access) = match &found {
                Some(_) => (None, Access::At(self.dirs.fd(&source.dir)?, name.into())),
                None => match self.see(source, name)? {
                    Seen::Nothing => continue,
                    Seen::Whiteout => break,
                    Seen::Something(real, access) if real.kind() != Kind::Directory => {
                        return self.found_file(source, real, &access).map(Some);
                    }
                    Seen::Something(real, access) => (Some(real), access),
                },
            };
            let marks = self.dir_marks(source.dir.layer, &access)?;
            let dir = RealDir::child(&source.dir, name.into());
            let opaque = marks.opaque;
            let redirect = marks.redirect.clone();
            if let Some(real) = top {
                found = Some(self.found_dir(source, real, marks));
            }
            let Some(found) = &mut found else { break };
            let more_below = layers.last() != Some(&source.dir.layer);
            let ends = opaque == Opaque::Yes
                || (more_below && marks::has_opaque_file_in(&*self.dirs.fd(&source.dir)?, name)?);
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

    /// The marks of a directory, redirects only where they are to be followed.
    fn dir_marks(&self, layer: LayerNo, access: &Access) -> Result<Marks> {
        let mut marks = self.marks_in(layer, access)?;
        if self.config.redirect_dir == RedirectDir::NoFollow {
            marks.redirect = None;
        }
        Ok(marks)
    }

    /// What one source has under a name.
    fn see(&self, source: &Source, name: &OsStr) -> Result<Seen> {
        let fd = self.dirs.fd(&source.dir)?;
        let access = Access::At(fd, name.into());
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
            found.ino = ino;
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
        let ino = match origin.and_then(|o| number::of_origin(&self.stack, o)) {
            Some((device, number)) => self.numbers.shown(device, number),
            None => self.shown(layer, &real),
        };
        Found { real, ino, layer, sources: Vec::new(), marks, index_name: None }
    }

    /// The directories in the layers below `layer` that a redirect leads to.
    fn redirected(&self, sources: &[Source], layer: LayerNo, redirect: &Redirect) -> Result<Vec<Source>> {
        match redirect {
            Redirect::Sibling(name) => {
                let below: Vec<_> = sources.iter().filter(|s| s.dir.layer > layer).cloned().collect();
                self.step(&below, name)
            }
            Redirect::Absolute(path) => self.walk(layer, path),
        }
    }

    /// Walks an absolute path through the layers below `layer`, merging on the way.
    pub(super) fn walk(&self, layer: LayerNo, path: &[OsString]) -> Result<Vec<Source>> {
        let roots = self.stack.lowers.iter().filter(|l| l.root.layer > layer);
        let mut here: Vec<_> = roots.map(|l| Source { dir: l.root.clone(), file_whiteouts: false }).collect();
        for name in path {
            here = self.step(&here, name)?;
        }
        Ok(here)
    }

    /// The directories `name` below the given ones, without help from any index.
    fn step(&self, sources: &[Source], name: &OsStr) -> Result<Vec<Source>> {
        let mut layers = Vec::new();
        for source in sources {
            match self.see(source, name)? {
                // What is no directory ends the merge, and is found only where nothing lies above it.
                Seen::Something(real, _) if real.kind() != Kind::Directory && !layers.is_empty() => break,
                Seen::Something(..) => layers.push(source.dir.layer),
                Seen::Whiteout => break,
                Seen::Nothing => {}
            }
            if self.has_whiteout_file(&*self.dirs.fd(&source.dir)?, name)? {
                break;
            }
        }
        Ok(self.find_in(sources, &layers, name)?.map_or_else(Vec::new, |found| found.sources))
    }

    /// Whether a directory holds a `.wh.` file for a name.
    pub(super) fn has_whiteout_file(&self, dir: &OwnedFd, name: &OsStr) -> Result<bool> {
        match fs::lstatat(dir, &whiteout::file_name(name)) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT | Errno::NAMETOOLONG) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// The file that holds the data of a metadata copy found in `layer`, in the layers below: its directory
    /// and name.
    pub(super) fn find_data(
        &self,
        parent: &[Source],
        layer: LayerNo,
        name: &OsStr,
        redirect: Option<&Redirect>,
    ) -> Result<(Arc<RealDir>, Name)> {
        let (mut below, mut name) = match redirect {
            Some(Redirect::Absolute(path)) => {
                let (last, dirs) = path.split_last().ok_or(Error::DamagedLayer)?;
                (self.walk(layer, dirs)?, last.clone())
            }
            Some(Redirect::Sibling(name)) => (parent.to_vec(), name.clone()),
            None => (parent.to_vec(), name.to_os_string()),
        };
        below.retain(|s| s.dir.layer > layer);
        for source in &below {
            match self.see(source, &name)? {
                Seen::Nothing => continue,
                Seen::Something(real, access) if real.kind() == Kind::File => {
                    let marks = self.marks_in(source.dir.layer, &access)?;
                    if !marks.metacopy {
                        return Ok((source.dir.clone(), name.as_os_str().into()));
                    }
                    if let Some(redirect) = &marks.redirect {
                        return self.find_data(&below, source.dir.layer, &name, Some(redirect));
                    }
                    name = name.clone();
                }
                Seen::Whiteout | Seen::Something(..) => break,
            }
        }
        log::error!("the data of a metadata copy named {} is in no layer below", name.display());
        Err(Error::DamagedLayer)
    }

    /// The merged index of a directory, made at its first use.
    pub(super) fn index_of(&self, inode: &Inode) -> Result<Arc<Mutex<DirIndex>>> {
        loop {
            let (index, sources) = inode.with_dir(|d| (d.index.clone(), d.sources.clone()))?;
            if let Some(index) = index {
                return Ok(index);
            }
            let built = Arc::new(Mutex::new(self.build_index(&sources)?));
            let kept = inode.with_dir_mut(|dir| {
                // Another thread may have been faster, or the directory may have got an upper part meanwhile.
                if dir.index.is_none() && dir.sources.len() == sources.len() {
                    dir.index = Some(built.clone());
                }
                dir.index.clone()
            })?;
            if let Some(index) = kept {
                return Ok(index);
            }
        }
    }

    /// The inode for what was found: the living one if it is the same file, otherwise a new one.
    pub(super) fn adopt(&self, parent: &Arc<Inode>, name: &OsStr, mut found: Found) -> Result<Arc<Inode>> {
        let mut ino = found.ino;
        let mut looked_again = false;
        loop {
            if let Some(living) = self.table.by_ino(ino) {
                if self.is_same(&living, parent, name, &found)? {
                    self.relocate(&living, parent, name, &found);
                    return Ok(living);
                }
                if found.layer == UPPER && (!living.is_upper() || living.knows(APART)) {
                    // The copy of a file whose readers keep the lower one: same number, another node.
                    self.table.renumber(ino);
                } else if found.layer != UPPER && living.is_upper() && !looked_again {
                    // Since it was found another thread may have copied it up.
                    looked_again = true;
                    drop(living.ops.lock());
                    found = self.find(parent, name)?.ok_or(Error::NotFound)?;
                    ino = found.ino;
                    continue;
                } else {
                    ino = self.table.spare_number();
                }
            }
            if let Ok(inode) = self.table.insert(self.new_inode(ino, parent, name, &found)) {
                return Ok(inode);
            }
        }
    }

    /// Whether a living inode with the same number is the file that was found.
    fn is_same(&self, living: &Inode, parent: &Arc<Inode>, name: &OsStr, found: &Found) -> Result<bool> {
        if living.kind != found.real.kind() || living.knows(APART) {
            return Ok(false);
        }
        if living.is_dir() {
            return Ok(living.state.read().is_named(parent, name) && !living.is_unlinked());
        }
        match (living.is_upper(), found.layer == UPPER) {
            (false, false) => Ok(true),
            (true, false) => Ok(false),
            (false, true) if found.index_name.is_none() => Ok(false),
            (false, true) => {
                // The copy under another name may be about to become the living inode's, or was made apart from it.
                drop(living.ops.lock());
                Ok(living.is_upper() && self.is_at(living, found))
            }
            (true, true) => Ok(living.is_reached_by(parent, name) || self.is_at(living, found)),
        }
    }

    /// Whether a living inode of the upper is the real file that was found.
    fn is_at(&self, living: &Inode, found: &Found) -> bool {
        let real = self.access(living).and_then(|access| Ok(access.stat()?));
        real.is_ok_and(|st| st.st_ino == found.real.st.st_ino)
    }

    /// A file with several links is known by one more name.
    fn relocate(&self, living: &Inode, parent: &Arc<Inode>, name: &OsStr, found: &Found) {
        let known = living.state.read().is_named(parent, name);
        if !living.is_dir() && (!known || living.is_nameless()) && (found.layer == UPPER) == living.is_upper()
        {
            living.state.write().add_name(parent, name);
        }
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
        let state = State { parent: Some(parent.clone()), name: name.into(), layer: found.layer, dir, file };
        NewInode { ino, kind, known, state }
    }
}
