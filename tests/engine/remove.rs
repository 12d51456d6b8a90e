//! Removing names: a whiteout exactly where a lower shows the name.

use plyfs::overlay::{NewFile, WhiteoutForm};
use plyfs::sys::Errno;

use crate::harness::{Union, caller, words};

// S14
#[test]
fn a_lower_name_leaves_a_whiteout() {
    let mut u = Union::of(&["a d/x l->a p| e/"]);
    for name in ["a", "d/x", "l", "p"] {
        assert_eq!(u.unlink(name), Ok(()), "{name}");
        assert!(!u.exists(name));
    }
    u.rmdir("d").expect("empty");
    u.rmdir("e").expect("empty");
    assert_eq!(u.tree(), [""; 0]);
    assert_eq!(u.on_disk(), words("a! d! e! l! p!"));
    u.reopen();
    assert_eq!(u.tree(), [""; 0]);
}

// S14
#[test]
fn a_name_of_the_upper_alone_leaves_nothing() {
    let u = Union::over("b", &["d/"]);
    u.create("f", "x").expect("made");
    u.create("d/f", "x").expect("made");
    u.mkdir("n").expect("made");
    for name in ["b", "f", "d/f"] {
        u.unlink(name).expect("removed");
    }
    u.rmdir("n").expect("removed");
    assert_eq!(u.on_disk(), words("d/"));
}

// S14
#[test]
fn a_copied_up_name_leaves_a_whiteout() {
    let u = Union::of(&["a=1 d/x"]);
    u.write("a", 0, "2").expect("written");
    u.chmod("d", 0o700).expect("changed");
    u.unlink("a").expect("removed");
    u.unlink("d/x").expect("removed");
    u.rmdir("d").expect("removed");
    assert_eq!(u.on_disk(), words("a! d!"));
}

// S14
#[test]
fn no_whiteout_is_written_in_an_opaque_or_pure_upper_directory() {
    let mut u = Union::over("o/a o/@opaque=y", &["o/a o/b p/a"]);
    u.unlink("o/a").expect("removed");
    u.unlink("p/a").expect("removed");
    u.rmdir("p").expect("removed");
    u.mkdir("p").expect("made again");
    u.create("p/a", "").expect("made");
    u.unlink("p/a").expect("removed");
    assert_eq!(u.on_disk(), words("o/ o@opaque=y p/ p@opaque=y"));
    u.reopen();
    assert_eq!(u.tree(), words("o/ p/"));
}

// S14: what a lower whites out itself, it does not show.
#[test]
fn a_name_that_the_lowers_hide_themselves_leaves_nothing() {
    let u = Union::over("a b c/", &["a! .wh.b c!", "a b c/x"]);
    u.unlink("a").expect("removed");
    u.unlink("b").expect("removed");
    u.rmdir("c").expect("removed");
    assert_eq!(u.on_disk(), [""; 0]);
}

// S14
#[test]
fn a_directory_of_whiteouts_is_empty_and_goes_with_them() {
    let u = Union::over("m/a! m/.wh.b m/c m/@opaque=x m/c@whiteout= p/x! p/.wh.y", &["m/a m/b m/c"]);
    assert_eq!(u.names("m"), [""; 0]);
    u.rmdir("m").expect("empty");
    u.rmdir("p").expect("empty");
    assert_eq!(u.on_disk(), words("m!"));
}

#[test]
fn what_is_not_empty_or_of_the_other_type_stays() {
    let u = Union::of(&["d/x e/ f"]);
    assert_eq!(u.rmdir("d"), Err(Errno::NOTEMPTY));
    assert_eq!(u.rmdir("f"), Err(Errno::NOTDIR));
    assert_eq!(u.unlink("e"), Err(Errno::ISDIR));
    assert_eq!(u.unlink("none"), Err(Errno::NOENT));
    assert_eq!(u.rmdir("none"), Err(Errno::NOENT));
    assert_eq!(u.on_disk(), [""; 0]);
}

// S14
#[test]
fn whiteouts_can_be_files() {
    let mut u = Union::with("", &["a d/x e/ k=1"], |config| config.whiteouts = WhiteoutForm::File);
    u.unlink("a").expect("removed");
    u.unlink("d/x").expect("removed");
    u.rmdir("d").expect("removed");
    u.rmdir("e").expect("removed");
    u.write("k", 0, "2").expect("written");
    u.unlink("k").expect("removed");
    assert_eq!(u.on_disk(), words(".wh.a= .wh.d= .wh.e= .wh.k="));
    u.reopen();
    assert_eq!(u.tree(), [""; 0]);
    u.create("a", "new").expect("made again");
    u.mkdir("d").expect("made again");
    u.link("a", "e").expect("linked");
    u.rename("a", "k").expect("renamed");
    u.reopen();
    assert_eq!(u.tree(), words("d/ e=new k=new"));
    assert_eq!(u.on_disk(), words(".wh.a= d/ d@opaque=y e=new k=new"));
}

// S29
#[test]
fn a_removed_directory_that_is_still_held_is_empty_and_refuses() {
    let u = Union::of(&["d/x e/"]);
    let (d, e) = (u.node("d").expect("there"), u.node("e").expect("there"));
    u.unlink("d/x").expect("removed");
    u.rmdir("d").expect("removed");
    u.rmdir("e").expect("removed");
    for node in [d, e] {
        let attr = u.fs().getattr(node).expect("still held");
        assert_eq!(attr.nlink, 0);
        assert!(u.lines_of(node).is_empty());
        assert!(u.fs().lookup(node, "x".as_ref()).expect("no error").is_none());
        let mode = plyfs::overlay::NewMode { mode: 0o644, umask: 0 };
        let made = u.fs().create(node, "n".as_ref(), NewFile::Regular, mode, caller());
        assert_eq!(made.map(drop).map_err(|e| e.errno()), Err(Errno::NOENT));
    }
    u.mkdir("d").expect("made again");
    u.create("d/y", "").expect("made");
    assert!(u.lines_of(d).is_empty(), "the old directory is not the new one");
}

#[test]
fn a_tree_is_removed_and_made_again_many_times() {
    let mut u = Union::of(&["d/a=low d/s/b=low"]);
    for round in 0..20 {
        for file in ["d/a", "d/s/b"] {
            u.unlink(file).expect("removed");
        }
        u.rmdir("d/s").expect("removed");
        u.rmdir("d").expect("removed");
        u.mkdir("d").expect("made");
        u.mkdir("d/s").expect("made");
        u.create("d/a", "new").expect("made");
        u.create("d/s/b", "new").expect("made");
        if round % 7 == 0 {
            u.reopen();
        }
        assert_eq!(u.tree(), words("d/ d/a=new d/s/ d/s/b=new"));
    }
    assert_eq!(u.on_disk(), words("d/ d@opaque=y d/a=new d/s/ d/s/b=new"));
}
