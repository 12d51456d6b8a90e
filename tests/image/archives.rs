//! Archives: what save writes, load reads, digests and all; and what load refuses.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use plyfs::image::archive::load::{LoadOptions, load_directory};
use plyfs::image::archive::save::ArchiveFormat;
use plyfs::oci::digest::Digest;
use serde_json::{Value, json};

use crate::harness::{Images, entries, plain_commit, tar_of};

/// The files of an archive by path.
fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut archive = tar::Archive::new(tar);
    let mut files = BTreeMap::new();
    for entry in archive.entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("read");
        files.insert(path, bytes);
    }
    files
}

/// An archive of these files.
fn archive(files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files.iter().filter(|(path, _)| !path.ends_with('/')) {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, &bytes[..]).expect("memory");
    }
    tar.into_inner().expect("memory")
}

/// Two images that share a layer, in a store of their own.
fn two_images() -> Images {
    let images = Images::new();
    let base = images.import("base:1", &["etc/", "etc/a=1"], &["ENV A=b"]);
    let container = images.container(&base, "web");
    images.write(&container, "etc/.wh.a", "");
    images.write(&container, "b", "2");
    images.commit(&container, "example.org/app:2", &plain_commit());
    images
}

#[test]
fn what_is_saved_loads_with_the_same_digests() {
    let images = two_images();
    for format in [ArchiveFormat::Both, ArchiveFormat::Oci, ArchiveFormat::Docker] {
        let tar = images.save(&["base:1", "example.org/app:2"], format);
        assert_eq!(tar, images.save(&["base:1", "example.org/app:2"], format), "the same bytes each time");
        let other = Images::new();
        let loaded = other.load(&tar).expect("loaded");
        for image in &images.catalog().images {
            let found = other.catalog().find(&image.names[0]).expect("there").clone();
            assert_eq!(found.id(), image.id(), "{format:?}");
            assert_eq!(other.tree(&found), images.tree(image));
            if format != ArchiveFormat::Docker {
                assert_eq!(found.descriptor, image.descriptor);
            }
        }
        assert_eq!(loaded.len(), 2);
        assert_eq!(other.findings(), [""; 0]);
    }
}

#[test]
fn shared_layers_are_saved_once() {
    let images = two_images();
    let names: Vec<String> = files(&images.save(&["base:1", "example.org/app:2"], ArchiveFormat::Both))
        .into_keys()
        .filter(|path| path.starts_with("blobs/sha256/") && !path.ends_with('/'))
        .collect();
    // Two manifests, two configurations, two layers.
    assert_eq!(names.len(), 6);
}

#[test]
fn an_archive_of_old_docker_loads() {
    let layer = tar_of(&["etc/", "etc/a=1"]);
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Env": ["A=b"], "OnBuild": null},
        "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]}, "docker_version": "19.03",
    });
    let config = serde_json::to_vec(&config).expect("JSON");
    let name = format!("{}.json", Digest::of(&config).hex());
    let list = json!([{"Config": name, "RepoTags": ["old:1", "old:2"], "Layers": ["abc/layer.tar"]}]);
    let files = BTreeMap::from([
        ("manifest.json".to_owned(), serde_json::to_vec(&list).expect("JSON")),
        (name, config.clone()),
        ("abc/layer.tar".to_owned(), layer),
        ("abc/VERSION".to_owned(), b"1.0".to_vec()),
    ]);
    let images = Images::new();
    let loaded = images.load(&archive(&files)).expect("loaded");
    assert_eq!(loaded[0].names, ["old:1", "old:2"]);
    assert_eq!(loaded[0].id.digest(), Digest::of(&config), "the configuration's bytes are kept");
    let image = images.catalog().find("old:2").expect("there").clone();
    assert_eq!(images.tree(&image), ["etc/", "etc/a=1"]);
    assert_eq!(images.findings(), [""; 0]);
}

#[test]
fn a_layout_that_is_a_directory_loads() {
    let images = two_images();
    let dir = images.beside("layout");
    for (path, bytes) in files(&images.save(&["base:1"], ArchiveFormat::Oci)) {
        let path = dir.join(path);
        if !path.to_string_lossy().ends_with('/') {
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }
    }
    let other = Images::new();
    let writer = other.store.lock().expect("locked");
    let loaded = load_directory(&writer, &dir, &LoadOptions::default()).expect("loaded");
    assert_eq!(loaded[0].names, ["base:1"]);
}

#[test]
fn a_compressed_archive_loads() {
    let tar = two_images().save(&["base:1"], ArchiveFormat::Both);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).expect("memory");
    let loaded = Images::new().load(&gzip.finish().expect("memory")).expect("loaded");
    assert_eq!(loaded[0].names, ["base:1"]);
}

/// Changes one file of a saved archive and expects load to refuse it without a trace.
fn refused(change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>), expected: &str) {
    let mut files = files(&two_images().save(&["base:1"], ArchiveFormat::Oci));
    change(&mut files);
    let images = Images::new();
    let error = images.load(&archive(&files)).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error:?} should say {expected:?}");
    assert!(images.catalog().images.is_empty());
    assert_eq!(images.findings(), [""; 0]);
}

/// The path of the blob that a pointer into the archive's documents leads to.
fn blob_of(files: &BTreeMap<String, Vec<u8>>, from: &str, pointer: &str) -> String {
    let value: Value = serde_json::from_slice(&files[from]).expect("JSON");
    let digest = value.pointer(pointer).and_then(Value::as_str).expect("a digest");
    format!("blobs/sha256/{}", digest.trim_start_matches("sha256:"))
}

#[test]
fn damaged_blobs_are_refused() {
    for (pointer, what) in [("/config/digest", "is damaged"), ("/layers/0/digest", "is damaged")] {
        refused(
            |files| {
                let manifest = blob_of(files, "index.json", "/manifests/0/digest");
                let path = blob_of(files, &manifest, pointer);
                let bytes = files.get_mut(&path).expect("there");
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
            },
            what,
        );
    }
    refused(
        |files| {
            let manifest = blob_of(files, "index.json", "/manifests/0/digest");
            let path = blob_of(files, &manifest, "/layers/0/digest");
            files.remove(&path);
        },
        "is missing",
    );
}

#[test]
fn wrong_sizes_are_refused() {
    refused(
        |files| {
            let mut index: Value = serde_json::from_slice(&files["index.json"]).expect("JSON");
            index["manifests"][0]["size"] = json!(7);
            files.insert("index.json".to_owned(), serde_json::to_vec(&index).expect("JSON"));
        },
        "should have 7 bytes",
    );
}

#[test]
fn what_is_no_archive_is_refused_and_told_what_it_is() {
    let images = Images::new();
    let error = images.load(&tar_of(&["etc/", "etc/a=1"])).expect_err("no archive").to_string();
    assert!(error.contains("plyfs import"), "{error}");
    for bytes in [&b""[..], b"junk", &[0; 1024]] {
        assert!(images.load(bytes).is_err());
    }
    assert_eq!(entries(&tar_of(&["a=1"])), ["a=1"]);
}
