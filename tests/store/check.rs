//! What `check` finds and `repair` mends.

use std::fs;

use plyfs::oci::digest::Digest;
use plyfs::store::{Depth, Finding, Outcome, Severity};

use crate::harness::{Place, blob_path, findings, image, layer_path, list, names};

/// A store with the images `one` and `two`, which share a layer.
fn two_images() -> Place {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    image(&["base", "one"]).publish(&writer, "one").unwrap();
    image(&["base", "two"]).publish(&writer, "two").unwrap();
    drop(writer);
    place
}

/// Repairs all; returns how many findings were mended.
fn repair(place: &Place) -> usize {
    let found = findings(&place.store);
    let repaired = place.store.lock().unwrap().repair(&found);
    assert_eq!(repaired.len(), found.len());
    repaired.iter().filter(|r| matches!(r.outcome, Outcome::Mended(_))).count()
}

#[test]
fn missing_and_damaged_blobs_are_found_and_left() {
    let place = two_images();
    fs::write(blob_path(&place.root(), Digest::of(b"one")), "eno").unwrap();
    assert_eq!(place.store.check(Depth::Structure).unwrap(), [], "its size is right");
    let found = findings(&place.store);
    assert!(matches!(&found[..], [Finding::BlobDamaged { digest, .. }] if *digest == Digest::of(b"one")));
    fs::remove_file(blob_path(&place.root(), Digest::of(b"one"))).unwrap();
    assert_eq!(findings(&place.store), [Finding::BlobMissing { digest: Digest::of(b"one") }]);
    assert_eq!(repair(&place), 0);
    // Loading the image again mends it.
    image(&["base", "one"]).publish(&place.store.lock().unwrap(), "one").unwrap();
    place.assert_clean();
}

#[test]
fn an_image_without_manifest_is_named() {
    let place = two_images();
    fs::remove_file(blob_path(&place.root(), image(&["base", "one"]).manifest.digest)).unwrap();
    let found = findings(&place.store);
    assert!(
        found.iter().any(|f| matches!(f, Finding::Unreadable { wanted_by, .. } if wanted_by == "image one"))
    );
    assert!(
        found.iter().all(|f| f.severity() == Severity::Error),
        "what is unused cannot be told: {found:?}"
    );
}

#[test]
fn a_lost_index_is_made_anew_without_names() {
    for damage in [None, Some("{")] {
        let place = two_images();
        let index = place.root().join("index.json");
        match damage {
            None => fs::remove_file(&index).unwrap(),
            Some(bytes) => fs::write(&index, bytes).unwrap(),
        }
        assert_eq!(findings(&place.store).len(), 1);
        assert_eq!(repair(&place), 1);
        assert_eq!(place.store.index().unwrap().manifests.len(), 2);
        assert!(names(&place.store).is_empty());
        assert_eq!(place.root().join("index.json.damaged").exists(), damage.is_some());
        place.assert_clean();
    }
}

#[test]
fn layers_are_mended_from_their_images() {
    let place = two_images();
    let (one, two) = (image(&["base", "one"]), image(&["base", "two"]));
    fs::remove_dir_all(layer_path(&place.root(), one.chains[1])).unwrap();
    let other = fs::read(layer_path(&place.root(), one.chains[0]).join("layer.json")).unwrap();
    fs::write(layer_path(&place.root(), two.chains[1]).join("layer.json"), other).unwrap();
    fs::write(layer_path(&place.root(), one.chains[0]).join("layer.json"), "null").unwrap();
    assert_eq!(findings(&place.store).len(), 3);
    assert_eq!(repair(&place), 3);
    place.assert_clean();
    assert_eq!(place.store.layer(two.chains[1]).unwrap().unwrap(), two.metas[1]);
    assert!(place.store.diff_dir(one.chains[0]).is_some(), "its files stay");
}

#[test]
fn odd_things_in_the_place_of_layers_are_mended() {
    let place = two_images();
    let (one, two) = (image(&["base", "one"]), image(&["base", "two"]));
    for (chain_id, name) in [(one.chains[0], "diff"), (one.chains[1], "layer.json")] {
        let path = layer_path(&place.root(), chain_id).join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).unwrap()
        } else {
            fs::remove_file(&path).unwrap()
        }
        match name {
            "diff" => std::os::unix::fs::symlink("/", &path).unwrap(),
            _ => fs::create_dir(&path).unwrap(),
        }
    }
    let whole = layer_path(&place.root(), two.chains[1]);
    fs::remove_dir_all(&whole).unwrap();
    fs::write(&whole, "x").unwrap();
    assert_eq!(place.store.diff_dir(one.chains[0]), None);
    assert!(findings(&place.store).len() >= 3);
    repair(&place);
    place.assert_clean();
}

#[test]
fn what_is_not_used_is_told_and_removed() {
    let place = two_images();
    fs::write(blob_path(&place.root(), Digest::of(b"x")), "x").unwrap();
    let layer = layer_path(&place.root(), image(&["x"]).chains[0]);
    fs::create_dir_all(layer.join("diff/a/b")).unwrap();
    fs::create_dir_all(place.root().join("tmp/left/over")).unwrap();
    fs::write(place.root().join("blobs/sha256/notes"), "x").unwrap();
    let found = findings(&place.store);
    assert_eq!(found.len(), 4);
    assert!(found.iter().all(|f| f.severity() == Severity::Info), "{found:?}");
    assert_eq!(repair(&place), 3);
    let left = findings(&place.store);
    assert!(matches!(&left[..], [Finding::Stray { path }] if path.ends_with("notes")));
    assert!(list(&place.root(), "tmp").is_empty() && !layer.exists());
}

#[test]
fn containers_get_their_directories_back_but_never_an_upper() {
    let place = two_images();
    let writer = place.store.lock().unwrap();
    let web = writer.create_container(image(&["base", "one"]).container(Some("web"))).unwrap();
    let paths = place.store.container_paths(&web.id);
    fs::remove_dir(&paths.work).unwrap();
    fs::remove_dir(&paths.merged).unwrap();
    drop(writer);
    assert_eq!(repair(&place), 2);
    place.assert_clean();
    fs::remove_dir(&paths.upper).unwrap();
    assert_eq!(repair(&place), 0);
    assert!(!paths.upper.exists());
}

#[test]
fn findings_read_as_sentences() {
    let place = two_images();
    fs::write(place.root().join("index.json"), "{").unwrap();
    let text = findings(&place.store)[0].to_string();
    assert!(text.starts_with("index.json: ") && text.contains("EOF"), "{text}");
}
