//! Listings, whole and while the directory changes.

use plyfs::overlay::Kind;

use crate::harness::{Union, words};

/// Lists a directory `step` entries at a time, with `between` run after each part; the names in their order.
fn list_in_steps(u: &Union, node: u64, step: usize, mut between: impl FnMut(&[String])) -> Vec<String> {
    let (mut names, mut position) = (Vec::new(), 0);
    loop {
        let mut part = Vec::new();
        let listed = u.fs().list(node, position, |line| {
            if part.len() == step {
                return false;
            }
            position = line.next;
            part.push(line.name.to_string_lossy().into_owned());
            true
        });
        listed.expect("listed");
        if part.is_empty() {
            return names;
        }
        part.retain(|name| name != "." && name != "..");
        between(&part);
        names.extend(part);
    }
}

/// The names that stay, each of which must show once.
fn assert_each_once(mut listed: Vec<String>, stays: impl Fn(&str) -> bool, count: usize) {
    listed.retain(|name| stays(name));
    let all = listed.len();
    listed.sort();
    listed.dedup();
    assert_eq!((all, listed.len()), (count, count), "shown, of them different");
}

/// `prefix0 … prefixN` in a directory.
fn files(dir: &str, prefix: &str, count: usize) -> String {
    (0..count).map(|i| format!("{dir}/{prefix}{i} ")).collect()
}

/// A pure-upper, a pure-lower and a merged directory `d` with 400 files `f…` each.
fn kinds() -> [Union; 3] {
    let all = files("d", "f", 400);
    let (half, other) = (files("d", "f", 200), (200..400).map(|i| format!("d/f{i} ")).collect::<String>());
    [Union::over(&all, &["x"]), Union::of(&[&all]), Union::over(&half, &[&other])]
}

#[test]
fn dot_and_dot_dot_come_first_with_the_right_numbers() {
    let u = Union::of(&["d/s/"]);
    for (path, own, parent) in [("d/s", "d/s", "d"), ("d", "d", ""), ("", "", "")] {
        let mut lines = Vec::new();
        let all = |line: plyfs::overlay::Line| {
            lines.push((line.name.to_string_lossy().into_owned(), line.ino, line.kind));
            true
        };
        u.fs().list(u.node(path).expect("there"), 0, all).expect("listed");
        assert_eq!(lines[0], (".".into(), u.ino(own), Kind::Directory));
        assert_eq!(lines[1], ("..".into(), u.ino(parent), Kind::Directory));
    }
}

#[test]
fn a_listing_in_parts_is_the_whole_listing() {
    for u in kinds() {
        let node = u.node("d").expect("there");
        for step in [1, 7, 256, 1000] {
            assert_each_once(list_in_steps(&u, node, step, |_| {}), |_| true, 400);
        }
    }
}

// S34
#[test]
fn removal_while_listing_skips_and_repeats_nothing() {
    for u in kinds() {
        let node = u.node("d").expect("there");
        let mut removed = 0;
        let listed = list_in_steps(&u, node, 10, |part| {
            for name in part.iter().filter(|name| name.ends_with(['1', '3', '5'])) {
                u.unlink(&format!("d/{name}")).expect("removed");
                removed += 1;
            }
        });
        assert_eq!(removed, 120);
        assert_each_once(listed, |name| name.starts_with('f'), 400);
        assert_eq!(u.names("d").len(), 280);
    }
}

// S34
#[test]
fn rm_of_everything_while_listing_leaves_nothing() {
    for mut u in kinds() {
        let node = u.node("d").expect("there");
        list_in_steps(&u, node, 33, |part| {
            part.iter().for_each(|name| u.unlink(&format!("d/{name}")).expect("removed"));
        });
        assert_eq!(u.names("d"), [""; 0]);
        u.rmdir("d").expect("empty");
        u.reopen();
        assert!(!u.exists("d"));
    }
}

// S34
#[test]
fn making_and_copying_up_while_listing_repeats_nothing() {
    for u in kinds() {
        let node = u.node("d").expect("there");
        let mut made = 0;
        let listed = list_in_steps(&u, node, 50, |part| {
            for name in part.iter().filter(|name| name.starts_with('f')).step_by(5) {
                u.chmod(&format!("d/{name}"), 0o600).expect("copied up");
                made += 1;
                u.create(&format!("d/n{made}"), "").expect("made");
            }
        });
        assert_each_once(listed, |name| name.starts_with('f'), 400);
    }
}

// S34: a name that another file takes over by a rename was there all the time.
#[test]
fn replacing_and_exchanging_while_listing_repeats_nothing() {
    for u in kinds() {
        let node = u.node("d").expect("there");
        let mut turn = 0;
        let listed = list_in_steps(&u, node, 50, |part| {
            let part: Vec<_> = part.iter().filter(|name| name.starts_with('f')).collect();
            turn += 1;
            for pair in part.chunks_exact(2).step_by(3) {
                u.exchange(&format!("d/{}", pair[0]), &format!("d/{}", pair[1])).expect("exchanged");
                let new = format!("d/.new{turn}");
                u.create(&new, "x").expect("made");
                u.rename(&new, &format!("d/{}", pair[0])).expect("replaced");
            }
        });
        // A real directory may move what is replaced; the union's own order must not.
        if u.fs().getattr(node).expect("there").nlink == 1 {
            assert_each_once(listed, |name| name.starts_with('f'), 400);
        }
    }
}

// S34: the lower's directory gets an upper part between two parts of its listing.
#[test]
fn a_pure_lower_directory_that_becomes_merged_is_listed_once() {
    let all = files("d", "f", 400);
    for full_listing_before in [false, true] {
        let u = Union::of(&[&all]);
        let node = u.node("d").expect("there");
        if full_listing_before {
            u.names("d");
        }
        let mut first = true;
        let listed = list_in_steps(&u, node, 100, |_| {
            if std::mem::take(&mut first) {
                u.create("d/new", "").expect("made: the directory is copied up");
                u.chmod("d/f330", 0o600).expect("copied up");
                u.unlink("d/f0").expect("removed");
            }
        });
        assert_each_once(listed, |name| name.starts_with('f') && name != "f0", 399);
    }
}

#[test]
fn types_are_listed_as_they_are() {
    let u = Union::over("u!", &["f d/ l->x p| u gone! keep"]);
    let mut lines: Vec<_> = u.lines("").into_iter().map(|(name, _, kind)| (name, kind)).collect();
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("d", Kind::Directory),
        ("f", Kind::File),
        ("keep", Kind::File),
        ("l", Kind::Symlink),
        ("p", Kind::Fifo),
    ];
    assert_eq!(lines, expected.map(|(name, kind)| (name.to_owned(), kind)));
}

#[test]
fn a_directory_full_of_whiteouts_lists_nothing() {
    let names: Vec<String> = (0..600).map(|i| format!("n{i}")).collect();
    let whiteouts: String = names.iter().map(|n| format!("d/{n}! ")).collect();
    let u = Union::with(&format!("{whiteouts} d/@opaque=y"), &["d/x"], |_| {});
    assert_eq!(u.names("d"), [""; 0]);
    let u = Union::of(&[&format!("{whiteouts} d/last"), "d/n5"]);
    assert_eq!(u.tree(), words("d/ d/last="));
    let u = Union::with("", &[&format!("{whiteouts} d/last")], |c| (c.upper, c.work) = (None, None));
    assert_eq!(u.tree(), words("d/ d/last="), "one layer alone, listed without an index");
}

#[test]
fn listing_what_is_no_directory_is_refused() {
    let u = Union::of(&["f"]);
    let listed = u.fs().list(u.node("f").expect("there"), 0, |_| true);
    assert_eq!(listed.map_err(|e| e.errno()), Err(plyfs::sys::Errno::NOTDIR));
    let missing = u.fs().lookup_listed(plyfs::overlay::ROOT_NODE, "none".as_ref());
    assert!(missing.expect("no error").is_none());
}
