//! Putting a union together: what is refused, with which words, and what is left alone.

use std::fs;
use std::path::{Path, PathBuf};

use plyfs::overlay::{Config, OpenError, Overlay};
use plyfs::sys::Errno;

use crate::harness::{Mounted, Union, privileged, tempdir, words};
use crate::layers;

/// The error for a union of directories below `root`, which are made: lowers, upper and work directory.
fn refused(root: &Path, lowers: &[&str], upper: &str, work: &str) -> OpenError {
    let path = |name: &str| {
        fs::create_dir_all(root.join(name)).expect("a directory");
        root.join(name)
    };
    let lowers = lowers.iter().map(|name| path(name)).collect();
    let config =
        Config { lowers, upper: Some(path(upper)), work: Some(path(work)), index: true, ..Config::default() };
    Overlay::open(config).map(drop).expect_err("must be refused")
}

// S9
#[test]
fn directories_that_contain_each_other_are_refused_by_name() {
    let dir = tempdir();
    let table = [
        ("a lower in the upper", "u/low", "u", "w", "u/low", "u"),
        ("the upper in a lower", "l", "l/up", "w", "l/up", "l"),
        ("the work directory in a lower", "l2", "u", "l2/w", "l2/w", "l2"),
        ("a lower in the work directory", "w2/low", "u", "w2", "w2/low", "w2"),
        ("the work directory in the upper", "l", "u2", "u2/w", "u2/w", "u2"),
        ("the upper in the work directory", "l", "w3/u", "w3", "w3/u", "w3"),
        ("the upper is the lower", "same", "same", "w", "same", "same"),
        ("the upper is the work directory", "l", "both", "both", "both", "both"),
    ];
    for (what, lower, upper, work, inner, outer) in table {
        let error = refused(dir.path(), &["other", lower], upper, work);
        assert!(matches!(error, OpenError::Overlap { .. }), "{what}: {error}");
        let message = error.to_string();
        for name in [inner, outer] {
            assert!(message.contains(&dir.path().join(name).display().to_string()), "{what}: {message}");
        }
        assert!(!dir.path().join(work).join("work").exists(), "{what}: nothing was made before the checks");
    }
}

// S9
#[test]
fn a_directory_reached_through_a_link_is_recognised() {
    let dir = tempdir();
    fs::create_dir_all(dir.path().join("u/low")).expect("directories");
    std::os::unix::fs::symlink("u/low", dir.path().join("link")).expect("a link");
    let error = refused(dir.path(), &["link"], "u", "w");
    assert!(matches!(error, OpenError::Overlap { .. }), "{error}");
}

// S9
#[test]
fn directories_in_use_are_refused() {
    let u = Union::of(&["f"]);
    let again = Overlay::open(u.config.clone()).map(drop).expect_err("in use");
    assert!(matches!(again, OpenError::InUse { role: "upper", .. }), "{again}");
    let other = tempdir();
    let config = Config { upper: Some(other.path().to_owned()), ..u.config.clone() };
    let error = Overlay::open(config).map(drop).expect_err("in use");
    assert!(matches!(error, OpenError::InUse { role: "work", .. }), "{error}");
    assert!(error.to_string().contains(&u.dir.path().join("work").display().to_string()), "{error}");
    let shared = Config { upper: None, work: None, ..u.config.clone() };
    Overlay::open(shared).map(drop).expect("lowers may be shared");
}

// S9
#[test]
fn a_mount_point_inside_the_upper_is_refused() {
    let dir = tempdir();
    for name in ["l/m", "u/m", "w"] {
        fs::create_dir_all(dir.path().join(name)).expect("directories");
    }
    let path = |name: &str| Some(dir.path().join(name));
    let config =
        Config { lowers: vec![dir.path().join("l")], upper: path("u"), work: path("w"), ..Config::default() };
    let error =
        Overlay::open(Config { mountpoint: path("u/m"), ..config.clone() }).map(drop).expect_err("inside");
    assert!(matches!(error, OpenError::Overlap { .. }), "{error}");
    Overlay::open(Config { mountpoint: path("l"), ..config.clone() }).map(drop).expect("on the lower itself");
    if privileged("cloning a lower's mount") {
        Overlay::open(Config { mountpoint: path("l/m"), ..config }).map(drop).expect("inside a cloned lower");
    }
}

#[test]
fn what_is_missing_or_no_directory_is_named() {
    let dir = tempdir();
    layers::build(dir.path(), "l/ file u/");
    let lower = |name: &str| vec![dir.path().join(name)];
    let open = |config| Overlay::open(config).map(drop).expect_err("refused");
    assert!(matches!(open(Config::default()), OpenError::NoLower));
    assert!(matches!(open(Config { lowers: vec![PathBuf::new()], ..Config::default() }), OpenError::NoLower));
    for (name, errno) in [("none", Errno::NOENT), ("file", Errno::NOTDIR)] {
        let error = open(Config { lowers: lower(name), ..Config::default() });
        assert!(error.to_string().contains(&dir.path().join(name).display().to_string()), "{error}");
        assert!(
            matches!(error, OpenError::Directory { role: "lower", errno: e, .. } if e == errno),
            "{error}"
        );
    }
    let error = open(Config { lowers: lower("l"), upper: Some(dir.path().join("u")), ..Config::default() });
    assert!(matches!(error, OpenError::NoWork(_)), "{error}");
    let many = vec![dir.path().join("l"); 4097];
    assert!(matches!(open(Config { lowers: many, ..Config::default() }), OpenError::TooManyLowers(4097)));
}

// S9
#[test]
fn a_work_directory_on_another_file_system_is_refused() {
    if !privileged("mounting a tmpfs") {
        return;
    }
    let dir = tempdir();
    let Some(_mounted) = Mounted::new(dir.path(), "w", "tmpfs", "size=1m") else { return };
    let error = refused(dir.path(), &["l"], "u", "w");
    assert!(matches!(error, OpenError::WorkElsewhere { .. }), "{error}");
}

// S8
#[test]
fn the_most_lowers_and_empty_paths_are_taken() {
    let u = Union::with("", &["f=1", "g=2"], |config| {
        config.lowers.insert(0, PathBuf::new());
        config.lowers.insert(2, PathBuf::new());
    });
    assert_eq!(u.tree(), words("f=1 g=2"));
    let many = vec![u.lower(1, ""); 4096];
    let overlay = Overlay::open(Config { lowers: many, ..Config::default() }).expect("opened");
    assert!(overlay.lookup(1, "f".as_ref()).expect("looked up").is_some());
}

// S4
#[test]
fn paths_are_opened_as_given() {
    let dir = tempdir();
    layers::build(dir.path(), "store/one/diff/f=1 store/two/diff/g=2 elsewhere/deep/");
    std::os::unix::fs::symlink("../../store/one", dir.path().join("elsewhere/deep/l")).expect("a link");
    let lowers = vec![
        dir.path().join("elsewhere/deep/l/diff"),
        // Behind the link, `..` is the store; normalised, it would be elsewhere.
        dir.path().join("elsewhere/deep/l/../two/diff"),
    ];
    let u = Union::with("", &[], |config| config.lowers = lowers);
    assert_eq!(u.tree(), words("f=1 g=2"));
}

// S10
#[test]
fn only_the_leftovers_in_work_are_cleared() {
    let mut u = Union::of(&["f=1 g~f"]);
    u.write("f", 0, "2").expect("copied up, into the index too");
    let work = u.config.work.clone().expect("a work directory");
    // The entries, not the directory itself, whose mode is set at each mount.
    let entries = || layers::checksum(&work.join("index")).split_off(1);
    let index = entries();
    u.reopen_with(|_| {
        layers::build(
            &work,
            "work/#1=half work/#2/deep/er/file=x work/#3! work/l->/etc work/.wh.x other/kept=1 note=2",
        );
        layers::build(&work, "work/#2/deep:0");
    });
    assert_eq!(u.leftovers(), [""; 0]);
    assert_eq!(entries(), index, "the index is kept");
    assert_eq!(layers::render(&work.join("other")), words("kept=1"));
    assert!(work.join("note").exists());
    assert!(Path::new("/etc").exists());
    assert_eq!(u.tree(), words("f=2 g=2"));
}

// S10: a foreign or damaged index leads nowhere.
#[test]
fn foreign_entries_in_the_index_do_no_harm() {
    let mut u = Union::of(&["f=1 g~f"]);
    let work = u.config.work.clone().expect("a work directory");
    u.reopen_with(|_| layers::build(&work, "index/ index/zz=junk index/00fb=x index/#dir/ index/w!"));
    assert_eq!(u.tree(), words("f=1 g=1"));
    u.write("g", 0, "2").expect("copied up");
    u.reopen();
    assert_eq!(u.tree(), words("f=2 g=2"));
}

// S10: the work directory of another mount, with an index of other files.
#[test]
fn an_index_of_other_layers_is_not_taken_for_ours() {
    let mut old = Union::of(&["f=old g~f"]);
    old.write("f", 0, "OLD").expect("copied up");
    old.reopen();
    let u = Union::with("", &["f=new g~f"], |config| {
        let (from, to) = (old.config.work.as_ref().expect("work"), config.work.as_ref().expect("work"));
        fs::remove_dir(to).expect("empty");
        fs::create_dir(to).expect("made");
        fs::create_dir(to.join("index")).expect("made");
        for entry in fs::read_dir(from.join("index")).expect("listed") {
            let entry = entry.expect("an entry");
            fs::hard_link(entry.path(), to.join("index").join(entry.file_name())).expect("linked");
        }
    });
    assert_eq!(u.tree(), words("f=new g=new"));
}

// S7
#[test]
fn a_work_directory_left_by_the_kernel_without_permissions_is_used() {
    let mut u = Union::of(&["f=1"]);
    let work = u.config.work.clone().expect("a work directory");
    u.reopen_with(|_| layers::build(&work, "work:0 index:0"));
    u.write("f", 0, "2").expect("copied up");
    assert_eq!(u.read("f"), Ok("2".into()));
}

/// An upper on a file system without extended attributes.
fn without_xattrs() -> Option<(tempfile::TempDir, Mounted)> {
    if !privileged("mounting a ramfs") {
        return None;
    }
    let dir = tempdir();
    let mounted = Mounted::new(dir.path(), "ram", "ramfs", "mode=755")?;
    Some((dir, mounted))
}

#[test]
fn an_upper_without_extended_attributes_works() {
    let Some((_dir, ram)) = without_xattrs() else { return };
    layers::build(&ram.path, "up/ work/");
    let mut u = Union::with("", &["d/a=1 d/s/b=2 f=3 f@user.lost=1 h=4 k/x l->f p|"], |config| {
        (config.upper, config.work) = (Some(ram.path.join("up")), Some(ram.path.join("work")));
    });
    u.write("f", 0, "F").expect("copied up");
    assert_eq!(u.xattrs("f"), [""; 0], "S12: what cannot be kept is left out");
    u.write("h", 0, "H").expect("copied up");
    u.chmod("d/s", 0o700).expect("copied up");
    u.unlink("d/a").expect("removed");
    u.unlink("k/x").expect("removed");
    u.rmdir("k").expect("removed");
    u.mkdir("k").expect("made again");
    u.create("k/new", "").expect("made");
    u.rename("l", "l2").expect("renamed");
    assert_eq!(u.rename("d", "e"), Err(Errno::XDEV), "S18: no redirects here");
    let device = plyfs::overlay::NewFile::Node(plyfs::overlay::Kind::Char, 0);
    assert_eq!(u.make("c", device, 0o600, crate::harness::caller()).map(drop), Err(Errno::PERM), "S17");
    let expected = words("d/ d/s/ d/s/b=2 f=F h=H k/ k/new= l2->f p|");
    for round in ["now", "after a remount"] {
        assert_eq!(u.tree(), expected, "S15 {round}: the directory made again is opaque");
        u.reopen();
    }
    u.unlink("k/new").expect("removed");
    u.rmdir("k").expect("removed");
    u.create("n", "").expect("made");
    u.rename("n", "k").expect("over a whiteout");
    u.reopen();
    assert_eq!(u.tree(), words("d/ d/s/ d/s/b=2 f=F h=H k= l2->f p|"));
    drop(u);
}

#[test]
fn options_that_need_attributes_are_refused_without_them() {
    let Some((dir, ram)) = without_xattrs() else { return };
    layers::build(&ram.path, "up/ work/");
    layers::build(dir.path(), "l/");
    let config = Config {
        lowers: vec![dir.path().join("l")],
        upper: Some(ram.path.join("up")),
        work: Some(ram.path.join("work")),
        ..Config::default()
    };
    let recorded = plyfs::overlay::XattrPermissions::User;
    for config in [
        Config { metacopy: true, ..config.clone() },
        Config { xattr_permissions: recorded, ..config.clone() },
    ] {
        let error = Overlay::open(config).map(drop).expect_err("refused");
        assert!(matches!(error, OpenError::NoXattrs { .. }), "{error}");
    }
}

// S2
#[test]
fn lowers_cannot_be_written_even_by_mistake() {
    if !privileged("cloning a lower's mount") {
        return;
    }
    let u = Union::with("", &["f=1"], |config| (config.upper, config.work) = (None, None));
    let backing = u.fs().open_backing(u.node("f").expect("f")).expect("opened").expect("no upper");
    let again = plyfs::sys::fs::reopen(std::os::fd::AsFd::as_fd(&backing.fd), plyfs::sys::fs::OFlags::RDWR);
    assert_eq!(again.map(drop), Err(Errno::ROFS), "the descriptor leads through the read-only clone");
}
