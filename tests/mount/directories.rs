//! Directories: merged, opaque, made again, wide, deep; and their listings (S1, S14, S15, S26, S34).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, RawDir, SeekFrom};

use crate::harness::{OtherMount, Stand, both_ways, names, stdout};

both_ways! {
    a_deep_tree_is_removed, a_wide_directory_is_removed, equal_inode_numbers_hide_nothing,
    a_directory_made_again_is_empty_after_a_remount, no_whiteouts_in_opaque_directories, no_whiteouts_without_a_lower,
    listings_seek, listings_that_others_change, a_listing_tells_the_inode_numbers, what_was_missing_is_found_when_made,
    layers_merge, whiteouts_of_every_kind_are_read,
}

/// The directory `depth` levels below `root`.
fn deep(root: &Path, depth: usize) -> PathBuf {
    (0..depth).fold(root.to_owned(), |path, _| path.join("d"))
}

fn a_deep_tree_is_removed(stand: Stand) {
    fs::create_dir_all(deep(&stand.lower("top"), 300)).unwrap();
    fs::write(deep(&stand.lower("top"), 300).join("file"), "x").unwrap();
    fs::write(deep(&stand.lower("top"), 150).join("file"), "x").unwrap();
    let mount = stand.mount("");
    // A part of it in the upper, too.
    fs::create_dir_all(deep(&deep(&mount.path("top"), 280), 40)).unwrap();
    stdout(mount.sh("rm -rf top"));
    assert_eq!(mount.names(""), [""; 0]);
    assert!(stand.has_whiteout("top"));
    drop(mount);
    assert_eq!(stand.mount("").names(""), [""; 0]);
}

fn a_wide_directory_is_removed(stand: Stand) {
    for number in 0..3000 {
        stand.lower_file(&format!("wide/{number}"), "");
    }
    let mount = stand.mount("");
    assert_eq!(mount.names("wide").len(), 3000);
    stdout(mount.sh("rm -rf wide"));
    assert_eq!(mount.names(""), [""; 0]);
    assert_eq!(stand.upper_names(""), ["wide"]);
    assert!(stand.has_whiteout("wide"));
}

/// Two fresh tmpfs give the same numbers to their files.
fn equal_inode_numbers_hide_nothing(mut stand: Stand) {
    let (one, two) = (stand.path("one"), stand.path("two"));
    let first = OtherMount::new(&["-t", "tmpfs", "none"], &one);
    let second = OtherMount::new(&["-t", "tmpfs", "none"], &two);
    let (Some(_first), Some(_second)) = (first, second) else { return };
    stand.lowers = vec![one.clone(), two.clone()];
    for number in 0..20 {
        fs::create_dir_all(one.join(format!("a-{number}/in"))).unwrap();
        fs::create_dir_all(two.join(format!("b-{number}/in"))).unwrap();
        assert_eq!(inode(&one.join(format!("a-{number}"))), inode(&two.join(format!("b-{number}"))));
    }
    let mount = stand.mount("");
    let found = stdout(mount.sh("find . -mindepth 1 -type d"));
    assert_eq!(found.lines().count(), 80);
    let numbers: BTreeSet<_> = found.lines().map(|name| inode(&mount.path(name))).collect();
    assert_eq!(numbers.len(), 80, "S26");
    assert_eq!(stdout(mount.sh("du -a . | wc -l")), "81\n");
    // After copy-ups as well.
    stdout(mount.sh("chmod 700 a-* b-*"));
    let after: BTreeSet<_> = found.lines().map(|name| inode(&mount.path(name))).collect();
    assert_eq!(after, numbers, "S25");
    drop(mount);
    let again = stand.mount("");
    let after: BTreeSet<_> = found.lines().map(|name| inode(&again.path(name))).collect();
    assert_eq!(after, numbers, "S25");
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

fn a_directory_made_again_is_empty_after_a_remount(mut stand: Stand) {
    stand.lower_file("dir/sub/old", "x");
    stand.lower_file("other/old", "x");
    stand.lower_file("file", "x");
    let mount = stand.mount("");
    fs::remove_dir_all(mount.path("dir")).unwrap();
    fs::create_dir(mount.path("dir")).unwrap();
    fs::write(mount.path("dir/new"), "").unwrap();
    fs::remove_file(mount.path("file")).unwrap();
    fs::create_dir(mount.path("file")).unwrap();
    // Renamed into the place of one that was removed.
    fs::remove_dir_all(mount.path("other")).unwrap();
    fs::create_dir(mount.path("fresh")).unwrap();
    fs::rename(mount.path("fresh"), mount.path("other")).unwrap();
    drop(mount);
    let check = |stand: &Stand| {
        let again = stand.mount("");
        assert_eq!(again.names(""), ["dir", "file", "other"]);
        assert_eq!(again.names("dir"), ["new"]);
        assert_eq!(again.names("file"), [""; 0]);
        assert_eq!(again.names("other"), [""; 0]);
    };
    check(&stand);
    // As a lower of the next mount, the layer says the same.
    let (upper, work) = (stand.path("upper-2"), stand.path("work-2"));
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    let (layer, _) = stand.upper.replace((upper, work)).unwrap();
    stand.lowers.insert(0, layer);
    check(&stand);
}

fn no_whiteouts_in_opaque_directories(stand: Stand) {
    for name in ["a", "b", "c/d"] {
        stand.lower_file(&format!("dir/{name}"), "x");
    }
    let mount = stand.mount("");
    fs::remove_dir_all(mount.path("dir")).unwrap();
    fs::create_dir(mount.path("dir")).unwrap();
    for name in ["a", "b"] {
        fs::write(mount.path("dir").join(name), "").unwrap();
    }
    fs::create_dir_all(mount.path("dir/c/d")).unwrap();
    fs::remove_file(mount.path("dir/a")).unwrap();
    fs::rename(mount.path("dir/b"), mount.path("dir/z")).unwrap();
    fs::remove_dir_all(mount.path("dir/c")).unwrap();
    assert_eq!(stand.upper_names("dir"), ["z"], "whiteouts would be waste");
    fs::remove_file(mount.path("dir/z")).unwrap();
    fs::remove_dir(mount.path("dir")).unwrap();
    assert_eq!(stand.upper_names(""), ["dir"]);
    assert!(stand.has_whiteout("dir"));
}

fn no_whiteouts_without_a_lower(stand: Stand) {
    stand.lower_file("dir/below", "x");
    let mount = stand.mount("");
    stdout(mount.sh(
        "echo >new; echo >dir/new; mkdir -p pure/in; echo >pure/in/f; mv dir/new dir/newer; mv new newest",
    ));
    stdout(mount.sh("rm newest dir/newer; rm -r pure"));
    assert_eq!(stand.upper_names(""), ["dir"]);
    assert_eq!(stand.upper_names("dir"), [""; 0]);
}

/// One getdents after another from a small buffer: name, inode number, offset.
fn listing(dir: &File) -> Vec<(String, u64, u64)> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
    let mut entries = Vec::new();
    let mut raw = RawDir::new(dir, &mut buffer);
    while let Some(entry) = raw.next() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_str().unwrap().to_owned();
        entries.push((name, entry.ino(), entry.next_entry_cookie()));
    }
    entries
}

fn listings_seek(mut stand: Stand) {
    for number in 0..100 {
        stand.lower_file(&format!("dir/lower-{number}"), "");
    }
    let below = stand.add_lower("below");
    fs::create_dir(below.join("dir")).unwrap();
    for number in 0..100 {
        fs::write(below.join(format!("dir/below-{number}")), "").unwrap();
    }
    let mount = stand.mount("");
    fs::write(mount.path("dir/upper"), "").unwrap();
    fs::remove_file(mount.path("dir/lower-7")).unwrap();
    let dir = File::open(mount.path("dir")).unwrap();
    let all = listing(&dir);
    assert_eq!(all.len(), 2 + 200);
    for at in [0, 1, 2, 50, 100, 150, 200, 201] {
        rustix::fs::seek(&dir, SeekFrom::Start(all[at].2)).unwrap();
        assert_eq!(listing(&dir), all[at + 1..], "from entry {at}");
    }
    rustix::fs::seek(&dir, SeekFrom::Start(0)).unwrap();
    assert_eq!(listing(&dir), all);
}

/// S34.
fn listings_that_others_change(stand: Stand) {
    for number in 0..500 {
        stand.lower_file(&format!("dir/stays-{number}"), "");
        stand.lower_file(&format!("dir/goes-{number}"), "");
    }
    let mount = stand.mount("");
    let dir = File::open(mount.path("dir")).unwrap();
    let mut buffer = [std::mem::MaybeUninit::uninit(); 512];
    let mut raw = RawDir::new(&dir, &mut buffer);
    let mut seen = Vec::new();
    while let Some(entry) = raw.next() {
        seen.push(entry.unwrap().file_name().to_str().unwrap().to_owned());
        let count = seen.len();
        if count.is_multiple_of(10) && count / 10 < 100 {
            let number = count / 2;
            fs::remove_file(mount.path(format!("dir/goes-{number}"))).unwrap();
            fs::write(mount.path(format!("dir/comes-{number}")), "").unwrap();
        }
    }
    let staying: BTreeSet<_> = seen.iter().filter(|name| name.starts_with("stays")).collect();
    assert_eq!(staying.len(), 500, "skipped");
    let different: BTreeSet<_> = seen.iter().collect();
    assert_eq!(different.len(), seen.len(), "shown twice");
}

fn a_listing_tells_the_inode_numbers(mut stand: Stand) {
    let below = stand.add_lower("below");
    for name in ["merged/x", "below/y"] {
        fs::create_dir_all(below.join(name).parent().unwrap()).unwrap();
        fs::write(below.join(name), "").unwrap();
    }
    stand.lower_file("merged/z", "");
    stand.lower_file("file", "");
    stand.lower_file("changed", "");
    fs::hard_link(stand.lower("file"), stand.lower("linked")).unwrap();
    std::os::unix::fs::symlink("file", stand.lower("link")).unwrap();
    let mount = stand.mount("");
    fs::write(mount.path("changed"), "x").unwrap();
    fs::write(mount.path("new"), "x").unwrap();
    fs::create_dir(mount.path("made")).unwrap();
    fs::rename(mount.path("below"), mount.path("renamed")).unwrap();
    let check = |mount: &crate::harness::Mount<'_>| {
        for dir in ["", "merged", "renamed"] {
            for entry in fs::read_dir(mount.path(dir)).unwrap() {
                let entry = entry.unwrap();
                assert_eq!(entry.ino(), inode(&entry.path()), "{:?}", entry.path());
            }
        }
        let dir = File::open(mount.path("merged")).unwrap();
        let dots = listing(&dir).into_iter().filter(|(name, ..)| name.starts_with('.'));
        let dots: Vec<_> = dots.map(|(name, ino, _)| (name, ino)).collect();
        assert_eq!(
            dots,
            [(".".to_owned(), inode(&mount.path("merged"))), ("..".to_owned(), inode(&mount.path("")))]
        );
    };
    check(&mount);
    drop(mount);
    check(&stand.mount(""));
}

fn what_was_missing_is_found_when_made(stand: Stand) {
    stand.lower_file("file", "x");
    stand.lower_dir("dir");
    let mount = stand.mount("");
    let makers: [(&str, &str); 8] = [
        ("written", "echo >written"),
        ("made", "mkdir made"),
        ("linked", "ln file linked"),
        ("pointed", "ln -s file pointed"),
        ("piped", "mkfifo piped"),
        ("moved", "mv file moved"),
        ("dir-moved", "mv dir dir-moved"),
        ("copied", "cp moved copied"),
    ];
    for (name, script) in makers {
        for _ in 0..3 {
            assert!(fs::symlink_metadata(mount.path(name)).is_err());
        }
        stdout(mount.sh(script));
        assert!(fs::symlink_metadata(mount.path(name)).is_ok(), "{script}");
    }
    assert!(!mount.path("file").exists() && !mount.path("dir").exists());
    // And back.
    fs::remove_file(mount.path("written")).unwrap();
    assert!(!mount.path("written").exists());
    fs::write(mount.path("written"), "again").unwrap();
    assert_eq!(mount.read("written"), "again");
}

/// S1.
fn layers_merge(mut stand: Stand) {
    let (middle, bottom) = (stand.add_lower("middle"), stand.add_lower("bottom"));
    stand.lower_file("dir/top", "top");
    stand.lower_file("dir/both", "top");
    stand.lower_file("over", "top");
    for (layer, files) in [
        (&middle, ["dir/middle", "dir/both", "over/hidden", "shadow/x"]),
        (&bottom, ["dir/bottom", "dir/both", "over2/y", "shadow/z"]),
    ] {
        for file in files {
            let path = layer.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
    }
    fs::write(stand.lower("shadow"), "a file hides directories").unwrap();
    let mount = stand.mount("");
    assert_eq!(mount.names(""), ["dir", "over", "over2", "shadow"]);
    assert_eq!(mount.names("dir"), ["both", "bottom", "middle", "top"]);
    assert_eq!(mount.read("dir/both"), "top");
    assert_eq!(mount.read("over"), "top");
    fs::remove_file(mount.path("dir/both")).unwrap();
    assert_eq!(mount.names("dir"), ["bottom", "middle", "top"]);
    fs::remove_file(mount.path("over")).unwrap();
    assert!(!mount.path("over").exists(), "nothing below shines through");
}

/// S5, S6.
fn whiteouts_of_every_kind_are_read(mut stand: Stand) {
    let below = stand.add_lower("below");
    for name in ["device", "aufs", "stays", "opaque/x", "opaque-aufs/x"] {
        fs::create_dir_all(below.join(name).parent().unwrap()).unwrap();
        fs::write(below.join(name), "").unwrap();
    }
    crate::harness::run("mknod", &[crate::harness::text(&stand.lower("device")), "c", "0", "0"]);
    stand.lower_file(".wh.aufs", "");
    stand.lower_file("opaque/new", "");
    stand.lower_file("opaque-aufs/.wh..wh..opq", "");
    let opaque = stand.lower("opaque");
    crate::harness::run(
        "setfattr",
        &["-n", "trusted.overlay.opaque", "-v", "y", crate::harness::text(&opaque)],
    );
    let mount = stand.mount("");
    assert_eq!(mount.names(""), ["opaque", "opaque-aufs", "stays"]);
    assert_eq!(mount.names("opaque"), ["new"]);
    assert_eq!(mount.names("opaque-aufs"), [""; 0]);
    for name in ["device", "aufs", ".wh.aufs", "opaque-aufs/.wh..wh..opq"] {
        assert!(fs::symlink_metadata(mount.path(name)).is_err(), "{name}");
    }
    assert!(names(&mount.path("opaque-aufs")).is_empty());
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let made = rustix::fs::open(mount.path(".wh.mine"), flags, rustix::fs::Mode::RUSR);
    assert_eq!(made.err(), Some(rustix::io::Errno::INVAL), "S16");
}
