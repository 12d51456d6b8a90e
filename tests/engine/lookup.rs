//! What a name in the view is: the merge of the layers, and each mark that other programs leave in them.

use plyfs::overlay::{Config, Kind, RedirectDir};
use plyfs::sys::Errno;

use crate::harness::{Union, large_tempdir, privileged, words};
use crate::layers;

fn tree(lowers: &[&str]) -> Vec<String> {
    Union::of(lowers).tree()
}

// S1
#[test]
fn the_topmost_layer_with_a_name_wins() {
    let u = Union::over("a=upper", &["a=top b=top", "a=bottom b=bottom c=bottom"]);
    assert_eq!(u.tree(), words("a=upper b=top c=bottom"));
}

// S1
#[test]
fn directories_of_all_layers_merge() {
    let u = Union::over("d/u d/e/u", &["d/t d/e/t", "d/b d/e/b"]);
    assert_eq!(u.tree(), words("d/ d/u= d/t= d/b= d/e/ d/e/u= d/e/t= d/e/b="));
}

// S1
#[test]
fn anything_but_a_directory_hides_what_lies_below() {
    assert_eq!(tree(&["d/a", "d=file", "d/b"]), words("d/ d/a="));
    assert_eq!(tree(&["d=file", "d/b"]), words("d=file"));
    assert_eq!(tree(&["d/", "d->x", "d/b"]), words("d/"));
}

// S6
#[test]
fn a_whiteout_device_hides_a_name() {
    assert_eq!(tree(&["a! d/x!", "a=1 d/x=1 d/y=1"]), words("d/ d/y=1"));
    assert_eq!(tree(&["b", "d!", "d/x"]), words("b="));
    assert_eq!(tree(&["d/n", "d!", "d/x"]), words("d/ d/n="));
}

// S6
#[test]
fn a_whiteout_file_hides_the_layers_below_its_own_only() {
    assert_eq!(tree(&[".wh.a keep", "a=1"]), words("keep="));
    assert_eq!(tree(&[".wh.a a=new", "a=old"]), words("a=new"));
    assert_eq!(tree(&["d/new .wh.d", "d/old"]), words("d/ d/new="));
    assert_eq!(tree(&["x/", "x/.wh.f x/f=same", "x/f=below"]), words("x/ x/f=same"));
}

// S6
#[test]
fn a_marked_empty_file_is_a_whiteout_in_a_directory_that_says_so() {
    for space in ["trusted.overlay", "user.overlay"] {
        if space.starts_with("trusted") && !privileged("a trusted mark") {
            continue;
        }
        let marked = format!("d/a d/b d/@{space}.opaque=x d/a@{space}.whiteout=");
        assert_eq!(tree(&[&marked, "d/a=1 d/c=1"]), words("d/ d/b= d/c=1"), "{space}");
        let unmarked = format!("d/a d/a@{space}.whiteout=");
        assert_eq!(tree(&[&unmarked, "d/a=1"]), words("d/ d/a="), "{space} without the directory's mark");
        let filled = format!("d/a=text d/@{space}.opaque=x d/a@{space}.whiteout=");
        assert_eq!(tree(&[&filled, "d/a=1"]), words("d/ d/a=text"), "{space} on a file that is not empty");
    }
}

// S6
#[test]
fn a_marked_whiteout_hides_a_whole_directory_over_several_layers() {
    let top = "d/x/ d/sub d/@opaque=x d/sub@whiteout=";
    assert_eq!(tree(&[top, "d/sub/a", "d/sub/b"]), words("d/ d/x/"));
    assert_eq!(tree(&["d/", top, "d/sub/b"]), words("d/ d/x/"));
}

// S5
#[test]
fn each_form_of_opaqueness_hides_the_layers_below() {
    let mut marks = vec!["user.overlay.opaque=y", "user.fuseoverlayfs.opaque=y"];
    if privileged("trusted.overlay.opaque") {
        marks.push("trusted.overlay.opaque=y");
    }
    for mark in marks {
        assert_eq!(tree(&[&format!("d/a d/@{mark}"), "d/b"]), words("d/ d/a="), "{mark}");
        assert_eq!(tree(&["d/t", &format!("d/a d/@{mark}"), "d/b"]), words("d/ d/t= d/a="), "{mark} between");
    }
    assert_eq!(tree(&["d/a d/.wh..wh..opq", "d/b"]), words("d/ d/a="));
    assert_eq!(tree(&["d/t", "d/a d/.wh..wh..opq", "d/b"]), words("d/ d/t= d/a="));
    assert_eq!(tree(&["d/a d/@user.overlay.opaque=n", "d/b"]), words("d/ d/a= d/b="));
}

// S5
#[test]
fn a_root_can_be_opaque() {
    assert_eq!(tree(&["a @opaque=y", "b"]), words("a="));
    assert_eq!(tree(&["t", "a .wh..wh..opq", "b"]), words("t= a="));
}

// S16
#[test]
fn names_of_marks_never_show_and_are_not_found() {
    let u = Union::over(".wh.u", &["d/.wh.x d/.wh. d/.wh..wh..opq d/.wh..wh.plnk/ .wh.y", "a"]);
    assert_eq!(u.tree(), words("a= d/"));
    for name in [".wh.u", ".wh.y", "d/.wh.x", "d/.wh.", "d/.wh..wh..opq"] {
        assert_eq!(u.stat(name), Err(Errno::NOENT), "{name}");
        assert_eq!(u.unlink(name), Err(Errno::NOENT), "{name}");
    }
}

// S7
#[test]
fn an_absolute_redirect_leads_to_another_place_below() {
    let u = Union::of(&["new/t new@redirect=/old/deep old!", "old/deep/b"]);
    assert_eq!(u.tree(), words("new/ new/b= new/t="));
}

// S7
#[test]
fn a_redirect_to_a_sibling_leads_beside() {
    let u = Union::of(&["d/new/t d/new@redirect=old d/old!", "d/old/b d/new/hidden"]);
    assert_eq!(u.tree(), words("d/ d/new/ d/new/b= d/new/t="));
}

// S7
#[test]
fn redirects_chain_over_several_layers() {
    let lowers = [
        "three/x3 three@redirect=two two!",
        "two/x2 two@redirect=/one one!",
        "one/x1 one@redirect=/zero/z zero!",
        "zero/z/x0",
    ];
    assert_eq!(tree(&lowers), words("three/ three/x3= three/x2= three/x1= three/x0="));
    let u = Union::over("four/x4 four@redirect=/three three!", &lowers);
    assert_eq!(u.tree(), words("four/ four/x4= four/x3= four/x2= four/x1= four/x0="));
}

// S7
#[test]
fn a_redirect_into_a_redirected_directory_finds_its_way() {
    // The lower that the upper's redirect names is itself merged by a redirect one layer above its bottom.
    let u = Union::over("n/u n@redirect=/mid/sub", &["mid/ mid@redirect=/base base!", "base/sub/b"]);
    assert_eq!(u.names("n"), ["b", "u"]);
}

// S7
#[test]
fn a_redirect_does_not_pass_a_whiteout_or_an_opaque_directory() {
    let u = Union::of(&["new/t new@redirect=/a/old", "a/old!", "a/old/b"]);
    assert_eq!(u.names("new"), ["t"]);
    let u = Union::of(&["new/t new@redirect=/a/old", "a/k a@opaque=y", "a/old/b"]);
    assert_eq!(u.names("new"), ["t"]);
    let u = Union::of(&["new/t new@redirect=/a/old", "a/.wh.old", "a/old/b"]);
    assert_eq!(u.names("new"), ["t"]);
}

// S7
#[test]
fn a_redirect_that_leads_nowhere_leaves_the_directory_alone() {
    let u = Union::of(&["new/t new@redirect=/gone", "new/hidden"]);
    assert_eq!(u.names("new"), ["t"]);
}

// S7
#[test]
fn a_redirect_that_leaves_the_layer_is_no_way_out() {
    for value in ["../x", "/../../etc", "a/b", "/"] {
        let mut u = Union::of(&[&format!("new/t new@redirect={value} other"), "old/b new/below"]);
        assert_eq!(u.names(""), ["new", "old", "other"], "{value}");
        assert_eq!(u.names("new"), ["t"], "{value}: it merges with nothing");
        u.unlink("new/t").expect("removed");
        u.rmdir("new").expect("removed");
        u.reopen();
        assert_eq!(u.names(""), ["old", "other"], "{value}");
    }
}

// S4, S7
#[test]
fn a_redirect_through_a_symbolic_link_is_not_followed() {
    let u = Union::of(&["new/t new@redirect=/way/old", "way->target target/old/b"]);
    assert_eq!(u.names("new"), ["t"]);
}

// S7
#[test]
fn redirects_count_in_one_name_space_only() {
    if !privileged("the other name space") {
        return;
    }
    let lowers = &["new/t new@user.overlay.redirect=/old", "old/b"];
    assert_eq!(Union::of(lowers).names("new"), ["t"]);
    let u = Union::with("", lowers, |config| config.user_xattr = true);
    assert_eq!(u.names("new"), ["b", "t"]);
}

// S18
#[test]
fn redirects_found_are_followed_unless_told_otherwise() {
    let lowers = &["new/t new@redirect=/old", "old/b"];
    let with = |how| Union::with("", lowers, |config: &mut Config| config.redirect_dir = how);
    assert_eq!(with(RedirectDir::Off).names("new"), ["b", "t"]);
    assert_eq!(with(RedirectDir::NoFollow).names("new"), ["t"]);
}

// S7, S30
#[test]
fn a_metadata_copy_shows_the_data_below_it() {
    for redirect in ["f@redirect=/data/g", "f@redirect=g", ""] {
        let (dir, name) = match redirect {
            "f@redirect=/data/g" => ("data/", "g"),
            "f@redirect=g" => ("", "g"),
            _ => ("", "f"),
        };
        let mut u =
            Union::of(&[&format!("f f:600 f@metacopy= {redirect}"), &format!("{dir}{name}=0123456789")]);
        // The size is that of the copy, which whoever makes one sets.
        std::fs::OpenOptions::new()
            .write(true)
            .open(u.lower(0, "f"))
            .and_then(|f| f.set_len(10))
            .expect("size");
        u.lowers_changed();
        let node = u.node("f").expect("there");
        assert_eq!(u.read_node(node), Ok("0123456789".into()), "{redirect:?}");
        assert_eq!(u.stat("f").expect("there").perm, 0o600);
        let data = std::os::unix::fs::MetadataExt::blocks(
            &u.lower(1, &format!("{dir}{name}")).metadata().expect("there"),
        );
        assert_eq!(u.stat("f").expect("there").blocks, data, "{redirect:?}");
    }
}

// S4
#[test]
fn links_in_layers_are_shown_not_followed() {
    let u = Union::of(&["l->/etc", "x/y"]);
    assert_eq!(u.stat("l").expect("there").kind, Kind::Symlink);
    assert_eq!(u.stat("l/passwd"), Err(Errno::NOTDIR));
    assert_eq!(u.fs().readlink(u.node("l").expect("there")).expect("a target"), b"/etc");
}

#[test]
fn names_that_are_too_long_are_refused() {
    let u = Union::of(&["a"]);
    assert_eq!(u.stat(&"x".repeat(256)), Err(Errno::NAMETOOLONG));
    assert_eq!(u.stat(&"x".repeat(255)), Err(Errno::NOENT));
    assert_eq!(u.stat("a/b"), Err(Errno::NOTDIR));
}

// S8
#[test]
fn five_hundred_lowers_are_one_tree() {
    let lowers: Vec<String> = (0..500).map(|i| format!("d/f{i} d/same={i} top{i}")).collect();
    let lowers: Vec<&str> = lowers.iter().map(String::as_str).collect();
    let u = Union::at(large_tempdir(), "", &lowers, |_| {});
    assert_eq!(u.names("d").len(), 501);
    assert_eq!(u.read("d/same"), Ok("0".into()));
    assert!(u.exists("top499") && u.exists("d/f250"));
    u.write("d/f499", 0, "x").expect("copied up");
    assert_eq!(layers::render(&u.upper("d")), ["f499=x"]);
}
