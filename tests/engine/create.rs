//! New entries: whose they are, what they hide, and the names that cannot be made.

use plyfs::overlay::{Caller, Kind, NewFile, NewMode, ROOT_NODE};
use plyfs::sys::Errno;

use crate::acl;
use crate::harness::{ROOT, USER, Union, caller, privileged, words};
use crate::layers;

const UNMASKED: NewMode = NewMode { mode: 0o777, umask: 0 };

// S15
#[test]
fn a_directory_made_where_a_lower_has_one_is_opaque() {
    let mut u = Union::over("o!", &["d/x", "d/y f o/z"]);
    for path in ["d/x", "d/y", "f"] {
        u.unlink(path).expect("removed");
    }
    u.rmdir("d").expect("removed");
    for path in ["d", "f", "o", "new"] {
        u.mkdir(path).expect("made");
        assert!(u.names(path).is_empty(), "{path}");
    }
    u.reopen();
    assert_eq!(u.tree(), words("d/ f/ new/ o/"));
    assert_eq!(u.on_disk(), words("d/ d@opaque=y f/ f@opaque=y new/ o/ o@opaque=y"));
}

#[test]
fn every_type_can_be_made_free_and_over_a_whiteout() {
    let mut u = Union::of(&["f l p s d/x"]);
    for over_whiteout in [false, true] {
        let names = if over_whiteout { ["f", "l", "p", "s"] } else { ["d/f", "d/l", "d/p", "d/s"] };
        if over_whiteout {
            names.iter().for_each(|name| u.unlink(name).expect("removed"));
        }
        u.create(names[0], "text").expect("file");
        u.symlink(names[1], "target").expect("link");
        u.make(names[2], NewFile::Node(Kind::Fifo, 0), 0o644, caller()).expect("FIFO");
        u.make(names[3], NewFile::Node(Kind::Socket, 0), 0o644, caller()).expect("socket");
    }
    u.reopen();
    let expected = "d/ d/f=text d/l->target d/p| d/x= f=text l->target p|";
    let mut expected = words(expected);
    expected.extend(["d/s Socket".to_owned(), "s Socket".to_owned()]);
    expected.sort();
    assert_eq!(u.tree(), expected);
}

#[test]
fn a_new_file_is_open_whatever_its_mode_and_however_it_was_made() {
    let u = Union::of(&["f d/ w"]);
    u.unlink("w").expect("removed");
    for (name, mode) in [("new", 0o600), ("unreadable", 0), ("w", 0o444)] {
        let mode = NewMode { mode, umask: 0 };
        let (entry, file) =
            u.fs().create_open(ROOT_NODE, name.as_ref(), NewFile::Regular, mode, caller()).expect("made");
        let file = file.expect("open");
        plyfs::sys::fs::pwrite(&*file.fd, b"content", 0).expect("written");
        assert!(plyfs::sys::fs::fstat(&file.fd).is_ok_and(|st| st.st_mode & 0o6000 == 0), "{name}");
        assert_eq!(u.read_node(entry.node), Ok("content".into()), "{name}");
        u.fs().keep_open(entry.node, file);
        u.write_node(entry.node, 0, "CON").expect("written by the open file");
        assert_eq!(u.read_node(entry.node), Ok("CONtent".into()), "{name}");
    }
    let mode = NewMode { mode: 0o755, umask: 0 };
    let (_, none) =
        u.fs().create_open(ROOT_NODE, "e".as_ref(), NewFile::Directory, mode, caller()).expect("made");
    assert!(none.is_none());
}

#[test]
fn what_exists_is_not_made_again() {
    let u = Union::over("u", &["f d/ w", "l->x"]);
    for name in ["u", "f", "d", "l", "w"] {
        assert_eq!(u.create(name, ""), Err(Errno::EXIST), "{name}");
        assert_eq!(u.mkdir(name), Err(Errno::EXIST), "{name}");
        assert_eq!(u.symlink(name, "x"), Err(Errno::EXIST), "{name}");
    }
    assert_eq!(u.create("none/f", ""), Err(Errno::NOENT));
    assert_eq!(u.create("f/g", ""), Err(Errno::NOTDIR));
    assert_eq!(u.on_disk(), words("u="));
}

// S16
#[test]
fn reserved_names_cannot_be_made() {
    let u = Union::of(&["f d/"]);
    for name in [".wh.", ".wh.f", ".wh..wh..opq", "d/.wh.x"] {
        assert_eq!(u.create(name, ""), Err(Errno::INVAL), "{name}");
        assert_eq!(u.mkdir(name), Err(Errno::INVAL), "{name}");
        assert_eq!(u.symlink(name, "x"), Err(Errno::INVAL), "{name}");
        assert_eq!(u.link("f", name), Err(Errno::INVAL), "{name}");
        assert_eq!(u.rename("f", name), Err(Errno::INVAL), "{name}");
    }
    assert_eq!(u.create(".wh", ""), Ok(()));
    assert_eq!(u.create(".what", ""), Ok(()));
    assert_eq!(u.tree(), words(".wh= .what= d/ f="));
}

// S17
#[test]
fn a_device_0_0_is_a_device_not_a_whiteout() {
    let mut u = Union::of(&["f below d/"]);
    u.unlink("below").expect("removed");
    for name in ["c", "below", "d/c"] {
        u.make(name, NewFile::Node(Kind::Char, 0), 0o640, caller()).expect("made");
    }
    for _ in 0..2 {
        for name in ["c", "below", "d/c"] {
            let attr = u.stat(name).expect("there");
            assert_eq!((attr.kind, attr.rdev, attr.perm), (Kind::Char, 0, 0o640), "{name}");
            assert_eq!(u.xattrs(name), [""; 0], "S36");
        }
        assert_eq!(u.names(""), ["below", "c", "d", "f"]);
        u.reopen();
    }
    u.chmod("c", 0o600).expect("changed");
    u.rename("c", "d/moved").expect("renamed");
    u.link("below", "linked").expect("linked");
    u.reopen();
    assert_eq!(u.stat("d/moved").map(|a| (a.kind, a.perm)), Ok((Kind::Char, 0o600)));
    assert_eq!(u.stat("linked").map(|a| (a.kind, a.nlink)), Ok((Kind::Char, 2)));
    for name in ["below", "linked", "d/moved", "d/c"] {
        u.unlink(name).expect("removed");
    }
    assert_eq!(u.on_disk(), words("below! d/"));
}

// S17: an upper that holds such a device as a lower of the next mount.
#[test]
fn a_device_0_0_of_a_lower_stays_one_when_copied_up() {
    let mut u = Union::of(&[
        "c c@user.containers.override_stat=0:0:0644:char-0-0 d/c d/c@user.containers.override_stat=0:0:0644:char-0-0",
    ]);
    assert_eq!(u.stat("c").map(|a| a.kind), Ok(Kind::Char));
    u.chmod("c", 0o600).expect("copied up");
    u.rename("d/c", "e").expect("copied up");
    u.reopen();
    assert_eq!(u.stat("c").map(|a| (a.kind, a.perm)), Ok((Kind::Char, 0o600)));
    assert_eq!(u.stat("e").map(|a| a.kind), Ok(Kind::Char));
    assert!(!u.exists("d/c"));
}

#[test]
fn other_devices_are_made_as_they_are() {
    if !privileged("making devices") {
        return;
    }
    let u = Union::of(&["d/"]);
    let null = plyfs::sys::fs::makedev(1, 3);
    u.make("d/null", NewFile::Node(Kind::Char, null), 0o666, caller()).expect("made");
    u.make("disk", NewFile::Node(Kind::Block, 0), 0o666, caller()).expect("block 0:0 is no whiteout");
    assert_eq!(u.stat("d/null").map(|a| (a.kind, a.rdev)), Ok((Kind::Char, null)));
    assert_eq!(u.stat("disk").map(|a| (a.kind, a.rdev)), Ok((Kind::Block, 0)));
}

// S22
#[test]
fn the_umask_counts_and_the_caller_owns() {
    if !privileged("other owners") {
        return;
    }
    let u = Union::of(&["w d/"]);
    u.unlink("w").expect("removed");
    for (name, new) in [("f", NewFile::Regular), ("d/n", NewFile::Directory), ("w", NewFile::Regular)] {
        let mode = NewMode { mode: 0o4777, umask: 0o027 };
        let attr = u.make_masked(name, new, mode, USER).expect("made").attr;
        assert_eq!((attr.perm, attr.uid, attr.gid), (0o4750, 1000, 1000), "{name}");
        assert_eq!(u.stat(name).expect("there"), attr);
    }
    let link = u.make("l", NewFile::Symlink("x".as_ref()), 0o777, USER).expect("made").attr;
    assert_eq!((link.perm, link.uid), (0o777, 1000));
    let fifo = u.make("p", NewFile::Node(Kind::Fifo, 0), 0o666, USER).expect("made").attr;
    assert_eq!((fifo.perm, fifo.uid), (0o644, 1000));
}

// S22
#[test]
fn a_set_group_id_directory_gives_its_group() {
    if !privileged("other groups") {
        return;
    }
    let u = Union::of(&["d/sub/"]);
    let group = plyfs::overlay::Changes { gid: Some(77), mode: Some(0o2775), ..Default::default() };
    u.setattr("d", group).expect("changed");
    for caller in [ROOT, USER] {
        let name = |what: &str| format!("d/{what}{}", caller.uid);
        let file = u.make_masked(&name("f"), NewFile::Regular, UNMASKED, caller).expect("made").attr;
        assert_eq!((file.uid, file.gid, file.perm), (caller.uid, 77, 0o777));
        let dir = u.make_masked(&name("d"), NewFile::Directory, UNMASKED, caller).expect("made").attr;
        assert_eq!((dir.uid, dir.gid, dir.perm), (caller.uid, 77, 0o2777));
        let link = u.make(&name("l"), NewFile::Symlink("x".as_ref()), 0o777, caller).expect("made").attr;
        assert_eq!((link.uid, link.gid), (caller.uid, 77));
    }
    u.rmdir("d/sub").expect("removed");
    let again = u.make_masked("d/sub", NewFile::Directory, UNMASKED, USER).expect("over a whiteout").attr;
    assert_eq!((again.gid, again.perm), (77, 0o2777));
}

// S22
#[test]
fn a_default_acl_replaces_the_umask_and_is_inherited() {
    if !privileged("ACLs of other users") {
        return;
    }
    let mut u = Union::of(&["d/w w/x"]);
    layers_default_acl(&u, "d");
    u.unlink("d/w").expect("removed");
    for caller in [ROOT, USER] {
        let name = |what: &str| format!("d/{what}{}", caller.uid);
        let mode = NewMode { mode: 0o666, umask: 0o077 };
        let file = u.make_masked(&name("f"), NewFile::Regular, mode, caller).expect("made").attr;
        assert_eq!(file.perm, 0o660, "mask rwx, other none: the umask does not count");
        assert_eq!(acl::named_user(&u, &name("f"), acl::ACCESS), Some((5, 7)));
        let dir = u.make_masked(&name("d"), NewFile::Directory, mode, caller).expect("made").attr;
        assert_eq!(dir.perm & 0o777, 0o660);
        assert_eq!(acl::named_user(&u, &name("d"), acl::DEFAULT), Some((5, 7)));
        u.mkdir(&format!("{}/deeper", name("d"))).expect("made");
        assert_eq!(acl::named_user(&u, &format!("{}/deeper", name("d")), acl::DEFAULT), Some((5, 7)));
    }
    let mode = NewMode { mode: 0o666, umask: 0o077 };
    let over = u.make_masked("d/w", NewFile::Regular, mode, USER).expect("over a whiteout").attr;
    assert_eq!((over.perm, over.uid), (0o660, 1000));
    assert_eq!(acl::named_user(&u, "d/w", acl::ACCESS), Some((5, 7)));
    u.reopen_with(|config| config.acl = false);
    let mode = NewMode { mode: 0o666, umask: 0o022 };
    let attr = u.make_masked("w/plain", NewFile::Regular, mode, USER).expect("made").attr;
    assert_eq!(attr.perm, 0o644, "S37: without ACLs the umask counts");
}

/// Sets a default ACL through the union.
fn layers_default_acl(u: &Union, path: &str) {
    let value = acl::blob(5, 7);
    let node = u.node(path).expect("there");
    u.fs().setxattr(node, acl::DEFAULT.as_ref(), &value, 0, caller()).expect("set");
}

// S8
#[test]
fn without_an_upper_nothing_can_be_made_or_changed() {
    let u = Union::with("", &["f d/x"], |config| (config.upper, config.work) = (None, None));
    assert_eq!(u.create("n", ""), Err(Errno::ROFS));
    assert_eq!(u.mkdir("n"), Err(Errno::ROFS));
    assert_eq!(u.unlink("f"), Err(Errno::ROFS));
    assert_eq!(u.rmdir("d"), Err(Errno::ROFS));
    assert_eq!(u.rename("f", "g"), Err(Errno::ROFS));
    assert_eq!(u.link("f", "g"), Err(Errno::ROFS));
    assert_eq!(u.write("f", 0, "x"), Err(Errno::ROFS));
    assert_eq!(u.chmod("f", 0o600).map(drop), Err(Errno::ROFS));
    assert_eq!(u.setxattr("f", "user.x", "1"), Err(Errno::ROFS));
    assert_eq!(u.tree(), words("d/ d/x= f="));
}

#[test]
fn names_may_be_as_long_as_the_file_system_allows() {
    let long = "n".repeat(255);
    let mut u = Union::of(&[&format!("d/{long}=1")]);
    u.unlink(&format!("d/{long}")).expect("removed");
    assert_eq!(u.names("d"), [""; 0]);
    u.create(&format!("d/{long}"), "2").expect("made");
    u.rename(&format!("d/{long}"), &long).expect("renamed");
    assert_eq!(u.create(&"n".repeat(256), ""), Err(Errno::NAMETOOLONG));
    u.reopen();
    assert_eq!(u.read(&long), Ok("2".into()));
}

#[test]
fn names_are_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let u = Union::of(&["d/"]);
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9 \n:,\"");
    let made =
        u.fs().create(u.node("d").expect("d"), name, NewFile::Regular, UNMASKED, caller()).expect("made");
    u.fs().forget(made.node, 1);
    assert_eq!(u.lookup_at(u.node("d").expect("d"), name).map(|e| e.attr.kind), Ok(Kind::File));
    assert!(u.upper("d").join(name).exists());
}

// S22
#[test]
fn a_caller_with_another_group_keeps_it() {
    if !privileged("other groups") {
        return;
    }
    let u = Union::of(&["d/"]);
    let caller = Caller { uid: 5, gid: 6, pid: 0 };
    let attr = u.make("d/f", NewFile::Regular, 0o600, caller).expect("made").attr;
    assert_eq!((attr.uid, attr.gid, attr.perm), (5, 6, 0o600));
    assert_eq!(layers::attribute(&u.upper("d/f"), "user.containers.override_stat"), None);
}
