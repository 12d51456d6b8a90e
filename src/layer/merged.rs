//! A directory of the union, upper over lowers, and its children.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::LayerError;
use super::lowers::{Lookup, Lower, Stack};
use super::node::{Entry, Kind, Node};
use super::source::{Dir, Located};
use crate::marks::{LowerMarks, Role};
use crate::sys::process::raise_nofile_limit;

/// The names of a directory, each with its upper part.
pub type Names = BTreeMap<OsString, Option<Node>>;

/// A directory as the union shows it.
#[derive(Debug, Clone)]
pub struct Merged {
    /// Its upper part.
    pub upper: Option<Rc<Dir>>,
    /// The lower directories that merge in.
    pub lower: Stack,
}

/// How an upper directory relates to what the lowers alone show at the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// It merges with that: its upper entries are the changes.
    Delta,
    /// It replaces that (opaque, or merged from elsewhere): its whole content counts.
    Whole,
}

impl Scope {
    /// The scope of a directory inside another: what is in a replacement counts whole.
    pub fn within(self, parent: Scope) -> Scope {
        if parent == Scope::Whole { Scope::Whole } else { self }
    }
}

/// A file of the union.
#[derive(Debug)]
pub enum Child {
    /// A directory: where its metadata lies, its parts, and how they relate to the lowers.
    Dir(Located, Merged, Scope),
    /// Anything else.
    File(Lookup),
}

impl Merged {
    /// Opens the union of `upper` over `lowers`, these top first. Raises the limit of open files, as one
    /// descriptor is held for each directory on the way to the present one, in each layer that has it.
    ///
    /// # Errors
    /// Those of [`Dir::open_root`].
    pub fn open(upper: &Path, lowers: &[PathBuf], marks: LowerMarks) -> Result<(Merged, Scope), LayerError> {
        raise_nofile_limit();
        let upper = Rc::new(Dir::open_root(upper, Role::Upper)?);
        let lower = Stack::open_with(lowers, marks)?;
        let scope = if upper.is_opaque() { Scope::Whole } else { Scope::Delta };
        let lower = if scope == Scope::Whole { lower.emptied() } else { lower };
        Ok((Merged { upper: Some(upper), lower }, scope))
    }

    /// What the upper says in this directory.
    ///
    /// # Errors
    /// Those of reading a layer.
    pub fn upper_entries(&self) -> Result<BTreeMap<OsString, Entry>, LayerError> {
        self.upper.as_ref().map_or_else(|| Ok(BTreeMap::new()), |upper| upper.list())
    }

    /// Every name that shows in this directory, in byte order, with its upper part.
    ///
    /// # Errors
    /// Those of reading a layer.
    pub fn names(&self) -> Result<Names, LayerError> {
        let mut names: Names = self.lower.names()?.into_iter().map(|name| (name, None)).collect();
        for (name, entry) in self.upper_entries()? {
            match entry {
                Entry::Node(node) => names.insert(name, Some(node)),
                Entry::Whiteout => names.remove(&name),
            };
        }
        Ok(names)
    }

    /// The file called `name`, whose upper part, if any, was read as `upper`.
    ///
    /// # Errors
    /// Those of reading a layer.
    pub fn child(&self, name: &OsStr, upper: Option<Node>) -> Result<Option<Child>, LayerError> {
        match upper {
            Some(node) => self.upper_child(name, node),
            None => self.lower_child(name),
        }
    }

    /// The file whose upper part is `name`, read as `node`; `None` where this directory has no upper part.
    ///
    /// # Errors
    /// Those of reading a layer.
    pub fn upper_child(&self, name: &OsStr, node: Node) -> Result<Option<Child>, LayerError> {
        let Some(upper) = &self.upper else { return Ok(None) };
        let place = Located { dir: Rc::clone(upper), name: name.to_owned(), node };
        let redirect = place.node.redirect.as_ref();
        if place.node.kind != Kind::Dir {
            let data = match place.node.metacopy {
                true => self.lower.lookup_data(name, redirect)?,
                false => Some(place.clone()),
            };
            return Ok(Some(Child::File(Lookup { file: place, data })));
        }
        let dir = Rc::new(upper.open_dir(name, &place.node)?);
        let scope = if dir.is_opaque() || redirect.is_some() { Scope::Whole } else { Scope::Delta };
        let lower = match self.lower.lookup_redirected(name, redirect)? {
            Lower::Dir(_, stack) if !dir.is_opaque() => stack,
            _ => self.lower.emptied(),
        };
        Ok(Some(Child::Dir(place, Merged { upper: Some(dir), lower }, scope)))
    }

    /// The file that only the lowers have.
    fn lower_child(&self, name: &OsStr) -> Result<Option<Child>, LayerError> {
        Ok(match self.lower.lookup(name)? {
            Lower::Absent => None,
            Lower::Dir(place, lower) => Some(Child::Dir(place, Merged { upper: None, lower }, Scope::Delta)),
            Lower::File(lookup) => Some(Child::File(lookup)),
        })
    }
}
