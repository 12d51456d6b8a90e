//! Owners on disk against owners shown: id maps, squashing, owners kept in attributes.

use std::os::unix::fs::MetadataExt;

use plyfs::overlay::{Caller, Changes, Config, IdMap, Kind, NewFile, WhiteoutForm, XattrPermissions};
use plyfs::sys::Errno;

use crate::acl;
use crate::harness::{USER, Union, caller, privileged, tempdir, words};
use crate::layers;

const OVERRIDE: &str = "user.containers.override_stat";

fn map(text: &str) -> IdMap {
    IdMap::parse(text).expect("a map")
}

/// On disk 100000… shows as 0….
fn mapped(upper: &str, lowers: &[&str]) -> Union {
    Union::with(upper, lowers, |config| {
        config.uid_map = map("100000:0:1000:5:7000:1");
        config.gid_map = map("200000:0:1000");
        for lower in &config.lowers {
            std::os::unix::fs::chown(lower, Some(100_000), Some(200_000)).expect("chown");
            for name in ["f", "d", "d/g"] {
                let path = lower.join(name);
                if path.exists() {
                    std::os::unix::fs::chown(path, Some(100_012), Some(200_034)).expect("chown");
                }
            }
        }
    })
}

fn owner(path: &std::path::Path) -> (u32, u32) {
    let meta = path.symlink_metadata().expect("there");
    (meta.uid(), meta.gid())
}

// S38
#[test]
fn id_maps_show_and_store_both_ways() {
    if !privileged("id maps") {
        return;
    }
    let u = mapped("", &["f=1 d/g=2 outside"]);
    assert_eq!(u.stat("f").map(|a| (a.uid, a.gid)), Ok((12, 34)));
    assert_eq!(u.stat("outside").map(|a| (a.uid, a.gid)), Ok((65534, 65534)));
    u.write("f", 0, "2").expect("copied up");
    assert_eq!(owner(&u.upper("f")), (100_012, 200_034), "a copy keeps what is on disk");
    u.write("outside", 0, "x").expect("copied up");
    assert_eq!(owner(&u.upper("outside")), (0, 0));
    let made = u.make("d/n", NewFile::Regular, 0o644, Caller { uid: 5, gid: 6, pid: 0 }).expect("made").attr;
    assert_eq!((made.uid, made.gid), (5, 6));
    assert_eq!(owner(&u.upper("d/n")), (100_005, 200_006));
    assert_eq!(owner(&u.upper("d")), (100_012, 200_034));
    let changed = u.setattr("f", Changes { uid: Some(7000), gid: Some(999), ..Changes::default() });
    assert_eq!(changed.map(|a| (a.uid, a.gid)), Ok((7000, 999)));
    assert_eq!(owner(&u.upper("f")), (5, 200_999));
}

// S38
#[test]
fn ids_that_are_not_mapped_cannot_be_written() {
    if !privileged("id maps") {
        return;
    }
    let u = mapped("", &["f=1"]);
    let change = |uid, gid| u.setattr("f", Changes { uid, gid, ..Changes::default() }).map(drop);
    assert_eq!(change(Some(1000), None), Err(Errno::INVAL));
    assert_eq!(change(None, Some(1000)), Err(Errno::INVAL));
    assert_eq!(u.stat("f").map(|a| (a.uid, a.gid)), Ok((12, 34)));
}

// S38
#[test]
fn ids_in_acls_are_mapped() {
    if !privileged("id maps") {
        return;
    }
    let u = mapped("", &["f=1"]);
    u.fs()
        .setxattr(u.node("f").expect("f"), acl::ACCESS.as_ref(), &acl::blob(5, 6), 0, caller())
        .expect("set");
    assert_eq!(acl::named_user(&u, "f", acl::ACCESS), Some((5, 6)));
    let fd = std::os::fd::OwnedFd::from(std::fs::File::open(u.upper("f")).expect("opened"));
    let target = plyfs::sys::xattr::Target::Fd(std::os::fd::AsFd::as_fd(&fd));
    let stored = plyfs::sys::xattr::getxattr(target, acl::ACCESS.as_ref()).expect("stored");
    assert_eq!(acl::named_user_of(&stored), Some((100_005, 6)));
}

// S39
#[test]
fn squashing_shows_one_owner_and_ignores_changes() {
    let squash = |config: &mut Config| (config.squash_uid, config.squash_gid) = (Some(1234), Some(5678));
    let u = Union::with("u=1", &["f=1 d/g l->x"], squash);
    for path in ["u", "f", "d", "d/g", "l", ""] {
        assert_eq!(u.stat(path).map(|a| (a.uid, a.gid)), Ok((1234, 5678)), "{path}");
    }
    let before = owner(&u.lower(0, "f"));
    let attr =
        u.setattr("f", Changes { uid: Some(1), gid: Some(2), ..Changes::default() }).expect("does nothing");
    assert_eq!((attr.uid, attr.gid), (1234, 5678));
    assert_eq!(owner(&u.upper("f")), before);
    let made = u.make("d/n", NewFile::Directory, 0o755, USER).expect("made").attr;
    assert_eq!((made.uid, made.gid), (1234, 5678));
    u.fs()
        .write(u.node("d/g").expect("g"), 0, b"x", plyfs::overlay::SetIds::Drop(crate::harness::USER))
        .expect("one of any owner writes");
    assert_eq!(u.read("d/g"), Ok("x".into()));
}

fn recording(upper: &str, lowers: &[&str]) -> Union {
    Union::with(upper, lowers, |config| config.xattr_permissions = XattrPermissions::User)
}

// S40
#[test]
fn owners_modes_and_types_are_kept_in_attributes() {
    let mut u = recording("", &["d/"]);
    u.make("f", NewFile::Regular, 0o4710, USER).expect("made");
    u.make("d/n", NewFile::Directory, 0o1750, USER).expect("made");
    u.make("p", NewFile::Node(Kind::Fifo, 0), 0o622, USER).expect("made");
    u.make("s", NewFile::Node(Kind::Socket, 0), 0o600, USER).expect("made");
    let device = plyfs::sys::fs::makedev(8, 17);
    u.make("b", NewFile::Node(Kind::Block, device), 0o660, USER).expect("made without any privilege");
    u.make("c", NewFile::Node(Kind::Char, 0), 0o666, USER).expect("made");
    u.symlink("l", "target").expect("made");
    let recorded = |name: &str| layers::attribute(&u.upper(name), OVERRIDE).unwrap_or_default();
    assert_eq!(recorded("f"), "1000:1000:04710:file");
    assert_eq!(recorded("d/n"), "1000:1000:01750:dir");
    assert_eq!(recorded("p"), "1000:1000:0600:pipe");
    assert_eq!(recorded("b"), "1000:1000:0640:block-8-17");
    assert_eq!(recorded("c"), "1000:1000:0644:char-0-0");
    for name in ["f", "p", "s", "b", "c"] {
        let meta = u.upper(name).symlink_metadata().expect("there");
        assert!(meta.is_file(), "{name} is a plain file on disk");
        assert_eq!(meta.mode() & 0o7000, 0, "{name}");
    }
    for _ in 0..2 {
        let shown = |name: &str| u.stat(name).map(|a| (a.kind, a.perm, a.uid)).expect("there");
        assert_eq!(shown("f"), (Kind::File, 0o4710, 1000));
        assert_eq!(shown("d/n"), (Kind::Directory, 0o1750, 1000));
        assert_eq!(shown("p"), (Kind::Fifo, 0o600, 1000));
        assert_eq!(shown("s"), (Kind::Socket, 0o600, 1000));
        assert_eq!(shown("b"), (Kind::Block, 0o640, 1000));
        assert_eq!(u.stat("b").expect("there").rdev, device);
        assert_eq!(shown("c"), (Kind::Char, 0o644, 1000));
        assert_eq!(u.tree().len(), 8, "listings and lookups agree");
        assert_eq!(u.xattrs("f"), [""; 0], "S36");
        u.reopen();
    }
}

// S40
#[test]
fn recorded_owners_and_modes_are_changed_in_the_attribute() {
    let mut u = recording("", &["f=1 d/x l->f p|"]);
    for path in ["f", "d"] {
        let all = Changes { uid: Some(70_000), gid: Some(5), mode: Some(0o2711), ..Changes::default() };
        let attr = u.setattr(path, all).expect("changed");
        assert_eq!((attr.uid, attr.gid, attr.perm), (70_000, 5, 0o2711), "{path}");
    }
    u.setattr("l", Changes { mtime: Some(plyfs::overlay::SetTime::Now), ..Changes::default() })
        .expect("copied up");
    u.chmod("p", 0o600).expect("copied up");
    u.rename("l", "d/l").expect("renamed");
    u.reopen();
    assert_eq!(u.stat("f").map(|a| (a.uid, a.gid, a.perm)), Ok((70_000, 5, 0o2711)));
    assert_eq!(u.stat("p").map(|a| (a.kind, a.perm)), Ok((Kind::Fifo, 0o600)));
    assert_eq!(u.tree(), words("d/ d/l->f d/x= f=1 p|"));
    let own = plyfs::sys::fs::geteuid().as_raw();
    assert_eq!(owner(&u.upper("f")).0, own, "on disk it stays the daemon's");
}

// S22, S40
#[test]
fn a_recorded_set_group_id_directory_gives_its_group() {
    let u = recording("", &["d/"]);
    u.setattr("d", Changes { gid: Some(77), mode: Some(0o2775), ..Changes::default() }).expect("changed");
    let file = u.make("d/f", NewFile::Regular, 0o644, USER).expect("made").attr;
    let dir = u.make("d/s", NewFile::Directory, 0o755, USER).expect("made").attr;
    assert_eq!((file.gid, dir.gid, dir.perm), (77, 77, 0o2755));
}

// S40
#[test]
fn a_layer_whose_root_is_marked_is_read_so_without_the_option() {
    let dir = tempdir();
    std::fs::create_dir(dir.path().join("lower0")).expect("a lower");
    let description = format!(
        "@{OVERRIDE}=0:0:0755:dir f=text f@{OVERRIDE}=12:34:04755:file d/ d@{OVERRIDE}=5:6:01777:dir \
         p p@{OVERRIDE}=1:1:0644:pipe c c@{OVERRIDE}=1:1:0644:char-1-3 l=target l@{OVERRIDE}=0:0:0777:symlink"
    );
    layers::build(&dir.path().join("lower0"), &description);
    let mut u = Union::at(dir, "", &["", "plain=1"], |_| {});
    let shown = |u: &Union, name: &str| u.stat(name).map(|a| (a.kind, a.perm, a.uid, a.gid)).expect("there");
    for _ in 0..2 {
        assert_eq!(shown(&u, "f"), (Kind::File, 0o4755, 12, 34));
        assert_eq!(shown(&u, "d"), (Kind::Directory, 0o1777, 5, 6));
        assert_eq!(shown(&u, "p"), (Kind::Fifo, 0o644, 1, 1));
        assert_eq!(shown(&u, "c").0, Kind::Char);
        let link = u.node("l").expect("there");
        assert_eq!(u.fs().readlink(link).expect("a target"), b"target");
        u.reopen();
    }
    assert_eq!(
        u.tree(),
        words("d/ f=text l->target p| plain=1")
            .into_iter()
            .chain(["c Char".to_owned()])
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    if privileged("copying owners up") {
        for name in ["f", "p", "c", "l"] {
            u.rename(name, &format!("d/{name}")).expect("copied up");
        }
        u.reopen();
        assert_eq!(shown(&u, "d/f"), (Kind::File, 0o4755, 12, 34));
        assert_eq!(shown(&u, "d/p"), (Kind::Fifo, 0o644, 1, 1));
        assert_eq!(u.stat("d/c").map(|a| (a.kind, a.rdev)), Ok((Kind::Char, plyfs::sys::fs::makedev(1, 3))));
        assert_eq!(u.fs().readlink(u.node("d/l").expect("there")).expect("a target"), b"target");
        assert!(u.upper("d/l").is_symlink(), "an upper that records nothing holds the real thing");
    }
}

// S40, S14
#[test]
fn recording_works_with_whiteouts_of_each_form() {
    for form in [WhiteoutForm::Auto, WhiteoutForm::File] {
        let mut u = Union::with("", &["a=1 d/x e/y"], |config| {
            (config.xattr_permissions, config.whiteouts) = (XattrPermissions::User, form);
        });
        u.unlink("a").expect("removed");
        u.unlink("d/x").expect("removed");
        u.rmdir("d").expect("removed");
        u.make("a", NewFile::Regular, 0o640, USER).expect("made again");
        u.make("d", NewFile::Directory, 0o750, USER).expect("made again");
        u.rename("e", "f").expect("renamed");
        u.reopen();
        assert_eq!(u.tree(), words("a= d/ f/ f/y="), "{form:?}");
        assert_eq!(u.stat("d").map(|a| (a.perm, a.uid)), Ok((0o750, 1000)), "{form:?}");
    }
}
