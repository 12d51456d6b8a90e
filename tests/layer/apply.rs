//! S98 to S101: an upper applied to the tree that it was made over.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use plyfs::layer::apply::{ApplyError, Attempt, Moment, Owners, Request, Why, apply, check};

/// A tree, an upper and a canary beside them.
struct Case {
    dir: tempfile::TempDir,
    began: Moment,
}

impl Case {
    /// Makes the tree, of `d/one d/two keep old link dir/sub/deep`, and waits until its change times are past.
    fn new() -> Case {
        let dir = tempfile::tempdir().unwrap();
        let case = Case { dir, began: (0, 0) };
        for name in ["tree/d/one", "tree/d/two", "tree/keep", "tree/old", "tree/dir/sub/deep", "canary"] {
            case.write(name, name);
        }
        fs::create_dir(case.path("upper")).unwrap();
        Case { began: case.now(), ..case }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|e| e.kind().to_string())
    }

    /// A moment later than the change time of all that was made till now: the file system's clock is a coarse one.
    fn now(&self) -> Moment {
        std::thread::sleep(Duration::from_millis(30));
        fs::write(self.path("clock"), "").unwrap();
        let meta = fs::metadata(self.path("clock")).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        (meta.mtime(), meta.mtime_nsec())
    }

    fn run(&self, attempt: Attempt) -> Result<(), ApplyError> {
        let (upper, tree, kept_out) = (self.path("upper"), self.path("tree"), self.path("tree/dir/sub"));
        let request = Request {
            upper: &upper,
            target: &tree,
            mounts: &[],
            began: self.began,
            token: "t",
            owners: Owners::Own,
            attempt,
            kept_out: &kept_out,
        };
        check(&request)?;
        apply(&request)
    }

    #[track_caller]
    fn good(&self) {
        self.run(Attempt::First).unwrap();
    }

    /// What stands against applying, by its path in the tree.
    #[track_caller]
    fn refused(&self) -> Vec<(String, Why)> {
        let before = snapshot(&self.path("tree"));
        let error = self.run(Attempt::First).expect_err("refused");
        assert_eq!(snapshot(&self.path("tree")), before, "nothing was changed");
        let ApplyError::Conflicts(all) = error else { panic!("{error}") };
        let tree = self.path("tree");
        let name = |path: &Path| path.strip_prefix(&tree).unwrap().display().to_string();
        all.iter().map(|conflict| (name(&conflict.path), conflict.why)).collect()
    }
}

/// All paths below a directory, with what is there.
fn snapshot(dir: &Path) -> Vec<(PathBuf, u32, u64, i64, Vec<u8>)> {
    let mut all = Vec::new();
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in names {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        all.push((path.clone(), meta.mode(), meta.ino(), meta.mtime(), content));
        if meta.is_dir() {
            all.extend(snapshot(&path));
        }
    }
    all
}

/// Files whose name begins as that of what is made beside its place.
fn leftovers(dir: &Path) -> usize {
    snapshot(dir).iter().filter(|(path, ..)| path.to_string_lossy().contains(".plyfs-")).count()
}

#[test]
fn all_kinds_of_changes_are_made() {
    let case = Case::new();
    case.write("upper/new", "new");
    case.write("upper/d/one", "changed");
    case.write("upper/d/.wh.two", "");
    case.write("upper/.wh.old", "");
    case.write("upper/made/a/b", "deep");
    case.write("upper/dir2/x", "x");
    symlink("../../canary", case.path("upper/link")).unwrap();
    fs::hard_link(case.path("upper/new"), case.path("upper/made/linked")).unwrap();
    let time = UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    fs::File::options().write(true).open(case.path("upper/new")).unwrap().set_modified(time).unwrap();
    fs::set_permissions(case.path("upper/new"), fs::Permissions::from_mode(0o4751)).unwrap();
    case.good();
    assert_eq!(case.read("tree/new"), "new");
    assert_eq!(case.read("tree/d/one"), "changed");
    assert!(!case.path("tree/d/two").exists() && !case.path("tree/old").exists());
    assert_eq!(case.read("tree/made/a/b"), "deep");
    assert_eq!(fs::read_link(case.path("tree/link")).unwrap(), Path::new("../../canary"));
    let (new, linked) =
        (fs::metadata(case.path("tree/new")).unwrap(), fs::metadata(case.path("tree/made/linked")).unwrap());
    assert_eq!((new.ino(), new.nlink()), (linked.ino(), 2));
    assert_eq!(new.mode() & 0o7777, 0o4751);
    assert_eq!(new.modified().unwrap(), time);
    assert_eq!((case.read("tree/keep"), case.read("canary")), ("tree/keep".into(), "canary".into()));
    assert_eq!(leftovers(&case.path("tree")), 0);
}

/// S101.
#[test]
fn applying_again_changes_nothing() {
    let case = Case::new();
    case.write("upper/new", "new");
    case.write("upper/d/one", "changed");
    case.write("upper/.wh.old", "");
    case.write("upper/dir/.wh..wh..opq", "");
    case.write("upper/dir/other", "other");
    fs::remove_dir_all(case.path("tree/dir/sub")).unwrap();
    let case = Case { began: case.now(), ..case };
    case.good();
    assert_eq!(case.read("tree/dir/other"), "other");
    let once = snapshot(&case.path("tree"));
    case.run(Attempt::Repeated).unwrap();
    assert_eq!(snapshot(&case.path("tree")), once);
}

#[test]
fn a_type_takes_the_place_of_another() {
    let case = Case::new();
    case.write("upper/d/.wh..wh..opq", "");
    case.write("upper/d/three", "three");
    case.write("upper/keep/inside", "file became a directory");
    case.good();
    assert_eq!(fs::read_dir(case.path("tree/d")).unwrap().count(), 1);
    assert_eq!(case.read("tree/keep/inside"), "file became a directory");
    let case = Case::new();
    symlink("/nowhere", case.path("upper/d")).unwrap();
    case.good();
    assert_eq!(fs::read_link(case.path("tree/d")).unwrap(), Path::new("/nowhere"));
    assert_eq!(leftovers(&case.path("tree")), 0);
}

/// S99.
#[test]
fn what_was_changed_meanwhile_is_refused() {
    let case = Case::new();
    case.write("upper/new", "mine");
    case.write("upper/d/one", "mine");
    case.write("upper/d/.wh.two", "");
    case.write("upper/.wh.old", "");
    case.write("tree/d/one", "theirs");
    fs::set_permissions(case.path("tree/d/two"), fs::Permissions::from_mode(0o600)).unwrap();
    case.write("tree/new", "theirs");
    let all = case.refused();
    assert_eq!(
        all,
        [("d/one".into(), Why::Changed), ("d/two".into(), Why::Changed), ("new".into(), Why::Changed)]
    );
}

#[test]
fn a_directory_is_not_removed_with_what_came_into_it() {
    let case = Case::new();
    case.write("upper/.wh.d", "");
    case.write("tree/d/three", "theirs");
    assert_eq!(case.refused(), [("d".into(), Why::Changed)]);
}

#[test]
fn what_must_stay_stays() {
    let case = Case::new();
    case.write("upper/.wh.dir", "");
    assert_eq!(case.refused(), [("dir".into(), Why::KeptOut)]);
}

#[test]
fn a_link_planted_on_the_way_leads_nowhere() {
    let case = Case::new();
    fs::create_dir(case.path("outside")).unwrap();
    case.write("upper/d/one", "through");
    fs::rename(case.path("tree/d"), case.path("tree/d-was")).unwrap();
    symlink("../outside", case.path("tree/d")).unwrap();
    assert_eq!(case.refused(), [("d".into(), Why::Changed)]);
    assert_eq!(fs::read_dir(case.path("outside")).unwrap().count(), 0);
}

/// Removing one name of a file moves the change time of the other.
#[test]
fn several_names_of_one_file_go_together() {
    let case = Case::new();
    fs::hard_link(case.path("tree/old"), case.path("tree/d/old-too")).unwrap();
    fs::hard_link(case.path("tree/old"), case.path("tree/third")).unwrap();
    let case = Case { began: case.now(), ..case };
    case.write("upper/.wh.old", "");
    case.write("upper/d/.wh.old-too", "");
    case.write("upper/third", "parted");
    case.good();
    assert!(!case.path("tree/old").exists() && !case.path("tree/d/old-too").exists());
    assert_eq!(case.read("tree/third"), "parted");
}

/// S101: what an attempt that was killed left is taken away, and the rest is done.
#[test]
fn an_attempt_that_was_killed_is_finished() {
    let case = Case::new();
    case.write("upper/a", "a");
    case.write("upper/b", "b");
    case.write("upper/.wh.d", "");
    case.write("tree/.plyfs-t.1", "half");
    case.write("tree/.plyfs-t.2/half/tree", "half");
    case.write("tree/.plyfs-other.1", "another's");
    fs::copy(case.path("upper/a"), case.path("tree/a")).unwrap();
    let time = fs::metadata(case.path("upper/a")).unwrap().modified().unwrap();
    fs::File::options().write(true).open(case.path("tree/a")).unwrap().set_modified(time).unwrap();
    case.run(Attempt::Repeated).unwrap();
    assert_eq!((case.read("tree/a"), case.read("tree/b")), ("a".into(), "b".into()));
    assert!(!case.path("tree/d").exists());
    assert_eq!(leftovers(&case.path("tree")), 1, "what is another's stays");
}

#[test]
fn attributes_and_holes_are_carried() {
    let case = Case::new();
    let sparse = fs::File::create(case.path("upper/sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    rustix::fs::fsetxattr(&sparse, "user.note", b"mine", rustix::fs::XattrFlags::empty()).unwrap();
    fs::create_dir(case.path("upper/dir")).unwrap();
    let mode = fs::Permissions::from_mode(0o711);
    fs::set_permissions(case.path("upper/dir"), mode).unwrap();
    drop(sparse);
    case.good();
    let made = fs::File::open(case.path("tree/sparse")).unwrap();
    assert!(made.metadata().unwrap().blocks() < 1024);
    let mut value = [0; 8];
    let length = rustix::fs::fgetxattr(&made, "user.note", &mut value).unwrap();
    assert_eq!(&value[..length], b"mine");
    assert_eq!(fs::metadata(case.path("tree/dir")).unwrap().mode() & 0o7777, 0o711);
    assert!(made.metadata().unwrap().modified().unwrap() <= SystemTime::now());
}
