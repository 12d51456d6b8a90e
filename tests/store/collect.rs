//! Removing images: what another image or a container needs stays.

use plyfs::oci::descriptor::Descriptor;
use plyfs::oci::manifest::Index;
use plyfs::oci::media_type;
use plyfs::store::StoreError;

use crate::harness::{Place, blob_path, image, list, names, remove, without};

#[test]
fn shared_layers_stay_until_the_last_image_goes() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    let (one, two) = (image(&["base", "one"]), image(&["base", "two"]));
    one.publish(&writer, "one").unwrap();
    two.publish(&writer, "two").unwrap();
    assert_eq!(list(&place.root(), "layers").len(), 3);
    let index = without(&place.store.index().unwrap(), "one");
    let plan = place.store.garbage(&index).unwrap();
    assert_eq!(plan.layers, [one.chains[1]]);
    assert_eq!(list(&place.root(), "layers").len(), 3, "a plan changes nothing");
    let freed = writer.set_index_and_collect(&index).unwrap();
    assert_eq!((freed.layers, freed.blobs.len()), (vec![one.chains[1]], 3));
    assert!(place.store.diff_dir(two.chains[0]).is_some());
    remove(&writer, "two");
    assert!(list(&place.root(), "layers").is_empty() && list(&place.root(), "blobs/sha256").is_empty());
    drop(writer);
    place.assert_clean();
}

#[test]
fn a_second_name_keeps_the_image_and_an_index_set_alone_frees_nothing() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    let app = image(&["base"]);
    app.publish(&writer, "a").unwrap();
    app.publish(&writer, "b").unwrap();
    remove(&writer, "a");
    assert_eq!(names(&place.store), ["b"]);
    assert_eq!(place.store.manifest(&app.manifest).unwrap(), app.parsed);
    writer.set_index(&Index::new(Vec::new())).unwrap();
    assert_eq!(list(&place.root(), "blobs/sha256").len(), 3);
    assert_eq!(writer.collect().unwrap().blobs.len(), 3);
    assert_eq!(writer.collect().unwrap().blobs.len(), 0);
}

#[test]
fn a_containers_image_stays_without_a_name() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    let app = image(&["base", "app"]);
    app.publish(&writer, "app").unwrap();
    let container = writer.create_container(app.container(Some("web"))).unwrap();
    remove(&writer, "app");
    assert!(place.store.diff_dir(app.chains[0]).is_some());
    assert_eq!(place.store.manifest(&container.image.manifest).unwrap(), app.parsed);
    writer.remove_container(&container).unwrap();
    assert_eq!(writer.collect().unwrap().layers.len(), 2);
    drop(writer);
    place.assert_clean();
}

#[test]
fn nothing_is_freed_where_a_manifest_cannot_be_read() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    let (one, two) = (image(&["base", "one"]), image(&["base", "two"]));
    one.publish(&writer, "one").unwrap();
    two.publish(&writer, "two").unwrap();
    std::fs::write(blob_path(&place.root(), two.manifest.digest), "damaged").unwrap();
    let index = without(&place.store.index().unwrap(), "one");
    assert!(matches!(writer.set_index_and_collect(&index), Err(StoreError::Uncertain(_))));
    assert_eq!(names(&place.store), ["two"]);
    assert_eq!(list(&place.root(), "layers").len(), 3);
    // Once the damaged image is removed, the rest can be told again.
    remove(&writer, "two");
    assert!(list(&place.root(), "blobs/sha256").is_empty());
}

#[test]
fn nested_indexes_keep_what_they_have_and_may_lack_other_platforms() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    let (here, elsewhere) = (image(&["here"]), image(&["elsewhere"]));
    let nested = serde_json::to_vec(&Index::new(vec![here.manifest.clone(), elsewhere.manifest])).unwrap();
    let mut entry = Descriptor::of(media_type::INDEX, &nested);
    entry.annotations = here.named("multi").annotations;
    let mut transaction = writer.transaction();
    here.add_to(&writer, &mut transaction).unwrap();
    transaction.add_blob(writer.stage_bytes(&nested).unwrap());
    transaction.publish(&Index::new(vec![entry])).unwrap();
    assert_eq!(writer.collect().unwrap().blobs, []);
    assert_eq!(list(&place.root(), "blobs/sha256").len(), 4);
    drop(writer);
    place.assert_clean();
}

#[test]
fn a_directory_in_the_place_of_a_blob_is_removed_as_well() {
    let place = Place::new();
    let odd = blob_path(&place.root(), image(&["base"]).manifest.digest);
    std::fs::create_dir_all(odd.join("a/b")).unwrap();
    assert_eq!(place.store.lock().unwrap().collect().unwrap().blobs.len(), 1);
    place.assert_clean();
}

#[test]
fn a_layer_keeps_the_blob_it_is_unpacked_from() {
    let place = Place::new();
    let writer = place.store.lock().unwrap();
    let first = image(&["base"]);
    first.publish(&writer, "first").unwrap();
    // The same layer, brought by another blob.
    let mut second = image(&["base"]);
    second.parsed.layers[0] = Descriptor::of("application/vnd.oci.image.layer.v1.tar+zstd", b"packed");
    let manifest = serde_json::to_vec(&second.parsed).unwrap();
    second.manifest = Descriptor::of(media_type::MANIFEST, &manifest);
    second.blobs = vec![b"packed".to_vec(), first.blobs[1].clone(), manifest];
    second.publish(&writer, "second").unwrap();
    remove(&writer, "first");
    let known = place.store.layer(second.chains[0]).unwrap().unwrap();
    assert_eq!(place.store.read_blob(&known.blob, 100).unwrap(), b"base");
    drop(writer);
    place.assert_clean();
}
