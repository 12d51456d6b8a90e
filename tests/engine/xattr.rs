//! Extended attributes: those of users pass, the union's own never show.

use plyfs::sys::Errno;

use crate::acl;
use crate::harness::{ROOT, USER, Union, caller, privileged, words};
use crate::layers;

const PRIVATE: &[&str] = &[
    "user.overlay.opaque",
    "user.overlay.anything",
    "user.fuseoverlayfs.opaque",
    "user.fuseoverlayfs.x",
    "user.containers.override_stat",
    "trusted.overlay.opaque",
    "trusted.overlay.redirect",
    "trusted.overlay.x",
];

#[test]
fn attributes_are_set_read_listed_and_removed() {
    let mut u = Union::over("u u@user.a=0", &["f=1 f@user.a=1 f@user.b=2 d/ d@user.d=3"]);
    u.setxattr("f", "user.a", "changed").expect("set");
    u.setxattr("f", "user.c", "").expect("set");
    u.setxattr("d", "user.e", "4").expect("set");
    u.fs().removexattr(u.node("f").expect("f"), "user.b".as_ref()).expect("removed");
    for _ in 0..2 {
        assert_eq!(u.xattrs("f"), ["user.a", "user.c"]);
        assert_eq!(u.getxattr("f", "user.a"), Ok("changed".into()));
        assert_eq!(u.getxattr("f", "user.c"), Ok(String::new()));
        assert_eq!(u.getxattr("f", "user.b"), Err(Errno::NODATA));
        assert_eq!(u.xattrs("d"), ["user.d", "user.e"]);
        u.reopen();
    }
    assert_eq!(u.read("f"), Ok("1".into()));
}

#[test]
fn create_and_replace_flags_count() {
    const CREATE: u32 = 1;
    const REPLACE: u32 = 2;
    let u = Union::of(&["f f@user.a=1"]);
    let node = u.node("f").expect("there");
    let set = |name: &str, flags| {
        u.fs().setxattr(node, name.as_ref(), b"2", flags, caller()).map_err(|e| e.errno())
    };
    assert_eq!(set("user.a", CREATE), Err(Errno::EXIST));
    assert_eq!(set("user.b", REPLACE), Err(Errno::NODATA));
    assert_eq!(set("user.a", REPLACE), Ok(()));
    assert_eq!(set("user.b", CREATE), Ok(()));
    assert_eq!(u.xattrs("f"), ["user.a", "user.b"]);
}

// S36
#[test]
fn private_marks_never_show_and_cannot_be_changed() {
    let u = Union::of(&["d/ d@user.overlay.redirect=x d@user.fuseoverlayfs.opaque=n d@user.mine=1 f"]);
    assert_eq!(u.xattrs("d"), ["user.mine"]);
    u.chmod("d", 0o700).expect("copied up, with an origin and more");
    u.chmod("f", 0o700).expect("copied up");
    assert_eq!(u.xattrs("d"), ["user.mine"]);
    assert_eq!(u.xattrs("f"), [""; 0]);
    assert_eq!(u.xattrs(""), [""; 0]);
    for name in PRIVATE {
        assert_eq!(u.getxattr("d", name), Err(Errno::NODATA), "{name}");
        assert_eq!(u.setxattr("d", name, "y"), Err(Errno::PERM), "{name}");
        let removed = u.fs().removexattr(u.node("d").expect("d"), name.as_ref());
        assert_eq!(removed.map_err(|e| e.errno()), Err(Errno::PERM), "{name}");
    }
    assert_eq!(u.setxattr("d", "user.overlayx", "y"), Ok(()));
    assert_eq!(u.setxattr("d", "user.containers.other", "y"), Ok(()));
}

// S36
#[test]
fn names_of_the_administrators_attributes_are_not_for_everyone() {
    if !privileged("trusted attributes") {
        return;
    }
    let u = Union::of(&["f f@trusted.mine=1 f@user.a=1"]);
    assert_eq!(u.xattrs_for("f", ROOT), ["trusted.mine", "user.a"]);
    assert_eq!(u.xattrs_for("f", USER), ["user.a"]);
}

#[test]
fn removing_what_is_not_there_copies_nothing_up() {
    let u = Union::of(&["f"]);
    let removed = u.fs().removexattr(u.node("f").expect("f"), "user.none".as_ref());
    assert_eq!(removed.map_err(|e| e.errno()), Err(Errno::NODATA));
    assert_eq!(u.on_disk(), [""; 0]);
}

#[test]
fn capabilities_are_remembered_right() {
    if !privileged("file capabilities") {
        return;
    }
    let value = "\u{1}\0\0\u{2}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut u = Union::of(&["f=1"]);
    u.create("new", "").expect("made");
    assert_eq!(u.getxattr("new", "security.capability"), Err(Errno::NODATA));
    u.setxattr("new", "security.capability", value).expect("set");
    assert_eq!(u.getxattr("new", "security.capability"), Ok(value.into()));
    for _ in 0..2 {
        assert_eq!(u.getxattr("f", "security.capability"), Err(Errno::NODATA));
    }
    u.setxattr("f", "security.capability", value).expect("set");
    assert_eq!(u.getxattr("f", "security.capability"), Ok(value.into()));
    u.reopen();
    assert_eq!(u.getxattr("f", "security.capability"), Ok(value.into()), "found in the upper");
    u.write("f", 0, "2").expect("written");
    assert_eq!(u.getxattr("f", "security.capability"), Err(Errno::NODATA), "S21");
}

// S37
#[test]
fn acls_are_kept_or_refused() {
    if !privileged("ACLs") {
        return;
    }
    let mut u = Union::of(&["f=1 d/"]);
    let blob = acl::blob(5, 4);
    let set = |u: &Union, which: &str| {
        u.fs().setxattr(u.node("f").expect("f"), which.as_ref(), &blob, 0, caller()).map_err(|e| e.errno())
    };
    assert_eq!(set(&u, acl::ACCESS), Ok(()));
    assert_eq!(acl::named_user(&u, "f", acl::ACCESS), Some((5, 4)));
    assert_eq!(u.stat("f").expect("there").perm, 0o770, "the mask shows as the group's rights");
    u.reopen_with(|config| config.acl = false);
    assert_eq!(set(&u, acl::ACCESS), Err(Errno::OPNOTSUPP));
    assert_eq!(u.getxattr("f", acl::ACCESS), Err(Errno::OPNOTSUPP));
    assert_eq!(u.xattrs("f"), [""; 0]);
}

// S37
#[test]
fn an_acl_set_from_outside_the_group_takes_the_set_group_id_bit() {
    if !privileged("ACLs") {
        return;
    }
    let u = Union::of(&["f=1 f:2755 g=1 g:2755"]);
    let blob = acl::blob(5, 4);
    for (name, caller, mode) in [("f", USER, 0o770), ("g", ROOT, 0o2770)] {
        u.fs().setxattr(u.node(name).expect("there"), acl::ACCESS.as_ref(), &blob, 0, caller).expect("set");
        assert_eq!(u.stat(name).expect("there").perm, mode, "{name}");
    }
}

// S36: marks that lie in a lower of another program's do not leak through a copy.
#[test]
fn marks_written_are_those_of_the_mount_alone() {
    let mut u = Union::of(&["d/x d@user.overlay.origin=junk d@user.overlay.nlink=junk"]);
    u.unlink("d/x").expect("removed");
    u.rename("d", "e").expect("renamed");
    u.reopen();
    assert_eq!(u.tree(), words("e/"));
    if layers::namespace() == "trusted.overlay." {
        assert_eq!(layers::attribute(&u.upper("e"), "user.overlay.origin"), None);
        assert_eq!(layers::attribute(&u.upper("e"), "user.overlay.redirect"), None);
    }
}

// S7
#[test]
fn user_xattr_writes_marks_in_the_user_name_space() {
    let mut u = Union::with("", &["d/x e/y f=1"], |config| config.user_xattr = true);
    u.unlink("e/y").expect("removed");
    u.rmdir("e").expect("removed");
    u.mkdir("e").expect("made");
    u.rename("d", "r").expect("renamed");
    u.write("f", 0, "2").expect("written");
    assert_eq!(layers::attribute(&u.upper("e"), "user.overlay.opaque"), Some("y".into()));
    assert_eq!(layers::attribute(&u.upper("r"), "user.overlay.redirect"), Some("/d".into()));
    assert_eq!(layers::attribute(&u.upper("r"), "trusted.overlay.redirect"), None);
    let ino = u.ino("f");
    u.reopen();
    assert_eq!(u.tree(), words("e/ f=2 r/ r/x="));
    assert_eq!(u.ino("f"), ino);
}
