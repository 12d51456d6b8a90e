//! Import, commit and flatten: layers, configuration, history.

use std::fs;

use plyfs::image::change::parse_all;
use plyfs::image::commit::{Clamp, CommitOptions};
use plyfs::image::flatten::{FlattenOptions, flatten};
use plyfs::image::history::history;
use plyfs::oci::media_type::Compression;

use crate::harness::{CREATED, Images, created, plain_commit, tar_of};

#[test]
fn an_import_is_an_image_of_one_layer() {
    let images = Images::new();
    let image = images.import("base", &["etc/", "etc/a=1"], &["CMD [\"/bin/sh\"]", "ENV A=b"]);
    assert_eq!(image.names, ["base:latest"]);
    assert_eq!(images.tree(&image), ["etc/", "etc/a=1"]);
    let config = image.config(&images.store).expect("a configuration");
    assert_eq!(config.config.cmd, Some(vec!["/bin/sh".to_owned()]));
    assert_eq!(config.config.env, ["A=b"]);
    assert_eq!(config.created.as_deref(), Some(CREATED));
    assert_eq!(config.history.len(), 1);
    assert_eq!(config.history[0].comment.as_deref(), Some("Imported from test"));
    assert_eq!(images.findings(), [""; 0]);
}

#[test]
fn a_commit_is_a_layer_on_the_containers_image() {
    let images = Images::new();
    let base = images.import("base", &["etc/", "etc/a=1", "etc/b=2"], &["ENV A=b"]);
    let container = images.container(&base, "web");
    images.write(&container, "etc/c", "3");
    images.write(&container, "etc/.wh.a", "");
    let options = CommitOptions {
        author: Some("Ann".to_owned()),
        message: Some("why".to_owned()),
        changes: parse_all(&["ENTRYPOINT [\"/x\"]", "LABEL l=1"]).expect("changes"),
        ..plain_commit()
    };
    let image = images.commit(&container, "app:1", &options);
    assert_eq!(images.tree(&image), ["etc/", "etc/b=2", "etc/c=3"]);
    let config = image.config(&images.store).expect("a configuration");
    assert_eq!(config.config.env, ["A=b"], "the container's configuration carries over");
    assert_eq!(config.config.entrypoint, Some(vec!["/x".to_owned()]));
    assert_eq!(config.author.as_deref(), Some("Ann"));
    let step = config.history.last().expect("a step");
    assert_eq!((step.comment.as_deref(), step.author.as_deref()), (Some("why"), Some("Ann")));
    assert_eq!(image.manifest.layers.len(), 2);
    assert_eq!(image.manifest.layers[0], base.manifest.layers[0], "the base's layer is shared");

    // The layer knows itself, its parent, and the configuration that it was made with.
    let chains = plyfs::oci::digest::ChainId::of_layers(&config.rootfs.diff_ids);
    let meta = images.store.layer(chains[1]).expect("read").expect("known");
    assert_eq!((meta.chain_id, meta.parent), (chains[1], Some(chains[0])));
    assert_eq!(meta.config, Some(config.config));
    assert_eq!(images.findings(), [""; 0]);
}

#[test]
fn no_change_makes_a_step_and_no_layer() {
    let images = Images::new();
    let base = images.import("base", &["a=1"], &[]);
    let container = images.container(&base, "web");
    let options = CommitOptions { changes: parse_all(&["CMD x"]).expect("changes"), ..plain_commit() };
    let image = images.commit(&container, "app", &options);
    assert_eq!(image.manifest.layers, base.manifest.layers);
    let config = image.config(&images.store).expect("a configuration");
    assert!(config.history.last().expect("a step").empty_layer);
    assert_ne!(image.id(), base.id());
    assert_eq!(images.findings(), [""; 0]);
}

#[test]
fn equal_changes_make_equal_layers_whatever_the_store_and_the_order() {
    let make = |order: [&str; 2]| {
        let images = Images::new();
        let base = images.import("base", &["etc/", "etc/a=1"], &[]);
        let container = images.container(&base, &order[0][4..]);
        for path in order {
            images.write(&container, path, path);
        }
        let options = CommitOptions { clamp: Clamp::Later, ..plain_commit() };
        images.commit(&container, "app", &options).descriptor
    };
    assert_eq!(make(["etc/x1", "etc/y1"]), make(["etc/y1", "etc/x1"]));
}

#[test]
fn every_compression_makes_the_same_layer() {
    let images = Images::new();
    let base = images.import("base", &["a=1"], &[]);
    let container = images.container(&base, "web");
    images.write(&container, "b", &"text ".repeat(100_000));
    let made = [Compression::None, Compression::Gzip, Compression::Zstd].map(|compression| {
        let image = images.commit(&container, "app", &CommitOptions { compression, ..plain_commit() });
        assert_eq!(image.manifest.layers[1].media_type, compression.layer_media_type());
        image.config(&images.store).expect("a configuration").rootfs.diff_ids
    });
    assert_eq!(made[0], made[1]);
    assert_eq!(made[0], made[2]);
    assert_eq!(images.findings(), [""; 0]);
}

#[test]
fn flattening_keeps_the_tree_and_the_configuration() {
    let images = Images::new();
    let base = images.import("base", &["etc/", "etc/a=1", "etc/b=2"], &["ENV A=b"]);
    let container = images.container(&base, "one");
    images.write(&container, "etc/c", "3");
    let middle = images.commit(&container, "middle", &plain_commit());
    let container = images.container(&middle, "two");
    images.write(&container, "etc/.wh.a", "");
    images.write(&container, "etc/c", "4");
    let top = images.commit(&container, "top", &plain_commit());

    let writer = images.store.lock().expect("locked");
    let flat = |above| {
        let options = FlattenOptions {
            name: None,
            above,
            message: None,
            compression: Compression::Gzip,
            created: created(),
        };
        flatten(&writer, &top, &options).expect("flattened")
    };
    let (whole, above) = (flat(None), flat(Some(&base)));
    let refused = FlattenOptions {
        name: None,
        above: Some(&top),
        message: None,
        compression: Compression::Gzip,
        created: created(),
    };
    assert!(flatten(&writer, &base, &refused).is_err(), "the base is not built on the top");
    drop(writer);
    assert_eq!((whole.manifest.layers.len(), above.manifest.layers.len()), (1, 2));
    assert_eq!(above.manifest.layers[0], base.manifest.layers[0]);
    for image in [&whole, &above] {
        assert_eq!(images.tree(image), images.tree(&top));
        assert_eq!(image.config(&images.store).expect("read").config.env, ["A=b"]);
    }
    let steps = history(&images.store, &images.catalog(), &above).expect("a history");
    assert_eq!(steps.len(), 2);
    assert_eq!(images.findings(), [""; 0]);
}

#[test]
fn what_is_no_tar_leaves_no_trace() {
    let images = Images::new();
    // Cut off within the file's content.
    let cut = &tar_of(&[&format!("a={}", "x".repeat(600))])[..700];
    for bytes in [&b""[..], b"no tar at all", cut, &[0x1f, 0x8b, 8, 0, 1, 2]] {
        assert!(images.import_bytes("bad", bytes, &[]).is_err());
    }
    assert!(images.catalog().images.is_empty());
    assert_eq!(images.findings(), [""; 0]);
    let left = fs::read_dir(images.store.root().join("tmp")).expect("listed").count();
    assert_eq!(left, 0);
}
