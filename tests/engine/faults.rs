//! Failures on the way: a full disk, no descriptors left, layers that change underneath.

use std::fs;

use plyfs::overlay::Changes;
use plyfs::sys::Errno;
use plyfs::sys::process::{Resource, getrlimit, setrlimit};

use crate::harness::{Mounted, Union, in_child, large_tempdir, privileged, words};
use crate::layers;

/// A union with its upper on a small file system of its own.
fn on_small_disk(lowers: &[&str]) -> Option<(Union, Mounted)> {
    if !privileged("mounting a tmpfs") {
        return None;
    }
    let disk = Mounted::apart("tmpfs", "size=512k,nr_inodes=64")?;
    layers::build(&disk.path, "upper/ work/");
    let u = Union::with("", lowers, |config| {
        (config.upper, config.work) = (Some(disk.path.join("upper")), Some(disk.path.join("work")));
        fs::write(config.lowers[0].join("big"), vec![b'x'; 2 << 20]).expect("a big file");
        fs::write(config.lowers[0].join("d/linked"), vec![b'y'; 2 << 20]).expect("a big file");
        fs::hard_link(config.lowers[0].join("d/linked"), config.lowers[0].join("other")).expect("a link");
    });
    Some((u, disk))
}

// S11
#[test]
fn a_full_disk_leaves_the_lower_visible_and_nothing_behind() {
    let Some((u, disk)) = on_small_disk(&["d/f=1"]) else { return };
    let free =
        || plyfs::sys::fs::fstatvfs(fs::File::open(&disk.path).expect("opened")).expect("known").f_bfree;
    u.chmod("d", 0o700).expect("there is room for this");
    let before = (free(), u.on_disk());
    for name in ["big", "d/linked", "other"] {
        let old = u.stat(name).expect("there");
        assert_eq!(u.write(name, 0, "new"), Err(Errno::NOSPC), "{name}");
        assert_eq!(u.chmod(name, 0o600).map(drop), Err(Errno::NOSPC), "{name}");
        assert_eq!(u.rename(name, "moved"), Err(Errno::NOSPC), "{name}");
        assert_eq!(u.link(name, "linked"), Err(Errno::NOSPC), "{name}");
        assert_eq!(u.stat(name), Ok(old), "{name}");
        assert!(u.read(name).is_ok_and(|content| content.len() == 2 << 20));
    }
    assert_eq!(u.leftovers(), [""; 0]);
    assert_eq!((free(), u.on_disk()), before);
    assert_eq!(fs::read_dir(disk.path.join("work/index")).expect("listed").count(), 0, "no index entry");
    assert_eq!(u.truncate("big", 0).map(|a| a.size), Ok(0), "cutting needs no room");
    assert_eq!(u.unlink("other"), Err(Errno::NOSPC), "the count of its links cannot be kept");
    assert_eq!(u.nlink("d/linked"), 2);
    u.write("d/f", 0, "2").expect("S47");
    drop(u);
}

// S11
#[test]
fn a_disk_without_inodes_leaves_nothing_half_made() {
    let Some((u, _disk)) = on_small_disk(&["d/f=1 w! e/x"]) else { return };
    let mut made = 0;
    while u.create(&format!("fill{made}"), "").is_ok() {
        made += 1;
        assert!(made < 100, "the disk never fills");
    }
    let before = u.tree();
    for name in ["n", "w", "d/n"] {
        assert_eq!(u.create(name, ""), Err(Errno::NOSPC), "{name}");
        assert_eq!(u.mkdir(name), Err(Errno::NOSPC), "{name}");
        assert_eq!(u.symlink(name, "x"), Err(Errno::NOSPC), "{name}");
    }
    assert_eq!(u.write("d/f", 0, "x"), Err(Errno::NOSPC));
    assert_eq!(u.rename("e", "g"), Err(Errno::NOSPC));
    assert_eq!(u.rename("d/f", "g"), Err(Errno::NOSPC));
    assert_eq!(u.tree(), before);
    assert_eq!(u.leftovers(), [""; 0]);
    u.unlink("fill0").expect("makes room");
    u.unlink("fill1").expect("makes room");
    u.unlink("fill2").expect("makes room");
    u.forget_all();
    u.write("d/f", 0, "2").expect("works again");
    assert_eq!(u.read("d/f"), Ok("2".into()));
    drop(u);
}

/// An operation to run when descriptors are short.
type Operation = (&'static str, fn(&Union) -> Result<(), Errno>);

const OPERATIONS: &[Operation] = &[
    ("write", |u| u.write("d/s/f", 0, "2")),
    ("chmod", |u| u.chmod("d/s/f", 0o600).map(drop)),
    ("chmod of a directory", |u| u.chmod("d/s", 0o700).map(drop)),
    ("create", |u| u.create("d/s/n", "")),
    ("mkdir over a whiteout", |u| u.mkdir("gone")),
    ("unlink", |u| u.unlink("d/s/f")),
    ("unlink of one of two names", |u| u.unlink("h")),
    ("write to one of two names", |u| u.write("d/h2", 0, "2")),
    ("rmdir", |u| u.rmdir("d/e")),
    ("rename of a file", |u| u.rename("d/s/f", "g")),
    ("rename of a directory", |u| u.rename("d/s", "s")),
    ("exchange", |u| u.exchange("d/s", "m")),
    ("link", |u| u.link("d/s/f", "g")),
    ("symlink", |u| u.symlink("d/l", "x")),
    ("setxattr", |u| u.setxattr("d/s/f", "user.x", "1")),
    ("owner", |u| {
        let own = Some(crate::harness::caller().uid);
        u.setattr("d/s/f", Changes { uid: own, ..Changes::default() }).map(drop)
    }),
    ("list", |u| u.fs().list(u.node("d/s")?, 0, |_| true).map_err(|e| e.errno())),
    ("read", |u| u.read("d/s/f").map(drop)),
];

// S11, S46
#[test]
fn without_descriptors_operations_fail_whole_or_work() {
    in_child("faults::without_descriptors_operations_fail_whole_or_work", || {
        for (name, operation) in OPERATIONS {
            let mut failures = 0;
            for spare in 0..12 {
                let lower = "d/s/f=1 d/e/ gone h=1 d/h2~h";
                let mut u = Union::at(large_tempdir(), "gone! m/x", &[lower], |_| {});
                let before = u.tree();
                u.reopen();
                let result = with_spare_descriptors(spare, || operation(&u));
                match result {
                    Err(errno) => {
                        assert_eq!(errno, Errno::MFILE, "{name} with {spare}");
                        assert_eq!(u.tree(), before, "{name} with {spare} failed but changed something");
                        failures += 1;
                    }
                    Ok(()) => {
                        let now = u.tree();
                        u.reopen();
                        assert_eq!(u.tree(), now, "{name} with {spare}");
                    }
                }
                assert_eq!(u.leftovers(), [""; 0], "{name} with {spare}");
                assert_eq!(operation(&u).err().filter(|e| *e == Errno::MFILE), None, "{name} works again");
            }
            assert!(failures < 12, "{name} needs more than 12 descriptors");
        }
    });
}

/// Runs `body` with room for a few more descriptors than are open.
fn with_spare_descriptors<T>(spare: u64, body: impl FnOnce() -> T) -> T {
    let highest = open_descriptors().into_iter().max().expect("some are open");
    let limit = getrlimit(Resource::Nofile);
    let mut low = limit;
    low.current = Some(highest + 1 + spare);
    setrlimit(Resource::Nofile, low).expect("lowered");
    let result = body();
    setrlimit(Resource::Nofile, limit).expect("raised");
    result
}

/// The numbers of the open descriptors, without the one that lists them.
pub fn open_descriptors() -> Vec<u64> {
    let entries = fs::read_dir("/proc/self/fd").expect("/proc");
    let numbers =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().parse().expect("a number"));
    let mut numbers: Vec<u64> = numbers.collect();
    numbers.pop();
    numbers
}

// S3
#[test]
fn a_lower_that_changes_underneath_gives_errors_but_no_crash() {
    let mut u = Union::of(&["d/f=1 d/g=2 e/h=3 t=4", "d/k=5"]);
    let nodes: Vec<u64> =
        ["d/f", "d/g", "e/h", "t", "d/k"].iter().map(|p| u.node(p).expect("there")).collect();
    u.tree();
    fs::remove_file(u.lower(0, "d/f")).expect("removed");
    fs::remove_file(u.lower(0, "d/g")).expect("removed");
    fs::create_dir(u.lower(0, "d/g")).expect("a directory in place of a file");
    fs::remove_dir_all(u.lower(0, "e")).expect("removed");
    fs::write(u.lower(0, "t"), "longer than before").expect("written");
    u.lowers_changed();
    for node in nodes {
        let mut buffer = [0; 32];
        let _any = u.fs().getattr(node);
        let _any = u.fs().read(node, 0, &mut buffer);
        let _any = u.fs().write(node, 0, b"x", plyfs::overlay::SetIds::Keep);
        let _any = u.fs().listxattr(node, plyfs::overlay::Caller::default());
        let _any = u.fs().list(node, 0, |_| true);
    }
    for path in ["d/f", "d/g", "e/h", "e", "t"] {
        let _any = u.chmod(path, 0o700);
        let _any = u.rename(path, &format!("moved{}", path.len()));
        let _any = u.unlink(path);
    }
    u.create("new", "works").expect("other files are not affected");
    u.reopen();
    u.tree();
    assert_eq!(u.read("new"), Ok("works".into()));
}

// S3, S47
#[test]
fn damaged_marks_are_errors_of_their_file_alone() {
    let mut u = Union::of(&[
        "ok=1 bad/x bad@redirect=../.. odd odd@origin=zz odd@nlink=Q+ d/ d@opaque=maybe d@impure=x",
    ]);
    assert_eq!(u.names(""), ["bad", "d", "odd", "ok"]);
    assert_eq!(u.names("bad"), ["x"]);
    u.rename("bad", "good").expect("renamed as any other");
    u.unlink("good/x").expect("removed");
    u.rmdir("good").expect("removed");
    u.write("odd", 0, "x").expect("a broken origin is none");
    u.create("d/n", "").expect("made");
    u.reopen();
    assert_eq!(u.read("odd"), Ok("x".into()));
    assert_eq!(u.read("ok"), Ok("1".into()));
}

// S3
#[test]
fn hostile_record_of_an_owner_counts_as_none() {
    let u = Union::with("", &["f=1 f@user.containers.override_stat=rm:-rf:/ f:640"], |config| {
        config.xattr_permissions = plyfs::overlay::XattrPermissions::User;
    });
    assert_eq!(u.stat("f").map(|a| a.perm), Ok(0o640));
    u.chmod("f", 0o600).expect("changed");
    assert_eq!(u.tree(), words("f=1"));
}
