//! Making and opening a store.

use std::os::unix::fs::PermissionsExt as _;

use plyfs::oci::digest::Digest;
use plyfs::store::{Store, StoreError};

use crate::harness::{Place, list, names};

#[test]
fn a_new_store_is_an_image_layout_for_its_owner_alone() {
    let place = Place::new();
    let mode = std::fs::metadata(place.root()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    let marker = std::fs::read_to_string(place.root().join("oci-layout")).unwrap();
    let marker: serde_json::Value = serde_json::from_str(&marker).unwrap();
    assert_eq!(marker["imageLayoutVersion"], "1.0.0");
    assert!(names(&place.store).is_empty());
    let all = list(&place.root(), ".");
    let expected = ["blobs", "containers", "index.json", "layers", "lock", "oci-layout", "tmp"];
    assert!(all.iter().map(String::as_str).eq(expected), "{all:?}");
    place.assert_clean();
}

#[test]
fn directories_with_other_things_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("letter"), "x").unwrap();
    assert!(matches!(Store::open(dir.path()), Err(StoreError::NotStore { .. })));
    assert_eq!(list(dir.path(), ".").len(), 1);
    let layout = tempfile::tempdir().unwrap();
    std::fs::write(layout.path().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    std::fs::write(layout.path().join("index.json"), "{}").unwrap();
    assert!(matches!(Store::open(layout.path()), Err(StoreError::NotStore { .. })));
}

#[test]
fn a_store_of_a_later_layout_is_refused() {
    let place = Place::new();
    std::fs::write(place.root().join("oci-layout"), r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap();
    assert!(matches!(Store::open(&place.root()), Err(StoreError::LayoutVersion { .. })));
}

#[test]
fn making_is_taken_up_where_a_killed_process_left_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lock"), "").unwrap();
    std::fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(names(&store).is_empty());
}

#[test]
fn another_users_store_is_refused() {
    let place = Place::new();
    if std::os::unix::fs::chown(place.root(), Some(1), None).is_err() {
        println!("SKIPPED: chown is for root");
        return;
    }
    assert!(matches!(Store::open(&place.root()), Err(StoreError::ForeignStore { owner: 1, .. })));
}

#[test]
fn roots_may_be_relative_or_long() {
    let dir = tempfile::tempdir().unwrap();
    let long = (0..12).fold(dir.path().to_owned(), |path, _| path.join("x".repeat(250)));
    let store = Store::open(&long).unwrap();
    let writer = store.lock().unwrap();
    let blob = writer.stage_bytes(b"x").unwrap();
    assert_eq!(blob.digest(), Digest::of(b"x"));
    let diff = writer.stage_dir().unwrap();
    assert!(diff.path().is_absolute() && diff.path().is_dir());
    // Up from where the tests run to the root, and down again.
    let depth = std::env::current_dir().unwrap().components().count();
    let up: std::path::PathBuf = std::iter::repeat_n("..", depth).collect();
    let relative = up.join(dir.path().strip_prefix("/").unwrap()).join("relative");
    let store = Store::open(&relative).unwrap();
    assert!(store.root().is_absolute());
    assert!(dir.path().join("relative/oci-layout").exists());
}

#[test]
fn links_inside_the_store_are_not_followed() {
    let place = Place::new();
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::remove_dir(place.root().join("layers")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), place.root().join("layers")).unwrap();
    assert!(Store::open(&place.root()).is_err());
    std::fs::remove_file(place.root().join("index.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.root().join("index.json")).unwrap();
    assert!(matches!(place.store.index(), Err(StoreError::NotRegular { .. })));
}

#[test]
fn several_threads_may_make_the_same_store() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a/b/store");
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| Store::open(&root).map(drop))).collect();
        all.into_iter().for_each(|one| one.join().unwrap().unwrap());
    });
    assert!(names(&Store::open(&root).unwrap()).is_empty());
}
