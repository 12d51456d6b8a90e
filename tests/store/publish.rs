//! Blobs, layers and the index: published together, read back verified.

use std::io::{Read as _, Write as _};

use plyfs::oci::descriptor::Descriptor;
use plyfs::oci::digest::Digest;
use plyfs::store::{JSON_LIMIT, Store, StoreError};

use crate::harness::{Place, blob_path, image, layer_path, list, names};

#[test]
fn what_is_published_is_read_back_by_a_store_opened_anew() {
    let place = Place::new();
    let app = image(&["base", "app"]);
    app.publish(&place.store.lock().unwrap(), "app:latest").unwrap();
    let store = Store::open(&place.root()).unwrap();
    assert_eq!(names(&store), ["app:latest"]);
    let entry = store.index().unwrap().manifests.remove(0);
    let manifest = store.manifest(&entry).unwrap();
    assert_eq!(manifest, app.parsed);
    assert_eq!(store.config(&manifest).unwrap().rootfs.diff_ids.len(), 2);
    assert_eq!(store.read_blob(&manifest.layers[1], 100).unwrap(), b"app");
    assert_eq!(store.layer(app.chains[1]).unwrap().unwrap(), app.metas[1]);
    let diff = store.diff_dir(app.chains[0]).unwrap();
    assert_eq!(std::fs::read_to_string(diff.join("etc/file")).unwrap(), app.chains[0].to_string());
    assert_eq!(store.diff_dir(app.chains[1]), None);
    assert!(list(&place.root(), "tmp").is_empty());
    place.assert_clean();
}

#[test]
fn a_layer_is_unpacked_later() {
    let place = Place::new();
    let app = image(&["base", "app"]);
    let writer = place.store.lock().unwrap();
    app.publish(&writer, "app").unwrap();
    let diff = writer.stage_dir().unwrap();
    std::fs::write(diff.path().join("f"), "x").unwrap();
    // A layer's root may deny its owner to write.
    std::fs::set_permissions(diff.path(), std::os::unix::fs::PermissionsExt::from_mode(0o555)).unwrap();
    let path = writer.unpacked(app.chains[1], diff).unwrap();
    assert_eq!(place.store.diff_dir(app.chains[1]), Some(path.clone()));
    assert_eq!(std::fs::read_to_string(path.join("f")).unwrap(), "x");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o555);
    let again = writer.unpacked(app.chains[1], writer.stage_dir().unwrap()).unwrap();
    assert!(again.join("f").exists(), "what is unpacked stays");
    let unknown = image(&["other"]).chains[0];
    let diff = writer.stage_dir().unwrap();
    assert!(matches!(writer.unpacked(unknown, diff), Err(StoreError::LayerMissing { .. })));
    drop(writer);
    place.assert_clean();
}

#[test]
fn a_layer_known_already_keeps_its_files_and_gets_them_where_it_has_none() {
    let place = Place::new();
    let app = image(&["base", "app"]);
    let writer = place.store.lock().unwrap();
    app.publish(&writer, "a").unwrap();
    let marker = layer_path(&place.root(), app.chains[0]).join("diff/marker");
    std::fs::write(&marker, "").unwrap();
    let mut transaction = writer.transaction();
    for meta in &app.metas {
        transaction.add_layer(meta.clone(), Some(writer.stage_dir().unwrap()));
        transaction.add_layer(meta.clone(), None);
    }
    transaction.publish(&place.store.index().unwrap()).unwrap();
    assert!(marker.exists());
    assert!(place.store.diff_dir(app.chains[1]).is_some());
    drop(writer);
    place.assert_clean();
}

#[test]
fn the_same_blob_again_heals_a_damaged_one() {
    let place = Place::new();
    let app = image(&["base"]);
    let writer = place.store.lock().unwrap();
    app.publish(&writer, "app").unwrap();
    std::fs::write(blob_path(&place.root(), Digest::of(b"base")), "evil").unwrap();
    app.publish(&writer, "app").unwrap();
    drop(writer);
    place.assert_clean();
}

#[test]
fn wrong_bytes_are_refused_before_anything_is_published() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    let stage = |bytes: &[u8], descriptor: &Descriptor| {
        let mut blob = writer.stage_blob().unwrap();
        blob.write_all(bytes).unwrap();
        blob.finish_expecting(descriptor).map(|blob| (blob.digest(), blob.size()))
    };
    let expected = Descriptor::of("x", b"good");
    assert_eq!(stage(b"good", &expected).unwrap(), (expected.digest, 4));
    assert!(matches!(stage(b"evil", &expected), Err(StoreError::BlobDigest { .. })));
    assert!(matches!(stage(b"longer", &expected), Err(StoreError::BlobSize { found: 6, .. })));
    assert!(list(&place.root(), "tmp").is_empty(), "what is dropped is removed");
}

#[test]
fn damage_is_noticed_while_reading() {
    let place = Place::new();
    let app = image(&["0123456789"]);
    app.publish(&place.store.lock().unwrap(), "app").unwrap();
    let layer = &app.parsed.layers[0];
    let path = blob_path(&place.root(), layer.digest);
    std::fs::write(&path, "012345678X").unwrap();
    let mut reader = place.store.open_blob(layer).unwrap();
    let mut bytes = [0; 9];
    reader.read_exact(&mut bytes).unwrap();
    for _ in 0..3 {
        let error = reader.read(&mut bytes).expect_err("the last byte is not delivered");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    }
    assert!(matches!(reader.finish(), Err(StoreError::BlobDigest { .. })));
    assert!(matches!(place.store.read_blob(layer, 10), Err(StoreError::BlobDigest { .. })));
    assert!(matches!(place.store.read_blob(layer, 9), Err(StoreError::TooLarge { .. })));
    std::fs::write(&path, "0123").unwrap();
    assert!(matches!(place.store.read_blob(layer, 10), Err(StoreError::BlobSize { found: 4, .. })));
    std::fs::remove_file(&path).unwrap();
    assert!(place.store.read_blob(layer, 10).is_err_and(|e| e.is_missing()));
    std::fs::create_dir(&path).unwrap();
    assert!(matches!(place.store.open_blob(layer), Err(StoreError::NotRegular { .. })));
}

#[test]
fn documents_that_are_too_long_or_no_json_are_refused() {
    let place = Place::new();
    let index = place.root().join("index.json");
    std::fs::write(&index, vec![b' '; JSON_LIMIT as usize + 1]).unwrap();
    assert!(matches!(place.store.index(), Err(StoreError::TooLarge { .. })));
    for bad in ["", "[]", "{", &"[".repeat(100_000), "{\"manifests\":[{\"digest\":\"sha256:../../etc\"}]}"] {
        std::fs::write(&index, bad).unwrap();
        assert!(matches!(place.store.index(), Err(StoreError::Json { .. })), "{bad:.40}");
    }
    std::fs::remove_file(&index).unwrap();
    assert!(matches!(place.store.index(), Err(StoreError::IndexMissing { .. })));
}

#[test]
fn the_same_index_gives_the_same_bytes() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    image(&["a", "b"]).publish(&writer, "app").unwrap();
    let bytes = std::fs::read(place.root().join("index.json")).unwrap();
    writer.set_index(&place.store.index().unwrap()).unwrap();
    assert_eq!(std::fs::read(place.root().join("index.json")).unwrap(), bytes);
}

#[test]
fn a_transaction_that_fails_leaves_nothing() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    image(&["kept"]).publish(&writer, "kept").unwrap();
    let app = image(&["base", "app"]);
    let mut transaction = writer.transaction();
    app.add_to(&writer, &mut transaction).unwrap();
    // A directory where the last blob is to be.
    let manifest = blob_path(&place.root(), app.manifest.digest);
    std::fs::create_dir(&manifest).unwrap();
    let mut index = place.store.index().unwrap();
    index.manifests.push(app.named("app"));
    assert!(transaction.publish(&index).is_err());
    assert_eq!(names(&place.store), ["kept"]);
    drop(writer);
    place.assert_clean();
    assert_eq!(list(&place.root(), "blobs/sha256").len(), 3);
}
