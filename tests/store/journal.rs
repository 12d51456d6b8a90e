//! What a killed writer leaves in each state, made by hand, and what the next one makes of it.

use std::fs;

use crate::harness::{Place, blob_path, image, layer_path, list, names};

/// The journal that a writer of this image leaves.
fn journal(place: &Place, image: &crate::harness::Image) {
    let blobs: Vec<_> = image.blobs.iter().map(|b| plyfs::oci::digest::Digest::of(b)).collect();
    let json = serde_json::json!({ "blobs": blobs, "layers": image.chains });
    fs::write(place.root().join("tmp/journal-0123"), json.to_string()).unwrap();
}

/// A store with the image `kept`, and the parts of another one that was being published or removed.
fn interrupted() -> (Place, crate::harness::Image) {
    let place = Place::new();
    let app = image(&["base", "app"]);
    image(&["base", "kept"]).publish(&place.store.lock().unwrap(), "kept").unwrap();
    for bytes in &app.blobs {
        fs::write(blob_path(&place.root(), plyfs::oci::digest::Digest::of(bytes)), bytes).unwrap();
    }
    let layer = layer_path(&place.root(), app.chains[1]);
    fs::create_dir_all(layer.join("diff/etc")).unwrap();
    fs::write(layer.join("layer.json"), serde_json::to_vec(&app.metas[1]).unwrap()).unwrap();
    (place, app)
}

#[test]
fn parts_published_without_their_index_are_removed() {
    let (place, app) = interrupted();
    journal(&place, &app);
    fs::create_dir_all(place.root().join("tmp/layer-77/diff/deep")).unwrap();
    drop(place.store.lock().unwrap());
    place.assert_clean();
    assert_eq!(list(&place.root(), "layers").len(), 2);
    assert!(place.store.diff_dir(app.chains[0]).is_some(), "the shared layer stays");
    assert!(list(&place.root(), "tmp").is_empty());
}

#[test]
fn parts_whose_index_was_published_stay() {
    let (place, app) = interrupted();
    let writer = place.store.lock().unwrap();
    let mut index = place.store.index().unwrap();
    index.manifests.push(app.named("app"));
    writer.set_index(&index).unwrap();
    drop(writer);
    journal(&place, &app);
    drop(place.store.lock().unwrap());
    assert_eq!(names(&place.store), ["app", "kept"]);
    place.assert_clean();
}

#[test]
fn without_a_journal_nothing_is_removed_but_tmp() {
    let (place, app) = interrupted();
    fs::write(place.root().join("tmp/journal-0123"), "{").unwrap();
    drop(place.store.lock().unwrap());
    assert!(place.store.layer(app.chains[1]).unwrap().is_some());
    assert!(list(&place.root(), "tmp").is_empty());
}

#[test]
fn a_journal_removes_nothing_where_the_index_cannot_be_read() {
    let (place, app) = interrupted();
    journal(&place, &app);
    fs::write(place.root().join("index.json"), "{").unwrap();
    drop(place.store.lock().unwrap());
    assert!(place.store.layer(app.chains[1]).unwrap().is_some());
    assert_eq!(list(&place.root(), "blobs/sha256").len(), 7);
}
