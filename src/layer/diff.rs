//! What an upper changes in the lowers below it, as `docker diff` tells it.
//!
//! Only the upper is walked; names are looked up in the lowers. A directory that replaces another one
//! (opaque, or renamed to that place) is compared whole. [`effect`] also measures what the upper adds and hides.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::LayerError;
use super::index::Aliases;
use super::lowers::{Lookup, Lower, Stack};
use super::merged::{Child, Merged, Names, Scope};
use super::node::{Entry, Kind, Node};
use super::source::Located;
use crate::marks::LowerMarks;

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

/// All that a layer does to those below it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effect {
    /// The changes, as [`diff`] tells them.
    pub changes: Vec<Change>,
    /// Files that those below do not have.
    pub added: Tally,
    /// Files in place of others.
    pub changed: Tally,
    /// The files below that do not show any more.
    pub hidden: Vec<Hidden>,
}

/// A number of files that are no directories, and their bytes; those of a file with several names once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub files: u64,
    /// The bytes of the regular ones.
    pub bytes: u64,
}

/// A regular file that a layer hides: by another one, or by a whiteout of it or of a directory above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hidden {
    /// Where: as in [`Change`].
    pub path: Vec<u8>,
    /// Its bytes.
    pub size: u64,
    /// Device and inode number: those of a file with several names are equal.
    pub inode: (u64, u64),
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(bytes);
    }
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
    let (merged, scope) = Merged::open(upper, lowers, LowerMarks::ByAuthor)?;
    let aliases = match work {
        Some(work) => Aliases::find(work, &merged)?,
        None => Aliases::default(),
    };
    let differ = Differ { changes: Vec::new(), aliases, path: Vec::new(), measure: None };
    Ok(differ.run(&merged, scope, &Stack::open(lowers)?)?.0)
}

/// The changes that `upper` makes to `tree`, this machine's own files, in which no mark counts.
///
/// # Errors
/// Those of [`diff`].
pub fn diff_of_machine(upper: &Path, tree: &Path) -> Result<Vec<Change>, LayerError> {
    let tree = [tree.to_owned()];
    let (merged, scope) = Merged::open(upper, &tree, LowerMarks::Ignored)?;
    let aliases = Aliases::default();
    let differ = Differ { changes: Vec::new(), aliases, path: Vec::new(), measure: None };
    Ok(differ.run(&merged, scope, &Stack::open_with(&tree, LowerMarks::Ignored)?)?.0)
}

/// All that the layer `upper` does to `lowers` (top first). What it deletes is walked, too.
///
/// # Errors
/// Those of reading a layer.
pub fn effect(upper: &Path, lowers: &[PathBuf]) -> Result<Effect, LayerError> {
    let (merged, scope) = Merged::open(upper, lowers, LowerMarks::ByAuthor)?;
    let (aliases, measure) = (Aliases::default(), Some(Measure::default()));
    let differ = Differ { changes: Vec::new(), aliases, path: Vec::new(), measure };
    let (changes, measure) = differ.run(&merged, scope, &Stack::open(lowers)?)?;
    let Measure { effect, .. } = measure.unwrap_or_default();
    Ok(Effect { changes, ..effect })
}

/// What is measured on the way.
#[derive(Debug, Default)]
struct Measure {
    effect: Effect,
    /// Files of the upper with several names that were counted.
    seen: HashSet<(u64, u64)>,
}

impl Measure {
    /// Counts a file of the upper.
    fn count(&mut self, kind: ChangeKind, lookup: &Lookup) {
        let node = &lookup.file.node;
        let known = node.nlink > 1 && !self.seen.insert(node.inode);
        let size = if known { 0 } else { file_size(lookup) };
        match kind {
            ChangeKind::Added => self.effect.added.add(size),
            ChangeKind::Changed => self.effect.changed.add(size),
            ChangeKind::Deleted => {}
        }
    }

    /// Notes what showed at `path` as hidden, a directory with all that is in it.
    fn hide(&mut self, path: &mut Vec<u8>, old: &Lower) -> Result<(), LayerError> {
        match old {
            Lower::Absent => {}
            Lower::File(lookup) if lookup.file.node.kind != Kind::File => {}
            Lower::File(lookup) => {
                let (size, inode) = (file_size(lookup), lookup.file.node.inode);
                self.effect.hidden.push(Hidden { path: path.clone(), size, inode });
            }
            Lower::Dir(_, stack) => {
                for name in stack.names()? {
                    let length = path.len();
                    path.push(b'/');
                    path.extend_from_slice(name.as_bytes());
                    self.hide(path, &stack.lookup(&name)?)?;
                    path.truncate(length);
                }
            }
        }
        Ok(())
    }
}

/// The walk.
struct Differ {
    changes: Vec<Change>,
    aliases: Aliases,
    /// The directory being visited; empty for the root.
    path: Vec<u8>,
    /// What is measured, if anything is.
    measure: Option<Measure>,
}

impl Differ {
    /// Walks, and sorts the changes.
    fn run(
        mut self,
        merged: &Merged,
        scope: Scope,
        below: &Stack,
    ) -> Result<(Vec<Change>, Option<Measure>), LayerError> {
        self.visit(merged, scope, below)?;
        self.changes.sort_by(|a, b| a.path.cmp(&b.path));
        Ok((self.changes, self.measure))
    }

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
                Entry::Whiteout => self.delete(&name, &below.lookup(&name)?)?,
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
            self.delete(&name, &below.lookup(&name)?)?;
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
        if let Some(kind) = kind {
            self.add(kind, name, shown_size(&child));
            self.measure(kind, name, &child, &old)?;
        }
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

    /// Records that `old` does not show any more.
    fn delete(&mut self, name: &OsStr, old: &Lower) -> Result<(), LayerError> {
        if matches!(old, Lower::Absent) {
            return Ok(());
        }
        self.add(ChangeKind::Deleted, name, 0);
        let mut path = self.path_of(name);
        self.measure.as_mut().map_or(Ok(()), |measure| measure.hide(&mut path, old))
    }

    /// Measures what stands in place of `old`. Of two directories, what is in them is compared one by one.
    fn measure(
        &mut self,
        kind: ChangeKind,
        name: &OsStr,
        new: &Child,
        old: &Lower,
    ) -> Result<(), LayerError> {
        let mut path = self.path_of(name);
        let Some(measure) = &mut self.measure else { return Ok(()) };
        if let Child::File(lookup) = new {
            measure.count(kind, lookup);
        }
        match (old, new) {
            (Lower::Dir(..), Child::Dir(..)) => Ok(()),
            _ => measure.hide(&mut path, old),
        }
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

/// The bytes that show.
fn shown_size(child: &Child) -> u64 {
    match child {
        Child::File(lookup) => file_size(lookup),
        Child::Dir(..) => 0,
    }
}

/// The bytes of a regular file; 0 of anything else.
fn file_size(lookup: &Lookup) -> u64 {
    match lookup.file.node.kind {
        Kind::File => lookup.data.as_ref().unwrap_or(&lookup.file).node.size,
        _ => 0,
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Makes files of a hundred bytes, and empty whiteouts.
    fn layer(root: &Path, paths: &[&str]) -> PathBuf {
        for path in paths {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("below the root")).expect("mkdir");
            let size = if path.to_string_lossy().contains(".wh.") { 0 } else { 100 };
            fs::write(&path, vec![0; size]).expect("write");
        }
        root.to_owned()
    }

    fn hidden(effect: &Effect) -> Vec<String> {
        effect.hidden.iter().map(|hidden| String::from_utf8_lossy(&hidden.path).into_owned()).collect()
    }

    #[test]
    fn what_is_replaced_or_deleted_is_hidden_with_all_that_is_in_it() {
        let tmp = tempfile::tempdir().expect("tmp");
        let base = layer(&tmp.path().join("base"), &["d/x/1", "d/2", "o/1", "o/sub/2", "f", "kept/f"]);
        let middle = layer(&tmp.path().join("middle"), &["d/3", "d/.wh.2", "kept/g"]);
        let upper =
            layer(&tmp.path().join("upper"), &[".wh.d", "o/.wh..wh..opq", "o/1", "f/now/a", ".wh.none"]);
        let first = effect(&middle, std::slice::from_ref(&base)).expect("readable");
        assert_eq!(hidden(&first), ["/d/2"]);
        let second = effect(&upper, &[middle, base]).expect("readable");
        assert_eq!(hidden(&second), ["/d/3", "/d/x/1", "/f", "/o/1", "/o/sub/2"]);
        assert!(second.hidden.iter().all(|hidden| hidden.size == 100));
        assert_eq!(second.added, Tally { files: 1, bytes: 100 });
        assert_eq!(second.changed, Tally { files: 1, bytes: 100 });
    }

    #[test]
    fn the_bytes_of_a_file_with_several_names_count_once() {
        let tmp = tempfile::tempdir().expect("tmp");
        let base = layer(&tmp.path().join("base"), &["a"]);
        fs::hard_link(base.join("a"), base.join("b")).expect("link");
        let effect = effect(&base, &[]).expect("readable");
        assert_eq!(effect.added, Tally { files: 2, bytes: 100 });
        assert_eq!(effect.changes.iter().map(|change| change.size).collect::<Vec<_>>(), [100, 100]);
        let upper = layer(&tmp.path().join("upper"), &[".wh.a", ".wh.b"]);
        let effect = super::effect(&upper, &[base]).expect("readable");
        assert_eq!(effect.hidden[0].inode, effect.hidden[1].inode);
    }
}
