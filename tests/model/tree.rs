//! The tree in memory. It knows nothing of layers once they were applied, bottom first, but whether a directory
//! has a part in a lower one.

use std::collections::{BTreeMap, HashMap};

use plyfs::sys::Errno;

use crate::harness::Res;
use crate::layer::{Item, Layer};

/// A file of the tree; links share it.
pub type Id = usize;

pub const ROOT: Id = 0;

#[derive(Debug, Clone)]
pub enum Node {
    Dir {
        mode: u32,
        /// A part of it lies in a lower.
        merged: bool,
        entries: BTreeMap<String, Id>,
    },
    File {
        content: Vec<u8>,
        mode: u32,
        attribute: Option<String>,
        /// How many of its links no name of the tree shows; not known to a union that never saw them.
        hidden_links: usize,
    },
    Symlink(String),
}

#[derive(Debug, Clone)]
pub struct Tree {
    pub nodes: Vec<Node>,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree { nodes: vec![Node::Dir { mode: 0o755, merged: true, entries: BTreeMap::new() }] }
    }
}

impl Tree {
    pub fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub fn new_dir(mode: u32, merged: bool) -> Node {
        Node::Dir { mode, merged, entries: BTreeMap::new() }
    }

    pub fn entries(&self, dir: Id) -> Res<&BTreeMap<String, Id>> {
        match &self.nodes[dir] {
            Node::Dir { entries, .. } => Ok(entries),
            _ => Err(Errno::NOTDIR),
        }
    }

    pub fn entries_mut(&mut self, dir: Id) -> &mut BTreeMap<String, Id> {
        match &mut self.nodes[dir] {
            Node::Dir { entries, .. } => entries,
            other => panic!("{other:?} is no directory"),
        }
    }

    pub fn is_dir(&self, id: Id) -> bool {
        matches!(self.nodes[id], Node::Dir { .. })
    }

    /// What is at a path.
    pub fn find(&self, path: &str) -> Res<Id> {
        let mut here = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            here = *self.entries(here)?.get(name).ok_or(Errno::NOENT)?;
        }
        Ok(here)
    }

    /// The directory above a path, and the name in it.
    pub fn split<'p>(&self, path: &'p str) -> Res<(Id, &'p str)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.find(dir)?, name))
    }

    /// All paths, sorted, with what is there.
    pub fn paths(&self) -> Vec<(String, Id)> {
        let mut found = Vec::new();
        let mut pending = vec![(String::new(), ROOT)];
        while let Some((prefix, dir)) = pending.pop() {
            for (name, id) in self.entries(dir).expect("a directory") {
                found.push((format!("{prefix}{name}"), *id));
                if self.is_dir(*id) {
                    pending.push((format!("{prefix}{name}/"), *id));
                }
            }
        }
        found.sort();
        found
    }

    /// How many names each file has.
    pub fn links(&self) -> HashMap<Id, usize> {
        let mut links = HashMap::new();
        self.paths().into_iter().for_each(|(_, id)| *links.entry(id).or_default() += 1);
        links
    }

    /// Puts a layer on top, as a tar of it would be unpacked.
    pub fn apply(&mut self, layer: &Layer) {
        let mut files: HashMap<&str, Id> = HashMap::new();
        let mut real_links: HashMap<Id, usize> = HashMap::new();
        for (path, item) in &layer.items {
            let (dir, name) = self.split(path).expect("parents come first");
            let old = self.entries(dir).expect("a directory").get(name).copied();
            let id = match item {
                Item::Whiteout(_) => {
                    self.entries_mut(dir).remove(name);
                    continue;
                }
                Item::Dir { mode, opaque } => self.apply_dir(old, *mode, opaque.is_some()),
                Item::File { content, mode, attribute } => {
                    let content = content.replace(':', "-").into_bytes();
                    let (mode, attribute) = (*mode, attribute.clone());
                    self.add(Node::File { content, mode, attribute, hidden_links: 0 })
                }
                Item::Symlink(target) => self.add(Node::Symlink(target.clone())),
                Item::Link(old) => files[old.as_str()],
            };
            files.insert(path, id);
            *real_links.entry(id).or_default() += 1;
            self.entries_mut(dir).insert(name.to_owned(), id);
        }
        for (id, links) in real_links {
            if let Node::File { hidden_links, .. } = &mut self.nodes[id] {
                *hidden_links = links;
            }
        }
    }

    fn apply_dir(&mut self, old: Option<Id>, mode: u32, opaque: bool) -> Id {
        let Some(old) = old.filter(|old| !opaque && self.is_dir(*old)) else {
            return self.add(Tree::new_dir(mode, false));
        };
        let mut node = self.nodes[old].clone();
        if let Node::Dir { mode: old_mode, merged, .. } = &mut node {
            (*old_mode, *merged) = (mode, true);
        }
        self.add(node)
    }

    /// All layers so far are lowers: every directory has a part in one.
    pub fn end_of_lowers(&mut self) {
        for node in &mut self.nodes {
            if let Node::Dir { merged, .. } = node {
                *merged = true;
            }
        }
    }

    /// The last layer is on: now it shows which links on disk are hidden.
    pub fn end_of_layers(&mut self) {
        let visible = self.links();
        for (id, node) in self.nodes.iter_mut().enumerate() {
            if let Node::File { hidden_links, .. } = node {
                *hidden_links -= visible.get(&id).copied().unwrap_or(0);
            }
        }
    }
}
