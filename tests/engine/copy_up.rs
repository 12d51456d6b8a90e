//! Copy-up: what a copy keeps, what it leaves alone, what a metadata copy holds.

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use plyfs::overlay::{Changes, SetIds, SetTime, Time};
use plyfs::sys::Errno;
use plyfs::sys::fs as sys;

use crate::acl;
use crate::harness::{Union, privileged, words};
use crate::layers;

/// Gives a file times of long ago.
fn age(path: &Path, seconds: i64, nanos: i64) {
    let time = sys::Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = sys::Timestamps { last_access: time, last_modification: time };
    sys::utimensat(sys::CWD, path, &times, sys::AtFlags::SYMLINK_NOFOLLOW).expect("times");
}

/// A union over a lower that is prepared by hand.
fn over_prepared(description: &str, prepare: impl FnOnce(&Path)) -> Union {
    let dir = crate::harness::tempdir();
    fs::create_dir(dir.path().join("lower0")).expect("a lower");
    layers::build(&dir.path().join("lower0"), description);
    prepare(&dir.path().join("lower0"));
    Union::at(dir, "", &[""], |_| {})
}

// S12
#[test]
fn a_copy_keeps_owner_mode_times_and_attributes() {
    let root = privileged("other owners");
    let u = over_prepared("d/f=text d/f:4751 d/f@user.one=1 d/f@user.two=", |lower| {
        layers::build(lower, "d:2770 d@user.dir=yes");
        if root {
            std::os::unix::fs::chown(lower.join("d/f"), Some(12), Some(34)).expect("chown");
            std::os::unix::fs::chown(lower.join("d"), Some(56), Some(78)).expect("chown");
            layers::build(lower, "d/f:4751 d:2770");
            layers::set_attribute(&lower.join("d/f"), acl::ACCESS, &acl::blob(5, 6));
        }
        age(&lower.join("d/f"), 1_000_000_000, 123_456_789);
        age(&lower.join("d"), -5, 7);
    });
    let (file, dir) = (u.stat("d/f").expect("there"), u.stat("d").expect("there"));
    assert_eq!(dir.mtime, Time { secs: -5, nanos: 7 }, "before 1970");
    let mode = file.perm;
    u.chmod("d/f", mode).expect("copied up");
    let after = u.stat("d/f").expect("there");
    assert_eq!(plyfs::overlay::Attr { ctime: file.ctime, blocks: file.blocks, ..after }, file);
    let after = u.stat("d").expect("there");
    assert_eq!((after.perm, after.uid, after.gid), (dir.perm, dir.uid, dir.gid));
    assert_eq!((after.mtime, after.ino), (dir.mtime, dir.ino), "S11");
    assert_eq!(u.getxattr("d/f", "user.one"), Ok("1".into()));
    assert_eq!(u.getxattr("d/f", "user.two"), Ok(String::new()));
    assert_eq!(u.getxattr("d", "user.dir"), Ok("yes".into()));
    if root {
        assert_eq!(acl::named_user(&u, "d/f", acl::ACCESS), Some((5, 6)));
        assert_eq!(u.upper("d/f").metadata().expect("copied").uid(), 12);
    }
    assert_eq!(u.upper("d/f").metadata().expect("copied").mode() & 0o7777, mode);
    assert_eq!(u.read("d/f"), Ok("text".into()));
}

// S11
#[test]
fn the_times_of_the_parent_stay() {
    let u = over_prepared("d/s/f=1 d/s/g=2 d/s/l->x d/s/n/ h~d/s/f", |lower| {
        age(&lower.join("d/s"), 1_000, 5);
        age(&lower.join("d"), 2_000, 6);
        age(lower, 3_000, 7);
    });
    u.chmod("d/s/f", 0o600).expect("copied up with its parents and its other name");
    u.write("d/s/g", 0, "x").expect("copied up");
    u.setattr("d/s/l", Changes { mtime: Some(SetTime::Now), ..Changes::default() }).expect("copied up");
    u.chmod("d/s/n", 0o700).expect("copied up");
    for (path, secs, nanos) in [("d/s", 1_000, 5), ("d", 2_000, 6)] {
        let attr = u.stat(path).expect("there");
        assert_eq!(attr.mtime, Time { secs, nanos }, "{path}");
        assert_eq!(u.upper(path).metadata().expect("copied").mtime(), secs);
    }
    u.create("d/s/new", "").expect("made");
    assert_ne!(u.stat("d/s").expect("there").mtime.secs, 1_000, "a new entry does change it");
}

// S12
#[test]
fn sparse_files_stay_sparse() {
    let u = over_prepared("f", |lower| {
        let file = fs::OpenOptions::new().write(true).open(lower.join("f")).expect("opened");
        file.write_all_at(b"begin", 0).expect("written");
        file.write_all_at(b"middle", 64 << 20).expect("written");
        file.set_len(256 << 20).expect("set");
    });
    let node = u.node("f").expect("there");
    u.write_node(node, 5, "!").expect("copied up");
    let copy = u.upper("f").metadata().expect("copied");
    assert_eq!(copy.len(), 256 << 20);
    assert!(copy.blocks() < 2048, "{} blocks", copy.blocks());
    let mut bytes = [0; 6];
    assert_eq!(u.fs().read(node, 64 << 20, &mut bytes), Ok(6));
    assert_eq!(&bytes, b"middle");
    assert_eq!(u.fs().read(node, 0, &mut bytes), Ok(6));
    assert_eq!(&bytes, b"begin!");
}

// S11
#[test]
fn a_truncated_copy_up_copies_nothing_first() {
    let u = over_prepared("f g=0123456789 h", |lower| {
        let file = fs::OpenOptions::new().write(true).open(lower.join("h")).expect("opened");
        file.set_len(1 << 40).expect("a terabyte, which could not be copied");
        file.write_all_at(b"x", (1 << 40) - 1).expect("written");
    });
    assert_eq!(u.truncate("h", 0).map(|a| a.size), Ok(0));
    assert_eq!(u.truncate("g", 4).map(|a| a.size), Ok(4));
    assert_eq!(u.read("g"), Ok("0123".into()));
    assert_eq!(u.truncate("g", 6).map(|a| a.size), Ok(6));
    assert_eq!(u.read("g"), Ok("0123\0\0".into()));
    let node = u.node("f").expect("there");
    u.fs().prepare_writing(node, true, SetIds::Keep).expect("prepared");
    assert!(u.fs().is_upper(node).expect("known"));
}

// S13, S32, S33
#[test]
fn only_a_file_of_the_upper_is_handed_to_the_kernel() {
    let u = Union::of(&["f=text"]);
    let node = u.node("f").expect("there");
    assert!(u.fs().open_backing(node).expect("known").is_none(), "it may be copied up while it is open");
    assert_eq!(u.on_disk(), [""; 0]);
    u.fs().prepare_writing(node, false, SetIds::Keep).expect("copied up");
    let backing = u.fs().open_backing(node).expect("opened").expect("the upper's");
    assert_eq!(u.on_disk(), words("f=text"));
    u.write("f", 0, "TEXT").expect("written");
    let mut bytes = [0; 4];
    sys::pread(&backing.fd, &mut bytes, 0).expect("read");
    assert_eq!(&bytes, b"TEXT");
}

#[test]
fn a_lowers_file_is_handed_to_the_kernel_where_it_cannot_be_copied_up() {
    let u = Union::with("", &["f=text"], |config| (config.upper, config.work) = (None, None));
    assert!(u.fs().open_backing(u.node("f").expect("there")).expect("opened").is_some());
}

// S31, S32
#[test]
fn an_inode_stays_the_same_over_its_copy_up_under_all_names() {
    let mut u = Union::of(&["d/f=old h=1 g~h"]);
    for path in ["d/f", "h"] {
        let (node, ino) = (u.node(path).expect("there"), u.ino(path));
        u.fs().prepare_writing(node, false, SetIds::Keep).expect("copied up");
        assert_eq!((u.node(path), u.ino(path)), (Ok(node), ino), "S25: the same number");
        u.write(path, 0, "new").expect("written");
        assert_eq!(u.read_node(node), Ok("new".into()));
    }
    assert_eq!(u.node("g"), u.node("h"));
    u.reopen();
    assert_eq!(u.tree(), words("d/ d/f=new g=new h=new"));
}

#[test]
fn every_type_is_copied_up() {
    let mut u = Union::of(&["l->target p| d/s/"]);
    for path in ["l", "p", "d/s"] {
        let before = u.stat(path).expect("there");
        let past = Some(SetTime::At(Time { secs: 77, nanos: 8 }));
        let attr = u.setattr(path, Changes { mtime: past, ..Changes::default() }).expect("copied up");
        assert_eq!((attr.kind, attr.ino, attr.mtime.secs), (before.kind, before.ino, 77), "{path}");
    }
    u.reopen();
    assert_eq!(u.tree(), words("l->target p| d/ d/s/"));
    assert_eq!(u.on_disk(), words("l->target p| d/ d/s/"));
}

// S12, S36
#[test]
fn private_marks_of_a_lower_are_not_copied() {
    let u = Union::of(&["f=1 f@user.overlay.redirect=x f@user.fuseoverlayfs.opaque=n f@user.keep=1"]);
    assert_eq!(u.xattrs("f"), ["user.keep"]);
    u.write("f", 0, "2").expect("copied up");
    assert_eq!(layers::attribute(&u.upper("f"), "user.overlay.redirect"), None);
    assert_eq!(layers::attribute(&u.upper("f"), "user.fuseoverlayfs.opaque"), None);
    assert_eq!(u.getxattr("f", "user.keep"), Ok("1".into()));
}

// S20, S30
#[test]
fn a_change_of_attributes_copies_no_data_with_metacopy() {
    let mut u = Union::with("", &["d/f=0123456789 d/g=xyz"], |config| config.metacopy = true);
    let before = u.stat("d/f").expect("there");
    u.chmod("d/f", 0o600).expect("changed");
    let copy = u.upper("d/f").metadata().expect("copied");
    assert_eq!((copy.len(), fs::read(u.upper("d/f")).expect("read")), (10, vec![0; 10]), "no data");
    assert_eq!(layers::attribute(&u.upper("d/f"), "metacopy"), Some(String::new()));
    for _ in 0..2 {
        let attr = u.stat("d/f").expect("there");
        assert_eq!((attr.blocks, attr.size, attr.perm, attr.mtime), (before.blocks, 10, 0o600, before.mtime));
        assert_eq!(u.read("d/f"), Ok("0123456789".into()));
        u.reopen();
    }
    u.rename("d/f", "e").expect("renamed");
    u.link("d/g", "h").expect("linked");
    u.rename("d", "dd").expect("renamed");
    u.reopen();
    assert_eq!(u.tree(), words("dd/ dd/g=xyz e=0123456789 h=xyz"));
    assert_eq!(u.stat("e").expect("there").mtime, before.mtime);
    u.write("e", 2, "AB").expect("the data follows");
    u.write("h", 0, "X").expect("the data follows, to both names");
    u.reopen();
    assert_eq!(u.tree(), words("dd/ dd/g=Xyz e=01AB456789 h=Xyz"));
    for name in ["e", "h", "dd/g"] {
        assert_eq!(layers::attribute(&u.upper(name), "metacopy"), None, "{name}");
        assert_eq!(layers::attribute(&u.upper(name), "redirect"), None, "{name}");
    }
}

// S20
#[test]
fn a_metadata_copy_is_cut_opened_and_read_like_any_file() {
    let mut u = Union::with("", &["a=0123456789 b=0123456789 c=0123456789"], |config| config.metacopy = true);
    for name in ["a", "b", "c"] {
        u.chmod(name, 0o600).expect("changed");
    }
    u.truncate("a", 3).expect("cut");
    u.truncate("b", 0).expect("cut to nothing");
    let before = u.stat("c").expect("there").mtime;
    let node = u.node("c").expect("there");
    assert!(u.fs().open_backing(node).expect("known").is_none());
    u.fs().prepare_writing(node, false, SetIds::Keep).expect("completed");
    assert!(u.fs().open_backing(node).expect("opened").is_some());
    assert_eq!(u.stat("c").expect("there").mtime, before, "the data coming is no change");
    u.reopen();
    assert_eq!(u.tree(), words("a=012 b= c=0123456789"));
}

// S12, S20: the data that follows is written by nobody, so the capabilities stay.
#[test]
fn capabilities_stay_when_the_data_of_a_metadata_copy_follows() {
    if !privileged("capabilities_stay_when_the_data_of_a_metadata_copy_follows") {
        return;
    }
    const NET_RAW: &[u8] = &[1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let u = Union::with("", &["ping=0123456789"], |config| config.metacopy = true);
    let node = u.node("ping").expect("there");
    let name = std::ffi::OsStr::new("security.capability");
    u.fs().setxattr(node, name, NET_RAW, 0, plyfs::overlay::Caller::default()).expect("set");
    u.fs().prepare_writing(node, false, SetIds::Keep).expect("completed");
    assert_eq!(u.fs().getxattr(node, name).expect("kept"), NET_RAW);
    u.write("ping", 0, "X").expect("written");
    let node = u.node("ping").expect("there");
    assert!(u.fs().getxattr(node, name).is_err(), "a write drops them");
}

// S7, S20: the kernel marks a metadata copy that it renamed in its directory with the bare old name.
#[test]
fn a_metadata_copy_with_a_siblings_name_keeps_its_data_wherever_it_goes() {
    let mut u = Union::over("d/e d/e@metacopy= d/e@redirect=f d/f! d2/", &["d/f=0123456789"]);
    fs::OpenOptions::new().write(true).open(u.upper("d/e")).and_then(|f| f.set_len(10)).expect("size");
    u.reopen();
    assert_eq!(u.read("d/e"), Ok("0123456789".into()));
    u.link("d/e", "d2/linked").expect("linked");
    u.rename("d/e", "d2/b").expect("moved");
    assert_eq!(layers::attribute(&u.upper("d2/b"), "redirect"), Some("/d/f".into()));
    u.reopen();
    assert_eq!(u.tree(), words("d/ d2/ d2/b=0123456789 d2/linked=0123456789"));
}

// S20: an upper with metadata copies as a lower of the next mount.
#[test]
fn a_stack_of_metadata_copies_leads_to_the_data() {
    let dir = crate::harness::tempdir();
    let below = Union::at(dir, "", &["d/f=data"], |config| config.metacopy = true);
    below.chmod("d/f", 0o600).expect("changed");
    below.rename("d/f", "moved").expect("renamed");
    let (upper, lower) = (below.upper(""), below.lower(0, ""));
    let mut u = Union::with("", &["x"], |config| {
        config.metacopy = true;
        config.lowers.extend([upper, lower]);
    });
    assert_eq!(u.read("moved"), Ok("data".into()));
    u.chmod("moved", 0o640).expect("changed");
    u.rename("moved", "again").expect("renamed");
    u.reopen();
    assert_eq!(u.read("again"), Ok("data".into()));
    u.write("again", 0, "D").expect("written");
    assert_eq!(u.read("again"), Ok("Data".into()));
}

#[test]
fn a_metadata_copy_without_its_data_is_an_error_of_that_file_alone() {
    let u = Union::of(&["f f@metacopy= f@redirect=/gone g=1"]);
    assert_eq!(u.read("f"), Err(Errno::IO));
    assert_eq!(u.write("f", 0, "x"), Err(Errno::IO));
    assert_eq!(u.on_disk(), [""; 0], "S11");
    u.write("g", 0, "2").expect("S47");
}

#[test]
fn a_file_that_its_owner_may_not_read_is_copied_up() {
    if !privileged("reading what its mode forbids") {
        return;
    }
    let u = Union::of(&["f=1 f:0"]);
    u.write("f", 0, "2").expect("written");
    assert_eq!(u.read("f"), Ok("2".into()));
    assert_eq!(u.stat("f").expect("there").perm, 0);
}

// S11
#[test]
fn change_times_of_directories_do_not_tell_of_copy_ups_below_them() {
    let u = Union::of(&["d/e/f=1 d/e/g=2"]);
    let times = |path: &str| u.stat(path).map(|a| (a.mtime, a.ctime));
    let before = [times(""), times("d"), times("d/e")];
    u.chmod("d/e/f", 0o600).expect("copied up with the directories above");
    assert_eq!([times(""), times("d"), times("d/e")], before);
    u.write("d/e/g", 0, "3").expect("copied up");
    assert_eq!(times("d/e"), before[2]);
    u.chmod("d/e", 0o700).expect("a change of its own");
    assert!(times("d/e").expect("there").1 > before[2].expect("there").1);
}
