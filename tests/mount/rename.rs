//! Renaming (S18, S19, S29).

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::harness::{Mount, Stand, both_ways, fails_with, stdout};

both_ways! {
    a_lower_directory_moves, a_moved_directory_moves_on, without_redirects_a_lower_directory_stays,
    over_an_open_file, an_open_file_moves, noreplace, exchange, whiteout_is_refused, what_cannot_be,
    a_lower_file_leaves_a_whiteout, over_an_empty_merged_directory,
}

fn rename(mount: &Mount<'_>, from: &str, to: &str, flags: RenameFlags) -> Result<(), Errno> {
    renameat_with(CWD, mount.path(from), CWD, mount.path(to), flags)
}

fn a_lower_directory_moves(mut stand: Stand) {
    stand.lower_file("dir/file", "x");
    stand.lower_file("dir/sub/deep", "y");
    stand.lower_dir("else");
    let below = stand.add_lower("below");
    fs::create_dir(below.join("dir")).unwrap();
    fs::write(below.join("dir/below"), "z").unwrap();
    let mount = stand.mount("");
    fs::write(mount.path("dir/new"), "n").unwrap();
    fs::rename(mount.path("dir"), mount.path("else/moved")).unwrap();
    let check = |mount: &Mount<'_>| {
        assert_eq!(mount.names(""), ["else"]);
        assert_eq!(mount.names("else/moved"), ["below", "file", "new", "sub"]);
        assert_eq!(mount.read("else/moved/sub/deep"), "y");
        assert_eq!(mount.read("else/moved/below"), "z");
    };
    check(&mount);
    drop(mount);
    let again = stand.mount("");
    check(&again);
    // The old name is free for another.
    fs::create_dir(again.path("dir")).unwrap();
    assert_eq!(again.names("dir"), [""; 0]);
}

fn a_moved_directory_moves_on(stand: Stand) {
    stand.lower_file("a/b/file", "x");
    let mount = stand.mount("");
    stdout(mount.sh("mv a c; mv c/b b; mv c d; mv d b/d; rm b/file; echo new >b/d/new"));
    assert_eq!(mount.names("b"), ["d"]);
    drop(mount);
    let again = stand.mount("");
    assert_eq!(stdout(again.sh("find . | sort")), ".\n./b\n./b/d\n./b/d/new\n");
    stdout(again.sh("rm -r b"));
    assert_eq!(again.names(""), [""; 0]);
}

fn without_redirects_a_lower_directory_stays(stand: Stand) {
    stand.lower_file("dir/file", "x");
    let mount = stand.mount("redirect_dir=off");
    assert_eq!(rename(&mount, "dir", "moved", RenameFlags::empty()), Err(Errno::XDEV));
    assert_eq!(mount.read("dir/file"), "x");
    fs::create_dir(mount.path("pure")).unwrap();
    fs::rename(mount.path("pure"), mount.path("purer")).unwrap();
    // mv(1) copies then, and removes.
    stdout(mount.sh("mv dir moved"));
    assert_eq!(mount.read("moved/file"), "x");
    assert!(!mount.path("dir").exists());
}

fn over_an_open_file(stand: Stand) {
    stand.lower_file("target", "lower");
    let mount = stand.mount("");
    let mut lower = File::open(mount.path("target")).unwrap();
    fs::write(mount.path("new"), "upper").unwrap();
    fs::rename(mount.path("new"), mount.path("target")).unwrap();
    let mut upper = OpenOptions::new().read(true).write(true).open(mount.path("target")).unwrap();
    fs::write(mount.path("newer"), "newer").unwrap();
    fs::rename(mount.path("newer"), mount.path("target")).unwrap();
    assert_eq!(mount.read("target"), "newer");
    for (file, content) in [(&mut lower, "lower"), (&mut upper, "upper")] {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, content);
        let shown = file.metadata().unwrap();
        assert_eq!((shown.nlink(), shown.len()), (0, 5));
    }
    upper.write_all(b" and more").unwrap();
    assert_eq!(upper.metadata().unwrap().len(), 14);
    assert_eq!(mount.read("target"), "newer");
}

fn an_open_file_moves(stand: Stand) {
    stand.lower_file("lower", "x");
    let mount = stand.mount("");
    for name in ["lower", "upper"] {
        let mut file = OpenOptions::new().append(true).create(true).open(mount.path(name)).unwrap();
        fs::rename(mount.path(name), mount.path("moved")).unwrap();
        file.write_all(b"yz").unwrap();
        assert!(mount.read("moved").ends_with("yz"));
        assert_eq!(file.metadata().unwrap().ino(), fs::metadata(mount.path("moved")).unwrap().ino());
    }
}

fn noreplace(stand: Stand) {
    stand.lower_file("a", "a");
    stand.lower_file("b", "b");
    let mount = stand.mount("");
    assert_eq!(rename(&mount, "a", "b", RenameFlags::NOREPLACE), Err(Errno::EXIST));
    assert_eq!(rename(&mount, "a", "c", RenameFlags::NOREPLACE), Ok(()));
    // A whiteout is no file.
    assert_eq!(rename(&mount, "b", "a", RenameFlags::NOREPLACE), Ok(()));
    assert_eq!((mount.read("a"), mount.read("c")), ("b".to_owned(), "a".to_owned()));
}

fn exchange(stand: Stand) {
    stand.lower_file("file", "file");
    stand.lower_file("dir/in", "in");
    let mount = stand.mount("");
    assert_eq!(rename(&mount, "file", "dir", RenameFlags::EXCHANGE), Ok(()));
    assert_eq!((mount.read("dir"), mount.read("file/in")), ("file".to_owned(), "in".to_owned()));
    fs::write(mount.path("new"), "new").unwrap();
    assert_eq!(rename(&mount, "new", "dir", RenameFlags::EXCHANGE), Ok(()));
    assert_eq!(rename(&mount, "new", "missing", RenameFlags::EXCHANGE), Err(Errno::NOENT));
    drop(mount);
    let again = stand.mount("");
    assert_eq!(again.names(""), ["dir", "file", "new"]);
    assert_eq!((again.read("dir"), again.read("new")), ("new".to_owned(), "file".to_owned()));
    assert_eq!(again.read("file/in"), "in");
}

fn whiteout_is_refused(stand: Stand) {
    stand.lower_file("a", "a");
    let mount = stand.mount("");
    assert_eq!(rename(&mount, "a", "b", RenameFlags::WHITEOUT), Err(Errno::INVAL));
    assert_eq!(mount.names(""), ["a"]);
}

fn what_cannot_be(stand: Stand) {
    stand.lower_file("full/x", "");
    stand.lower_file("dir/sub/x", "");
    stand.lower_file("file", "");
    let mount = stand.mount("");
    let plain = |from, to| rename(&mount, from, to, RenameFlags::empty());
    assert_eq!(plain("dir", "full"), Err(Errno::NOTEMPTY));
    assert_eq!(plain("dir", "dir/sub/in"), Err(Errno::INVAL));
    assert_eq!(plain("dir", "file"), Err(Errno::NOTDIR));
    assert_eq!(plain("file", "dir"), Err(Errno::ISDIR));
    assert_eq!(plain("missing", "x"), Err(Errno::NOENT));
    assert_eq!(plain("file", ".wh.file"), Err(Errno::INVAL));
    assert!(fails_with(fs::rename(mount.path("file"), stand.path("outside")), Errno::XDEV));
    assert_eq!(stand.upper_names(""), [""; 0], "nothing was done");
}

fn a_lower_file_leaves_a_whiteout(stand: Stand) {
    stand.lower_file("file", "x");
    stand.lower_file("dir/file", "x");
    let mount = stand.mount("");
    fs::rename(mount.path("file"), mount.path("dir/file")).unwrap();
    assert_eq!(mount.names(""), ["dir"]);
    assert!(stand.has_whiteout("file"));
    fs::rename(mount.path("dir/file"), mount.path("file")).unwrap();
    assert!(stand.has_whiteout("dir/file"));
    assert_eq!(mount.read("file"), "x");
    assert_eq!(mount.names("dir"), [""; 0]);
}

fn over_an_empty_merged_directory(stand: Stand) {
    stand.lower_file("emptied/x", "");
    stand.lower_file("dir/in", "in");
    let mount = stand.mount("");
    fs::remove_file(mount.path("emptied/x")).unwrap();
    fs::rename(mount.path("dir"), mount.path("emptied")).unwrap();
    assert_eq!(mount.names("emptied"), ["in"]);
    drop(mount);
    let again = stand.mount("");
    assert_eq!(again.names(""), ["emptied"]);
    assert_eq!(again.names("emptied"), ["in"]);
}
