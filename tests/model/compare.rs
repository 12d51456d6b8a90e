//! Whether the union shows the tree in memory.

use std::collections::HashMap;

use plyfs::overlay::{Entry, Kind, ROOT_NODE};

use crate::harness::Union;
use crate::tree::{Id, Node, Tree};

/// Compares everything: names, types, content, modes, attributes, link counts, and which names are one file.
pub fn trees(tree: &Tree, u: &Union) -> Result<(), String> {
    let expected: HashMap<String, Id> = tree.paths().into_iter().collect();
    let links = tree.links();
    let mut inos: HashMap<u64, Id> = HashMap::new();
    let mut count = 0;
    let mut pending = vec![(ROOT_NODE, String::new())];
    while let Some((dir, prefix)) = pending.pop() {
        for (name, ino, kind) in u.lines_of(dir) {
            let path = format!("{prefix}{name}");
            let entry = u.lookup_at(dir, &name).map_err(|e| format!("{path} is listed, but {e}"))?;
            let Some(id) = expected.get(&path) else { return Err(format!("{path} should not be there")) };
            if (entry.attr.ino, entry.attr.kind) != (ino, kind) {
                return Err(format!("{path}: listed as {ino} {kind:?}, looked up as {:?}", entry.attr));
            }
            if *inos.entry(ino).or_insert(*id) != *id {
                return Err(format!("{path} has the number {ino} of another file"));
            }
            one(u, &tree.nodes[*id], entry, links[id]).map_err(|why| format!("{path}: {why}"))?;
            if kind == Kind::Directory {
                pending.push((entry.node, format!("{path}/")));
            }
            count += 1;
        }
    }
    if inos.len() != links.len() {
        return Err(format!("{} different files instead of {}", inos.len(), links.len()));
    }
    if count == expected.len() { Ok(()) } else { Err(format!("{count} names instead of {}", expected.len())) }
}

fn one(u: &Union, node: &Node, entry: Entry, links: usize) -> Result<(), String> {
    let attr = u.fs().getattr(entry.node).map_err(|e| format!("no attributes: {e}"))?;
    if attr != entry.attr {
        return Err(format!("stat gives {attr:?}, lookup {:?}", entry.attr));
    }
    match node {
        Node::Dir { mode, .. } => same("mode", attr.perm, *mode),
        Node::Symlink(target) => {
            let found = u.fs().readlink(entry.node).map_err(|e| e.to_string())?;
            same("target", String::from_utf8_lossy(&found).into_owned(), target.clone())
        }
        Node::File { content, mode, attribute, hidden_links } => {
            same("mode", attr.perm, *mode)?;
            same("size", attr.size, content.len() as u64)?;
            same("content", u.read_node(entry.node), Ok(String::from_utf8_lossy(content).into_owned()))?;
            let found = u.fs().getxattr(entry.node, "user.m".as_ref()).ok();
            same("attribute", found, attribute.clone().map(String::into_bytes))?;
            if *hidden_links > 0 { Ok(()) } else { same("links", attr.nlink as usize, links) }
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what} {found:?} instead of {expected:?}")) }
}
