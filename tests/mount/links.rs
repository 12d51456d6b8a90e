//! Hard links, and how many are shown (S25, S27, S28).

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::harness::{Mount, Stand, both_ways, stdout};

both_ways! {
    links_of_a_lower_are_counted_before_they_are_seen, links_stay_one_file_over_a_copy_up, links_come_and_go,
    the_other_name_need_not_be_looked_up, a_link_to_a_lower_file, numbers_stay, directories_show_one_link,
    static_nlink_shows_one,
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn links(mount: &Mount<'_>, name: &str) -> u64 {
    fs::symlink_metadata(mount.path(name)).unwrap().nlink()
}

fn inode(mount: &Mount<'_>, name: &str) -> u64 {
    fs::symlink_metadata(mount.path(name)).unwrap().ino()
}

/// Three names of one file in the lower: `a`, `b` and `dir/c`.
fn linked(stand: &Stand) {
    let file = stand.lower_file("a", "old");
    stand.lower_dir("dir");
    for name in ["b", "dir/c"] {
        fs::hard_link(&file, stand.lower(name)).unwrap();
    }
}

fn links_of_a_lower_are_counted_before_they_are_seen(stand: Stand) {
    linked(&stand);
    let mount = stand.mount("");
    assert_eq!(links(&mount, "b"), 3, "the first name that is looked at");
    assert_eq!(inode(&mount, "a"), inode(&mount, "b"));
    assert_eq!(inode(&mount, "a"), inode(&mount, "dir/c"));
    assert_eq!(stdout(mount.sh("find . -samefile a | sort")), "./a\n./b\n./dir/c\n");
}

fn links_stay_one_file_over_a_copy_up(stand: Stand) {
    linked(&stand);
    let mount = stand.mount("");
    let number = inode(&mount, "a");
    append(&mount.path("a"), " new");
    for name in ["a", "b", "dir/c"] {
        assert_eq!(mount.read(name), "old new", "{name}");
        assert_eq!(links(&mount, name), 3, "{name}");
        assert_eq!(inode(&mount, name), number, "{name}");
    }
    append(&mount.path("dir/c"), "er");
    assert_eq!(mount.read("b"), "old newer");
    drop(mount);
    let again = stand.mount("");
    for name in ["b", "dir/c", "a"] {
        assert_eq!(again.read(name), "old newer", "{name}");
        assert_eq!((links(&again, name), inode(&again, name)), (3, number), "{name}");
    }
}

fn links_come_and_go(stand: Stand) {
    linked(&stand);
    let mount = stand.mount("");
    fs::hard_link(mount.path("a"), mount.path("d")).unwrap();
    assert_eq!(links(&mount, "d"), 4);
    assert_eq!(links(&mount, "dir/c"), 4);
    fs::remove_file(mount.path("b")).unwrap();
    assert_eq!(links(&mount, "a"), 3);
    fs::rename(mount.path("d"), mount.path("dir/e")).unwrap();
    assert_eq!(links(&mount, "dir/e"), 3);
    // A rename to another name of the same file does nothing.
    fs::rename(mount.path("a"), mount.path("dir/e")).unwrap();
    assert_eq!(links(&mount, "a"), 3);
    fs::write(mount.path("x"), "").unwrap();
    fs::rename(mount.path("x"), mount.path("dir/c")).unwrap();
    assert_eq!(links(&mount, "a"), 2);
    let held = File::open(mount.path("a")).unwrap();
    fs::remove_file(mount.path("a")).unwrap();
    assert_eq!(held.metadata().unwrap().nlink(), 1);
    fs::remove_file(mount.path("dir/e")).unwrap();
    assert_eq!(held.metadata().unwrap().nlink(), 0);
}

/// A name that goes while only the other one is known to the kernel.
fn the_other_name_need_not_be_looked_up(stand: Stand) {
    linked(&stand);
    let mount = stand.mount("");
    fs::remove_file(mount.path("dir/c")).unwrap();
    assert_eq!(links(&mount, "a"), 2);
    drop(mount);
    let again = stand.mount("");
    assert_eq!(links(&again, "b"), 2, "after a remount, too");
    append(&again.path("b"), "!");
    assert_eq!(links(&again, "b"), 2);
    assert_eq!(again.read("a"), "old!");
}

fn a_link_to_a_lower_file(stand: Stand) {
    stand.lower_file("file", "x");
    let mount = stand.mount("");
    assert_eq!(links(&mount, "file"), 1);
    fs::hard_link(mount.path("file"), mount.path("link")).unwrap();
    assert_eq!((links(&mount, "file"), links(&mount, "link")), (2, 2));
    append(&mount.path("link"), "y");
    assert_eq!(mount.read("file"), "xy");
    let refused = fs::hard_link(mount.path("file"), mount.path("link"));
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
}

/// S25: over copy-up, rename and remount.
fn numbers_stay(stand: Stand) {
    stand.lower_file("file", "x");
    stand.lower_file("dir/in", "x");
    let mount = stand.mount("");
    let names = ["file", "dir", "dir/in"];
    let before = names.map(|name| inode(&mount, name));
    stdout(mount.sh("echo y >>file; chmod 700 dir; chmod 600 dir/in"));
    assert_eq!(names.map(|name| inode(&mount, name)), before);
    stdout(mount.sh("mv file file2; mv dir dir2"));
    assert_eq!(["file2", "dir2", "dir2/in"].map(|name| inode(&mount, name)), before);
    drop(mount);
    let again = stand.mount("");
    assert_eq!(["file2", "dir2", "dir2/in"].map(|name| inode(&again, name)), before);
}

fn directories_show_one_link(stand: Stand) {
    stand.lower_dir("dir/sub");
    let mount = stand.mount("");
    fs::create_dir(mount.path("dir/new")).unwrap();
    assert_eq!(links(&mount, "dir"), 1);
    let held = File::open(mount.path("dir/new")).unwrap();
    fs::remove_dir(mount.path("dir/new")).unwrap();
    assert_eq!(held.metadata().unwrap().nlink(), 0);
    assert_eq!(fs::read_dir(mount.path("dir")).unwrap().count(), 1);
}

fn static_nlink_shows_one(stand: Stand) {
    linked(&stand);
    let mount = stand.mount("static_nlink");
    assert_eq!(links(&mount, "a"), 1);
    append(&mount.path("a"), "!");
    assert_eq!(links(&mount, "b"), 1);
    assert_eq!(mount.read("b"), "old!");
}
