//! A union in a temporary directory, used by paths instead of nodes. Lookups are given back at the end, and the
//! lowers are compared with what they were, so that no test changes a lower unnoticed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use plyfs::overlay::{
    Attr, Caller, Changes, Config, Entry, Kind, NewFile, NewMode, Overlay, ROOT_NODE, RenameMode, SetIds,
};
use plyfs::sys::Errno;
use plyfs::sys::fs as sys;
use tempfile::TempDir;

use crate::layers;

/// What operations give: the errno a caller of the file system would see.
pub type Res<T> = Result<T, Errno>;

/// The caller of operations that do not say another.
pub const ROOT: Caller = Caller { uid: 0, gid: 0, pid: 0 };
/// One without any right.
pub const USER: Caller = Caller { uid: 1000, gid: 1000, pid: 0 };

/// One whose entries this process can make, whoever runs it.
pub fn caller() -> Caller {
    Caller { uid: sys::geteuid().as_raw(), gid: sys::getegid().as_raw(), pid: 0 }
}

/// An upper and a work directory over lowers, with the union of them.
pub struct Union {
    overlay: Option<Overlay>,
    pub config: Config,
    before: Vec<(PathBuf, Vec<String>)>,
    held: Mutex<HashMap<u64, u64>>,
    pub dir: TempDir,
}

impl Union {
    /// An empty upper over lowers by their descriptions (see [`layers`]), top first.
    pub fn of(lowers: &[&str]) -> Union {
        Union::over("", lowers)
    }

    /// The same with something in the upper already.
    pub fn over(upper: &str, lowers: &[&str]) -> Union {
        Union::with(upper, lowers, |_| {})
    }

    /// The same with a configuration other than the default.
    pub fn with(upper: &str, lowers: &[&str], tweak: impl FnOnce(&mut Config)) -> Union {
        Union::at(tempdir(), upper, lowers, tweak)
    }

    /// The same in a directory of the caller's.
    pub fn at(dir: TempDir, upper: &str, lowers: &[&str], tweak: impl FnOnce(&mut Config)) -> Union {
        // Nothing here can show whether a file reached the disk, and syncing each copy takes long.
        let mut config = Config { index: true, acl: true, volatile: true, ..Config::default() };
        for (i, description) in lowers.iter().enumerate() {
            let root = dir.path().join(format!("lower{i}"));
            std::fs::create_dir_all(&root).expect("a lower");
            layers::build(&root, description);
            config.lowers.push(root);
        }
        for name in ["upper", "work"] {
            std::fs::create_dir_all(dir.path().join(name)).expect("a directory");
        }
        layers::build(&dir.path().join("upper"), upper);
        config.upper = Some(dir.path().join("upper"));
        config.work = Some(dir.path().join("work"));
        tweak(&mut config);
        let sums = config.lowers.iter().filter(|l| !l.as_os_str().is_empty());
        let before = sums.map(|root| (root.clone(), layers::checksum(root))).collect();
        let overlay = Overlay::open(config.clone()).unwrap_or_else(|e| panic!("not opened: {e}"));
        Union { overlay: Some(overlay), config, before, held: Mutex::default(), dir }
    }

    pub fn fs(&self) -> &Overlay {
        self.overlay.as_ref().expect("open")
    }

    /// Ends the mount and makes it again.
    pub fn reopen(&mut self) {
        self.reopen_with(|_| {});
    }

    pub fn reopen_with(&mut self, tweak: impl FnOnce(&mut Config)) {
        self.forget_all();
        self.overlay = None;
        tweak(&mut self.config);
        self.overlay = Some(Overlay::open(self.config.clone()).unwrap_or_else(|e| panic!("not opened: {e}")));
    }

    /// A path below the upper directory.
    pub fn upper(&self, path: &str) -> PathBuf {
        self.config.upper.as_ref().expect("an upper").join(path)
    }

    /// A path below one of the lowers.
    pub fn lower(&self, number: usize, path: &str) -> PathBuf {
        self.config.lowers[number].join(path)
    }

    /// What the upper holds on disk.
    pub fn on_disk(&self) -> Vec<String> {
        layers::render(&self.upper(""))
    }

    /// What is in the work directory's `work/`, but for the one whiteout that all others are links of.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = layers::render(&self.config.work.as_ref().expect("a work directory").join("work"));
        if left.len() == 1 && left[0].ends_with('!') {
            left.clear();
        }
        left
    }

    // Nodes.

    /// Counts a reference that the engine gave to the kernel.
    fn hold(&self, entry: Entry) -> Entry {
        *self.held.lock().expect("no panic").entry(entry.node).or_default() += 1;
        entry
    }

    /// Gives back all references.
    pub fn forget_all(&self) {
        for (node, count) in self.held.lock().expect("no panic").drain() {
            self.fs().forget(node, count);
        }
    }

    pub fn lookup_at(&self, parent: u64, name: impl AsRef<OsStr>) -> Res<Entry> {
        let found = self.fs().lookup(parent, name.as_ref()).map_err(|e| e.errno())?;
        found.map(|entry| self.hold(entry)).ok_or(Errno::NOENT)
    }

    /// The node at a path from the root; `""` is the root.
    pub fn node(&self, path: &str) -> Res<u64> {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.into_iter().try_fold(ROOT_NODE, |parent, name| Ok(self.lookup_at(parent, name)?.node))
    }

    /// The node of the directory above a path, and the name in it.
    pub fn split<'p>(&self, path: &'p str) -> Res<(u64, &'p OsStr)> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok((self.node(dir)?, OsStr::new(name)))
    }

    // Operations by path.

    pub fn stat(&self, path: &str) -> Res<Attr> {
        self.fs().getattr(self.node(path)?).map_err(|e| e.errno())
    }

    pub fn ino(&self, path: &str) -> u64 {
        self.stat(path).expect("there").ino
    }

    pub fn nlink(&self, path: &str) -> u32 {
        self.stat(path).expect("there").nlink
    }

    pub fn exists(&self, path: &str) -> bool {
        self.node(path).is_ok()
    }

    pub fn read(&self, path: &str) -> Res<String> {
        self.read_node(self.node(path)?)
    }

    pub fn read_node(&self, node: u64) -> Res<String> {
        let size = self.fs().getattr(node).map_err(|e| e.errno())?.size as usize;
        let mut bytes = vec![0; size + 1];
        let got = self.fs().read(node, 0, &mut bytes).map_err(|e| e.errno())?;
        bytes.truncate(got);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    pub fn write(&self, path: &str, offset: u64, text: &str) -> Res<()> {
        self.write_node(self.node(path)?, offset, text)
    }

    pub fn write_node(&self, node: u64, offset: u64, text: &str) -> Res<()> {
        self.fs().write(node, offset, text.as_bytes(), SetIds::Keep).map_err(|e| e.errno())
    }

    pub fn make(&self, path: &str, new: NewFile<'_>, mode: u32, caller: Caller) -> Res<Entry> {
        self.make_masked(path, new, NewMode { mode, umask: 0o022 }, caller)
    }

    pub fn make_masked(&self, path: &str, new: NewFile<'_>, mode: NewMode, caller: Caller) -> Res<Entry> {
        let (parent, name) = self.split(path)?;
        let made = self.fs().create(parent, name, new, mode, caller).map_err(|e| e.errno())?;
        Ok(self.hold(made))
    }

    pub fn create(&self, path: &str, text: &str) -> Res<()> {
        let node = self.make(path, NewFile::Regular, 0o644, caller())?.node;
        if text.is_empty() { Ok(()) } else { self.write_node(node, 0, text) }
    }

    pub fn mkdir(&self, path: &str) -> Res<()> {
        self.make(path, NewFile::Directory, 0o755, caller()).map(drop)
    }

    pub fn symlink(&self, path: &str, target: &str) -> Res<()> {
        self.make(path, NewFile::Symlink(target.as_ref()), 0o777, caller()).map(drop)
    }

    pub fn unlink(&self, path: &str) -> Res<()> {
        let (parent, name) = self.split(path)?;
        self.fs().unlink(parent, name).map_err(|e| e.errno())
    }

    pub fn rmdir(&self, path: &str) -> Res<()> {
        let (parent, name) = self.split(path)?;
        self.fs().rmdir(parent, name).map_err(|e| e.errno())
    }

    pub fn rename(&self, old: &str, new: &str) -> Res<()> {
        self.rename_with(old, new, RenameMode::Replace)
    }

    pub fn exchange(&self, old: &str, new: &str) -> Res<()> {
        self.rename_with(old, new, RenameMode::Exchange)
    }

    pub fn rename_with(&self, old: &str, new: &str, mode: RenameMode) -> Res<()> {
        let (old, new) = (self.split(old)?, self.split(new)?);
        self.fs().rename(old, new, mode).map_err(|e| e.errno())
    }

    pub fn link(&self, old: &str, new: &str) -> Res<()> {
        let (parent, name) = self.split(new)?;
        let made = self.fs().link(self.node(old)?, parent, name).map_err(|e| e.errno())?;
        self.hold(made);
        Ok(())
    }

    pub fn setattr(&self, path: &str, changes: Changes) -> Res<Attr> {
        self.fs().setattr(self.node(path)?, changes, SetIds::Keep).map_err(|e| e.errno())
    }

    pub fn chmod(&self, path: &str, mode: u32) -> Res<Attr> {
        self.setattr(path, Changes { mode: Some(mode), ..Changes::default() })
    }

    pub fn truncate(&self, path: &str, size: u64) -> Res<Attr> {
        self.setattr(path, Changes { size: Some(size), ..Changes::default() })
    }

    pub fn getxattr(&self, path: &str, name: &str) -> Res<String> {
        let value = self.fs().getxattr(self.node(path)?, name.as_ref()).map_err(|e| e.errno())?;
        Ok(String::from_utf8_lossy(&value).into_owned())
    }

    pub fn setxattr(&self, path: &str, name: &str, value: &str) -> Res<()> {
        self.fs()
            .setxattr(self.node(path)?, name.as_ref(), value.as_bytes(), 0, caller())
            .map_err(|e| e.errno())
    }

    /// The attributes of a path but those that a security module of the host may add.
    pub fn xattrs(&self, path: &str) -> Vec<String> {
        self.xattrs_for(path, caller())
    }

    /// The same as `caller` sees them.
    pub fn xattrs_for(&self, path: &str, caller: Caller) -> Vec<String> {
        let names = self.fs().listxattr(self.node(path).expect("there"), caller).expect("listed");
        let names = names.into_iter().map(|n| n.to_string_lossy().into_owned());
        names.filter(|n| !n.starts_with("security.")).collect()
    }

    /// The names in a directory, sorted, without `.` and `..`.
    pub fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<_> = self.lines(path).into_iter().map(|(name, ..)| name).collect();
        names.sort();
        names
    }

    /// A listing in its order, without `.` and `..`: name, inode number, type.
    pub fn lines(&self, path: &str) -> Vec<(String, u64, Kind)> {
        self.lines_of(self.node(path).expect("there"))
    }

    pub fn lines_of(&self, node: u64) -> Vec<(String, u64, Kind)> {
        let mut lines = Vec::new();
        let all = |line: plyfs::overlay::Line| {
            if line.name != "." && line.name != ".." {
                lines.push((line.name.to_string_lossy().into_owned(), line.ino, line.kind));
            }
            true
        };
        self.fs().list(node, 0, all).expect("listed");
        lines
    }

    /// The whole tree of the view in the form of [`layers`], sorted. Listings and lookups must agree.
    pub fn tree(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut pending = vec![(ROOT_NODE, String::new())];
        while let Some((node, path)) = pending.pop() {
            for (name, ino, kind) in self.lines_of(node) {
                let entry = self.lookup_at(node, &name).expect("a listed name");
                let path = format!("{path}{name}");
                assert_eq!((entry.attr.ino, entry.attr.kind), (ino, kind), "{path}: listed unlike looked up");
                words.push(self.word(&path, entry));
                if kind == Kind::Directory {
                    pending.push((entry.node, format!("{path}/")));
                }
            }
        }
        words.sort();
        words
    }

    fn word(&self, path: &str, entry: Entry) -> String {
        match entry.attr.kind {
            Kind::Directory => format!("{path}/"),
            Kind::File => format!("{path}={}", self.read_node(entry.node).expect("read")),
            Kind::Symlink => {
                let target = self.fs().readlink(entry.node).expect("a target");
                format!("{path}->{}", String::from_utf8_lossy(&target))
            }
            Kind::Fifo => format!("{path}|"),
            other => format!("{path} {other:?}"),
        }
    }

    /// Ends the union without the checks at its end, where something went wrong already.
    #[allow(dead_code, reason = "used by tests/model")]
    pub fn abandon(mut self) {
        (self.overlay, self.before) = (None, Vec::new());
    }

    /// For tests that change a lower themselves: the changes up to now count as the state to keep.
    pub fn lowers_changed(&mut self) {
        for (root, before) in &mut self.before {
            *before = layers::checksum(root);
        }
    }

    /// Asserts that the lowers are what they were.
    fn check_lowers(&self) {
        for (root, before) in &self.before {
            let after = layers::checksum(root);
            for (old, new) in before.iter().zip(&after) {
                assert_eq!(old, new, "{} changed", root.display());
            }
            assert_eq!(before.len(), after.len(), "{} changed", root.display());
        }
    }
}

impl Drop for Union {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        if self.overlay.is_some() {
            self.forget_all();
            let nodes_left = self.fs().getattr(ROOT_NODE).is_err();
            assert!(!nodes_left, "the root went with the others");
            if self.config.upper.as_ref().is_some_and(|upper| upper.exists()) {
                assert_eq!(self.leftovers(), [""; 0], "leftovers in the work directory");
            }
        }
        self.check_lowers();
    }
}

/// The words of a description, sorted, as [`Union::tree`] gives them.
pub fn words(description: &str) -> Vec<String> {
    let mut words: Vec<_> = description.split_whitespace().map(str::to_owned).collect();
    words.sort();
    words
}

/// A temporary directory that says whose it is.
pub fn tempdir() -> TempDir {
    tempfile::Builder::new().prefix("plyfs-engine-").tempdir().expect("a temporary directory")
}

/// The same for tests with thousands of files, in memory where that can hold what they need.
pub fn large_tempdir() -> TempDir {
    let dir = tempfile::Builder::new().prefix("plyfs-engine-").tempdir_in("/dev/shm");
    match dir {
        Ok(dir) if layers::can_set_attribute(dir.path(), "user.x") => dir,
        _ => tempdir(),
    }
}

/// Says that a test was not run, past the test harness, which keeps what a passing test prints.
pub fn skipped(why: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {why}").expect("standard error");
}

/// Whether this test has the rights it needs; says so loudly where not.
pub fn privileged(test: &str) -> bool {
    let root = sys::geteuid().is_root();
    if !root {
        skipped(&format!("{test} needs root"));
    }
    root
}

/// A file system mounted for a test, unmounted at its end.
pub struct Mounted {
    pub path: PathBuf,
    /// Removed after the unmount.
    _dir: Option<TempDir>,
}

impl Mounted {
    /// Mounts a file system of `kind` in a directory of its own, which outlives the union's.
    pub fn apart(kind: &str, options: &str) -> Option<Mounted> {
        let dir = tempdir();
        let mut mounted = Mounted::new(dir.path(), "mnt", kind, options)?;
        mounted._dir = Some(dir);
        Some(mounted)
    }

    /// Mounts a file system of `kind` at the new directory `name` of `dir`; `None`, loudly, where that cannot be.
    pub fn new(dir: &Path, name: &str, kind: &str, options: &str) -> Option<Mounted> {
        let path = dir.join(name);
        std::fs::create_dir(&path).expect("a mount point");
        let mut mount = Command::new("mount");
        mount.args(["-t", kind, "-o", options]).arg("none").arg(&path);
        match mount.output() {
            Ok(output) if output.status.success() => Some(Mounted { path, _dir: None }),
            other => {
                skipped(&format!("cannot mount {kind}: {other:?}"));
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        use plyfs::sys::mount::{UnmountFlags, unmount};
        if let Err(e) = unmount(&self.path, UnmountFlags::DETACH) {
            eprintln!("left mounted: {}: {e}", self.path.display());
        }
    }
}

/// Runs `body` in a process of its own: for tests that change limits or measure the process.
///
/// `name` is the test's full name, by which this program finds it again.
pub fn in_child(name: &str, body: impl FnOnce()) {
    const VARIABLE: &str = "PLYFS_ENGINE_CHILD";
    if std::env::var_os(VARIABLE).is_some_and(|child| child == name) {
        return body();
    }
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(VARIABLE, name);
    let output = child.output().expect("a child");
    assert!(
        output.status.success(),
        "{name} failed in its child:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let ran = String::from_utf8_lossy(&output.stdout);
    assert!(ran.contains("1 passed"), "{name} is not the test's name: {ran}");
    let _ignored = std::io::stderr().write_all(&output.stderr);
}
