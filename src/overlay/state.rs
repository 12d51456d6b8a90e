//! The changing part of an inode: where its file is now, and what is known of it there.

use std::ffi::OsStr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::format::redirect::Redirect;

use super::attr::{Attr, Time};
use super::dir_index::DirIndex;
use super::held::Held;
use super::inode::Inode;
use super::name::Name;
use super::object::Object;
use super::real_dir::{LayerNo, RealDir, UPPER};

/// One real directory that a directory of the view is made of.
#[derive(Debug, Clone)]
pub struct Source {
    /// The directory in its layer.
    pub dir: Arc<RealDir>,
    /// Whether it may hold whiteouts in the form of marked empty files (`overlay.opaque` is `x`).
    pub file_whiteouts: bool,
}

/// What only directories have.
#[derive(Debug, Default)]
pub struct DirState {
    /// The real directories, top first.
    pub sources: Vec<Source>,
    /// The merged names, where they were needed.
    pub index: Option<Arc<Mutex<DirIndex>>>,
    /// Where the lower part lies, if the upper part says that it is elsewhere.
    pub redirect: Option<Redirect>,
    /// Whether the upper part has a default ACL; unknown until asked.
    pub default_acl: Option<bool>,
    /// Whether the upper part is marked as holding copied-up entries.
    pub impure: bool,
    /// The last attributes of a directory that was removed.
    pub removed: Option<Box<Attr>>,
    /// The change time that a copy-up of an entry made, while it is the last.
    pub side_change: Option<Box<SideChange>>,
}

/// A change of a directory of the upper that is none of the view.
#[derive(Debug, Clone, Copy)]
pub struct SideChange {
    /// The change time that it left.
    pub ctime: Time,
    /// The one from before, which is shown.
    pub shown: Time,
}

impl DirState {
    /// The part in the upper layer.
    pub fn upper(&self) -> Option<&Source> {
        self.sources.first().filter(|s| s.dir.layer == UPPER)
    }

    /// The parts in lower layers.
    pub fn lowers(&self) -> &[Source] {
        let skip = usize::from(self.upper().is_some());
        &self.sources[skip..]
    }
}

/// What a file that is not a directory keeps beyond its name.
#[derive(Debug, Default)]
pub struct FileState {
    /// How the file is reached where no known name of the view leads to it any more.
    pub held: Option<Arc<Held>>,
    /// Where the data lies, when the file at the name holds attributes only.
    pub data: Option<(Arc<RealDir>, Name)>,
    /// Names beside the one in the state by which a file with several links is known here.
    pub other_names: Vec<(Arc<Inode>, Name)>,
    /// Whether the name in the state is gone, though other names may exist that are not known here.
    pub nameless: bool,
    /// Whether all its names were removed.
    pub unlinked: bool,
    /// Links of the whole union, where the real file's count does not tell.
    pub nlink: Option<u32>,
    /// The name of its entry in the index of hard links.
    pub index_name: Option<Name>,
    /// Whether all known names of an indexed file are names in the upper, too.
    pub linked_up: bool,
}

/// The changing part of an inode.
#[derive(Debug)]
pub struct State {
    /// The directory and the name by which the file is known here; none for the root.
    pub parent: Option<Arc<Inode>>,
    /// The name in `parent`.
    pub name: Name,
    /// The real file; for a directory that of its top source.
    pub object: Object,
    /// The layer the file lies in; for a directory that of its top source.
    pub layer: LayerNo,
    /// Present for directories.
    pub dir: Option<Box<DirState>>,
    /// Present for files with more to say than a name.
    pub file: Option<Box<FileState>>,
}

impl FileState {
    /// Whether one of the real file's links is the name in the work directory that holds it.
    pub fn is_in_work(&self) -> bool {
        matches!(self.held.as_deref(), Some(Held::InWork(_)))
    }
}

impl State {
    /// Whether the file is known by this name in the first place.
    pub fn is_named(&self, parent: &Inode, name: &OsStr) -> bool {
        self.parent.as_ref().is_some_and(|p| p.node == parent.node) && *self.name == *name
    }

    /// Whether the file is known by this name.
    pub fn has_name(&self, parent: &Inode, name: &OsStr) -> bool {
        let others = self.file.as_deref().map_or(&[][..], |file| &file.other_names);
        let gone = self.file.as_deref().is_some_and(|file| file.nameless || file.unlinked);
        (!gone && self.is_named(parent, name))
            || others.iter().any(|(p, n)| p.node == parent.node && **n == *name)
    }

    /// The file is known by this name, too; in the first place where it had lost all others.
    pub fn add_name(&mut self, parent: &Arc<Inode>, name: &OsStr) {
        let known = self.is_named(parent, name);
        let file = self.file.get_or_insert_with(Box::default);
        if file.nameless || file.unlinked || file.held.is_some() {
            self.parent = Some(parent.clone());
            self.name = name.into();
            (file.nameless, file.unlinked, file.held) = (false, false, None);
        } else if !known && !file.other_names.iter().any(|(p, n)| p.node == parent.node && **n == *name) {
            file.other_names.push((parent.clone(), name.into()));
            file.linked_up = false;
        }
    }

    /// All names by which the file is known.
    pub fn names(&self) -> Vec<(Arc<Inode>, Name)> {
        let nameless = self.file.as_ref().is_some_and(|f| f.nameless || f.unlinked);
        let first = self.parent.clone().filter(|_| !nameless).map(|parent| (parent, self.name.clone()));
        let others = self.file.as_ref().map_or_else(Vec::new, |f| f.other_names.clone());
        first.into_iter().chain(others).collect()
    }

    /// The file has this name no more; returns whether another one is known.
    pub fn drop_name(&mut self, parent: &Inode, name: &OsStr) -> bool {
        let first = self.is_named(parent, name);
        let file = self.file.get_or_insert_with(Box::default);
        file.other_names.retain(|(p, n)| p.node != parent.node || **n != *name);
        if first {
            match file.other_names.pop() {
                Some((parent, name)) => (self.parent, self.name) = (Some(parent), name),
                None => file.nameless = true,
            }
        }
        !file.nameless
    }

    /// The file has another name instead of the old one.
    pub fn change_name(&mut self, old: (&Inode, &OsStr), new: (&Arc<Inode>, &OsStr)) {
        let first = self.is_named(old.0, old.1) || self.dir.is_some();
        if first {
            (self.parent, self.name) = (Some(new.0.clone()), new.1.into());
            if let Some(file) = &mut self.file {
                // Whoever looked it up there meanwhile has noted the new name already.
                file.other_names.retain(|(p, n)| p.node != new.0.node || **n != *new.1);
            }
            return;
        }
        if let Some(file) = &mut self.file {
            file.other_names.retain(|(p, n)| p.node != old.0.node || **n != *old.1);
        }
        self.add_name(new.0, new.1);
    }
}
