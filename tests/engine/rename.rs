//! Renaming: every case of the plan, and what is found after a remount.

use plyfs::overlay::{RedirectDir, RenameMode};
use plyfs::sys::Errno;

use crate::harness::{Union, words};
use crate::layers;

/// The tree now, which must be the same after a remount.
fn settled(u: &mut Union) -> Vec<String> {
    let now = u.tree();
    u.reopen();
    assert_eq!(u.tree(), now, "another tree after a remount");
    now
}

// S14
#[test]
fn a_file_of_the_upper_moves_and_leaves_nothing() {
    let mut u = Union::over("a=1", &["d/"]);
    u.rename("a", "b").expect("renamed");
    u.rename("b", "d/c").expect("renamed");
    assert_eq!(settled(&mut u), words("d/ d/c=1"));
    assert_eq!(u.on_disk(), words("d/ d/c=1"));
}

// S14
#[test]
fn a_file_of_a_lower_moves_and_leaves_a_whiteout() {
    let mut u = Union::of(&["a=1 d/b=2"]);
    u.rename("a", "d/b").expect("renamed");
    assert_eq!(settled(&mut u), words("d/ d/b=1"));
    assert_eq!(u.on_disk(), words("a! d/ d/b=1"));
    u.rename("d/b", "a").expect("back");
    assert_eq!(settled(&mut u), words("a=1 d/"));
    assert_eq!(u.on_disk(), words("a=1 d/ d/b!"));
}

// S14
#[test]
fn a_file_over_a_whiteout_takes_its_place() {
    let mut u = Union::over("n=1", &["a b"]);
    u.unlink("a").expect("removed");
    u.unlink("b").expect("removed");
    u.rename("n", "a").expect("renamed");
    u.rename("a", "b").expect("renamed");
    assert_eq!(settled(&mut u), words("b=1"));
    assert_eq!(u.on_disk(), words("a! b=1"));
}

// S15
#[test]
fn a_directory_over_a_whiteout_is_opaque() {
    let mut u = Union::over("n/f=1", &["a/x b/y"]);
    for path in ["a/x", "b/y"] {
        u.unlink(path).expect("removed");
    }
    u.rmdir("a").expect("removed");
    u.rmdir("b").expect("removed");
    u.rename("n", "a").expect("renamed");
    assert_eq!(settled(&mut u), words("a/ a/f=1"));
    u.rename("a", "b").expect("renamed");
    assert_eq!(settled(&mut u), words("b/ b/f=1"));
    assert_eq!(u.on_disk(), words("a! b/ b/f=1 b@opaque=y"));
}

// S18
#[test]
fn a_directory_of_a_lower_moves_by_a_redirect() {
    let mut u = Union::of(&["d/a=1 d/s/b=2", "d/c=3"]);
    u.rename("d", "e").expect("renamed");
    assert_eq!(settled(&mut u), words("e/ e/a=1 e/s/ e/s/b=2 e/c=3"));
    assert_eq!(u.on_disk(), words("d! e/ e@redirect=/d"));
    u.rename("e/s", "s").expect("renamed out of a renamed one");
    assert_eq!(settled(&mut u), words("e/ e/a=1 s/ s/b=2 e/c=3"));
    u.rename("e", "s/e").expect("renamed");
    u.write("s/e/c", 0, "4").expect("written");
    assert_eq!(settled(&mut u), words("s/ s/b=2 s/e/ s/e/a=1 s/e/c=4"));
    u.rename("s/e", "d").expect("back where it was");
    assert_eq!(settled(&mut u), words("s/ s/b=2 d/ d/a=1 d/c=4"));
}

// S15, S18
#[test]
fn the_old_name_of_a_moved_directory_can_be_made_again() {
    let mut u = Union::of(&["d/a=1"]);
    u.rename("d", "e").expect("renamed");
    u.mkdir("d").expect("made");
    u.create("d/new", "").expect("made");
    assert_eq!(settled(&mut u), words("d/ d/new= e/ e/a=1"));
    u.unlink("d/new").expect("removed");
    u.rename("e", "d").expect("over the empty new one");
    assert_eq!(settled(&mut u), words("d/ d/a=1"));
}

// S18, S20: the kernel marks a directory renamed in its own directory with the bare old name; that counts from
// where the directory's own redirect leads.
#[test]
fn a_siblings_name_counts_from_the_redirect_of_the_directory() {
    for sub in ["", "/s"] {
        let lower = format!("l/a{sub}/f=0123456789 l/a{sub}/d/x=1");
        let upper = "g/ g@redirect=/l l! g/b/ g/b@redirect=a g/a!";
        let mut u = Union::over(upper, &[&lower]);
        u.reopen_with(|config| config.metacopy = true);
        u.chmod(&format!("g/b{sub}/f"), 0o600).expect("changed");
        u.rename(&format!("g/b{sub}/d"), "d").expect("renamed");
        let way = layers::attribute(&u.upper(&format!("g/b{sub}/f")), "redirect");
        assert_eq!(way, Some(format!("/l/a{sub}/f")));
        assert_eq!(layers::attribute(&u.upper("d"), "redirect"), Some(format!("/l/a{sub}/d")));
        u.reopen();
        assert_eq!(u.read(&format!("g/b{sub}/f")), Ok("0123456789".into()));
        assert_eq!(u.read("d/x"), Ok("1".into()));
    }
}

// S18
#[test]
fn without_redirects_a_directory_with_a_lower_part_stays() {
    for how in [RedirectDir::Off, RedirectDir::NoFollow] {
        let u = Union::with("m/ n/x=1", &["d/a m/a"], |config| config.redirect_dir = how);
        assert_eq!(u.rename("d", "e"), Err(Errno::XDEV));
        assert_eq!(u.rename("m", "e"), Err(Errno::XDEV));
        assert_eq!(u.exchange("n", "d"), Err(Errno::XDEV));
        assert_eq!(u.exchange("d", "n"), Err(Errno::XDEV));
        assert_eq!(u.rename("n", "e"), Ok(()), "a pure upper one may");
        assert_eq!(u.rename("d/a", "e/a"), Ok(()), "a file may");
        assert_eq!(u.tree(), words("d/ e/ e/a= e/x=1 m/ m/a="));
    }
}

#[test]
fn errors_of_rename() {
    let u = Union::of(&["f g d/x e/"]);
    assert_eq!(u.rename("none", "n"), Err(Errno::NOENT));
    assert_eq!(u.rename("f", "d"), Err(Errno::ISDIR));
    assert_eq!(u.rename("d", "f"), Err(Errno::NOTDIR));
    assert_eq!(u.rename("e", "d"), Err(Errno::NOTEMPTY));
    assert_eq!(u.rename("f", "none/f"), Err(Errno::NOENT));
    assert_eq!(u.rename("f", ".wh.f"), Err(Errno::INVAL), "S16");
    assert_eq!(u.rename_with("f", "g", RenameMode::NoReplace), Err(Errno::EXIST), "S19");
    assert_eq!(u.exchange("f", "none"), Err(Errno::NOENT), "S19");
    assert_eq!(u.on_disk(), [""; 0], "S11: nothing was copied for any of them");
    assert_eq!(u.rename("d", "d/y"), Err(Errno::INVAL));
    assert_eq!(u.rename("f", "f"), Ok(()));
    assert_eq!(u.tree(), words("f= g= d/ d/x= e/"));
}

// S19
#[test]
fn noreplace_takes_free_and_whited_out_names() {
    let mut u = Union::of(&["f=1 g h/x"]);
    u.unlink("g").expect("removed");
    assert_eq!(u.rename_with("f", "g", RenameMode::NoReplace), Ok(()));
    assert_eq!(u.rename_with("h", "f", RenameMode::NoReplace), Ok(()));
    assert_eq!(settled(&mut u), words("g=1 f/ f/x="));
}

// S19
#[test]
fn files_are_exchanged() {
    let mut u = Union::over("u=up", &["a=1 d/b=2"]);
    u.exchange("a", "d/b").expect("both of lowers");
    assert_eq!(settled(&mut u), words("a=2 d/ d/b=1 u=up"));
    u.exchange("u", "a").expect("with one of the upper");
    assert_eq!(settled(&mut u), words("a=up d/ d/b=1 u=2"));
    u.unlink("u").expect("removed");
    u.unlink("a").expect("removed");
    assert_eq!(u.on_disk(), words("a! d/ d/b=1"), "only what a lower shows is whited out");
}

// S19
#[test]
fn merged_directories_are_exchanged() {
    let mut u = Union::over("b/up", &["a/1 a/s/x c/3", "b/2"]);
    u.exchange("a", "b").expect("exchanged");
    assert_eq!(settled(&mut u), words("a/ a/2= a/up= b/ b/1= b/s/ b/s/x= c/ c/3="));
    assert_eq!(u.on_disk(), words("a/ a/up= a@redirect=/b b/ b@redirect=/a"));
    u.exchange("b/s", "c").expect("exchanged");
    assert_eq!(settled(&mut u), words("a/ a/2= a/up= b/ b/1= b/s/ b/s/3= c/ c/x="));
    u.exchange("b", "a").expect("back");
    u.exchange("a/s", "c").expect("back");
    assert_eq!(settled(&mut u), words("a/ a/1= a/s/ a/s/x= b/ b/2= b/up= c/ c/3="));
}

// S19
#[test]
fn a_merged_directory_is_exchanged_with_a_new_one_and_with_a_file() {
    let mut u = Union::over("n/new", &["a/1 f=2"]);
    u.exchange("a", "n").expect("exchanged");
    assert_eq!(settled(&mut u), words("a/ a/new= f=2 n/ n/1="));
    assert_eq!(u.on_disk(), words("a/ a/new= a@opaque=y n/ n@redirect=/a"));
    u.exchange("f", "n").expect("exchanged");
    assert_eq!(settled(&mut u), words("a/ a/new= n=2 f/ f/1="));
    u.rmdir("n").expect_err("a file");
    u.unlink("n").expect("removed");
    u.unlink("f/1").expect("removed");
    u.rmdir("f").expect("removed");
    assert_eq!(settled(&mut u), words("a/ a/new="));
    assert!(!u.on_disk().contains(&"n!".to_owned()), "no lower has n: {:?}", u.on_disk());
}

#[test]
fn a_directory_replaces_an_empty_merged_one_that_holds_whiteouts() {
    let mut u = Union::over("n/new=1", &["d/a d/b m/x=2"]);
    u.unlink("d/a").expect("removed");
    u.unlink("d/b").expect("removed");
    u.rename("n", "d").expect("renamed");
    assert_eq!(settled(&mut u), words("d/ d/new=1 m/ m/x=2"));
    assert_eq!(u.on_disk(), words("d/ d/new=1 d@opaque=y"));
    u.unlink("d/new").expect("removed");
    u.rename("m", "d").expect("a merged one over the empty one");
    assert_eq!(settled(&mut u), words("d/ d/x=2"));
    assert_eq!(u.on_disk(), words("d/ d@redirect=/m m!"));
}

#[test]
fn a_directory_replaces_an_empty_one_of_a_lower() {
    let mut u = Union::over("n/new=1", &["e/ m/x=2 k/"]);
    u.rename("n", "e").expect("renamed");
    u.rename("m", "k").expect("renamed");
    assert_eq!(settled(&mut u), words("e/ e/new=1 k/ k/x=2"));
    u.unlink("k/x").expect("removed");
    u.rename("e", "k").expect("renamed");
    assert_eq!(settled(&mut u), words("k/ k/new=1"));
}

// S29
#[test]
fn a_replaced_file_that_is_held_keeps_its_content() {
    let u = Union::over("u=upper", &["a=1 b=2 c=3"]);
    let (a, b, up) = (u.node("a").expect("a"), u.node("b").expect("b"), u.node("u").expect("u"));
    u.rename("c", "a").expect("over a lower's");
    u.write("b", 0, "B").expect("copied up");
    u.rename("a", "b").expect("over a copied-up one");
    u.rename("b", "u").expect("over an upper one");
    assert_eq!(u.read_node(a), Ok("1".into()));
    assert_eq!(u.read_node(b), Ok("B".into()));
    assert_eq!(u.read_node(up), Ok("upper".into()));
    for node in [a, b, up] {
        assert_eq!(u.fs().getattr(node).expect("held").nlink, 0);
        u.write_node(node, 0, "!").expect("still written");
        assert!(u.read_node(node).expect("read").starts_with('!'));
    }
    assert_eq!(u.tree(), words("u=3"));
}

#[test]
fn a_node_follows_its_file_through_renames() {
    let u = Union::of(&["d/s/f=1 x/"]);
    let (f, s) = (u.node("d/s/f").expect("f"), u.node("d/s").expect("s"));
    u.rename("d", "x/e").expect("renamed");
    assert_eq!(u.read_node(f), Ok("1".into()));
    u.write_node(f, 0, "2").expect("written");
    assert_eq!(u.read("x/e/s/f"), Ok("2".into()));
    assert_eq!(u.node("x/e/s"), Ok(s));
    u.rename("x/e/s/f", "g").expect("renamed");
    assert_eq!(u.node("g"), Ok(f));
    assert_eq!(u.lines_of(s), []);
}

// S18: the redirect names the place in the lowers, not in the view.
#[test]
fn directories_nested_in_moved_ones_keep_their_lower_parts() {
    let mut u = Union::of(&["a/b/c/f=1", "a/b/c/g=2 z/"]);
    u.rename("a/b", "z/b2").expect("renamed");
    u.rename("z/b2/c", "z/c2").expect("renamed");
    u.rename("z", "y").expect("renamed");
    u.rename("y/c2", "y/b2/c3").expect("renamed");
    u.rename("a", "y/b2/c3/a").expect("renamed");
    u.create("y/b2/c3/h", "3").expect("made");
    let expected = "y/ y/b2/ y/b2/c3/ y/b2/c3/a/ y/b2/c3/f=1 y/b2/c3/g=2 y/b2/c3/h=3";
    assert_eq!(settled(&mut u), words(expected));
}

#[test]
fn redirects_of_lowers_hold_when_their_directory_moves_again() {
    let mut u = Union::of(&["two/x2 two@redirect=one one!", "one/x1 one/s/y"]);
    u.rename("two", "three").expect("renamed");
    assert_eq!(settled(&mut u), words("three/ three/x1= three/x2= three/s/ three/s/y="));
    u.rename("three/s", "s").expect("renamed");
    u.unlink("three/x1").expect("removed");
    assert_eq!(settled(&mut u), words("s/ s/y= three/ three/x2="));
}
