//! Several layers made one.

use plyfs::layer::pack::{PackOptions, Packed, squash};

use crate::tree::{Layers, entries, find};

fn squashed(t: &Layers, base: usize) -> (Packed, Vec<u8>) {
    let mut layers = vec![t.upper.root.clone()];
    layers.extend(t.lowers());
    let base = layers[layers.len() - base..].to_vec();
    let mut tar = Vec::new();
    let packed = squash(&layers, &base, &PackOptions::default(), &mut tar).expect("squashed");
    (packed, tar)
}

fn paths(tar: &[u8]) -> Vec<String> {
    entries(tar).into_iter().map(|entry| entry.path).collect()
}

#[test]
fn all_layers_make_a_flat_tree() {
    let t = Layers::new();
    t.base.file("a", "1").file("d/gone", "").file("d/kept", "base").file("o/hidden", "");
    t.lower.whiteout("d/gone").file("d/new", "2");
    t.upper.file("a", "3").file("o/shown", "").mark("o", "opaque", "y").whiteout("nothing");
    t.settle();
    let (packed, tar) = squashed(&t, 0);
    assert_eq!(paths(&tar), ["a", "d/", "d/kept", "d/new", "o/", "o/shown"]);
    assert_eq!(find(&entries(&tar), "a").data, b"3");
    assert_eq!(packed.entries, 6);
}

#[test]
fn layers_above_a_base_become_one_change() {
    let t = Layers::new();
    t.base.file("a", "1").file("d/gone", "").file("d/kept", "").file("o/hidden", "").file("same/x", "");
    t.lower.whiteout("d/gone").file("d/new", "2").file("later", "gone again");
    t.upper.file("a", "3").file("o/shown", "").mark("o", "opaque", "y").whiteout("later");
    t.settle();
    assert_eq!(
        paths(&squashed(&t, 1).1),
        ["a", "d/", "d/.wh.gone", "d/new", "o/", "o/.wh.hidden", "o/shown"]
    );
}

#[test]
fn nothing_above_the_base_makes_an_empty_change() {
    let t = Layers::new();
    t.base.file("a", "1").file("d/e/f", "");
    assert_eq!(squashed(&t, 3).0.entries, 0);
    assert_eq!(squashed(&t, 1).0.entries, 0);
}

#[test]
fn hard_links_and_replaced_kinds_stay_right() {
    let t = Layers::new();
    t.base.file("d/f", "").file("file", "");
    t.lower.file("x", "linked").file("d", "a file now");
    std::fs::hard_link(t.lower.root.join("x"), t.lower.root.join("y")).expect("linked");
    t.upper.dir("file").file("file/in", "");
    t.settle();
    let (_, tar) = squashed(&t, 1);
    assert_eq!(paths(&tar), ["d", "file/", "file/in", "x", "y"]);
    assert_eq!(find(&entries(&tar), "y").link.as_deref(), Some("x"));
}
