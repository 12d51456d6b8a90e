//! What the lowers together show: lookups down the stack, and where they stop.
//!
//! The rules are the kernel's (fs/overlayfs/namei.c): a whiteout, a file or an opaque directory ends the
//! search, also one on the way; a redirect found in one layer holds for the layers below it.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::rc::Rc;

use super::LayerError;
use super::node::{Entry, Kind, Node};
use super::source::{Dir, Located};
use crate::format::redirect::Redirect;
use crate::marks::{LowerMarks, Role};

/// One layer's part of a merged directory.
#[derive(Debug, Clone)]
struct Part {
    /// The layer's place in the stack, 0 at the top.
    layer: usize,
    dir: Rc<Dir>,
}

/// The directories of the lowers that merge at one place, top first; none where nothing is there.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The roots of all lowers: where absolute redirects begin.
    roots: Rc<[Part]>,
    parts: Vec<Part>,
}

/// What the lowers show at a place.
#[derive(Debug)]
pub enum Lower {
    /// Nothing.
    Absent,
    /// A directory: its topmost part, and all its parts.
    Dir(Located, Stack),
    /// Anything else.
    File(Lookup),
}

/// A file that is no directory.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// Where its metadata lies.
    pub file: Located,
    /// Where its data lies: the same place, or a lower one; `None` where that is missing.
    pub data: Option<Located>,
}

impl Stack {
    /// Opens the roots of the lowers, given top first.
    ///
    /// # Errors
    /// Those of [`Dir::open_root`].
    pub fn open(lowers: &[PathBuf]) -> Result<Stack, LayerError> {
        Stack::open_with(lowers, LowerMarks::ByAuthor)
    }

    /// The same, with those marks of theirs that are to count.
    ///
    /// # Errors
    /// As [`Stack::open`].
    pub fn open_with(lowers: &[PathBuf], marks: LowerMarks) -> Result<Stack, LayerError> {
        let open = |(layer, path): (usize, &PathBuf)| {
            Ok(Part { layer, dir: Rc::new(Dir::open_root(path, Role::Lower(marks))?) })
        };
        let parts: Vec<Part> = lowers.iter().enumerate().map(open).collect::<Result<_, LayerError>>()?;
        // An opaque root hides the layers below it.
        let shown = parts.iter().position(|p| p.dir.is_opaque()).map_or(parts.len(), |i| i + 1);
        Ok(Stack { roots: parts[..shown].into(), parts: parts[..shown].to_vec() })
    }

    /// A stack over the same lowers in which nothing is.
    pub fn emptied(&self) -> Stack {
        Stack { roots: Rc::clone(&self.roots), parts: Vec::new() }
    }

    /// What the lowers show at `name` in this directory.
    ///
    /// # Errors
    /// Those of reading a layer.
    pub fn lookup(&self, name: &OsStr) -> Result<Lower, LayerError> {
        Search::new(self, vec![name.to_owned()]).run()
    }

    /// What the lowers hold for a directory of a higher layer that was at `name` here, or elsewhere if a
    /// redirect says so.
    ///
    /// # Errors
    /// Those of reading a layer.
    pub fn lookup_redirected(&self, name: &OsStr, redirect: Option<&Redirect>) -> Result<Lower, LayerError> {
        Search::redirected(self, name, redirect).run()
    }

    /// Where the data lies of a metadata-only copy `name` in a layer above this directory.
    ///
    /// # Errors
    /// Those of reading a layer.
    pub fn lookup_data(
        &self,
        name: &OsStr,
        redirect: Option<&Redirect>,
    ) -> Result<Option<Located>, LayerError> {
        match Search::redirected(self, name, redirect).run()? {
            Lower::File(lookup) => Ok(lookup.data.filter(|data| data.node.kind == Kind::File)),
            Lower::Absent | Lower::Dir(..) => Ok(None),
        }
    }

    /// The names that the lowers show in this directory.
    ///
    /// # Errors
    /// Those of reading a layer.
    pub fn names(&self) -> Result<BTreeSet<OsString>, LayerError> {
        let mut shown = BTreeSet::new();
        let mut hidden = BTreeSet::new();
        for part in &self.parts {
            for (name, entry) in part.dir.list()? {
                if shown.contains(&name) || hidden.contains(&name) {
                    continue;
                }
                match entry {
                    Entry::Whiteout => hidden.insert(name),
                    Entry::Node(_) => shown.insert(name),
                };
            }
        }
        Ok(shown)
    }
}

/// A search down the stack.
struct Search<'a> {
    stack: &'a Stack,
    /// The directories from which `path` leads on, one a layer.
    from: &'a [Part],
    path: Vec<OsString>,
    /// The parts of a directory found so far, and the topmost one's place.
    parts: Vec<Part>,
    top: Option<Located>,
    /// A metadata-only copy, found before its data.
    metadata: Option<Located>,
}

/// What one layer contributed.
struct Step {
    found: Found,
    /// Whether layers below are still asked.
    then: Then,
    /// The path for the layers below, where a redirect changed it.
    moved: Option<(Base, Vec<OsString>)>,
}

/// What one layer has at the path.
enum Found {
    Nothing,
    Dir(Located, Rc<Dir>),
    File(Located),
}

/// How a search goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    GoOn,
    Stop,
}

/// Where a path begins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    /// At the directories the search began from.
    Parents,
    /// At the roots of the layers.
    Roots,
}

impl<'a> Search<'a> {
    fn new(stack: &'a Stack, path: Vec<OsString>) -> Search<'a> {
        Search { stack, from: &stack.parts, path, parts: Vec::new(), top: None, metadata: None }
    }

    /// A search that begins where a redirect found above the stack leads.
    fn redirected(stack: &'a Stack, name: &OsStr, redirect: Option<&Redirect>) -> Search<'a> {
        match redirect {
            None => Search::new(stack, vec![name.to_owned()]),
            Some(Redirect::Sibling(sibling)) => Search::new(stack, vec![sibling.clone()]),
            Some(Redirect::Absolute(path)) => {
                Search { from: &stack.roots, ..Search::new(stack, path.clone()) }
            }
        }
    }

    /// Asks layer after layer.
    fn run(mut self) -> Result<Lower, LayerError> {
        let mut next = 0;
        while let Some(part) = self.from.iter().find(|part| part.layer >= next) {
            next = part.layer + 1;
            let step = walk(part, &self.path)?;
            match step.found {
                Found::Nothing => {}
                Found::File(file) => match self.take_file(file) {
                    Some(lower) => return Ok(lower),
                    None if self.metadata.is_none() => break,
                    None => {}
                },
                // A directory under a metadata-only copy is not its data.
                Found::Dir(..) if self.metadata.is_some() => break,
                Found::Dir(place, dir) => {
                    self.top.get_or_insert(place);
                    self.parts.push(Part { layer: part.layer, dir });
                }
            }
            if step.then == Then::Stop {
                break;
            }
            if let Some((base, path)) = step.moved {
                self.path = path;
                if base == Base::Roots {
                    self.from = &self.stack.roots;
                }
            }
        }
        Ok(self.finish())
    }

    /// Takes in a file; returns the result where it ends the search. A file under a directory is not part of
    /// it and ends it too, which shows in there being no metadata afterwards.
    fn take_file(&mut self, file: Located) -> Option<Lower> {
        if self.top.is_some() {
            return None;
        }
        if file.node.metacopy {
            self.metadata.get_or_insert(file);
            return None;
        }
        match self.metadata.take() {
            None => Some(Lower::File(Lookup { data: Some(file.clone()), file })),
            Some(metadata) => {
                let data = (file.node.kind == Kind::File).then_some(file);
                Some(Lower::File(Lookup { file: metadata, data }))
            }
        }
    }

    /// The result once no layer is left.
    fn finish(self) -> Lower {
        match (self.top, self.metadata) {
            (Some(top), _) => {
                Lower::Dir(top, Stack { roots: Rc::clone(&self.stack.roots), parts: self.parts })
            }
            (None, Some(file)) => Lower::File(Lookup { file, data: None }),
            (None, None) => Lower::Absent,
        }
    }
}

/// Walks `path` within one layer.
fn walk(part: &Part, path: &[OsString]) -> Result<Step, LayerError> {
    let mut dir = Rc::clone(&part.dir);
    let mut then = Then::GoOn;
    let mut moved = Moved::default();
    for (i, name) in path.iter().enumerate() {
        let last = i + 1 == path.len();
        let node = match dir.find(name)? {
            None => return Ok(Step { found: Found::Nothing, then, moved: moved.rest(&path[i..]) }),
            Some(Entry::Whiteout) => {
                return Ok(Step { found: Found::Nothing, then: Then::Stop, moved: None });
            }
            Some(Entry::Node(node)) => node,
        };
        if !node.is_dir() && !last {
            return Ok(Step { found: Found::Nothing, then: Then::Stop, moved: None });
        }
        moved.push(name, &node);
        let place = Located { dir: Rc::clone(&dir), name: name.clone(), node };
        if !place.node.is_dir() {
            return Ok(Step { found: Found::File(place), then, moved: moved.rest(&[]) });
        }
        let child = Rc::new(dir.open_dir(name, &place.node)?);
        if child.is_opaque() {
            then = Then::Stop;
        }
        if last {
            return Ok(Step { found: Found::Dir(place, child), then, moved: moved.rest(&[]) });
        }
        dir = child;
    }
    Ok(Step { found: Found::Nothing, then, moved: None })
}

/// The path for the layers below, as the redirects on the way change it.
struct Moved {
    base: Base,
    path: Vec<OsString>,
    /// Whether any redirect was met.
    redirected: bool,
}

impl Default for Moved {
    fn default() -> Moved {
        Moved { base: Base::Parents, path: Vec::new(), redirected: false }
    }
}

impl Moved {
    /// Goes on by one component.
    fn push(&mut self, name: &OsStr, node: &Node) {
        match &node.redirect {
            None => self.path.push(name.to_owned()),
            Some(redirect) => {
                self.redirected = true;
                if matches!(redirect, Redirect::Absolute(_)) {
                    self.base = Base::Roots;
                }
                self.path = redirect.resolve(&self.path);
            }
        }
    }

    /// The path once the remaining components are known, if it differs from the one walked.
    fn rest(mut self, components: &[OsString]) -> Option<(Base, Vec<OsString>)> {
        self.path.extend_from_slice(components);
        self.redirected.then_some((self.base, self.path))
    }
}
