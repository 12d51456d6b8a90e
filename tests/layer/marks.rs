//! Marks of strangers in what is packed and compared (S7, S40): the stranger is another user than the one who packs.

use std::os::fd::AsFd;
use std::os::unix::fs::chown;
use std::path::Path;

use plyfs::layer::diff::diff_of_machine;
use plyfs::sys::xattr::{Target, setxattr};

use crate::tree::{Layers, entries, find, privileged};

const OVERRIDE: &str = "user.containers.override_stat";
const STRANGER: u32 = 4242;

fn give(root: &Path, paths: &[&str]) {
    for path in paths {
        chown(root.join(path), Some(STRANGER), Some(STRANGER)).expect("chown");
    }
}

#[test]
fn a_layer_of_a_strangers_packs_what_the_stranger_could_make() {
    if !privileged("other owners") {
        return;
    }
    let t = Layers::new();
    t.upper.file("program", "#!").mode("program", 0o755).file("disk", "").file("mine", "").dir("d");
    let root = std::fs::File::open(&t.upper.root).expect("opened");
    setxattr(Target::Open(root.as_fd()), OVERRIDE.as_ref(), b"0:0:0755:dir", 0).expect("an attribute");
    t.upper.xattr("program", OVERRIDE, "0:0:04755:file").xattr("disk", OVERRIDE, "0:6:0666:block-8-0");
    t.upper.xattr("mine", OVERRIDE, "4242:4242:06755:file").xattr("d", OVERRIDE, "0:0:01777:dir");
    give(&t.upper.root, &["", "program", "disk", "mine", "d"]);
    let all = entries(&t.pack());
    let owner = u64::from(STRANGER);
    let shown = |path: &str| {
        let entry = find(&all, path);
        (entry.kind, entry.mode, entry.uid, entry.gid)
    };
    assert_eq!(shown("program"), (tar::EntryType::Regular, 0o755, owner, owner));
    assert_eq!(shown("disk"), (tar::EntryType::Regular, 0o644, owner, owner));
    assert_eq!(shown("mine"), (tar::EntryType::Regular, 0o644, owner, owner));
    assert_eq!(shown("d/"), (tar::EntryType::Directory, 0o755, owner, owner));
    assert_eq!(t.diff(), ["A /d", "A /disk", "A /mine", "A /program"]);
}

#[test]
fn a_strangers_metadata_copy_packs_as_the_file_it_is() {
    if !privileged("other owners") {
        return;
    }
    let t = Layers::new();
    t.lower.file("secret", "hidden").mode("secret", 0o600).file("closed/in", "hidden").mode("closed", 0o700);
    t.upper.file("copy", "own").mark("copy", "metacopy", "").mark("copy", "redirect", "/secret");
    t.upper.dir("way").mark("way", "redirect", "/closed").file("way/own", "");
    give(&t.upper.root, &["copy", "way"]);
    let all = entries(&t.pack());
    assert_eq!(find(&all, "copy").data, b"own");
    assert_eq!(all.iter().filter(|e| e.path.starts_with("way")).count(), 2);
    assert_eq!(t.diff(), ["A /copy", "A /way", "A /way/own"]);
}

#[test]
fn what_stands_for_a_device_0_0_is_packed_as_one() {
    if !privileged("trusted attributes") {
        return;
    }
    let t = Layers::new();
    t.upper.file("c", "").mode("c", 0o640).xattr("c", "trusted.overlay.override_stat", "0:0:0666:char-0-0");
    give(&t.upper.root, &["c"]);
    let all = entries(&t.pack());
    let device = find(&all, "c");
    assert_eq!((device.kind, device.device), (tar::EntryType::Char, (0, 0)));
    assert_eq!((device.mode, device.uid), (0o640, u64::from(STRANGER)), "owner and mode are the inode's");
    assert!(device.pax.keys().all(|key| !key.contains("overlay")), "{:?}", device.pax);
}

/// S94.
#[test]
fn in_the_machines_own_directories_no_mark_counts() {
    let t = Layers::new();
    t.lower.dir("d").mark("d", "redirect", "/other").file("d/f", "old").file("other/g", "");
    t.lower.file("w", "").xattr("w", OVERRIDE, "0:0:04755:char-1-3").mark("d", "opaque", "../damaged");
    t.lower.dir("bad").mark("bad", "redirect", "../..");
    t.upper.file("d/f", "new").dir("bad");
    t.settle();
    let changes = diff_of_machine(&t.upper.root, &t.lower.root).expect("compared");
    assert_eq!(changes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["C /d", "C /d/f"]);
}
