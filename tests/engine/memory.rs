//! Descriptors and memory stay bounded, whatever the size of the tree.

use std::fs;
use std::os::fd::OwnedFd;

use plyfs::overlay::{NewFile, NewMode, ROOT_NODE};
use plyfs::sys::Errno;
use plyfs::sys::fs::{self as sys, Mode};

use crate::faults::open_descriptors;
use crate::harness::{Union, caller, in_child, large_tempdir};

const MODE: NewMode = NewMode { mode: 0o755, umask: 0 };

// S46
#[test]
fn descriptors_stay_bounded_over_five_thousand_directories() {
    in_child("memory::descriptors_stay_bounded_over_five_thousand_directories", || {
        let lower: String = (0..2500).map(|i| format!("d{i}/f=x ")).collect();
        let u = Union::at(large_tempdir(), "", &[&lower], |_| {});
        for i in 0..2500 {
            u.mkdir(&format!("n{i}")).expect("made");
            u.create(&format!("n{i}/f"), "y").expect("made");
        }
        for prefix in ["d", "n"] {
            for i in 0..2500 {
                u.read(&format!("{prefix}{i}/f")).expect("read");
                u.names(&format!("{prefix}{i}"));
            }
        }
        for i in 0..2500 {
            u.write(&format!("d{i}/f"), 0, "z").expect("copied up");
        }
        let open = open_descriptors().len();
        assert!(open < 500, "{open} descriptors open while all 10000 inodes are held");
        u.forget_all();
        assert!(open_descriptors().len() <= open);
    });
}

// S46
#[test]
fn making_and_removing_leaks_no_descriptor() {
    in_child("memory::making_and_removing_leaks_no_descriptor", || {
        let u = Union::at(large_tempdir(), "", &["x d/f=1"], |_| {});
        let round = |i: usize| {
            u.mkdir("n").expect("made");
            u.create("n/f", "1").expect("made");
            u.read("n/f").expect("read");
            u.rename("n/f", "n/g").expect("renamed");
            u.unlink("n/g").expect("removed");
            u.rmdir("n").expect("removed");
            u.create("t", &i.to_string()).expect("made");
            u.rename("t", "target").expect("replaced");
            u.forget_all();
        };
        (0..10).for_each(round);
        let before = open_descriptors().len();
        (0..1000).for_each(round);
        let after = open_descriptors().len();
        assert!(after <= before + 4, "{before} descriptors before, {after} after");
    });
}

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

// S46
#[test]
fn memory_returns_when_the_kernel_forgets() {
    in_child("memory::memory_returns_when_the_kernel_forgets", || {
        let lower: String = (0..200).map(|i| format!("d{i}/ ")).collect();
        let u = Union::at(large_tempdir(), "", &[&lower], |config| {
            for i in 0..20_000 {
                fs::File::create(config.lowers[0].join(format!("d{}/f{i}", i % 200))).expect("a file");
            }
        });
        let round = || {
            for i in 0..20_000 {
                u.node(&format!("d{}/f{i}", i % 200)).expect("there");
            }
            let full = resident();
            u.forget_all();
            full
        };
        let first = round();
        let mut after = Vec::new();
        for _ in 0..4 {
            round();
            after.push(resident());
        }
        assert!(after[3] < first + (4 << 20), "resident: {first} when first full, then empty {after:?}");
        let growth = after[3].saturating_sub(after[0]);
        assert!(growth < 2 << 20, "resident after each round: {after:?}");
    });
}

// S46
#[test]
fn the_table_is_empty_after_all_was_forgotten() {
    let u = Union::of(&["d/s/f=1 a=2 b~a l->x", "d/g=3"]);
    u.tree();
    u.write("d/s/f", 0, "x").expect("copied up");
    u.write("b", 0, "x").expect("copied up");
    u.rename("d", "e").expect("renamed");
    u.unlink("l").expect("removed");
    let nodes: Vec<u64> =
        ["e", "e/s", "e/s/f", "e/g", "a"].iter().map(|p| u.node(p).expect("there")).collect();
    u.forget_all();
    for node in nodes {
        assert_eq!(u.fs().getattr(node).map(drop).map_err(|e| e.errno()), Err(Errno::STALE), "{node}");
    }
}

// S46
#[test]
fn a_tree_of_five_thousand_levels_is_made_and_removed() {
    in_child("memory::a_tree_of_five_thousand_levels_is_made_and_removed", || {
        let u = Union::at(large_tempdir(), "", &["x"], |_| {});
        let mut chain = vec![ROOT_NODE];
        for _ in 0..5000 {
            let parent = *chain.last().expect("the root at least");
            let made = u.fs().create(parent, "n".as_ref(), NewFile::Directory, MODE, caller()).expect("made");
            chain.push(made.node);
        }
        let deepest = *chain.last().expect("made");
        let file = u.fs().create(deepest, "f".as_ref(), NewFile::Regular, MODE, caller()).expect("made");
        u.write_node(file.node, 0, "deep").expect("written");
        u.fs().forget(file.node, 1);
        // Every level is forgotten, and found again from the top.
        chain.drain(1..).for_each(|node| u.fs().forget(node, 1));
        for _ in 0..5000 {
            let parent = *chain.last().expect("the root at least");
            chain.push(u.lookup_at(parent, "n").expect("there").node);
        }
        u.fs().unlink(*chain.last().expect("found"), "f".as_ref()).expect("removed");
        for parent in chain.iter().rev().skip(1) {
            u.fs().rmdir(*parent, "n".as_ref()).expect("removed");
        }
        assert!(open_descriptors().len() < 500);
        assert_eq!(u.on_disk(), [""; 0]);
    });
}

// S46
#[test]
fn a_file_two_thousand_levels_down_in_a_lower_is_copied_up() {
    in_child("memory::a_file_two_thousand_levels_down_in_a_lower_is_copied_up", || {
        let u = Union::at(large_tempdir(), "", &[""], |config| {
            let mut here = OwnedFd::from(fs::File::open(&config.lowers[0]).expect("opened"));
            for _ in 0..2000 {
                sys::mkdirat(&here, "n", Mode::from_raw_mode(0o755)).expect("made");
                here = sys::open_dir_path(&here, "n".as_ref()).expect("opened");
            }
            sys::symlinkat("target", &here, "l").expect("made");
        });
        let mut node = ROOT_NODE;
        for _ in 0..2000 {
            node = u.lookup_at(node, "n").expect("there").node;
        }
        let made = u
            .fs()
            .create(node, "f".as_ref(), NewFile::Regular, MODE, caller())
            .expect("all levels copied up");
        u.write_node(made.node, 0, "deep").expect("written");
        assert_eq!(u.read_node(made.node), Ok("deep".into()));
        u.fs().forget(made.node, 1);
        assert_eq!(u.lines_of(node).len(), 2);
        u.rename("n", "m").expect("the whole tree moves");
        assert!(u.lookup_at(node, "l").is_ok());
    });
}
