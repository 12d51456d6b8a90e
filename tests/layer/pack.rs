//! The tar of `plyfs layer pack`.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;

use plyfs::format::origin::Origin;
use plyfs::layer::LayerError;
use plyfs::layer::pack::{IfWritten, PackOptions, pack, pack_to_file};
use plyfs::oci::digest::{DiffId, Digest};
use plyfs::sys::fs::FileType;
use plyfs::sys::handle::name_to_handle_at;
use plyfs::sys::xattr::{Target, setxattr};

use crate::tree::{Layers, MTIME, entries, find, privileged, set_mtime};

#[test]
fn entries_are_in_order_whiteouts_first_parents_before_children() {
    let t = Layers::new();
    t.lower.file("d/gone", "").file("!gone", "");
    t.upper.file("d/b", "").file("d/a", "").file("d/.hidden", "").whiteout("d/gone").file("d-", "");
    t.upper.file(".wh.!gone", "");
    assert_eq!(t.packed_paths(), [".wh.!gone", "d/", "d/.wh.gone", "d/.hidden", "d/a", "d/b", "d-"]);
}

#[test]
fn metadata_is_carried() {
    let t = Layers::new();
    t.upper.file("f", "data").mode("f", 0o4711).dir("d").mode("d", 0o1777).symlink("l", "../x");
    t.settle();
    let (packed, tar) = t.pack_with(&PackOptions::default());
    let all = entries(&tar);
    let file = find(&all, "f");
    let owner = u64::from(plyfs::sys::fs::geteuid().as_raw());
    assert_eq!((file.mode, file.mtime, file.uid), (0o4711, MTIME as u64, owner));
    assert_eq!(file.data, b"data");
    assert_eq!(find(&all, "d/").mode, 0o1777);
    assert_eq!(find(&all, "l").link.as_deref(), Some("../x"));
    assert!(all.iter().all(|e| e.pax.is_empty()));
    assert_eq!((packed.entries, packed.size), (3, tar.len() as u64));
    assert_eq!(packed.diff_id, DiffId::new(Digest::of(&tar)));
}

#[test]
fn attributes_travel_and_marks_do_not() {
    let t = Layers::new();
    t.upper.file("f", "").xattr("f", "user.mine", "1").mark("f", "origin", "x").mark("f", "protattr", "x");
    t.upper
        .xattr("f", "user.fuseoverlayfs.x", "x")
        .dir("d")
        .mark("d", "impure", "y")
        .xattr("d", "user.d", "2");
    if privileged("trusted attributes") {
        t.upper.xattr("f", "trusted.overlay.origin", "x").xattr("f", "trusted.other", "x");
        let capability = "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        t.upper.file("c", "").xattr("c", "security.capability", capability);
    }
    t.settle();
    let all = entries(&t.pack());
    let keys = |path| find(&all, path).pax.into_keys().collect::<Vec<_>>();
    assert_eq!(keys("f"), ["SCHILY.xattr.user.mine"]);
    assert_eq!(find(&all, "f").pax["SCHILY.xattr.user.mine"], b"1");
    assert_eq!(keys("d/"), ["SCHILY.xattr.user.d"]);
    if privileged("file capabilities") {
        assert_eq!(keys("c"), ["SCHILY.xattr.security.capability"]);
    }
}

#[test]
fn acls_travel_unless_owners_are_recorded() {
    let t = Layers::new();
    let record = |path: &str, kind: &str| {
        t.upper.xattr(path, "user.containers.override_stat", format!("5:6:0644:{kind}"));
    };
    t.upper.dir("d").dir("d/sub").file("f", "").file("recorded", "");
    t.settle();
    let mut lower_like = entries(&t.pack());
    t.upper.acl("f", "system.posix_acl_access").acl("recorded", "system.posix_acl_access");
    t.upper.acl("d", "system.posix_acl_default");
    record("recorded", "file");
    t.settle();
    let all = entries(&t.pack());
    let keys = |path| find(&all, path).pax.into_keys().collect::<Vec<_>>();
    assert_eq!(keys("f"), ["SCHILY.xattr.system.posix_acl_access"]);
    assert_eq!(keys("d/"), ["SCHILY.xattr.system.posix_acl_default"]);
    assert_eq!(keys("recorded"), Vec::<String>::new());
    lower_like.retain(|entry| !entry.pax.is_empty());
    assert!(lower_like.is_empty(), "without ACLs there are no records: {lower_like:?}");
}

#[test]
fn times_before_1970_and_between_seconds() {
    let t = Layers::new();
    t.upper.file("old", "").file("fine", "");
    set_mtime(&t.upper.root.join("old"), -100, 0);
    set_mtime(&t.upper.root.join("fine"), 100, 500_000_000);
    let all = entries(&t.pack());
    assert_eq!(find(&all, "old").pax["mtime"], b"-100");
    assert_eq!(find(&all, "fine").pax["mtime"], b"100.5");
    assert_eq!((find(&all, "old").mtime, find(&all, "fine").mtime), (0, 100));
}

#[test]
fn source_date_epoch_clamps_newer_times_only() {
    let t = Layers::new();
    t.upper.file("new", "").file("old", "").file("just", "");
    set_mtime(&t.upper.root.join("new"), 200, 0);
    set_mtime(&t.upper.root.join("old"), 50, 0);
    set_mtime(&t.upper.root.join("just"), 100, 1);
    let all = entries(&t.pack_with(&PackOptions { latest_mtime: Some(100), ..PackOptions::default() }).1);
    assert_eq!(["new", "old", "just"].map(|path| find(&all, path).mtime), [100, 50, 100]);
    assert!(find(&all, "just").pax.is_empty());
}

#[test]
fn hard_links_point_to_the_first_path() {
    let t = Layers::new();
    t.upper.file("z", "data").dir("a").hard_link("z", "a/m").hard_link("z", "b");
    let all = entries(&t.pack());
    assert_eq!(find(&all, "a/m").data, b"data");
    for path in ["b", "z"] {
        let link = find(&all, path);
        assert_eq!((link.kind, link.link.as_deref()), (tar::EntryType::Link, Some("a/m")));
        assert!(link.data.is_empty());
    }
}

#[test]
fn opaque_directories_begin_with_their_mark() {
    let t = Layers::new();
    t.lower.file("d/x/deep", "").file("d/.a", "");
    t.upper
        .file("d/.a", "")
        .mark("d", "opaque", "y")
        .whiteout("d/stale")
        .dir("d/x")
        .mark("d/x", "opaque", "y");
    t.upper.file("e/.wh..wh..opq", "").file("e/f", "");
    let paths = t.packed_paths();
    assert_eq!(paths, ["d/", "d/.wh..wh..opq", "d/.a", "d/x/", "e/", "e/.wh..wh..opq", "e/f"]);
}

#[test]
fn an_opaque_root_begins_with_its_mark() {
    let t = Layers::new();
    t.upper.file(".wh..wh..opq", "").file("a", "").whiteout("b");
    assert_eq!(t.packed_paths(), [".wh..wh..opq", "a"]);
}

#[test]
fn a_whiteout_beside_the_directory_makes_it_opaque() {
    let t = Layers::new();
    t.lower.file("d/below", "").file("f", "");
    t.upper.file("d/new", "").file(".wh.d", "").file("f", "x").file(".wh.f", "");
    assert_eq!(t.packed_paths(), ["d/", "d/.wh..wh..opq", "d/new", "f"]);
}

#[test]
fn renamed_directories_are_written_whole() {
    let t = Layers::new();
    t.base.file("old/base", "base").file("old/sub/deep", "deep").file("old/twice", "base");
    t.lower.file("old/gone", "").file("old/twice", "lower").hard_link("old/twice", "old/u");
    t.upper.whiteout("old").dir("new").mark("new", "redirect", "old").whiteout("new/gone").dir("new/sub");
    t.upper.file("new/sub/added", "added");
    t.settle();
    let all = entries(&t.pack());
    let paths: Vec<&str> = all.iter().map(|e| e.path.as_str()).collect();
    let expected =
        [".wh.old", "new/", "new/base", "new/sub/", "new/sub/added", "new/sub/deep", "new/twice", "new/u"];
    assert_eq!(paths, expected);
    assert_eq!(find(&all, "new/twice").data, b"lower");
    assert_eq!(find(&all, "new/u").link.as_deref(), Some("new/twice"));
}

#[test]
fn a_directory_renamed_over_another_is_opaque() {
    let t = Layers::new();
    t.lower.file("from/mine", "").file("to/yours", "");
    t.upper.whiteout("from").dir("to").mark("to", "redirect", "/from").mark("to", "origin", "");
    assert_eq!(t.packed_paths(), [".wh.from", "to/", "to/.wh..wh..opq", "to/mine"]);
}

#[test]
fn metadata_copies_are_written_with_their_data() {
    let t = Layers::new();
    t.base.file("d/f", "base").file("moved", "moved");
    t.lower.dir("d").file("d/f", "").mark("d/f", "metacopy", "");
    t.upper.file("d/f", "").mark("d/f", "metacopy", "").mode("d/f", 0o600);
    t.upper
        .whiteout("moved")
        .file("d/here", "")
        .mark("d/here", "metacopy", "")
        .mark("d/here", "redirect", "/moved");
    t.settle();
    let all = entries(&t.pack());
    assert_eq!((find(&all, "d/f").data, find(&all, "d/f").mode), (b"base".to_vec(), 0o600));
    assert_eq!(find(&all, "d/here").data, b"moved");
    assert!(all.iter().all(|e| e.pax.is_empty()));
}

#[test]
fn missing_data_is_an_error_and_leaves_no_file() {
    let t = Layers::new();
    t.upper.file("f", "").mark("f", "metacopy", "");
    let output = t.base.root.join("layer.tar");
    let result = pack_to_file(&t.upper.root, &t.lowers(), &PackOptions::default(), &output);
    assert!(matches!(result, Err(LayerError::DataMissing { path }) if path == t.upper.root.join("f")));
    assert_eq!(fs::read_dir(&t.base.root).expect("listed").count(), 0);
}

#[test]
fn recorded_owners_modes_and_types_are_applied() {
    let t = Layers::new();
    let stat = |path: &str, value: &str| {
        t.upper.xattr(path, "user.containers.override_stat", value);
    };
    t.upper.file("f", "data").file("null", "").file("zero", "").file("l", "target").file("p", "").dir("d");
    t.upper.file("s", "");
    stat("f", "5:6:04755:file");
    stat("null", "0:6:0666:char-1-3");
    stat("zero", "0:0:0600:char-0-0");
    stat("l", "7:7:0777:symlink");
    stat("p", "1:1:0644:pipe");
    stat("d", "0:0:01777");
    stat("s", "0:0:0755:socket");
    let all = entries(&t.pack());
    let file = find(&all, "f");
    assert_eq!((file.uid, file.gid, file.mode, file.data), (5, 6, 0o4755, b"data".to_vec()));
    let null = find(&all, "null");
    assert_eq!((null.kind, null.device, null.gid), (tar::EntryType::Char, (1, 3), 6));
    assert_eq!((find(&all, "zero").kind, find(&all, "zero").device), (tar::EntryType::Char, (0, 0)));
    assert_eq!(find(&all, "l").link.as_deref(), Some("target"));
    assert_eq!(find(&all, "p").kind, tar::EntryType::Fifo);
    assert_eq!((find(&all, "d/").mode, find(&all, "d/").uid), (0o1777, 0));
    assert!(all.iter().all(|e| e.path != "s"));
}

#[test]
fn device_nodes_and_fifos_are_entries_and_sockets_are_not() {
    let t = Layers::new();
    t.upper.node("pipe", FileType::Fifo, 0).node("socket", FileType::Socket, 0);
    if privileged("device nodes") {
        t.upper.node("block", FileType::BlockDevice, plyfs::sys::fs::makedev(8, 1));
    }
    let all = entries(&t.pack());
    assert_eq!(find(&all, "pipe").kind, tar::EntryType::Fifo);
    assert!(all.iter().all(|e| e.path != "socket"));
    if privileged("device nodes") {
        assert_eq!(find(&all, "block").device, (8, 1));
    }
}

#[test]
fn long_names_survive() {
    let t = Layers::new();
    let deep = ["d".repeat(200), "e".repeat(200), "f".repeat(255)].join("/");
    t.upper.file(&deep, "deep").symlink("l", &"t".repeat(300)).file("ümlaut", "");
    let all = entries(&t.pack());
    assert_eq!(find(&all, &deep).data, b"deep");
    assert_eq!(find(&all, "l").link, Some("t".repeat(300)));
    find(&all, "ümlaut");
}

#[test]
fn links_in_a_layer_are_never_followed() {
    let t = Layers::new();
    t.lower.dir("d");
    t.base.file("d/f", "base");
    t.lower.symlink("out", "/etc");
    t.upper.symlink("d", "/etc").dir("x").mark("x", "redirect", "out");
    let all = entries(&t.pack());
    let paths: Vec<&str> = all.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["d", "x/"]);
}

#[test]
fn equal_layers_give_equal_bytes() {
    let build = || {
        let t = Layers::new();
        t.lower.file("gone", "").file("old/x", "data");
        for i in 0..50 {
            t.upper.file(&format!("d{}/f{i}", i % 7), &"x".repeat(i * 100));
        }
        t.upper
            .whiteout("gone")
            .whiteout("old")
            .dir("new")
            .mark("new", "redirect", "old")
            .hard_link("d0/f0", "h");
        t.upper.xattr("h", "user.b", "2").xattr("h", "user.a", "1");
        t.settle();
        t
    };
    let (one, two) = (build(), build());
    let tar = one.pack();
    assert_eq!(tar, one.pack());
    assert_eq!(tar, two.pack());
}

#[test]
fn the_file_is_complete_and_replaces_an_older_one() {
    let t = Layers::new();
    t.upper.file("f", "data");
    let output = t.base.root.join("layer.tar");
    fs::write(&output, "older").expect("written");
    let packed = pack_to_file(&t.upper.root, &[], &PackOptions::default(), &output).expect("packed");
    let tar = fs::read(&output).expect("there");
    assert_eq!(packed.diff_id, DiffId::new(Digest::of(&tar)));
    assert_eq!(tar.len() % 512, 0);
    assert_eq!(fs::read_dir(&t.base.root).expect("listed").count(), 1);
}

#[test]
fn a_writer_that_fails_is_an_error() {
    let t = Layers::new();
    t.upper.file("f", &"x".repeat(1 << 20));
    let mut small = [0u8; 4096];
    let result = pack(&t.upper.root, &[], &PackOptions::default(), &mut small[..]);
    assert!(matches!(result, Err(LayerError::Write(_))));
}

/// Hard links of a lower, one of them changed, as `index=on` keeps them.
fn indexed(t: &Layers) -> PackOptions {
    t.lower.file("a", "old").dir("d/e").hard_link("a", "b").hard_link("a", "d/e/c").mode("d", 0o750);
    t.upper.file("a", "new").mark("a", "nlink", "U+1");
    let lower = fs::File::open(&t.lower.root).expect("opened");
    let handle = name_to_handle_at(lower.as_fd(), OsStr::new("a")).expect("a handle");
    let origin = Origin { kind: handle.kind as u8, uuid: [0; 16], handle: handle.bytes };
    let work = t.beside("work");
    fs::create_dir_all(work.join("index")).expect("an index");
    fs::hard_link(t.upper.root.join("a"), work.join("index").join(origin.index_name())).expect("an entry");
    PackOptions { work: Some(work), ..PackOptions::default() }
}

#[test]
fn the_other_names_of_a_changed_file_are_written_with_their_parents() {
    let t = Layers::new();
    let options = indexed(&t);
    let all = entries(&t.pack_with(&options).1);
    let paths: Vec<&str> = all.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["a", "b", "d/", "d/e/", "d/e/c"]);
    assert_eq!(find(&all, "a").data, b"new");
    assert_eq!(find(&all, "d/e/c").link.as_deref(), Some("a"));
    assert_eq!(find(&all, "d/").mode, 0o750);
    let lines = ["C /a", "C /b", "C /d", "C /d/e", "C /d/e/c"];
    assert_eq!(t.diff_with(options.work.as_deref()), lines);
}

#[test]
fn a_changed_file_lives_on_under_its_other_names() {
    let t = Layers::new();
    let options = indexed(&t);
    fs::remove_file(t.upper.root.join("a")).expect("removed");
    t.upper.whiteout("a").whiteout("b");
    let index = options.work.as_ref().expect("set").join("index");
    let entry = fs::read_dir(index).expect("listed").next().expect("one").expect("readable").path();
    let entry = fs::File::open(entry).expect("opened");
    setxattr(Target::Fd(entry.as_fd()), OsStr::new("user.overlay.nlink"), b"U+0", 0).expect("set");
    let all = entries(&t.pack_with(&options).1);
    let paths: Vec<&str> = all.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, [".wh.a", ".wh.b", "d/", "d/e/", "d/e/c"]);
    assert_eq!(find(&all, "d/e/c").data, b"new");
}

#[test]
fn an_index_without_missing_names_changes_nothing() {
    let t = Layers::new();
    let options = indexed(&t);
    t.upper.mark("a", "nlink", "U-1").whiteout("b").whiteout("d");
    let all = entries(&t.pack_with(&options).1);
    let paths: Vec<&str> = all.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, [".wh.b", ".wh.d", "a"]);
}

/// A place for a tar during whose writing a file of the layer is written.
struct Meddler {
    path: std::path::PathBuf,
    tar: Vec<u8>,
}

impl std::io::Write for Meddler {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.tar.extend_from_slice(bytes);
        fs::OpenOptions::new().append(true).open(&self.path)?.write_all(b"more")?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_is_written_meanwhile_is_refused_where_that_is_asked_for() {
    let t = Layers::new();
    let long = "x".repeat(1 << 20);
    t.upper.file("long", &long);
    t.settle();
    for (if_written, refused) in [(IfWritten::GoOn, false), (IfWritten::Fail, true)] {
        let mut meddler = Meddler { path: t.upper.root.join("long"), tar: Vec::new() };
        let options = PackOptions { if_written, ..PackOptions::default() };
        match pack(&t.upper.root, &t.lowers(), &options, &mut meddler) {
            Err(LayerError::Changed { path }) => assert!(refused && path.ends_with("long")),
            packed => {
                packed.expect("packed");
                assert!(!refused);
                assert_eq!(find(&entries(&meddler.tar), "long").data, long.as_bytes());
            }
        }
    }
}
