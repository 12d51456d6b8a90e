//! Several threads in one union.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use plyfs::overlay::{NewFile, NewMode, ROOT_NODE, SetIds};

use crate::harness::{Union, caller, large_tempdir};

const MODE: NewMode = NewMode { mode: 0o644, umask: 0 };

#[test]
fn two_threads_copy_the_same_file_up() {
    let all: String = (0..100).map(|i| format!("d{i}/f=0123456789 ")).collect();
    let u = Union::at(large_tempdir(), "", &[&all], |_| {});
    for i in 0..100 {
        let node = u.node(&format!("d{i}/f")).expect("there");
        thread::scope(|scope| {
            for half in [0u64, 5] {
                let u = &u;
                scope.spawn(move || u.fs().write(node, half, b"abcde", SetIds::Keep).expect("written"));
            }
        });
        assert_eq!(u.read_node(node), Ok("abcdeabcde".into()));
    }
    assert_eq!(u.leftovers(), [""; 0]);
}

// S47
#[test]
fn threads_copy_different_files_and_their_parents_up() {
    let all: String = (0..200).map(|i| format!("a/b/c{}/f{i}=x ", i % 7)).collect();
    let u = Union::at(large_tempdir(), "", &[&all], |_| {});
    let nodes: Vec<u64> = (0..200).map(|i| u.node(&format!("a/b/c{}/f{i}", i % 7)).expect("there")).collect();
    thread::scope(|scope| {
        for part in nodes.chunks(50) {
            let u = &u;
            scope.spawn(move || {
                part.iter().for_each(|node| u.fs().write(*node, 0, b"y", SetIds::Keep).expect("written"));
            });
        }
    });
    assert!(nodes.iter().all(|node| u.read_node(*node) == Ok("y".into())));
}

// S26, S31: whoever looks a name up while its file is copied up finds the same file.
#[test]
fn a_lookup_during_a_copy_up_finds_the_same_file() {
    let all: String = (0..300).map(|i| format!("d/f{i}=old d/g{i}~d/f{i} ")).collect();
    let u = Union::at(large_tempdir(), "", &[&all], |_| {});
    let directory = u.node("d").expect("there");
    for i in 0..300 {
        let names = [format!("f{i}"), format!("g{i}")];
        let node = u.lookup_at(directory, &names[0]).expect("there").node;
        let done = AtomicBool::new(false);
        let mut found = Vec::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                u.fs().write(node, 0, b"new", SetIds::Keep).expect("written");
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                for name in &names {
                    found.push(u.lookup_at(directory, name).expect("there"));
                }
            }
        });
        assert!(
            found.iter().all(|entry| (entry.node, entry.attr.ino) == (node, found[0].attr.ino)),
            "{names:?}"
        );
        assert_eq!(u.read(&format!("d/g{i}")), Ok("new".into()));
    }
}

#[test]
fn one_of_many_makers_of_a_name_wins() {
    let u = Union::of(&["d/w"]);
    let directory = u.node("d").expect("there");
    u.unlink("d/w").expect("removed");
    for name in (0..100).map(|i| format!("n{i}")).chain(["w".to_owned()]) {
        let made: usize = thread::scope(|scope| {
            let make = || {
                let made = u.fs().create(directory, name.as_ref(), NewFile::Regular, MODE, caller());
                made.map(|entry| u.fs().forget(entry.node, 1)).is_ok()
            };
            let threads = [scope.spawn(make), scope.spawn(make)];
            threads.into_iter().map(|t| usize::from(t.join().expect("no panic"))).sum()
        });
        assert_eq!(made, 1, "{name}");
    }
}

// S34
#[test]
fn listings_lookups_and_changes_at_once() {
    let all: String = (0..300).map(|i| format!("d/s{i} ")).collect();
    let u = Union::over("d/up", &[&all]);
    let directory = u.node("d").expect("there");
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..300 {
                let name = format!("n{i}");
                let made =
                    u.fs().create(directory, name.as_ref(), NewFile::Regular, MODE, caller()).expect("made");
                u.fs().forget(made.node, 1);
                let target = format!("s{i}");
                let mode = plyfs::overlay::RenameMode::Replace;
                u.fs()
                    .rename((directory, name.as_ref()), (directory, target.as_ref()), mode)
                    .expect("renamed");
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            let names = u.lines_of(directory);
            let stays = names.iter().filter(|(name, ..)| name.starts_with('s')).count();
            assert_eq!(stays, 300, "each name that is only replaced shows once");
            for (name, ..) in names.iter().take(20) {
                let _either = u.lookup_at(directory, name);
            }
        }
    });
}

#[test]
fn directories_move_between_parents_from_two_threads() {
    let u = Union::of(&["a/x/f=1 b/y/g=2"]);
    let (a, b) = (u.node("a").expect("a"), u.node("b").expect("b"));
    let shuttle = |name: &'static str, from: u64, to: u64| {
        let mode = plyfs::overlay::RenameMode::Replace;
        for _ in 0..100 {
            u.fs().rename((from, name.as_ref()), (to, name.as_ref()), mode).expect("there");
            u.fs().rename((to, name.as_ref()), (from, name.as_ref()), mode).expect("back");
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| shuttle("x", a, b));
        scope.spawn(|| shuttle("y", b, a));
    });
    assert_eq!((u.read("a/x/f"), u.read("b/y/g")), (Ok("1".into()), Ok("2".into())));
    assert!(u.lookup_at(ROOT_NODE, "a").is_ok());
}
