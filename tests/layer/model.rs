//! A tree in memory: taken from a directory, or made by applying a layer's tar as the OCI image
//! specification says. Two trees that are equal cannot be told apart by `ls -lR`, `cat` and `getfattr`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use plyfs::sys::xattr::{Target, getxattr, listxattr};

use crate::tree::Entry;

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Type and permissions.
    pub mode: u32,
    pub owner: (u32, u32),
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    /// Content, or a link's target.
    pub data: Vec<u8>,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The first path of the same file.
    pub same_as: String,
}

/// Paths, without a leading slash, and what is there. The root is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<String, File>);

impl Tree {
    /// Reads a directory tree.
    pub fn read(root: &Path) -> Tree {
        let mut tree = Tree::default();
        tree.read_dir(root, "", &mut BTreeMap::new());
        tree
    }

    fn read_dir(&mut self, dir: &Path, prefix: &str, inodes: &mut BTreeMap<u64, String>) {
        let mut names: Vec<OsString> =
            fs::read_dir(dir).expect("listed").map(|e| e.expect("entry").file_name()).collect();
        names.sort();
        for name in names {
            let path = format!("{prefix}{}", name.to_str().expect("text"));
            let real = dir.join(&name);
            let meta = fs::symlink_metadata(&real).expect("there");
            let same_as = match meta.is_dir() {
                true => path.clone(),
                false => inodes.entry(meta.ino()).or_insert_with(|| path.clone()).clone(),
            };
            let data = match meta.file_type() {
                t if t.is_symlink() => {
                    fs::read_link(&real).expect("a target").as_os_str().as_bytes().to_vec()
                }
                t if t.is_file() => fs::read(&real).expect("content"),
                _ => Vec::new(),
            };
            let file = File {
                mode: meta.mode(),
                owner: (meta.uid(), meta.gid()),
                mtime: (meta.mtime(), meta.mtime_nsec()),
                data,
                xattrs: xattrs(dir, &name),
                same_as,
            };
            self.0.insert(path.clone(), file);
            if meta.is_dir() {
                self.read_dir(&real, &format!("{path}/"), inodes);
            }
        }
    }

    /// Whether a directory is at `path`.
    pub fn is_dir(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|file| file.mode & 0o170_000 == 0o040_000)
    }

    /// The tree with a layer on top.
    pub fn apply(mut self, layer: &[Entry]) -> Tree {
        let mut ours = BTreeSet::new();
        for entry in layer {
            let path = entry.path.trim_end_matches('/');
            let (dir, name) = path.rsplit_once('/').map_or(("", path), |(dir, name)| (dir, name));
            let below = |name: &str| if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
            match name.strip_prefix(".wh.") {
                Some(".wh..opq") => {
                    self.remove(&if dir.is_empty() { String::new() } else { format!("{dir}/") }, &ours)
                }
                Some(hidden) => self.remove(&below(hidden), &ours),
                None => {
                    assert!(ours.insert(path.to_owned()), "{path} twice");
                    self.put(path, entry);
                }
            }
        }
        self.renumber()
    }

    /// Removes what begins at `path` (below it, where it ends with a slash) and is not this layer's.
    fn remove(&mut self, path: &str, ours: &BTreeSet<String>) {
        let below = if path.is_empty() || path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
        self.0.retain(|p, _| ours.contains(p) || !(p == path || p.starts_with(&below)));
    }

    fn put(&mut self, path: &str, entry: &Entry) {
        let dir = entry.kind == tar::EntryType::Directory;
        if !dir {
            self.remove(path, &BTreeSet::new());
        }
        if entry.kind == tar::EntryType::Link {
            let target = self.0[entry.link.as_ref().expect("a target")].clone();
            self.0.insert(path.to_owned(), target);
            return;
        }
        self.0.insert(path.to_owned(), from_entry(path, entry));
    }

    /// Names each group of links by its first path.
    fn renumber(mut self) -> Tree {
        let mut first: BTreeMap<String, String> = BTreeMap::new();
        for (path, file) in &mut self.0 {
            // A path that was replaced leaves its name to the links that remain.
            file.same_as = first.entry(file.same_as.clone()).or_insert_with(|| path.clone()).clone();
        }
        self
    }
}

fn from_entry(path: &str, entry: &Entry) -> File {
    let file_type = match entry.kind {
        tar::EntryType::Directory => 0o040_000,
        tar::EntryType::Symlink => 0o120_000,
        tar::EntryType::Fifo => 0o010_000,
        tar::EntryType::Regular => 0o100_000,
        other => panic!("{path}: {other:?}"),
    };
    let text = |key: &str| entry.pax.get(key).map(|v| String::from_utf8(v.clone()).expect("text"));
    let mtime = text("mtime").unwrap_or_else(|| entry.mtime.to_string());
    let xattr = |(key, value): (&String, &Vec<u8>)| {
        Some((key.strip_prefix("SCHILY.xattr.")?.to_owned(), value.clone()))
    };
    File {
        mode: file_type | entry.mode,
        owner: (entry.uid as u32, entry.gid as u32),
        mtime: parse_time(&mtime),
        data: entry.link.as_ref().map_or(entry.data.clone(), |link| link.as_bytes().to_vec()),
        xattrs: entry.pax.iter().filter_map(xattr).collect(),
        // Not a path, so that it cannot meet the name of a group of the layers below.
        same_as: format!("new:{path}"),
    }
}

/// A PAX time as whole seconds, rounded down, and nanoseconds.
fn parse_time(text: &str) -> (i64, i64) {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let nanos: i64 = format!("{fraction:0<9}").parse().expect("nanoseconds");
    let whole: i64 = seconds.parse().expect("seconds");
    match text.starts_with('-') && nanos > 0 {
        true => (whole - 1, 1_000_000_000 - nanos),
        false => (whole, nanos),
    }
}

/// The `user.*` attributes.
fn xattrs(dir: &Path, name: &OsString) -> BTreeMap<String, Vec<u8>> {
    let parent = OwnedFd::from(fs::File::open(dir).expect("opened"));
    let target = Target::At(parent.as_fd(), name);
    let names = listxattr(target).expect("names").into_iter().filter(|n| n.as_bytes().starts_with(b"user."));
    names.map(|n| (n.to_str().expect("text").to_owned(), getxattr(target, &n).expect("a value"))).collect()
}
