//! Inode numbers: stable, and never shared.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;

use plyfs::overlay::ROOT_NODE;
use plyfs::sys::Errno;

use crate::harness::{Mounted, Union, privileged, tempdir};
use crate::layers;

/// All numbers of a tree by path; two files must not have the same one.
fn numbers(u: &Union) -> HashMap<String, u64> {
    let mut paths = HashMap::new();
    let mut seen: HashMap<u64, (String, u32)> = HashMap::new();
    let mut pending = vec![(ROOT_NODE, String::new())];
    while let Some((node, dir)) = pending.pop() {
        for (name, ino, kind) in u.lines_of(node) {
            let path = format!("{dir}{name}");
            let entry = u.lookup_at(node, &name).expect("listed");
            assert_eq!(entry.attr.ino, ino, "{path}");
            if let Some((other, links)) = seen.insert(ino, (path.clone(), entry.attr.nlink)) {
                assert!(links > 1, "{path} and {other} share a number");
            }
            if kind == plyfs::overlay::Kind::Directory {
                pending.push((entry.node, format!("{path}/")));
            }
            paths.insert(path, ino);
        }
    }
    paths
}

/// Without privilege only regular files and directories can hold the mark that keeps their number; what has its
/// own after a copy-up is left out then.
fn kept(mut numbers: HashMap<String, u64>) -> HashMap<String, u64> {
    if !plyfs::sys::fs::geteuid().is_root() {
        numbers.retain(|path, _| !["l", "l2", "p"].contains(&path.as_str()));
    }
    numbers
}

const LOWERS: &[&str] = &["d/a=1 d/s/b=2 l->x p| h=3 h2~h", "d/c=4 m/e=5"];

// S25
#[test]
fn a_number_stays_over_copy_up_forget_and_remount() {
    let mut u = Union::of(LOWERS);
    let before = numbers(&u);
    let real = u.lower(0, "d/a").metadata().expect("there").ino();
    assert_eq!(before["d/a"], real, "that of the file it came from");
    let before = kept(before);
    for path in ["d/a", "d/s/b", "d/s", "d", "p", "h", "d/c", "m/e"] {
        u.chmod(path, 0o700).expect("copied up");
        assert!(before.get(path).is_none_or(|ino| *ino == u.ino(path)), "{path} at once");
    }
    u.forget_all();
    assert_eq!(kept(numbers(&u)), before, "after it was forgotten");
    u.reopen();
    assert_eq!(kept(numbers(&u)), before, "after a remount");
}

// S25
#[test]
fn a_number_stays_over_renames_and_remount() {
    let mut u = Union::of(LOWERS);
    let before = numbers(&u);
    let moves = [("d/a", "m/a2"), ("m", "d/m2"), ("d", "dd"), ("l", "l2"), ("h", "dd/h3"), ("dd/s", "s")];
    for (old, new) in moves {
        u.rename(old, new).expect("renamed");
    }
    let expected = [
        ("dd", "d"),
        ("dd/m2", "m"),
        ("dd/m2/a2", "d/a"),
        ("dd/m2/e", "m/e"),
        ("dd/c", "d/c"),
        ("dd/h3", "h"),
        ("h2", "h"),
        ("l2", "l"),
        ("p", "p"),
        ("s", "d/s"),
        ("s/b", "d/s/b"),
    ];
    let expected: HashMap<String, u64> = expected.map(|(new, old)| (new.to_owned(), before[old])).into();
    let expected = kept(expected);
    assert_eq!(kept(numbers(&u)), expected);
    u.reopen();
    assert_eq!(kept(numbers(&u)), expected, "after a remount");
}

// S25
#[test]
fn a_number_stays_over_an_exchange() {
    let mut u = Union::of(LOWERS);
    let before = numbers(&u);
    u.exchange("d", "m").expect("exchanged");
    u.exchange("m/c", "h").expect("exchanged");
    for _ in 0..2 {
        let now = numbers(&u);
        assert_eq!((now["d"], now["m"]), (before["m"], before["d"]));
        assert_eq!((now["m/c"], now["h"], now["h2"]), (before["h"], before["d/c"], before["h"]));
        u.reopen();
    }
}

// S26
#[test]
fn a_new_file_never_gets_a_number_in_use() {
    let u = Union::of(LOWERS);
    for i in 0..50 {
        u.create(&format!("new{i}"), "x").expect("made");
        u.mkdir(&format!("d/dir{i}")).expect("made");
    }
    for path in ["d/a", "d/c", "m/e"] {
        u.write(path, 0, "!").expect("copied up");
    }
    numbers(&u);
    for i in 0..50 {
        u.unlink(&format!("new{i}")).expect("removed");
        u.create(&format!("again{i}"), "x").expect("made");
    }
    numbers(&u);
}

// S26
#[test]
fn layers_on_several_devices_are_told_apart() {
    if !privileged("mounting a tmpfs") {
        return;
    }
    let dir = tempdir();
    let Some(first) = Mounted::new(dir.path(), "first", "tmpfs", "size=4m") else { return };
    let Some(second) = Mounted::new(dir.path(), "second", "tmpfs", "size=4m") else { return };
    // Two fresh file systems of one kind number their files alike.
    layers::build(&first.path, "a=1 d/x=1 one/f=1");
    layers::build(&second.path, "b=2 d/y=2 two/f=2");
    let real = |mounted: &Mounted, name| mounted.path.join(name).metadata().expect("there").ino();
    assert_eq!(real(&first, "a"), real(&second, "b"), "the test needs alike numbers");
    let mut u = Union::with("", &["c=0"], |config| {
        config.lowers.extend([first.path.clone(), second.path.clone()]);
    });
    let before = numbers(&u);
    assert_ne!(before["a"], before["b"]);
    for path in ["a", "b", "d/x", "d/y", "one/f", "two/f", "c"] {
        u.write(path, 0, "!").expect("copied up");
        assert_eq!(u.ino(path), before[path], "{path}");
    }
    u.rename("one", "moved").expect("renamed");
    assert_eq!(u.ino("moved"), before["one"]);
    u.reopen();
    let after = numbers(&u);
    let stable = ["a", "b", "c", "d/x", "d/y"];
    let unstable: Vec<_> = stable.iter().filter(|path| after[**path] != before[**path]).collect();
    assert!(unstable.is_empty(), "{unstable:?} changed over a remount");
    drop(u);
}

// S26: an origin that some other program copied here, or that lies in two files, is not taken at its word.
#[test]
fn copied_origin_marks_give_no_two_files_one_number() {
    let mut u = Union::of(&["a=1 b=2"]);
    u.write("a", 0, "!").expect("copied up");
    let name = format!("{}origin", layers::namespace());
    let fd = std::os::fd::OwnedFd::from(std::fs::File::open(u.upper("a")).expect("opened"));
    let target = plyfs::sys::xattr::Target::Fd(std::os::fd::AsFd::as_fd(&fd));
    let origin = plyfs::sys::xattr::getxattr(target, name.as_ref()).expect("an origin");
    layers::build(&u.upper(""), "thief1=x thief2=y");
    for thief in ["thief1", "thief2"] {
        layers::set_attribute(&u.upper(thief), &name, &origin);
    }
    layers::set_attribute(&u.upper(""), &format!("{}impure", layers::namespace()), b"y");
    u.reopen();
    let held: Vec<u64> =
        ["a", "thief1", "thief2", "b"].iter().map(|name| u.node(name).expect("there")).collect();
    let mut inos: Vec<u64> = held.iter().map(|node| u.fs().getattr(*node).expect("held").ino).collect();
    inos.sort();
    inos.dedup();
    assert_eq!(inos.len(), 4);
    assert_eq!(u.read("thief1"), Ok("x".into()));
    assert_eq!(u.read("a"), Ok("!".into()));
}

// S25: a mark with another file system's UUID names no file here.
#[test]
fn an_origin_of_a_foreign_file_system_is_not_believed() {
    let mut u = Union::of(&["a=1 b=2"]);
    u.write("a", 0, "!").expect("copied up");
    let name = format!("{}origin", layers::namespace());
    let fd = std::os::fd::OwnedFd::from(std::fs::File::open(u.upper("a")).expect("opened"));
    let target = plyfs::sys::xattr::Target::Fd(std::os::fd::AsFd::as_fd(&fd));
    let mut origin = plyfs::sys::xattr::getxattr(target, name.as_ref()).expect("an origin");
    origin[5..21].copy_from_slice(b"another uuid....");
    layers::set_attribute(&u.upper("a"), &name, &origin);
    u.reopen();
    assert_eq!(u.ino("a"), u.upper("a").metadata().expect("there").ino());
}

// S46
#[test]
fn a_node_is_known_until_it_is_forgotten_and_found_again_after() {
    let u = Union::of(LOWERS);
    let first = u.lookup_at(ROOT_NODE, "d").expect("there");
    let second = u.lookup_at(ROOT_NODE, "d").expect("there");
    assert_eq!((first.node, first.attr), (second.node, second.attr));
    u.fs().forget(first.node, 1);
    assert!(u.fs().getattr(first.node).is_ok(), "one reference is left");
    // The harness gives back both; the first again is one too many, which must not hurt.
    u.forget_all();
    assert_eq!(u.fs().getattr(first.node).map_err(|e| e.errno()), Err(Errno::STALE));
    assert_eq!(u.ino("d"), first.attr.ino);
    assert_eq!(u.fs().lookup(999, "x".as_ref()).map(drop).map_err(|e| e.errno()), Err(Errno::STALE));
}

// S46: a child keeps its parents, which the kernel may forget first.
#[test]
fn a_child_outlives_the_lookups_of_its_parents() {
    let u = Union::of(LOWERS);
    let d = u.lookup_at(ROOT_NODE, "d").expect("there").node;
    let b = u.node("d/s/b").expect("there");
    u.fs().forget(d, 100);
    u.write_node(b, 0, "!").expect("copied up with its parents");
    assert_eq!(u.read("d/s/b"), Ok("!".into()));
    let d_again = u.lookup_at(ROOT_NODE, "d").expect("there").node;
    assert_eq!(d, d_again);
}
