//! Content of files.

use plyfs::overlay::{SetIds, Span};
use plyfs::sys::Errno;

use crate::harness::{Union, large_tempdir, words};

#[test]
fn reading_stops_at_the_end() {
    let u = Union::over("u=upper", &["f=0123456789"]);
    for (name, size) in [("f", 10), ("u", 5)] {
        let node = u.node(name).expect("there");
        let mut buffer = [0u8; 64];
        assert_eq!(u.fs().read(node, 0, &mut buffer), Ok(size));
        assert_eq!(u.fs().read(node, size as u64 - 1, &mut buffer), Ok(1));
        assert_eq!(u.fs().read(node, 1000, &mut buffer), Ok(0));
        assert_eq!(u.fs().read(node, 0, &mut []), Ok(0));
    }
}

// S31
#[test]
fn readers_and_writers_see_one_content_over_a_copy_up() {
    let u = Union::of(&["f=0123456789"]);
    let node = u.node("f").expect("there");
    assert_eq!(u.read_node(node), Ok("0123456789".into()));
    u.write_node(node, 3, "abc").expect("written");
    assert_eq!(u.read_node(node), Ok("012abc6789".into()));
    u.truncate("f", 4).expect("cut");
    assert_eq!(u.read_node(node), Ok("012a".into()));
    u.write_node(node, 6, "z").expect("behind the end");
    assert_eq!(u.read("f"), Ok("012a\0\0z".into()));
}

// S33
#[test]
fn two_openings_one_for_reading_of_a_lower_then_one_for_writing() {
    let u = Union::of(&["f=lower"]);
    let node = u.node("f").expect("there");
    assert_eq!(u.read_node(node), Ok("lower".into()));
    u.write_node(node, 0, "UPPER").expect("written");
    assert_eq!(u.read_node(node), Ok("UPPER".into()), "S31: also for who read before");
    assert_eq!(u.read("f"), Ok("UPPER".into()));
}

#[test]
fn what_is_no_regular_file_has_no_content() {
    let u = Union::of(&["d/ p| l->x"]);
    let mut buffer = [0; 4];
    for (name, errno) in [("d", Errno::ISDIR), ("p", Errno::NXIO)] {
        let node = u.node(name).expect("there");
        assert_eq!(u.fs().read(node, 0, &mut buffer).map_err(|e| e.errno()), Err(errno), "{name}");
        assert_eq!(u.fs().open_backing(node).map(drop).map_err(|e| e.errno()), Err(errno), "{name}");
    }
    let link = u.node("l").expect("there");
    assert_eq!(u.fs().readlink(link).expect("a target"), b"x");
    assert!(u.fs().readlink(u.node("d").expect("there")).is_err());
}

#[test]
fn space_is_allocated_and_holes_are_found() {
    const KEEP_SIZE: i32 = 1;
    const PUNCH_HOLE: i32 = 2;
    const SEEK_DATA: i32 = 3;
    const SEEK_HOLE: i32 = 4;
    let u = Union::of(&["f=0123456789"]);
    let node = u.node("f").expect("there");
    let whole = Span { offset: 0, length: 1 << 20 };
    u.fs().fallocate(node, whole, 0, SetIds::Keep).expect("allocated");
    assert_eq!(u.stat("f").expect("there").size, 1 << 20);
    u.fs().write(node, 512 << 10, &[7; 4096], SetIds::Keep).expect("written");
    let hole = Span { offset: 4096, length: 256 << 10 };
    u.fs().fallocate(node, hole, KEEP_SIZE | PUNCH_HOLE, SetIds::Keep).expect("punched");
    assert_eq!(u.fs().lseek(node, 0, SEEK_HOLE), Ok(4096));
    assert!(u.fs().lseek(node, 4096, SEEK_DATA).expect("found") >= 4096 + (256 << 10));
    assert_eq!(u.fs().lseek(node, 2 << 20, SEEK_DATA).map_err(|e| e.errno()), Err(Errno::NXIO));
}

#[test]
fn ranges_are_copied_between_files_of_different_layers() {
    let u = Union::over("u=upper", &["f=0123456789 g=abc"]);
    let node = |name| u.node(name).expect("there");
    let copied = u.fs().copy_file_range((node("f"), 2), (node("u"), 5), 4, SetIds::Keep);
    assert_eq!(copied, Ok(4));
    let copied = u.fs().copy_file_range((node("u"), 0), (node("g"), 0), 100, SetIds::Keep);
    assert_eq!(copied, Ok(9));
    assert_eq!(u.tree(), words("f=0123456789 g=upper2345 u=upper2345"));
}

// S23
#[test]
fn syncing_works_on_every_file_with_and_without_volatile() {
    for volatile in [false, true] {
        let u = Union::with("u=1", &["f=1 d/x m/"], |config| config.volatile = volatile);
        u.write("f", 0, "2").expect("copied up");
        u.chmod("m", 0o700).expect("copied up");
        for name in ["u", "f", "d/x"] {
            assert_eq!(u.fs().fsync(u.node(name).expect("there"), false), Ok(()), "{name}");
            assert_eq!(u.fs().fsync(u.node(name).expect("there"), true), Ok(()), "{name}");
        }
        for name in ["", "d", "m"] {
            assert_eq!(u.fs().fsync_dir(u.node(name).expect("there")), Ok(()), "{name:?}");
        }
    }
}

// S29
#[test]
fn an_unlinked_file_of_each_layer_is_still_read_and_written() {
    let u = Union::over("u=upper", &["low=lower copied=x"]);
    u.write("copied", 0, "copied").expect("copied up");
    u.create("new", "new").expect("made");
    for name in ["u", "low", "copied", "new"] {
        let node = u.node(name).expect("there");
        let before = u.fs().getattr(node).expect("there");
        u.unlink(name).expect("removed");
        let attr = u.fs().getattr(node).expect("fstat works");
        assert_eq!((attr.nlink, attr.ino, attr.size), (0, before.ino, before.size), "{name}");
        let old = u.read_node(node).expect("read");
        u.write_node(node, attr.size, "+").expect("written");
        assert_eq!(u.read_node(node), Ok(format!("{old}+")), "{name}");
        u.create(name, "another").expect("made again");
        assert_eq!(u.read_node(node), Ok(format!("{old}+")), "{name}: not the new file");
        assert_ne!(u.ino(name), attr.ino, "{name}: S26");
        let attr = u.fs().setattr(
            node,
            plyfs::overlay::Changes { mode: Some(0o600), ..Default::default() },
            SetIds::Keep,
        );
        assert_eq!(attr.expect("fchmod works").perm, 0o600);
    }
}

#[test]
fn more_files_than_are_kept_open_are_written() {
    let all: String = (0..200).map(|i| format!("d/f{i}=x ")).collect();
    let u = Union::at(large_tempdir(), "", &[&all], |_| {});
    let nodes: Vec<u64> = (0..200).map(|i| u.node(&format!("d/f{i}")).expect("there")).collect();
    for round in ["a", "b"] {
        for node in &nodes {
            u.write_node(*node, 0, round).expect("written");
        }
    }
    assert!(nodes.iter().all(|node| u.read_node(*node) == Ok("b".into())));
}

#[test]
fn the_sizes_of_the_file_system_are_those_of_the_upper() {
    let u = Union::of(&["f"]);
    let st = u.fs().statfs().expect("known");
    assert!(st.f_blocks > 0 && st.f_namemax >= 255);
}
