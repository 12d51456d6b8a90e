//! A directory tree as lines of text: everything about it that must stay as it is.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Files larger than this are not read: their times tell of changes.
const READ_AT_MOST: u64 = 4 << 20;

/// One line for each entry of `root`, itself included.
pub fn snapshot(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(path) = pending.pop() {
        lines.push(line(&path));
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    lines.sort();
    lines
}

/// Everything but the access time.
fn line(path: &Path) -> String {
    let m = fs::symlink_metadata(path).unwrap();
    let mut hasher = DefaultHasher::new();
    if m.is_file() && m.len() <= READ_AT_MOST {
        fs::read(path).unwrap().hash(&mut hasher);
    } else if m.is_symlink() {
        fs::read_link(path).unwrap().hash(&mut hasher);
    }
    attributes(path).hash(&mut hasher);
    let shape = (m.ino(), m.mode(), m.uid(), m.gid(), m.nlink(), m.len(), m.rdev());
    let times = (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    format!("{}: {shape:?} {times:?} {:x}", path.display(), hasher.finish())
}

/// Names and values of the extended attributes.
pub fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut list = vec![0; 1 << 16];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let mut found: Vec<_> =
        names.map(|name| (String::from_utf8_lossy(name).into_owned(), value(path, name))).collect();
    found.sort();
    found
}

fn value(path: &Path, name: &[u8]) -> Vec<u8> {
    let mut value = vec![0; 1 << 16];
    let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
    value.truncate(length);
    value
}
