//! The lines of `plyfs diff`.

use crate::tree::{Layers, privileged, set_mtime};

#[test]
fn an_empty_upper_changes_nothing() {
    let t = Layers::new();
    t.lower.file("etc/passwd", "x");
    t.settle();
    assert!(t.diff().is_empty());
}

#[test]
fn added_changed_deleted_with_their_directories() {
    let t = Layers::new();
    t.base.file("etc/passwd", "old").file("etc/gone", "x").dir("usr/share/doc");
    t.lower.file("var/log", "x");
    t.upper
        .file("etc/passwd", "new")
        .whiteout("etc/gone")
        .file("usr/share/doc/new/file", "x")
        .file("top", "x");
    t.settle();
    let lines = [
        "C /etc",
        "D /etc/gone",
        "C /etc/passwd",
        "A /top",
        "C /usr",
        "C /usr/share",
        "C /usr/share/doc",
        "A /usr/share/doc/new",
        "A /usr/share/doc/new/file",
    ];
    assert_eq!(t.diff(), lines);
}

#[test]
fn lines_are_sorted_by_path_bytes() {
    let t = Layers::new();
    t.upper.file("a/b", "").file("a-b", "").file("a.b", "").file("a0", "");
    t.settle();
    assert_eq!(t.diff(), ["A /a", "A /a-b", "A /a.b", "A /a/b", "A /a0"]);
}

#[test]
fn a_directory_that_differs_in_nothing_is_left_out() {
    let t = Layers::new();
    t.lower.dir("same/deep").dir("mode").dir("time").dir("attribute");
    t.upper.dir("same/deep").dir("mode").dir("time").dir("attribute").xattr("attribute", "user.a", "b");
    t.upper.mode("mode", 0o700);
    t.settle();
    set_mtime(&t.upper.root.join("time"), 5, 0);
    assert_eq!(t.diff(), ["C /attribute", "C /mode", "C /time"]);
}

#[test]
fn a_copied_up_file_counts_as_changed() {
    let t = Layers::new();
    t.lower.file("d/f", "same");
    t.upper.file("d/f", "same").mark("d/f", "origin", "x");
    t.settle();
    assert_eq!(t.diff(), ["C /d", "C /d/f"]);
}

#[test]
fn every_form_of_whiteout_deletes() {
    let t = Layers::new();
    t.lower.file("d/device", "").file("d/file", "").file("d/attribute", "").file("d/kept", "");
    t.upper.whiteout("d/device").file("d/.wh.file", "").file("d/attribute", "").file("d/kept", "");
    t.upper.mark("d", "opaque", "x").mark("d/attribute", "whiteout", "y");
    t.settle();
    assert_eq!(t.diff(), ["C /d", "D /d/attribute", "D /d/device", "D /d/file", "C /d/kept"]);
}

#[test]
fn the_whiteout_attribute_means_nothing_elsewhere() {
    let t = Layers::new();
    t.lower.file("d/empty", "").file("x/full", "");
    t.upper.file("d/empty", "").mark("d/empty", "whiteout", "y");
    t.upper.file("x/full", "data").mark("x/full", "whiteout", "y").mark("x", "opaque", "x");
    t.settle();
    assert_eq!(t.diff(), ["C /d", "C /d/empty", "C /x", "C /x/full"]);
}

#[test]
fn a_whiteout_of_nothing_is_no_change() {
    let t = Layers::new();
    t.lower.file("d/f", "").whiteout("d/hidden").file("d/.wh.too", "");
    t.base.file("d/hidden", "").file("d/too", "");
    t.upper.whiteout("d/never").whiteout("d/hidden").whiteout("d/too");
    t.settle();
    assert!(t.diff().is_empty());
}

#[test]
fn every_opaque_mark_replaces_the_directory() {
    for mark in ["user.overlay.opaque", "user.fuseoverlayfs.opaque", "trusted.overlay.opaque", "file"] {
        if mark.starts_with("trusted") && !privileged("trusted.overlay.opaque") {
            continue;
        }
        let t = Layers::new();
        t.lower.file("d/gone", "").file("d/again", "").file("d/sub/deep", "");
        t.upper.file("d/again", "").file("d/new", "");
        match mark {
            "file" => t.upper.file("d/.wh..wh..opq", ""),
            name => t.upper.xattr("d", name, "y"),
        };
        t.settle();
        assert_eq!(t.diff(), ["C /d", "C /d/again", "D /d/gone", "A /d/new", "D /d/sub"], "{mark}");
    }
}

#[test]
fn opaque_marks_and_whiteouts_inside_the_lowers_count() {
    let t = Layers::new();
    t.base.file("d/base", "").file("e/base", "").file("f/g/base", "");
    t.lower
        .file("d/lower", "")
        .mark("d", "opaque", "y")
        .file("e/.wh..wh..opq", "")
        .dir("f")
        .file("f/.wh.g", "");
    t.upper.file("d/base", "").file("e/base", "").file("f/g/base", "");
    t.settle();
    let lines = ["C /d", "A /d/base", "C /e", "A /e/base", "C /f", "A /f/g", "A /f/g/base"];
    assert_eq!(t.diff(), lines);
}

#[test]
fn types_that_change() {
    let t = Layers::new();
    t.lower.file("file-to-dir", "").file("dir-to-file/child", "").file("file-to-link", "");
    t.upper.file("file-to-dir/child", "").file("dir-to-file", "").symlink("file-to-link", "x");
    t.settle();
    assert_eq!(t.diff(), ["C /dir-to-file", "C /file-to-dir", "A /file-to-dir/child", "C /file-to-link"]);
}

#[test]
fn a_renamed_directory_is_deleted_and_added_with_its_content() {
    let t = Layers::new();
    t.base.file("p/old/base", "").file("p/old/sub/deep", "");
    t.lower.file("p/old/lower", "").file("p/old/gone", "");
    t.upper.whiteout("p/old").dir("p/new").mark("p/new", "redirect", "old").whiteout("p/new/gone");
    t.upper.file("p/new/added", "");
    t.settle();
    let lines = [
        "C /p",
        "A /p/new",
        "A /p/new/added",
        "A /p/new/base",
        "A /p/new/lower",
        "A /p/new/sub",
        "A /p/new/sub/deep",
        "D /p/old",
    ];
    assert_eq!(t.diff(), lines);
}

#[test]
fn a_directory_renamed_over_another_is_compared_with_it() {
    let t = Layers::new();
    t.lower.file("from/both", "").file("from/mine", "").file("to/both", "").file("to/yours", "");
    t.upper.whiteout("from").dir("to").mark("to", "redirect", "/from");
    t.settle();
    assert_eq!(t.diff(), ["D /from", "C /to", "C /to/both", "A /to/mine", "D /to/yours"]);
}

#[test]
fn redirects_inside_the_lowers_are_followed() {
    let t = Layers::new();
    t.base.file("a/one", "").file("a/two", "");
    t.lower.whiteout("a").dir("b").mark("b", "redirect", "/a");
    t.upper.file("b/one", "").file("b/three", "").whiteout("b/two");
    t.settle();
    assert_eq!(t.diff(), ["C /b", "C /b/one", "A /b/three", "D /b/two"]);
}

#[test]
fn metadata_copies_are_changes() {
    let t = Layers::new();
    t.lower.file("f", "data");
    t.upper.file("f", "").mark("f", "metacopy", "");
    t.settle();
    assert_eq!(t.diff(), ["C /f"]);
}

#[test]
fn reserved_names_are_no_files() {
    let t = Layers::new();
    t.upper.file(".wh.", "").file(".wh..wh.plnk", "").file(".wh..", "");
    t.settle();
    assert!(t.diff().is_empty());
}

#[test]
fn a_bad_mark_is_an_error_that_names_the_file() {
    let t = Layers::new();
    t.upper.dir("d").mark("d", "redirect", "../../etc");
    let error = plyfs::layer::diff::diff(&t.upper.root, &t.lowers(), None).expect_err("refused");
    let reason = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(error.to_string().ends_with("upper/d") && reason.starts_with("redirect"), "{error}: {reason}");
}
