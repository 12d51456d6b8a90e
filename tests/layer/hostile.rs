//! Tars that want harm: each is refused with a message that names the entry, or made safe; nothing beside the
//! target changes.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use plyfs::layer::unpack::{Limits, Ownership, UnpackOptions};

use crate::rawtar::{BLOCK, Place, RawTar, listing, ownerships, seal};

/// What must come of a tar.
enum Outcome {
    /// An error whose text, with those of its sources, holds all of these.
    Refused(&'static [&'static str]),
    /// These files and no others, as [`listing`] shows them.
    Holds(&'static [&'static str]),
}
use Outcome::{Holds, Refused};

fn lower(root: &Path) {
    fs::create_dir_all(root.join("usr/lib")).expect("made");
    fs::write(root.join("usr/lib/so"), "lower").expect("made");
    fs::create_dir(root.join("gone")).expect("made");
    symlink("usr/lib", root.join("lib")).expect("made");
    symlink("/usr/lib", root.join("absolute")).expect("made");
    symlink("../../../../usr/lib", root.join("upward")).expect("made");
    symlink("/etc", root.join("etc")).expect("made");
    symlink("circle", root.join("circle")).expect("made");
    symlink("so", root.join("usr/lib/alias")).expect("made");
    symlink("../canary", root.join("canary")).expect("made");
}

#[track_caller]
fn check(cases: Vec<(&str, RawTar, Outcome)>) {
    let bytes = cases.into_iter().map(|(name, tar, outcome)| (name, tar.end(), outcome)).collect();
    check_bytes(bytes, &Limits::default());
}

#[track_caller]
fn check_bytes(cases: Vec<(&str, Vec<u8>, Outcome)>, limits: &Limits) {
    for ownership in ownerships() {
        let place = Place::new(lower);
        for (name, tar, outcome) in &cases {
            place.again();
            let options = UnpackOptions { limits: limits.clone(), ownership };
            let result = place.unpack_with(tar, &options);
            match (outcome, result) {
                (Refused(parts), Err(error)) => {
                    let text = text(&error);
                    for part in *parts {
                        assert!(text.contains(part), "{name} ({ownership:?}): {part:?} is not in {text:?}");
                    }
                }
                (Holds(files), Ok(_)) => {
                    assert_eq!(listing(&place.target), *files, "{name} ({ownership:?})");
                }
                (Refused(_), Ok(_)) => {
                    panic!("{name} ({ownership:?}) was unpacked: {:?}", listing(&place.target));
                }
                (Holds(_), Err(error)) => panic!("{name} ({ownership:?}): {}", text(&error)),
            }
        }
    }
}

/// The error with its sources.
fn text(error: &dyn std::error::Error) -> String {
    let source = error.source().map(text);
    source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
}

fn t() -> RawTar {
    RawTar::new()
}

#[test]
fn names_that_lead_out() {
    check(vec![
        ("dot dot", t().file("../canary/file", "dead"), Refused(&["\"../canary/file\"", "\"..\""])),
        ("dot dot inside", t().file("a/../../canary/file", "dead"), Refused(&["a/../../canary"])),
        ("dot dot at the end", t().dir("a/.."), Refused(&["\"a/..\""])),
        ("only dot dot", t().dir(".."), Refused(&["\"..\""])),
        ("absolute", t().file("/canary/file", "mine"), Refused(&["canary"])),
        ("absolute, at home", t().file("/home/file", "mine"), Holds(&["home/", "home/file"])),
        ("empty", t().file("", ""), Refused(&["its name is empty"])),
        ("dots and slashes", t().file(".//./a/.//b", ""), Holds(&["a/", "a/b"])),
        ("NUL in a PAX path", t().pax(&[("path", b"a\0b")]).file("x", ""), Refused(&["a\\x00b", "NUL"])),
        (
            "dot dot in a PAX path",
            t().pax(&[("path", b"../canary/file")]).file("x", ""),
            Refused(&["\"../canary/file\""]),
        ),
        (
            "dot dot in a GNU long name",
            t().entry(b'L', b"././@LongLink", b"", b"../canary/file\0").file("x", ""),
            Refused(&["\"../canary/file\""]),
        ),
        (
            "dot dot in a ustar prefix",
            t().changed(b'0', b"file", b"", b"", |block| block[345..354].copy_from_slice(b"../canary")),
            Refused(&["\"../canary/file\""]),
        ),
        ("a component too long", t().pax(&[("path", &[b'n'; 256])]).file("x", ""), Refused(&["255 bytes"])),
        ("a root that is a file", t().file("./", "x"), Holds(&[])),
        ("a root that is a link", t().symlink("./", "/"), Refused(&["\"./\"", "must be a directory"])),
        ("a root that is a hard link", t().link(".", "x"), Refused(&["must be a directory"])),
        ("a control character", t().file("\x1b[2Ja/../b", ""), Refused(&["\\x1b[2Ja"])),
    ]);
}

#[test]
fn links_that_lead_out() {
    let place = Place::new(lower);
    let canary = place.canary("dir");
    check(vec![
        (
            "a file through an absolute link",
            t().symlink("l", &canary).file("l/inner", "dead"),
            Refused(&["\"l/inner\"", "\"l\" is no directory"]),
        ),
        (
            "a file through a relative link",
            t().symlink("l", "../canary").file("l/file", "dead"),
            Refused(&["\"l/file\""]),
        ),
        ("a file over a link", t().symlink("l", "../canary/file").file("l", "x"), Holds(&["l"])),
        (
            "a directory over a link",
            t().symlink("l", "../canary").dir("l").file("l/file", ""),
            Holds(&["l/", "l/file"]),
        ),
        ("a directory through a link", t().symlink("l", "..").dir("l/canary2"), Refused(&["\"l/canary2\""])),
        (
            "a whiteout through a link",
            t().symlink("l", "../canary").file("l/.wh.file", ""),
            Refused(&["l/.wh.file"]),
        ),
        (
            "an opaque mark through a link",
            t().symlink("l", "../canary").file("l/.wh..wh..opq", ""),
            Refused(&["\"l/.wh..wh..opq\""]),
        ),
        (
            "links upon links",
            t().symlink("a", "b").symlink("b", "..").file("a/canary/file", ""),
            Refused(&["\"a/canary/file\""]),
        ),
        ("a hard link up", t().link("h", "../canary/file"), Refused(&["\"h\"", "\"..\""])),
        ("an absolute hard link", t().link("h", "/etc/passwd"), Refused(&["\"h\"", "etc"])),
        (
            "a hard link through a link",
            t().symlink("l", "../canary").link("h", "l/file"),
            Refused(&["\"h\"", "\"l\" is no directory"]),
        ),
        (
            "a hard link to a directory",
            t().dir("d").link("h", "d"),
            Refused(&["\"h\"", "\"d\" is a directory"]),
        ),
        ("a hard link to the root", t().link("h", "/"), Refused(&["\"h\""])),
        ("a hard link to a lower directory", t().link("h", "usr/lib"), Refused(&["is a directory"])),
        ("a hard link to nothing", t().link("h", "nothing"), Refused(&["there is no file \"nothing\""])),
        ("a hard link to itself", t().link("h", "h"), Refused(&["there is no file \"h\""])),
        ("a hard link to itself, which is there", t().file("h", "x").link("h", "./h"), Holds(&["h"])),
        (
            "a hard link into what it replaces",
            t().dir("d").file("d/f", "").link("d", "d/f"),
            Refused(&["there is no file \"d/f\""]),
        ),
        (
            "a hard link to a whiteout",
            t().file(".wh.gone", "").link("h", "gone"),
            Refused(&["there is no file"]),
        ),
        (
            "a hard link into a whiteout",
            t().file(".wh.usr", "").link("h", "usr/lib/so"),
            Refused(&["there is no file"]),
        ),
        (
            "a hard link into an opaque directory",
            t().dir("usr").file("usr/.wh..wh..opq", "").link("h", "usr/lib/so"),
            Refused(&["there is no file"]),
        ),
        ("a hard link without a target", t().link("h", ""), Refused(&["\"h\"", "without a target"])),
        ("a symbolic link without a target", t().symlink("s", ""), Refused(&["\"s\"", "without a target"])),
        (
            "a file below a file",
            t().file("f", "").file("f/g", ""),
            Refused(&["\"f/g\"", "\"f\" is no directory"]),
        ),
        (
            "a file below a lower file",
            t().file("usr/lib/so/x", ""),
            Refused(&["\"usr/lib/so\" is no directory"]),
        ),
        (
            "a file below a FIFO",
            t().entry(b'6', b"p", b"", b"").file("p/x", ""),
            Refused(&["\"p\" is no directory"]),
        ),
        (
            "a file over a directory full of links",
            t().dir("d").symlink("d/l", &canary).dir("d/e").file("d/e/f", "").file("d", "x"),
            Holds(&["d"]),
        ),
    ]);
}

#[test]
fn links_of_lower_layers() {
    check(vec![
        ("relative", t().file("lib/new", ""), Holds(&["usr/", "usr/lib/", "usr/lib/new"])),
        ("absolute", t().file("absolute/new", ""), Holds(&["usr/", "usr/lib/", "usr/lib/new"])),
        ("beyond the root", t().file("upward/new", ""), Holds(&["usr/", "usr/lib/", "usr/lib/new"])),
        ("to the host's", t().file("etc/passwd", ""), Refused(&["\"etc/passwd\"", "\"etc\""])),
        ("in a circle", t().file("circle/x", ""), Refused(&["\"circle/x\"", "\"circle\""])),
        ("to a file", t().file("usr/lib/alias/x", ""), Refused(&["\"usr/lib/alias/x\""])),
        (
            "a link of this layer on the way",
            t().symlink("usr", "/canary").file("lib/x", ""),
            Refused(&["\"lib/x\"", "\"usr\" is no directory"]),
        ),
        ("replaced by a directory", t().dir("lib").file("lib/new", ""), Holds(&["lib/", "lib/new"])),
        ("hidden by a whiteout", t().file(".wh.lib", "").file("lib/new", ""), Holds(&["lib/", "lib/new"])),
        (
            "a hard link through it",
            t().file("lib/a", "").link("lib/b", "lib/a"),
            Holds(&["usr/", "usr/lib/", "usr/lib/a", "usr/lib/b"]),
        ),
        ("a hard link to a lower file through it", t().link("copy", "lib/so"), Holds(&["copy"])),
    ]);
}

/// In these, `etc` and `canary` are links of the lower that lead nowhere within it.
#[test]
fn links_of_lower_layers_that_lead_out() {
    let place = Place::new(lower);
    for ownership in ownerships() {
        for name in ["etc/passwd", "canary/file"] {
            place.again();
            // Refused, or a directory of this name within the target: never followed.
            drop(place.unpack(&t().file(name, "dead").end(), ownership));
        }
    }
    assert_eq!(fs::read_to_string(place.canary("file")).expect("there"), "alive");
}

#[test]
fn whiteouts() {
    check(vec![
        ("a whiteout", t().file(".wh.gone", ""), Holds(&["gone!"])),
        ("a whiteout with content", t().file(".wh.gone", "content").file("f", ""), Holds(&["f", "gone!"])),
        ("twice", t().file(".wh.gone", "").file(".wh.gone", ""), Holds(&["gone!"])),
        ("before the file", t().file(".wh.f", "").file("f", ""), Holds(&["f"])),
        ("behind the file", t().file("f", "").file(".wh.f", ""), Holds(&["f"])),
        ("behind the directory", t().dir("d").file("d/f", "").file(".wh.d", ""), Holds(&["d/", "d/f"])),
        ("bare", t().file(".wh.", ""), Refused(&["\".wh.\"", "whiteout"])),
        ("of the directory itself", t().file("d/.wh..", ""), Refused(&["\"d/.wh..\"", "whiteout"])),
        ("of the parent", t().file("d/.wh...", ""), Refused(&["\"d/.wh...\"", "whiteout"])),
        ("a directory", t().dir(".wh.d"), Refused(&["\".wh.d\"", "whiteout"])),
        ("a file below one", t().file(".wh.d/f", ""), Refused(&["\".wh.d/f\"", "reserved"])),
        (
            "AUFS's own",
            t().dir(".wh..wh.plnk").file(".wh..wh.plnk/1", "x").file(".wh..wh.aufs", "").file("f", ""),
            Holds(&["f"]),
        ),
        (
            "a hard link to AUFS's own",
            t().file(".wh..wh.plnk/1", "x").link("h", ".wh..wh.plnk/1"),
            Refused(&["\"h\"", "there is no file"]),
        ),
        ("a device 0:0", t().device(b'3', "c", "0000000", "0000000"), Refused(&["\"c\"", "whiteout"])),
        (
            "a device cut down to 0:0",
            t().device(b'3', "c", "0010000", "0000000"),
            Refused(&["\"c\"", "device number"]),
        ),
        (
            "a minor number too large",
            t().device(b'3', "c", "0000001", "4000000"),
            Refused(&["\"c\"", "device number"]),
        ),
        (
            "a device number that is none",
            t().device(b'3', "c", "x", "y"),
            Refused(&["\"c\"", "device number"]),
        ),
    ]);
}

#[test]
fn headers() {
    let huge_owner = |block: &mut [u8]| block[108..116].copy_from_slice(b"\x80\0\0\x01\0\0\0\0");
    let negative_owner = |block: &mut [u8]| block[116..124].fill(0xff);
    let mut wrong = t().file("f", "").0;
    wrong[0] = b'g';
    let half = [t().file("f", "").0, vec![0; BLOCK], t().file("g", "").0].concat();
    let cut = |tar: RawTar, length: usize| tar.0[..length].to_vec();
    let limits = Limits::default();
    let sparse = ("GNU.sparse.major", &b"1"[..]);
    let tars: Vec<(&str, Vec<u8>, Outcome)> = vec![
        (
            "an owner too large",
            t().changed(b'0', b"f", b"", b"", huge_owner).end(),
            Refused(&["\"f\"", "owner"]),
        ),
        (
            "a negative group",
            t().changed(b'0', b"f", b"", b"", negative_owner).end(),
            Refused(&["\"f\"", "group"]),
        ),
        (
            "the owner -1",
            t().pax(&[("uid", b"4294967295")]).file("f", "").end(),
            Refused(&["\"f\"", "owner"]),
        ),
        (
            "a PAX owner too large",
            t().pax(&[("uid", b"4294967296")]).file("f", "").end(),
            Refused(&["\"f\"", "owner"]),
        ),
        (
            "a PAX owner that is no number",
            t().pax(&[("uid", b"root")]).file("f", "").end(),
            Refused(&["PAX header"]),
        ),
        (
            "a PAX record cut off",
            t().entry(b'x', b"p", b"", b"99 path=a\n").file("f", "").end(),
            Refused(&["\"p\"", "malformed"]),
        ),
        (
            "a PAX record without end",
            t().entry(b'x', b"p", b"", b"9 path=ab").file("f", "").end(),
            Refused(&["malformed"]),
        ),
        (
            "a PAX length that overflows",
            t().entry(b'x', b"p", b"", b"18446744073709551616 a=b\n").file("f", "").end(),
            Refused(&["malformed"]),
        ),
        (
            "a global header",
            t().entry(b'g', b"g", b"", b"16 comment=abcd\n").file("f", "").end(),
            Holds(&["f"]),
        ),
        (
            "a malformed global header",
            t().entry(b'g', b"g", b"", b"xx").file("f", "").end(),
            Refused(&["malformed"]),
        ),
        (
            "GNU sparse",
            t().entry(b'S', b"s", b"", b"").end(),
            Refused(&["\"s\"", "sparse entries are not allowed"]),
        ),
        ("PAX sparse", t().pax(&[sparse]).file("s", "").end(), Refused(&["sparse entries are not allowed"])),
        ("an unknown type", t().entry(b'Z', b"z", b"", b"").end(), Refused(&["\"z\"", "'Z'"])),
        ("a multi-volume part", t().entry(b'M', b"m", b"", b"").end(), Refused(&["\"m\"", "'M'"])),
        ("a wrong checksum", wrong, Refused(&["byte 0", "checksum"])),
        ("no tar at all", vec![b'x'; 5000], Refused(&["byte 0", "no header"])),
        ("half an end marker", half, Refused(&["byte 512", "half an end marker"])),
        ("an extension without entry", t().pax(&[("path", b"a")]).end(), Refused(&["belongs to no entry"])),
        ("cut off in a header", cut(t().file("f", "data"), 300), Refused(&["ends within a header"])),
        (
            "cut off in the content",
            cut(t().file("f", "data"), 514),
            Refused(&["\"f\"", "ends within its content"]),
        ),
        ("cut off in the padding, as umoci does", cut(t().file("f", "data"), 520), Holds(&["f"])),
        (
            "cut off in a PAX header",
            cut(t().pax(&[("path", b"a")]), 515),
            Refused(&["ends within its content"]),
        ),
        ("cut off in the end marker", [t().file("f", "").0, vec![0; 700]].concat(), Refused(&["end marker"])),
        ("no end marker", t().file("f", "data").0, Holds(&["f"])),
        ("nothing", Vec::new(), Holds(&[])),
        ("bytes behind the end", [t().file("f", "").end(), b"trailer".to_vec()].concat(), Holds(&["f"])),
        ("a contiguous file", t().entry(b'7', b"f", b"", b"data").end(), Holds(&["f"])),
        (
            "a v7 directory",
            t().changed(0, b"d/", b"", b"", |block| block[257..].fill(0)).end(),
            Holds(&["d/"]),
        ),
        (
            "a directory with a size",
            t().changed(b'5', b"d", b"", b"", |b| b[124..136].copy_from_slice(b"00000001000\0"))
                .file("f", "")
                .end(),
            Holds(&["d/", "f"]),
        ),
        (
            "a link with a size",
            t().file("f", "")
                .changed(b'1', b"h", b"f", b"", |b| b[124..136].copy_from_slice(b"00000001000\0"))
                .end(),
            Holds(&["f", "h"]),
        ),
    ];
    check_bytes(tars, &limits);
}

#[test]
fn limits() {
    let small = Limits {
        entries: 4,
        total_bytes: 20_000,
        file_bytes: 1000,
        path_bytes: 50,
        depth: 4,
        xattr_bytes: 100,
        pax_bytes: 3000,
    };
    let claimed = |size: &'static [u8; 12]| move |block: &mut [u8]| block[124..136].copy_from_slice(size);
    let long = "x".repeat(1001);
    let five = (0..5).fold(t(), |tar, i| tar.file(&format!("f{i}"), ""));
    let tars: Vec<(&str, Vec<u8>, Outcome)> = vec![
        ("entries", five.end(), Refused(&["more than 4 entries"])),
        (
            "directories that are not listed",
            t().file("a/b/.wh.x", "").file("c/d/.wh.x", "").file("e/.wh.x", "").end(),
            Refused(&["more than 4 directories"]),
        ),
        ("the whole", [t().end(), vec![0; 30_000]].concat(), Refused(&["more than 20000 bytes"])),
        ("a file", t().file("f", &long).end(), Refused(&["\"f\"", "limit of 1000"])),
        (
            "a file that only claims it",
            t().changed(b'0', b"f", b"", b"", claimed(b"77777777777\0")).end(),
            Refused(&["\"f\"", "limit of 1000"]),
        ),
        (
            "a file of 2^90 bytes",
            t().changed(b'0', b"f", b"", b"", claimed(b"\x84\0\0\0\0\0\0\0\0\0\0\0")).end(),
            Refused(&["size"]),
        ),
        (
            "a file of -1 bytes",
            t().changed(b'0', b"f", b"", b"", claimed(&[0xff; 12])).end(),
            Refused(&["size"]),
        ),
        ("a path", t().file(&"d/".repeat(26), "").end(), Refused(&["name", "limit of 50"])),
        (
            "a link's target",
            t().symlink("l", &"d/".repeat(26)).end(),
            Refused(&["link target", "limit of 50"]),
        ),
        ("depth", t().file("a/b/c/d/e", "").end(), Refused(&["\"a/b/c/d/e\"", "limit of 4"])),
        ("depth by a lower link", t().file("lib/c/d/e", "").end(), Refused(&["\"lib/c/d/e\"", "limit of 4"])),
        (
            "attributes",
            t().pax(&[("SCHILY.xattr.user.a", &[b'v'; 101])]).file("f", "").end(),
            Refused(&["extended attributes", "limit of 100"]),
        ),
        (
            "a PAX header",
            t().pax(&[("comment", &[b'v'; 3000])]).file("f", "").end(),
            Refused(&["PAX header", "limit of 3000"]),
        ),
        (
            "a PAX header that only claims it",
            t().changed(b'x', b"p", b"", b"", claimed(b"77777777777\0")).end(),
            Refused(&["\"p\"", "limit of 3000"]),
        ),
        (
            "a GNU name that only claims it",
            t().changed(b'L', b"p", b"", b"", claimed(b"77777777777\0")).end(),
            Refused(&["\"p\"", "limit of 3000"]),
        ),
    ];
    check_bytes(tars, &small);
}

#[test]
fn copies_of_lower_files_are_limited_too() {
    let place = Place::new(|root| fs::write(root.join("big"), vec![0; 60_000]).expect("written"));
    let tar = (0..3).fold(t(), |tar, i| tar.link(&format!("h{i}"), "big")).end();
    let limits = Limits { total_bytes: 130_000, ..Limits::default() };
    let ownership = Ownership::for_this_process();
    let error = place.unpack_with(&tar, &UnpackOptions { limits, ownership }).expect_err("too much");
    assert!(error.to_string().contains("\"h2\""), "{error}");
}

#[test]
fn a_target_with_something_in_it_is_refused() {
    let place = Place::new(|_| {});
    fs::write(place.target.join("x"), "").expect("written");
    assert!(place.unpack(&t().end(), Ownership::for_this_process()).is_err());
}

#[test]
fn a_sealed_header_is_what_the_reader_expects() {
    let mut block = t().file("f", "").0;
    seal(&mut block[..BLOCK]);
    assert_eq!(block, t().file("f", "").0);
}
