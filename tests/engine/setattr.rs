//! Changing attributes.

use plyfs::overlay::{Changes, SetIds, SetTime, Time};
use plyfs::sys::Errno;

use crate::harness::{Union, privileged, words};

fn changes() -> Changes {
    Changes::default()
}

#[test]
fn modes_are_changed_in_the_upper_alone() {
    let mut u = Union::over("up=1", &["f=1 d/s/x l->f"]);
    for path in ["up", "f", "d/s", "d", ""] {
        let attr = u.chmod(path, 0o1700).expect("changed");
        assert_eq!(attr.perm, 0o1700, "{path}");
        assert_eq!(u.stat(path).expect("there").perm, 0o1700);
    }
    u.reopen();
    for path in ["up", "f", "d/s", "d", ""] {
        assert_eq!(u.stat(path).expect("there").perm, 0o1700, "{path} after a remount");
    }
    assert_eq!(u.tree(), words("d/ d/s/ d/s/x= f=1 l->f up=1"));
    u.chmod("", 0o755).expect("changed");
}

#[test]
fn times_before_1970_and_after_2038_are_kept() {
    let mut u = Union::of(&["f=1 d/ l->f"]);
    let early = Time { secs: -2_000_000_000, nanos: 999_999_999 };
    let late = Time { secs: 5_000_000_000, nanos: 1 };
    for path in ["f", "d", "l"] {
        let times = Changes { atime: Some(SetTime::At(late)), mtime: Some(SetTime::At(early)), ..changes() };
        let attr = u.setattr(path, times).expect("changed");
        assert_eq!((attr.atime, attr.mtime), (late, early), "{path}");
    }
    u.reopen();
    assert_eq!(u.stat("f").expect("there").mtime, early);
    let one = Changes { mtime: Some(SetTime::Now), ..changes() };
    let attr = u.setattr("f", one).expect("changed");
    assert_eq!(attr.atime, late, "the other stays");
    assert!(attr.mtime.secs > 1_000_000_000);
}

#[test]
fn owners_are_changed() {
    if !privileged("changing owners") {
        return;
    }
    let mut u = Union::of(&["f=1 d/ l->f"]);
    for path in ["f", "d", "l"] {
        let attr = u.setattr(path, Changes { uid: Some(12), ..changes() }).expect("changed");
        assert_eq!((attr.uid, attr.gid), (12, 0), "{path}");
        let attr = u.setattr(path, Changes { gid: Some(34), ..changes() }).expect("changed");
        assert_eq!((attr.uid, attr.gid), (12, 34), "{path}");
    }
    u.reopen();
    assert_eq!(u.stat("l").map(|a| (a.uid, a.gid)), Ok((12, 34)));
}

// S21
#[test]
fn set_id_bits_and_capabilities_go_with_a_foreign_change() {
    if !privileged("set-user-id files") {
        return;
    }
    let capability = "\u{1}\0\0\u{2}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let description = "w=1 w:6755 t=1 t:6755 o=1 o:6755 k=1 k:6755 n=1 n:6644 a=1 a:6755";
    let mut u = Union::of(&[description]);
    for name in ["w", "t", "o"] {
        u.setxattr(name, "security.capability", capability).expect("set");
    }
    let node = |name| u.node(name).expect("there");
    u.fs().write(node("w"), 0, b"x", SetIds::Drop(crate::harness::USER)).expect("written");
    u.fs()
        .setattr(node("t"), Changes { size: Some(0), ..changes() }, SetIds::Drop(crate::harness::USER))
        .expect("cut");
    u.fs()
        .setattr(node("o"), Changes { uid: Some(5), ..changes() }, SetIds::Drop(crate::harness::USER))
        .expect("changed");
    u.fs().write(node("k"), 0, b"x", SetIds::Keep).expect("written by root");
    u.fs().write(node("n"), 0, b"x", SetIds::Drop(crate::harness::USER)).expect("written");
    u.fs().prepare_writing(node("a"), true, SetIds::Drop(crate::harness::USER)).expect("opened");
    for _ in 0..2 {
        for (name, mode) in
            [("w", 0o755), ("t", 0o755), ("o", 0o755), ("k", 0o6755), ("n", 0o644), ("a", 0o755)]
        {
            assert_eq!(u.stat(name).expect("there").perm, mode, "{name}");
        }
        for name in ["w", "t", "o"] {
            assert_eq!(u.getxattr(name, "security.capability"), Err(Errno::NODATA), "{name}");
        }
        u.reopen();
    }
}

#[test]
fn a_set_user_id_file_is_changed_by_root_and_keeps_the_bit() {
    if !privileged("keeping the bit") {
        return;
    }
    let u = Union::of(&["f=1 f:4755"]);
    u.write("f", 0, "2").expect("written");
    assert_eq!(u.stat("f").expect("there").perm, 0o4755);
    u.truncate("f", 0).expect("cut");
    assert_eq!(u.stat("f").expect("there").perm, 0o4755);
}

#[test]
fn the_size_of_what_is_no_file_cannot_change() {
    let u = Union::of(&["d/ p| l->x"]);
    assert_eq!(u.truncate("d", 0).map(drop), Err(Errno::ISDIR));
    assert_eq!(u.truncate("p", 0).map(drop), Err(Errno::INVAL));
}

#[test]
fn several_changes_at_once() {
    let u = Union::of(&["f=0123456789"]);
    let at = Time { secs: 42, nanos: 0 };
    let all = Changes { mode: Some(0o640), size: Some(4), mtime: Some(SetTime::At(at)), ..changes() };
    let attr = u.setattr("f", all).expect("changed");
    assert_eq!((attr.perm, attr.size, attr.mtime), (0o640, 4, at));
    assert_eq!(u.read("f"), Ok("0123".into()));
}

#[test]
fn a_directory_that_its_owner_shut_is_seen_and_opened_again() {
    let u = Union::of(&["low/x"]);
    u.mkdir("up").expect("made");
    for path in ["low", "up"] {
        let node = u.node(path).expect("there");
        let change = |mode| u.fs().setattr(node, Changes { mode: Some(mode), ..changes() }, SetIds::Keep);
        assert_eq!(change(0).map(|attr| attr.perm), Ok(0), "{path}");
        assert_eq!(u.fs().getattr(node).map(|attr| attr.perm), Ok(0), "{path}");
        assert_eq!(change(0o755).map(|attr| attr.perm), Ok(0o755), "{path}");
    }
}
