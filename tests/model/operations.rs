//! The operations: chosen at random, done on the tree in memory and on the union.

use plyfs::overlay::{NewFile, NewMode, RenameMode};
use plyfs::sys::Errno;

use crate::harness::{Res, Union, caller};
use crate::layer::{MODES, NAMES};
use crate::random::Random;
use crate::tree::{Node, Tree};

#[derive(Debug, Clone)]
pub enum Operation {
    Create(String, u32),
    Mkdir(String, u32),
    Symlink(String, String),
    Write(String, usize, String),
    Truncate(String, usize),
    Read(String),
    List(String),
    Chmod(String, u32),
    SetAttribute(String, String),
    RemoveAttribute(String),
    Unlink(String),
    Rmdir(String),
    RemoveTree(String),
    Rename(String, String, Mode),
    Link(String, String),
    Forget,
    Remount,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Replace,
    NoReplace,
    Exchange,
}

/// What an operation gives: text for those that read.
pub type Given = Res<String>;

/// A path that may or may not exist; more often one that does.
fn any_path(random: &mut Random, tree: &Tree) -> String {
    let paths = tree.paths();
    if !paths.is_empty() && !random.one_in(3) {
        return random.pick(&paths).0.clone();
    }
    let dirs: Vec<String> =
        paths.iter().filter(|(_, id)| tree.is_dir(*id)).map(|(p, _)| format!("{p}/")).collect();
    let dir = if dirs.is_empty() || random.one_in(3) { String::new() } else { random.pick(&dirs).clone() };
    format!("{dir}{}", random.pick(NAMES))
}

/// Whether one of the paths lies in the other, which the kernel refuses before a file system sees it.
fn nested(one: &str, other: &str) -> bool {
    let inside = |inner: &str, outer: &str| inner.starts_with(&format!("{outer}/"));
    inside(one, other) || inside(other, one)
}

impl Operation {
    pub fn random(random: &mut Random, tree: &Tree) -> Operation {
        let path = any_path(random, tree);
        match random.below(30) {
            0 | 1 => Operation::Create(path, *random.pick(MODES)),
            2..=4 => Operation::Mkdir(path, *random.pick(&[0o755, 0o700])),
            5 => Operation::Symlink(path, "new-target".to_owned()),
            6..=8 => Operation::Write(path, random.below(12) as usize, format!("w{}", random.below(9))),
            9 => Operation::Truncate(path, random.below(8) as usize),
            10 => Operation::Read(path),
            11 => Operation::List(path),
            12 | 13 => {
                // Whoever serves the union must be able to enter its directories.
                let enter = if tree.find(&path).is_ok_and(|id| tree.is_dir(id)) { 0o700 } else { 0 };
                Operation::Chmod(path, *random.pick(MODES) | enter)
            }
            14 => Operation::SetAttribute(path, format!("v{}", random.below(9))),
            15 => Operation::RemoveAttribute(path),
            16..=18 => Operation::Unlink(path),
            19 | 20 => Operation::Rmdir(path),
            21 => Operation::RemoveTree(path),
            22..=26 => {
                let new = any_path(random, tree);
                if nested(&path, &new) {
                    return Operation::Read(path);
                }
                Operation::Rename(
                    path,
                    new,
                    *random.pick(&[Mode::Replace, Mode::Replace, Mode::NoReplace, Mode::Exchange]),
                )
            }
            27 | 28 => Operation::Link(path, any_path(random, tree)),
            29 => Operation::Forget,
            _ => Operation::Remount,
        }
    }

    /// Does it to the tree.
    pub fn on_tree(&self, tree: &mut Tree, redirects: bool) -> Given {
        let done = |result: Res<()>| result.map(|()| String::new());
        match self {
            Operation::Create(path, mode) => {
                let node = Node::File { content: Vec::new(), mode: *mode, attribute: None, hidden_links: 0 };
                done(make(tree, path, node))
            }
            Operation::Mkdir(path, mode) => done(make(tree, path, Tree::new_dir(*mode, false))),
            Operation::Symlink(path, target) => done(make(tree, path, Node::Symlink(target.clone()))),
            Operation::Write(path, offset, text) => done(write(tree, path, *offset, text)),
            Operation::Truncate(path, size) => {
                file(tree, path).map(|(content, _)| content.resize(*size, 0)).map(|()| String::new())
            }
            Operation::Read(path) => {
                file(tree, path).map(|(content, _)| String::from_utf8_lossy(content).into_owned())
            }
            Operation::List(path) => {
                let names = tree
                    .find(path)
                    .and_then(|id| tree.entries(id).map(|e| e.keys().cloned().collect::<Vec<_>>()));
                names.map(|names| names.join(" "))
            }
            Operation::Chmod(path, new) => {
                let id = tree.find(path);
                id.and_then(|id| match &mut tree.nodes[id] {
                    Node::Dir { mode, .. } | Node::File { mode, .. } => {
                        *mode = *new;
                        Ok(String::new())
                    }
                    Node::Symlink(_) => Err(Errno::OPNOTSUPP),
                })
            }
            Operation::SetAttribute(path, value) => file(tree, path)
                .map(|(_, attribute)| *attribute = Some(value.clone()))
                .map(|()| String::new()),
            Operation::RemoveAttribute(path) => file(tree, path)
                .and_then(|(_, attribute)| attribute.take().ok_or(Errno::NODATA))
                .map(|_| String::new()),
            Operation::Unlink(path) => done(unlink(tree, path)),
            Operation::Rmdir(path) => done(rmdir(tree, path)),
            Operation::RemoveTree(path) => done(remove_tree(tree, path)),
            Operation::Rename(old, new, mode) => done(rename(tree, old, new, *mode, redirects)),
            Operation::Link(old, new) => done(link(tree, old, new)),
            Operation::Forget | Operation::Remount => Ok(String::new()),
        }
    }

    /// Does it to the union, in the way the kernel would ask for it.
    pub fn on_union(&self, u: &mut Union) -> Given {
        let make = |path: &str, new: NewFile<'_>, mode: u32| {
            u.make_masked(path, new, NewMode { mode, umask: 0 }, caller()).map(drop)
        };
        let done = |result: Res<()>| result.map(|()| String::new());
        match self {
            Operation::Create(path, mode) => done(make(path, NewFile::Regular, *mode)),
            Operation::Mkdir(path, mode) => done(make(path, NewFile::Directory, *mode)),
            Operation::Symlink(path, target) => done(make(path, NewFile::Symlink(target.as_ref()), 0o777)),
            Operation::Write(path, offset, text) => {
                done(is_file(u, path).and_then(|()| u.write(path, *offset as u64, text)))
            }
            Operation::Truncate(path, size) => {
                done(is_file(u, path).and_then(|()| u.truncate(path, *size as u64).map(drop)))
            }
            Operation::Read(path) => is_file(u, path).and_then(|()| u.read(path)),
            Operation::List(path) => {
                u.node(path)?;
                match u.stat(path)?.kind {
                    plyfs::overlay::Kind::Directory => Ok(u.names(path).join(" ")),
                    _ => Err(Errno::NOTDIR),
                }
            }
            Operation::Chmod(path, mode) => match u.stat(path)?.kind {
                plyfs::overlay::Kind::Symlink => Err(Errno::OPNOTSUPP),
                _ => done(u.chmod(path, *mode).map(drop)),
            },
            Operation::SetAttribute(path, value) => {
                done(is_file(u, path).and_then(|()| u.setxattr(path, "user.m", value)))
            }
            Operation::RemoveAttribute(path) => {
                is_file(u, path)?;
                done(u.fs().removexattr(u.node(path)?, "user.m".as_ref()).map_err(|e| e.errno()))
            }
            Operation::Unlink(path) => done(u.unlink(path)),
            Operation::Rmdir(path) => done(u.rmdir(path)),
            Operation::RemoveTree(path) => done(remove_union_tree(u, path)),
            Operation::Rename(old, new, mode) => {
                let mode = match mode {
                    Mode::Replace => RenameMode::Replace,
                    Mode::NoReplace => RenameMode::NoReplace,
                    Mode::Exchange => RenameMode::Exchange,
                };
                done(u.rename_with(old, new, mode))
            }
            Operation::Link(old, new) => done(u.link(old, new)),
            Operation::Forget => {
                u.forget_all();
                Ok(String::new())
            }
            Operation::Remount => {
                u.reopen();
                Ok(String::new())
            }
        }
    }
}

fn is_file(u: &Union, path: &str) -> Res<()> {
    match u.stat(path)?.kind {
        plyfs::overlay::Kind::File => Ok(()),
        plyfs::overlay::Kind::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::LOOP),
    }
}

/// `rm -r`, while listing.
fn remove_union_tree(u: &Union, path: &str) -> Res<()> {
    if u.stat(path)?.kind != plyfs::overlay::Kind::Directory {
        return u.unlink(path);
    }
    for name in u.names(path) {
        remove_union_tree(u, &format!("{path}/{name}"))?;
    }
    u.rmdir(path)
}

type FileParts<'a> = (&'a mut Vec<u8>, &'a mut Option<String>);

fn file<'a>(tree: &'a mut Tree, path: &str) -> Res<FileParts<'a>> {
    let id = tree.find(path)?;
    match &mut tree.nodes[id] {
        Node::File { content, attribute, .. } => Ok((content, attribute)),
        Node::Dir { .. } => Err(Errno::ISDIR),
        Node::Symlink(_) => Err(Errno::LOOP),
    }
}

fn make(tree: &mut Tree, path: &str, node: Node) -> Res<()> {
    let (dir, name) = tree.split(path)?;
    if tree.entries(dir)?.contains_key(name) {
        return Err(Errno::EXIST);
    }
    let id = tree.add(node);
    tree.entries_mut(dir).insert(name.to_owned(), id);
    Ok(())
}

fn write(tree: &mut Tree, path: &str, offset: usize, text: &str) -> Res<()> {
    let (content, _) = file(tree, path)?;
    let end = offset + text.len();
    content.resize(content.len().max(end), 0);
    content[offset..end].copy_from_slice(text.as_bytes());
    Ok(())
}

fn unlink(tree: &mut Tree, path: &str) -> Res<()> {
    let (id, (dir, name)) = (tree.find(path)?, tree.split(path)?);
    if tree.is_dir(id) {
        return Err(Errno::ISDIR);
    }
    tree.entries_mut(dir).remove(name);
    Ok(())
}

fn rmdir(tree: &mut Tree, path: &str) -> Res<()> {
    let (id, (dir, name)) = (tree.find(path)?, tree.split(path)?);
    if !tree.entries(id)?.is_empty() {
        return Err(Errno::NOTEMPTY);
    }
    tree.entries_mut(dir).remove(name);
    Ok(())
}

fn remove_tree(tree: &mut Tree, path: &str) -> Res<()> {
    tree.find(path)?;
    let (dir, name) = tree.split(path)?;
    tree.entries_mut(dir).remove(name);
    Ok(())
}

fn link(tree: &mut Tree, old: &str, new: &str) -> Res<()> {
    let (dir, name) = tree.split(new)?;
    let id = tree.find(old)?;
    if tree.is_dir(id) {
        return Err(Errno::PERM);
    }
    if tree.entries(dir)?.contains_key(name) {
        return Err(Errno::EXIST);
    }
    tree.entries_mut(dir).insert(name.to_owned(), id);
    Ok(())
}

fn rename(tree: &mut Tree, old: &str, new: &str, mode: Mode, redirects: bool) -> Res<()> {
    let ((old_dir, old_name), (new_dir, new_name)) = (tree.split(old)?, tree.split(new)?);
    let id = *tree.entries(old_dir)?.get(old_name).ok_or(Errno::NOENT)?;
    let target = tree.entries(new_dir)?.get(new_name).copied();
    match (mode, target) {
        (Mode::NoReplace, Some(_)) => return Err(Errno::EXIST),
        (Mode::Exchange, None) => return Err(Errno::NOENT),
        (_, Some(target)) if target == id => return Ok(()),
        (Mode::Replace, Some(target)) => match (tree.is_dir(id), tree.is_dir(target)) {
            (true, false) => return Err(Errno::NOTDIR),
            (false, true) => return Err(Errno::ISDIR),
            (true, true) if !tree.entries(target)?.is_empty() => return Err(Errno::NOTEMPTY),
            _ => {}
        },
        _ => {}
    }
    let both = [Some(id), target.filter(|_| mode == Mode::Exchange)];
    for moved in both.into_iter().flatten() {
        if !redirects && matches!(tree.nodes[moved], Node::Dir { merged: true, .. }) {
            return Err(Errno::XDEV);
        }
    }
    tree.entries_mut(old_dir).remove(old_name);
    if let Some(other) = target.filter(|_| mode == Mode::Exchange) {
        tree.entries_mut(old_dir).insert(old_name.to_owned(), other);
    }
    tree.entries_mut(new_dir).insert(new_name.to_owned(), id);
    Ok(())
}
