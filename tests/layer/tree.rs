//! Builds layer directories, and reads tars back.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use plyfs::layer::pack::{PackOptions, Packed};
use plyfs::layer::{diff, pack};
use plyfs::sys::fs as sys;
use plyfs::sys::xattr::{Target, setxattr};
use tempfile::TempDir;

/// The time that [`Layers::settle`] gives to everything.
pub const MTIME: i64 = 1_000_000_000;

/// An upper over two lowers, in a temporary directory of their own.
pub struct Layers {
    dir: TempDir,
    pub upper: Layer,
    /// The lower right below the upper.
    pub lower: Layer,
    /// The lower at the bottom.
    pub base: Layer,
}

/// One layer directory.
pub struct Layer {
    pub root: PathBuf,
}

impl Layers {
    pub fn new() -> Layers {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let layer = |name: &str| {
            let root = dir.path().join(name);
            fs::create_dir(&root).expect("a layer");
            Layer { root }
        };
        Layers { upper: layer("upper"), lower: layer("lower"), base: layer("base"), dir }
    }

    pub fn lowers(&self) -> Vec<PathBuf> {
        vec![self.lower.root.clone(), self.base.root.clone()]
    }

    /// A path beside the layers, where nothing is yet.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Gives every file the same time, so that directories that are alike compare alike.
    pub fn settle(&self) {
        settle(self.dir.path());
    }

    /// The lines of `diff`.
    pub fn diff(&self) -> Vec<String> {
        self.diff_with(None)
    }

    pub fn diff_with(&self, work: Option<&Path>) -> Vec<String> {
        let changes = diff::diff(&self.upper.root, &self.lowers(), work).expect("diff");
        changes.iter().map(ToString::to_string).collect()
    }

    /// The layer's tar.
    pub fn pack(&self) -> Vec<u8> {
        self.pack_with(&PackOptions::default()).1
    }

    pub fn pack_with(&self, options: &PackOptions) -> (Packed, Vec<u8>) {
        let mut tar = Vec::new();
        let packed = pack::pack(&self.upper.root, &self.lowers(), options, &mut tar).expect("pack");
        (packed, tar)
    }

    /// The paths in the tar, in order.
    pub fn packed_paths(&self) -> Vec<String> {
        entries(&self.pack()).into_iter().map(|e| e.path).collect()
    }
}

impl Layer {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    fn parent(&self, path: &str) -> OwnedFd {
        let parent = self.path(path).parent().expect("a parent").to_owned();
        fs::create_dir_all(&parent).expect("parents");
        OwnedFd::from(fs::File::open(parent).expect("the parent"))
    }

    pub fn dir(&self, path: &str) -> &Layer {
        fs::create_dir_all(self.path(path)).expect("a directory");
        self
    }

    pub fn file(&self, path: &str, data: &str) -> &Layer {
        drop(self.parent(path));
        fs::write(self.path(path), data).expect("a file");
        self
    }

    pub fn symlink(&self, path: &str, target: &str) -> &Layer {
        std::os::unix::fs::symlink(target, self.path(path)).expect("a link");
        self
    }

    pub fn hard_link(&self, old: &str, new: &str) -> &Layer {
        fs::hard_link(self.path(old), self.path(new)).expect("a hard link");
        self
    }

    pub fn mode(&self, path: &str, mode: u32) -> &Layer {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).expect("a mode");
        self
    }

    pub fn xattr(&self, path: &str, name: &str, value: impl AsRef<[u8]>) -> &Layer {
        let name_in_parent = Path::new(path).file_name().expect("a name").to_owned();
        let parent = self.parent(path);
        let target = Target::At(parent.as_fd(), &name_in_parent);
        setxattr(target, OsStr::new(name), value.as_ref(), 0).expect("an attribute");
        self
    }

    /// An ACL that lets user 1234 read and execute, where the file system has ACLs.
    pub fn acl(&self, path: &str, attribute: &str) -> &Layer {
        const ANYBODY: u32 = u32::MAX;
        let mut acl = 2_u32.to_le_bytes().to_vec();
        for (tag, permissions, id) in
            [(1, 7, ANYBODY), (2, 5, 1234), (4, 5, ANYBODY), (0x10, 5, ANYBODY), (0x20, 0, ANYBODY)]
        {
            acl.extend([u16::to_le_bytes(tag), u16::to_le_bytes(permissions)].concat());
            acl.extend(u32::to_le_bytes(id));
        }
        self.xattr(path, attribute, acl)
    }

    /// An overlay mark in the name space that needs no privilege.
    pub fn mark(&self, path: &str, mark: &str, value: &str) -> &Layer {
        self.xattr(path, &format!("user.overlay.{mark}"), value)
    }

    /// A node of the given type and device number.
    pub fn node(&self, path: &str, file_type: sys::FileType, device: u64) -> &Layer {
        let name = Path::new(path).file_name().expect("a name").to_owned();
        sys::mknodat(self.parent(path), name, file_type, sys::Mode::from_raw_mode(0o644), device)
            .expect("a node");
        self
    }

    /// A whiteout as the kernel makes it; needs no privilege since Linux 5.8.
    pub fn whiteout(&self, path: &str) -> &Layer {
        self.node(path, sys::FileType::CharacterDevice, 0)
    }
}

/// Sets all times below `dir`, children first.
fn settle(dir: &Path) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.is_symlink() {
            settle(&path);
        } else {
            set_mtime(&path, MTIME, 0);
        }
    }
    set_mtime(dir, MTIME, 0);
}

pub fn set_mtime(path: &Path, seconds: i64, nanos: i64) {
    let time = sys::Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = sys::Timestamps { last_access: time, last_modification: time };
    sys::utimensat(sys::CWD, path, &times, sys::AtFlags::SYMLINK_NOFOLLOW).expect("times");
}

/// Says that a test was not run, past the harness, which keeps what a passing test prints.
pub fn skipped(why: &str) {
    writeln!(std::io::stderr(), "SKIPPED, NOT RUN: {why}").expect("standard error");
}

/// Whether this test can run; says so loudly where it cannot.
pub fn privileged(test: &str) -> bool {
    let root = sys::geteuid().is_root();
    if !root {
        skipped(&format!("{test} needs root"));
    }
    root
}

/// An entry of a tar, as the tar crate reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub path: String,
    pub kind: tar::EntryType,
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
    pub mtime: u64,
    pub link: Option<String>,
    pub device: (u32, u32),
    pub pax: BTreeMap<String, Vec<u8>>,
    pub data: Vec<u8>,
}

pub fn entries(tar: &[u8]) -> Vec<Entry> {
    let mut archive = tar::Archive::new(tar);
    archive.entries().expect("a tar").map(|e| entry(e.expect("an entry"))).collect()
}

fn entry(mut entry: tar::Entry<'_, &[u8]>) -> Entry {
    let mut pax = BTreeMap::new();
    for record in entry.pax_extensions().expect("records").into_iter().flatten() {
        let record = record.expect("a record");
        pax.insert(record.key().expect("a key").to_owned(), record.value_bytes().to_vec());
    }
    let mut data = Vec::new();
    std::io::Read::read_to_end(&mut entry, &mut data).expect("data");
    let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_str().expect("text").to_owned();
    let header = entry.header();
    let device = |number: std::io::Result<Option<u32>>| number.expect("a number").unwrap_or(0);
    Entry {
        path: text(&entry.path_bytes()),
        kind: header.entry_type(),
        mode: header.mode().expect("a mode"),
        uid: header.uid().expect("an owner"),
        gid: header.gid().expect("a group"),
        mtime: header.mtime().expect("a time"),
        link: entry.link_name_bytes().map(|l| text(&l)).filter(|l| !l.is_empty()),
        device: (device(header.device_major()), device(header.device_minor())),
        pax,
        data,
    }
}

/// The entry at `path`, which must be there once.
pub fn find(entries: &[Entry], path: &str) -> Entry {
    let found: Vec<&Entry> = entries.iter().filter(|e| e.path == path).collect();
    assert_eq!(found.len(), 1, "{path} in {entries:#?}");
    found[0].clone()
}
