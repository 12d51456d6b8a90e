//! Tars as directories: what was packed comes back, parents and links that only the lowers have, and bytes at
//! random.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use plyfs::layer::pack::{PackOptions, pack};
use plyfs::layer::unpack::{Ownership, Unpacked};
use plyfs::oci::digest::{DiffId, Digest};
use plyfs::sys::fs::FileType;
use plyfs::sys::xattr::{Target, getxattr_opt, listxattr, setxattr};
use proptest::prelude::*;

use crate::rawtar::{Place, RawTar, listing, ownerships};
use crate::tree::{Layers, privileged, set_mtime};

fn t() -> RawTar {
    RawTar::new()
}

fn packed(layer: &Path, lowers: &[std::path::PathBuf]) -> Vec<u8> {
    let mut tar = Vec::new();
    pack(layer, lowers, &PackOptions::default(), &mut tar).expect("packed");
    tar
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let file = fs::File::open(path).expect("opened");
    getxattr_opt(Target::Fd(file.as_fd()), OsStr::new(name)).expect("read")
}

/// Packs the layers' upper, unpacks that, packs again, and compares.
fn round_trip(layers: &Layers, ownership: Ownership) {
    let tar = packed(&layers.upper.root, &layers.lowers());
    let target = layers.beside(&format!("unpacked-{ownership:?}"));
    fs::create_dir(&target).expect("made");
    let place = Place::new(|_| {});
    let result = place.unpack(&tar, ownership).expect("unpacked");
    let expected =
        Unpacked { diff_id: DiffId::new(Digest::of(&tar)), size: tar.len() as u64, entries: result.entries };
    assert_eq!(result, expected);
    let again = packed(&place.target, &layers.lowers());
    // The tar crate cannot read attributes with newlines, so the first difference is shown as it is.
    let differ = tar.iter().zip(&again).position(|(one, two)| one != two);
    let around = differ.map(|at| {
        let block = at / 512 * 512;
        (
            at,
            tar[block..block + 512].escape_ascii().to_string(),
            again[block..block + 512].escape_ascii().to_string(),
        )
    });
    assert_eq!((around, tar.len()), (None, again.len()), "{ownership:?}");
}

/// A layer with everything that an ordinary user can make.
fn everything() -> Layers {
    let t = Layers::new();
    t.lower.file("gone", "").file("old/below", "").file("d/gone", "");
    t.upper.whiteout("gone").dir("old").mark("old", "opaque", "y").file("old/new", "n").whiteout("d/gone");
    t.upper.file("d/first", "data").dir("z").hard_link("d/first", "a-link").hard_link("d/first", "z/link");
    t.upper.symlink("s", "d/first").symlink("dangling", &"x/".repeat(150)).hard_link("s", "s2");
    t.upper.file("attributes", "x").xattr("attributes", "user.a", "1\n2\n").xattr("attributes", "user.b", "");
    t.upper.xattr("d", "user.dir", "yes").node("pipe", FileType::Fifo, 0).mode("pipe", 0o620);
    t.upper.file(&format!("{}/{}", "long".repeat(60), "name".repeat(60)), "long");
    t.upper.dir(&"deep/".repeat(60));
    t.upper.file("ümläut", "").file("sp ace\nnew line", "").file("-", "");
    fs::write(t.upper.root.join(OsStr::from_bytes(b"not\xffutf8")), "").expect("written");
    t.upper.file("big", &"0123456789".repeat(100_000)).file("program", "#!").mode("program", 0o4755);
    t.upper.file("secret", "").mode("secret", 0o600).dir("sticky").mode("sticky", 0o1777);
    t.upper.dir("closed").mode("closed", 0o700).file("empty", "");
    t.settle();
    set_mtime(&t.upper.root.join("empty"), -100, 0);
    set_mtime(&t.upper.root.join("big"), 1_234_567_890, 123_456_789);
    set_mtime(&t.upper.root.join("s"), -2, 250_000_000);
    set_mtime(&t.upper.root.join("sticky"), 77, 1);
    t
}

#[test]
fn what_was_packed_comes_back() {
    let layers = everything();
    for ownership in ownerships() {
        round_trip(&layers, ownership);
    }
}

#[test]
fn what_only_root_can_make_comes_back() {
    if !privileged("owners, devices and capabilities") {
        return;
    }
    let layers = everything();
    let upper = &layers.upper;
    upper.node("block", FileType::BlockDevice, plyfs::sys::fs::makedev(8, 1)).mode("block", 0o660);
    upper.node("char", FileType::CharacterDevice, plyfs::sys::fs::makedev(5, 300));
    for (name, uid, gid) in [
        ("program", 12, 34),
        ("d", 1000, 1000),
        ("s", 5, 6),
        ("pipe", 7, 8),
        ("big", 3_000_000, 4_000_000_000),
    ] {
        std::os::unix::fs::lchown(upper.root.join(name), Some(uid), Some(gid)).expect("an owner");
    }
    upper.mode("program", 0o6755);
    layers.settle();
    round_trip(&layers, Ownership::Recorded);
    let capability = "\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    upper.file("capable", "").xattr("capable", "security.capability", capability);
    upper.acl("program", "system.posix_acl_access").acl("d", "system.posix_acl_default");
    layers.settle();
    round_trip(&layers, Ownership::Real);
}

#[test]
fn recorded_layers_stay_readable_to_their_owner() {
    let place = Place::new(|_| {});
    let tar = t().dir("d").file("d/f", "x").device(b'3', "d/c", "0000001", "0000003").symlink("s", "d");
    let closed = |block: &mut [u8]| block[100..108].copy_from_slice(b"0000000\0");
    let tar = tar.changed(b'5', b"closed", b"", b"", closed).file("closed/f", "x");
    place.unpack(&tar.end(), Ownership::Recorded).expect("unpacked");
    let value = |name: &str| xattr(&place.target.join(name), "user.containers.override_stat");
    let text = |name: &str| String::from_utf8(value(name).unwrap_or_default()).expect("text");
    let lower = fs::metadata(&place.lower).expect("there");
    let (uid, gid, mode) = (lower.uid(), lower.gid(), lower.mode() & 0o7777);
    assert_eq!(text(""), format!("{uid}:{gid}:0{mode:o}:dir"));
    assert_eq!(text("d"), "0:0:0755:dir");
    assert_eq!(text("d/f"), "0:0:0644:file");
    assert_eq!(text("d/c"), "0:0:0644:char-1-3");
    assert_eq!(text("closed"), "0:0:00:dir");
    let mode =
        |name: &str| fs::metadata(place.target.join(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode("closed"), mode("d/f"), mode("d/c")), (0o755, 0o644, 0o644));
}

#[test]
fn parents_that_the_layer_leaves_out_are_those_of_the_lowers() {
    let place = Place::new(|lower| {
        fs::create_dir_all(lower.join("a/b")).expect("made");
        fs::set_permissions(lower.join("a"), fs::Permissions::from_mode(0o751)).expect("a mode");
        let dir = fs::File::open(lower.join("a")).expect("opened");
        setxattr(Target::Fd(dir.as_fd()), OsStr::new("user.kept"), b"1", 0).expect("set");
        setxattr(Target::Fd(dir.as_fd()), OsStr::new("user.overlay.impure"), b"y", 0).expect("set");
        set_mtime(&lower.join("a/b"), 55, 5);
        set_mtime(&lower.join("a"), 66, 6);
        set_mtime(lower, 77, 7);
    });
    for ownership in ownerships() {
        place.again();
        let tar = t().file("a/b/f", "").file("new/deep/f", "").file("other/.wh.x", "").end();
        place.unpack(&tar, ownership).expect("unpacked");
        let time = |name: &str| {
            let meta = fs::metadata(place.target.join(name)).expect("there");
            (meta.mtime(), meta.mtime_nsec())
        };
        assert_eq!([time("a/b"), time("a"), time("")], [(55, 5), (66, 6), (77, 7)], "{ownership:?}");
        assert_eq!([time("new"), time("new/deep"), time("other")], [(0, 0); 3]);
        assert_eq!(xattr(&place.target.join("a"), "user.kept").as_deref(), Some(&b"1"[..]));
        assert_eq!(xattr(&place.target.join("a"), "user.overlay.impure"), None);
        if ownership == Ownership::Real {
            let mode = fs::metadata(place.target.join("a")).expect("there").permissions().mode();
            assert_eq!(mode & 0o7777, 0o751);
        }
    }
}

#[test]
fn hard_links_to_lower_files_become_files() {
    let place = Place::new(|lower| {
        fs::create_dir(lower.join("d")).expect("made");
        fs::write(lower.join("d/f"), "lower").expect("written");
        fs::set_permissions(lower.join("d/f"), fs::Permissions::from_mode(0o640)).expect("a mode");
        symlink("f", lower.join("d/s")).expect("made");
        set_mtime(&lower.join("d/f"), 5, 6);
    });
    for ownership in ownerships() {
        place.again();
        place.unpack(&t().link("f", "d/f").link("s", "/d/s").end(), ownership).expect("unpacked");
        let meta = fs::metadata(place.target.join("f")).expect("there");
        assert_eq!(fs::read(place.target.join("f")).expect("there"), b"lower");
        assert_eq!((meta.mtime(), meta.mtime_nsec(), meta.nlink()), (5, 6, 1));
        let entries = crate::tree::entries(&packed(&place.target, &[]));
        assert_eq!(crate::tree::find(&entries, "f").mode, 0o640);
        assert_eq!(crate::tree::find(&entries, "s").link.as_deref(), Some("f"));
    }
}

#[test]
fn later_entries_replace_earlier_ones() {
    for ownership in ownerships() {
        let place = Place::new(|_| {});
        let tar = t().file("f", "1").link("h", "f").file("f", "2").dir("d").file("d/x", "").dir("d");
        let tar = tar.dir("e/f/g").file("e", "file").file("x", "").dir("x").file("x/y", "").symlink("f", "e");
        place.unpack(&tar.end(), ownership).expect("unpacked");
        let link =
            if ownership == Ownership::Real || place.target.join("f").is_symlink() { "f@" } else { "f" };
        let expected = ["d/", "d/x", "e", link, "h", "x/", "x/y"];
        assert_eq!(listing(&place.target), expected, "{ownership:?}");
        assert_eq!(fs::read(place.target.join("h")).expect("there"), b"1");
        // What was a file hid the lowers' directory, and the directory in its place still does.
        let paths: Vec<String> =
            crate::tree::entries(&packed(&place.target, &[])).into_iter().map(|e| e.path).collect();
        assert_eq!(paths, ["d/", "d/x", "e", "f", "h", "x/", "x/.wh..wh..opq", "x/y"]);
    }
}

#[test]
fn whiteouts_and_opaque_marks_count_wherever_they_stand() {
    let orders: [fn() -> RawTar; 4] = [
        || t().file(".wh.d", "").dir("d").file("d/f", ""),
        || t().dir("d").file("d/f", "").file(".wh.d", ""),
        || t().file("d/.wh..wh..opq", "").dir("d").file("d/f", ""),
        || t().dir("d").file("d/f", "").file("d/.wh..wh..opq", ""),
    ];
    for ownership in ownerships() {
        for order in orders {
            let place = Place::new(|lower| fs::create_dir(lower.join("d")).expect("made"));
            place.unpack(&order().end(), ownership).expect("unpacked");
            let lowers = [place.lower.clone()];
            let entries = crate::tree::entries(&packed(&place.target, &lowers));
            let paths: Vec<&str> = entries.iter().map(|e| e.path.as_str()).collect();
            assert_eq!(paths, ["d/", "d/.wh..wh..opq", "d/f"], "{ownership:?}");
        }
        let place = Place::new(|_| {});
        place.unpack(&t().file("f", "").file(".wh..wh..opq", "").end(), ownership).expect("unpacked");
        let paths: Vec<String> =
            crate::tree::entries(&packed(&place.target, &[])).into_iter().map(|e| e.path).collect();
        assert_eq!(paths, [".wh..wh..opq", "f"]);
    }
}

#[test]
fn private_and_foreign_attributes_are_left_out() {
    let names = [
        "user.overlay.opaque",
        "user.overlay.origin",
        "trusted.overlay.redirect",
        "user.fuseoverlayfs.opaque",
        "user.containers.override_stat",
        "security.selinux",
        "trusted.other",
    ];
    for ownership in ownerships() {
        let place = Place::new(|_| {});
        let records: Vec<(String, &[u8])> =
            names.iter().map(|name| (format!("SCHILY.xattr.{name}"), &b"y"[..])).collect();
        let mut records: Vec<(&str, &[u8])> =
            records.iter().map(|(key, value)| (key.as_str(), *value)).collect();
        records.push(("SCHILY.xattr.user.kept", b"a\nb"));
        let tar = t().pax(&records).file("f", "").pax(&records).dir("d").pax(&records).symlink("s", "f");
        place.unpack(&tar.end(), ownership).expect("unpacked");
        for name in ["f", "d"] {
            let file = fs::File::open(place.target.join(name)).expect("opened");
            let mut set = listxattr(Target::Fd(file.as_fd())).expect("listed");
            set.retain(|name| name != "user.containers.override_stat" && name != "security.selinux");
            assert_eq!(set, ["user.kept"], "{name} {ownership:?}");
        }
        assert_eq!(xattr(&place.target.join("f"), "user.kept").as_deref(), Some(&b"a\nb"[..]));
        let recorded = xattr(&place.target.join("f"), "user.containers.override_stat");
        assert_eq!(recorded.is_some(), ownership == Ownership::Recorded);
    }
}

#[test]
fn gnu_long_names_and_large_numbers() {
    let place = Place::new(|_| {});
    let name = "d/".repeat(80) + "name";
    let tar = t().entry(b'K', b"././@LongLink", b"", format!("{}\0", "t".repeat(200)).as_bytes());
    let tar = tar.entry(b'L', b"././@LongLink", b"", format!("{name}\0").as_bytes()).symlink("cut", "cut");
    let tar = tar.changed(b'0', b"old", b"", b"", |block| {
        block[136..148].copy_from_slice(&[0xff; 12]);
        block[257..265].copy_from_slice(b"ustar  \0");
    });
    let tar = tar.pax(&[("mtime", b"99999999999999999")]).file("future", "");
    let tar = tar.pax(&[("mtime", b"-99999999999999999")]).file("past", "");
    for ownership in ownerships() {
        place.again();
        place.unpack(&tar.clone().end(), ownership).expect("unpacked");
        let entries = crate::tree::entries(&packed(&place.target, &[]));
        assert_eq!(crate::tree::find(&entries, &name).link, Some("t".repeat(200)));
        assert_eq!(fs::metadata(place.target.join("old")).expect("there").mtime(), -1);
    }
}

/// A tar with a bit of everything, for damaging it.
fn sample() -> Vec<u8> {
    let tar = t().dir("d").file("d/f", "content").link("h", "d/f").symlink("s", "d").file("d/.wh.x", "");
    let tar = tar.pax(&[("path", b"p/q"), ("SCHILY.xattr.user.x", b"1"), ("mtime", b"1.5")]).file("x", "y");
    let tar = tar.entry(b'L', b"././@LongLink", b"", b"long/name\0").file("n", "").file("s/through", "z");
    let tar = tar.entry(b'6', b"fifo", b"", b"").file("d/.wh..wh..opq", "").file("d", "over").dir("last");
    tar.end()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let place = Place::new(|_| {});
        for ownership in ownerships() {
            place.again();
            drop(place.unpack(&bytes, ownership));
        }
    }

    #[test]
    fn damaged_tars_do_no_harm(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        sealed in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut tar = sample();
        for (at, byte) in &changes {
            let at = at.index(tar.len());
            tar[at] = *byte;
        }
        if sealed {
            // Good checksums, so that the damage is looked at.
            for block in tar.chunks_exact_mut(crate::rawtar::BLOCK) {
                if block[257..262] == *b"ustar" {
                    crate::rawtar::seal(block);
                }
            }
        }
        if cut.index(4) == 0 {
            let length = cut.index(tar.len());
            tar.truncate(length);
        }
        let place = Place::new(|lower| symlink("/", lower.join("p")).expect("made"));
        for ownership in ownerships() {
            place.again();
            drop(place.unpack(&tar, ownership));
        }
    }
}
