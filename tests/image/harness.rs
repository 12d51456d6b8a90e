//! A store, root file systems as tars, and containers whose uppers are changed directly.

use std::fs;
use std::path::PathBuf;

use plyfs::image::archive::load::{LoadOptions, Loaded, load};
use plyfs::image::archive::save::{ArchiveFormat, Saved, save};
use plyfs::image::change::parse_all;
use plyfs::image::commit::{Clamp, CommitOptions, commit};
use plyfs::image::import::{ImportOptions, import};
use plyfs::image::time::{self, Timestamp};
use plyfs::image::unpacked::layer_dirs;
use plyfs::image::{Catalog, Image, ImageError, export, platform};
use plyfs::layer::pack::IfWritten;
use plyfs::layer::unpack::UnpackOptions;
use plyfs::oci::media_type::Compression;
use plyfs::store::{Container, ContainerImage, NewContainer, Store};
use serde_json::Map;
use tempfile::TempDir;

/// The time that everything is made at.
pub const CREATED: &str = "2024-05-06T07:08:09Z";

/// A store in a directory of its own.
pub struct Images {
    dir: TempDir,
    pub store: Store,
}

impl Images {
    pub fn new() -> Images {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::open(&dir.path().join("store")).expect("a store");
        Images { dir, store }
    }

    /// Imports a tar with these files: `path=content`, or `path/`.
    pub fn import(&self, name: &str, files: &[&str], changes: &[&str]) -> Image {
        self.import_bytes(name, &tar_of(files), changes).expect("imported")
    }

    pub fn import_bytes(&self, name: &str, tar: &[u8], changes: &[&str]) -> Result<Image, ImageError> {
        let options = ImportOptions {
            name: Some(name.parse().expect("a name")),
            changes: parse_all(changes).expect("changes"),
            message: None,
            platform: platform::host(),
            created: created(),
            source: "test".to_owned(),
            compression: None,
            unpack: UnpackOptions::default(),
        };
        import(&self.store.lock().expect("locked"), tar, &options)
    }

    pub fn container(&self, image: &Image, name: &str) -> Container {
        let writer = self.store.lock().expect("locked");
        let config = image.config(&self.store).expect("a configuration");
        let new = NewContainer {
            name: Some(name.to_owned()),
            image: ContainerImage { manifest: image.descriptor.clone(), id: image.id(), name: image.label() },
            created: CREATED.to_owned(),
            config: config.config,
            extra: Map::new(),
        };
        writer.create_container(new).expect("a container")
    }

    /// Writes a file into a container's upper.
    pub fn write(&self, container: &Container, path: &str, content: &str) {
        let path = self.upper(container).join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, content).expect("written");
    }

    pub fn upper(&self, container: &Container) -> PathBuf {
        self.store.container_paths(&container.id).upper
    }

    pub fn commit(&self, container: &Container, name: &str, options: &CommitOptions) -> Image {
        let options = CommitOptions { name: Some(name.parse().expect("a name")), ..options.clone() };
        commit(&self.store.lock().expect("locked"), container, &options).expect("committed")
    }

    /// The paths of the tree that an image shows, with the content of files.
    pub fn tree(&self, image: &Image) -> Vec<String> {
        let writer = self.store.lock().expect("locked");
        let layers = layer_dirs(&writer, image, &UnpackOptions::default()).expect("layers");
        let mut tar = Vec::new();
        export::export(&export::Tree { layers, work: None }, None, &mut tar).expect("exported");
        entries(&tar)
    }

    pub fn catalog(&self) -> Catalog {
        Catalog::read(&self.store).expect("a catalogue")
    }

    pub fn save(&self, names: &[&str], format: ArchiveFormat) -> Vec<u8> {
        let catalog = self.catalog();
        let saved = |name: &&str| Saved {
            image: catalog.find(name).expect("there"),
            names: vec![(*name).to_owned()],
        };
        let images: Vec<_> = names.iter().map(saved).collect();
        let mut tar = Vec::new();
        save(&self.store, &images, format, &mut tar).expect("saved");
        tar
    }

    pub fn load(&self, tar: &[u8]) -> Result<Vec<Loaded>, ImageError> {
        load(&self.store.lock().expect("locked"), tar, &LoadOptions::default())
    }

    /// What `fsck` finds, and what is left in `tmp`.
    pub fn findings(&self) -> Vec<String> {
        let findings = self.store.check(plyfs::store::Depth::Contents).expect("checked");
        findings.iter().map(ToString::to_string).collect()
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

pub fn created() -> Timestamp {
    time::parse(CREATED).expect("a time")
}

pub fn plain_commit() -> CommitOptions {
    CommitOptions {
        name: None,
        author: None,
        message: None,
        changes: Vec::new(),
        compression: Compression::Gzip,
        created: created(),
        clamp: Clamp::Nothing,
        if_written: IfWritten::GoOn,
    }
}

/// A tar of `path=content` and `path/`.
pub fn tar_of(files: &[&str]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for file in files {
        let (path, content) = file.split_once('=').unwrap_or((file, ""));
        let mut header = tar::Header::new_ustar();
        let is_dir = path.ends_with('/');
        header.set_entry_type(if is_dir { tar::EntryType::Directory } else { tar::EntryType::Regular });
        header.set_mode(if is_dir { 0o755 } else { 0o644 });
        header.set_mtime(1_000_000_000);
        header.set_size(content.len() as u64);
        tar.append_data(&mut header, path, content.as_bytes()).expect("memory");
    }
    tar.into_inner().expect("memory")
}

/// The entries of a tar: `path=content`, or `path/`.
pub fn entries(tar: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(tar);
    let all = archive.entries().expect("a tar").map(|entry| {
        let mut entry = entry.expect("an entry");
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if path.ends_with('/') {
            return path;
        }
        let mut content = String::new();
        std::io::Read::read_to_string(&mut entry, &mut content).expect("text");
        format!("{path}={content}")
    });
    all.collect()
}
