//! What an upper changes in the lowers below it, as `docker diff` tells it.
//!
//! Only the upper is walked; names are looked up in the lowers. A directory that replaces another one
//! (opaque, or renamed to that place) is compared whole.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::LayerError;
use super::index::Aliases;
use super::lowers::{Lower, Stack};
use super::merged::{Child, Merged, Names, Scope};
use super::node::{Entry, Kind, Node};
use super::source::Located;

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// The lowers have no such path.
    Added,
    /// The lowers have the path too, or it is a directory in which something changed.
    Changed,
    /// Only the lowers have the path.
    Deleted,
}

/// One change. Displayed as docker does, `A /path`; bytes that are no UTF-8 are replaced there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// Where: the path's bytes from the root of the union, beginning with `/`.
    pub path: Vec<u8>,
    /// The bytes of the regular file that shows there now; 0 for anything else.
    pub size: u64,
}

impl ChangeKind {
    /// The letter that docker prints: `A`, `C` or `D`.
    pub fn letter(self) -> char {
        match self {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.letter(), String::from_utf8_lossy(&self.path))
    }
}

/// The changes that `upper` makes to `lowers` (top first), sorted by path. Every directory above a change is
/// listed once, the root never. A file that was copied up counts as changed; under all its names, if the
/// union's work directory `work` is given, whose index tells them.
///
/// # Errors
/// Those of reading a layer.
pub fn diff(upper: &Path, lowers: &[PathBuf], work: Option<&Path>) -> Result<Vec<Change>, LayerError> {
    let (merged, scope) = Merged::open(upper, lowers)?;
    let aliases = match work {
        Some(work) => Aliases::find(work, &merged)?,
        None => Aliases::default(),
    };
    let below = Stack::open(lowers)?;
    let mut differ = Differ { changes: Vec::new(), aliases, path: Vec::new() };
    differ.visit(&merged, scope, &below)?;
    differ.changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(differ.changes)
}

/// The walk.
struct Differ {
    changes: Vec<Change>,
    aliases: Aliases,
    /// The directory being visited; empty for the root.
    path: Vec<u8>,
}

impl Differ {
    /// Compares a directory with what the lowers alone show at its path.
    fn visit(&mut self, merged: &Merged, scope: Scope, below: &Stack) -> Result<(), LayerError> {
        match scope {
            Scope::Delta => self.visit_delta(merged, below),
            Scope::Whole => self.visit_whole(merged, below),
        }
    }

    /// Goes through the upper's entries alone: what it does not mention is unchanged, but for the other names
    /// of copied-up files.
    fn visit_delta(&mut self, merged: &Merged, below: &Stack) -> Result<(), LayerError> {
        let mut names = Names::new();
        for (name, entry) in merged.upper_entries()? {
            match entry {
                Entry::Node(node) => drop(names.insert(name, Some(node))),
                Entry::Whiteout if matches!(below.lookup(&name)?, Lower::Absent) => {}
                Entry::Whiteout => self.add(ChangeKind::Deleted, &name, 0),
            }
        }
        let dir = self.path.strip_prefix(b"/").map_or_else(Vec::new, |path| [path, b"/"].concat());
        for name in self.aliases.names_below(&dir) {
            names.entry(name).or_insert(None);
        }
        for (name, upper) in names {
            if let Some(child) = merged.child(&name, upper)? {
                self.compare(&name, child, Scope::Delta, below.lookup(&name)?, below)?;
            }
        }
        Ok(())
    }

    /// Goes through everything that shows, then through what showed before.
    fn visit_whole(&mut self, merged: &Merged, below: &Stack) -> Result<(), LayerError> {
        let mut before = below.names()?;
        for (name, upper) in merged.names()? {
            before.remove(&name);
            if let Some(child) = merged.child(&name, upper)? {
                self.compare(&name, child, Scope::Whole, below.lookup(&name)?, below)?;
            }
        }
        for name in before {
            self.add(ChangeKind::Deleted, &name, 0);
        }
        Ok(())
    }

    /// Records what became of `old`, and visits a directory.
    fn compare(
        &mut self,
        name: &OsStr,
        child: Child,
        parent: Scope,
        old: Lower,
        below: &Stack,
    ) -> Result<(), LayerError> {
        let kind = match (&old, &child) {
            (Lower::Absent, _) => Some(ChangeKind::Added),
            (Lower::Dir(old, _), Child::Dir(new, ..)) => differs(old, new)?.then_some(ChangeKind::Changed),
            (Lower::Dir(..) | Lower::File(_), _) => Some(ChangeKind::Changed),
        };
        kind.into_iter().for_each(|kind| self.add(kind, name, shown_size(&child)));
        let Child::Dir(_, merged, scope) = child else { return Ok(()) };
        let below = match old {
            Lower::Dir(_, stack) => stack,
            Lower::Absent | Lower::File(_) => below.emptied(),
        };
        let scope = scope.within(parent);
        let so_far = self.changes.len();
        let length = self.path.len();
        self.path = self.path_of(name);
        self.visit(&merged, scope, &below)?;
        self.path.truncate(length);
        if kind.is_none() && self.changes.len() > so_far {
            self.add(ChangeKind::Changed, name, 0);
        }
        Ok(())
    }

    /// Records a change in the directory being visited.
    fn add(&mut self, kind: ChangeKind, name: &OsStr, size: u64) {
        let path = self.path_of(name);
        self.changes.push(Change { kind, path, size });
    }

    /// The path of `name` in the directory being visited.
    fn path_of(&self, name: &OsStr) -> Vec<u8> {
        [&self.path, &b"/"[..], name.as_bytes()].concat()
    }
}

/// The bytes of a regular file.
fn shown_size(child: &Child) -> u64 {
    match child {
        Child::File(lookup) if lookup.file.node.kind == Kind::File => {
            lookup.data.as_ref().unwrap_or(&lookup.file).node.size
        }
        Child::File(_) | Child::Dir(..) => 0,
    }
}

/// Whether a directory's own metadata changed.
fn differs(old: &Located, new: &Located) -> Result<bool, LayerError> {
    let metadata = |node: &Node| (node.uid, node.gid, node.mode, node.mtime);
    if metadata(&old.node) != metadata(&new.node) || old.node.xattrs != new.node.xattrs {
        return Ok(true);
    }
    Ok(!old.node.xattrs.is_empty() && old.xattrs()? != new.xattrs()?)
}
