//! Hard links: within the upper, and of lowers over their copy-up.

use std::os::unix::fs::MetadataExt;

use plyfs::sys::Errno;

use crate::harness::{Union, words};

/// One file under three names in two directories of a lower.
const LINKED: &[&str] = &["a=data d/b~a d/s/c~a other=x"];

// S27
#[test]
fn links_of_a_lower_stay_one_file_over_a_copy_up() {
    let mut u = Union::of(LINKED);
    let names = ["a", "d/b", "d/s/c"];
    let ino = u.ino("a");
    for name in names {
        assert_eq!((u.ino(name), u.nlink(name)), (ino, 3), "{name} before");
    }
    u.write("d/b", 0, "DATA").expect("copied up");
    for round in 0..3 {
        for name in names {
            assert_eq!(u.read(name), Ok("DATA".into()), "{name} {round}");
            assert_eq!((u.ino(name), u.nlink(name)), (ino, 3), "{name} {round}");
        }
        let nodes: Vec<_> = names.iter().map(|name| u.node(name)).collect();
        assert!(nodes.iter().all(|node| *node == nodes[0]), "one node");
        u.reopen();
    }
    u.write("a", 0, "more").expect("through another name after the remount");
    assert_eq!(u.read("d/s/c"), Ok("more".into()));
}

// S27
#[test]
fn all_known_names_become_names_in_the_upper() {
    let u = Union::of(LINKED);
    for name in ["a", "d/b", "d/s/c"] {
        u.node(name).expect("looked up");
    }
    u.chmod("a", 0o600).expect("copied up");
    u.write("a", 0, "DATA").expect("written");
    assert_eq!(u.on_disk(), words("a=DATA d/ d/b=DATA d/s/ d/s/c=DATA"));
    let real: Vec<u64> =
        ["a", "d/b", "d/s/c"].iter().map(|n| u.upper(n).metadata().expect("there").ino()).collect();
    assert!(real.iter().all(|ino| *ino == real[0]));
}

// S27
#[test]
fn names_learnt_after_the_copy_up_lead_to_it() {
    let mut u = Union::of(LINKED);
    u.write("a", 0, "DATA").expect("copied up knowing one name");
    u.forget_all();
    assert_eq!(u.read("d/s/c"), Ok("DATA".into()));
    u.truncate("d/b", 2).expect("cut");
    assert_eq!(u.read("a"), Ok("DA".into()));
    u.rename("d/s/c", "c").expect("renamed");
    u.reopen();
    assert_eq!(u.tree(), words("a=DA c=DA d/ d/b=DA d/s/ other=x"));
    assert_eq!(u.nlink("c"), 3);
}

// S28
#[test]
fn the_count_follows_links_and_removals_before_and_after_a_copy_up() {
    for written in [false, true] {
        let mut u = Union::of(LINKED);
        if written {
            u.write("a", 0, "DATA").expect("copied up");
        }
        u.unlink("d/b").expect("removed");
        assert_eq!((u.nlink("a"), u.nlink("d/s/c")), (2, 2), "{written}");
        u.link("a", "new").expect("linked");
        assert_eq!((u.nlink("a"), u.nlink("new")), (3, 3), "{written}");
        u.reopen();
        assert_eq!((u.nlink("a"), u.nlink("new"), u.nlink("d/s/c")), (3, 3, 3), "{written} after a remount");
        for name in ["a", "d/s/c"] {
            u.unlink(name).expect("removed");
        }
        assert_eq!(u.nlink("new"), 1);
        let node = u.node("new").expect("there");
        u.unlink("new").expect("the last");
        assert_eq!(u.fs().getattr(node).expect("held").nlink, 0);
        u.reopen();
        assert_eq!(u.tree(), words("d/ d/s/ other=x"));
        let index = u.config.work.as_ref().expect("work").join("index");
        assert_eq!(std::fs::read_dir(index).expect("listed").count(), 0, "the index entry went with it");
    }
}

// S28
#[test]
fn a_remount_keeps_the_count_of_names_removed_without_a_copy_up() {
    let mut u = Union::of(LINKED);
    u.unlink("a").expect("removed");
    u.reopen();
    assert_eq!(u.nlink("d/b"), 2);
    u.write("d/b", 0, "DATA").expect("copied up");
    assert_eq!((u.read("d/s/c"), u.nlink("d/s/c")), (Ok("DATA".into()), 2));
}

// S28
#[test]
fn replacing_one_of_several_names_counts() {
    let mut u = Union::of(LINKED);
    u.rename("other", "d/b").expect("over one name");
    assert_eq!((u.nlink("a"), u.read("d/b")), (2, Ok("x".into())));
    u.rename("a", "d/s/c").expect("over another name of the same file: nothing happens");
    assert_eq!((u.nlink("a"), u.nlink("d/s/c")), (2, 2));
    u.exchange("a", "d/b").expect("exchanged");
    for _ in 0..2 {
        assert_eq!(u.tree(), words("a=x d/ d/b=data d/s/ d/s/c=data"));
        assert_eq!((u.nlink("a"), u.nlink("d/b"), u.nlink("d/s/c")), (1, 2, 2));
        u.reopen();
    }
}

// S27
#[test]
fn without_the_index_a_copy_is_a_file_of_its_own() {
    let mut u = Union::with("", LINKED, |config| config.index = false);
    u.write("a", 0, "DATA").expect("copied up");
    u.reopen();
    assert_eq!(u.tree(), words("a=DATA d/ d/b=data d/s/ d/s/c=data other=x"));
    assert_ne!(u.ino("a"), u.ino("d/b"), "S26");
    assert_eq!(u.ino("d/b"), u.ino("d/s/c"));
    assert_eq!(u.nlink("a"), 1);
}

// S28
#[test]
fn static_nlink_shows_one_link_everywhere() {
    let u = Union::with("", &["a=1 b~a d/s/"], |config| config.static_nlink = true);
    assert_eq!((u.nlink("a"), u.nlink("d")), (1, 1));
    u.link("a", "c").expect("linked");
    assert_eq!(u.nlink("a"), 1);
}

// S28
#[test]
fn directories_count_as_their_file_system_does_unless_merged() {
    let u = Union::over("m/", &["d/s/ m/s/"]);
    assert_eq!(u.nlink("m"), 1);
    assert_eq!(u.nlink("d"), 3);
    u.mkdir("new").expect("made");
    u.mkdir("new/s").expect("made");
    assert_eq!(u.nlink("new"), 3);
}

#[test]
fn links_within_the_upper() {
    let mut u = Union::over("u=1", &["w f=2 l->x d/"]);
    u.unlink("w").expect("removed");
    u.link("u", "w").expect("over a whiteout");
    u.link("f", "d/g").expect("of a lower");
    u.link("l", "d/m").expect("a symbolic link");
    u.create("n", "3").expect("made");
    u.link("n", "d/n").expect("linked");
    assert_eq!(u.link("d", "e"), Err(Errno::PERM));
    assert_eq!(u.link("u", "f"), Err(Errno::EXIST));
    assert_eq!(u.link("u", "d"), Err(Errno::EXIST));
    assert_eq!(u.link("none", "x"), Err(Errno::NOENT));
    u.write("d/g", 0, "G").expect("written");
    u.write("d/n", 0, "N").expect("written");
    for _ in 0..2 {
        assert_eq!(u.tree(), words("d/ d/g=G d/m->x d/n=N f=G l->x n=N u=1 w=1"));
        for (one, other) in [("u", "w"), ("f", "d/g"), ("l", "d/m"), ("n", "d/n")] {
            assert_eq!((u.ino(one), u.nlink(one)), (u.ino(other), 2), "{one}");
        }
        u.reopen();
    }
}

// S29
#[test]
fn a_held_file_survives_the_loss_of_all_its_names() {
    for linked in [false, true] {
        let u = Union::with("", &["a=data d/b~a o=1"], |config| config.index = linked);
        let node = u.node("a").expect("there");
        u.unlink("a").expect("removed");
        u.unlink("d/b").expect("removed");
        assert_eq!(u.read_node(node), Ok("data".into()));
        assert_eq!(u.fs().getattr(node).expect("held").nlink, 0, "index={linked}");
        u.write_node(node, 4, "+").expect("written");
        assert_eq!(u.read_node(node), Ok("data+".into()));
        let changes = plyfs::overlay::Changes { size: Some(2), mode: Some(0o600), ..Default::default() };
        let attr = u.fs().setattr(node, changes, plyfs::overlay::SetIds::Keep).expect("changed");
        assert_eq!((attr.size, attr.perm, attr.nlink), (2, 0o600, 0));
        assert_eq!(u.tree(), words("d/ o=1"));
    }
}

// S29: one name goes, another stays, and the node serves both.
#[test]
fn a_node_whose_first_name_went_serves_the_others() {
    let u = Union::of(&["a=data b~a"]);
    let node = u.node("a").expect("there");
    u.unlink("a").expect("removed without b being known");
    u.write_node(node, 0, "DATA").expect("written");
    assert_eq!(u.read("b"), Ok("DATA".into()));
    assert_eq!(u.node("b"), Ok(node));
    let u = Union::over("x=data y~x", &["z"]);
    let node = u.node("x").expect("there");
    u.unlink("x").expect("removed");
    u.write_node(node, 0, "DATA").expect("written");
    assert_eq!((u.read("y"), u.nlink("y")), (Ok("DATA".into()), 1));
}
