//! A store in a temporary directory, and small images to put into it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use plyfs::oci::config::{ImageConfig, RootFs};
use plyfs::oci::descriptor::{Descriptor, REF_NAME};
use plyfs::oci::digest::{ChainId, DiffId, Digest, ImageId};
use plyfs::oci::manifest::{Index, Manifest};
use plyfs::oci::media_type::{self, Compression};
use plyfs::store::{
    Container, ContainerImage, Depth, Finding, LayerMeta, NewContainer, Result, Store, Transaction, Writer,
};
use tempfile::TempDir;

/// A store of its own, removed at the end.
pub struct Place {
    pub store: Store,
    pub dir: TempDir,
}

impl Place {
    pub fn new() -> Place {
        let dir = tempfile::tempdir().expect("tmp");
        let store = Store::open(&dir.path().join("store")).expect("a new store");
        Place { store, dir }
    }

    pub fn root(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Fails unless nothing at all is wrong.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert_eq!(findings(&self.store), [], "of {}", self.root().display());
    }
}

pub fn findings(store: &Store) -> Vec<Finding> {
    store.check(Depth::Contents).expect("a check")
}

/// The names below a directory of the store.
pub fn list(root: &Path, dir: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root.join(dir)).expect("a directory");
    entries.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
}

pub fn layer_path(root: &Path, chain_id: ChainId) -> PathBuf {
    root.join("layers").join(chain_id.digest().hex())
}

pub fn blob_path(root: &Path, digest: Digest) -> PathBuf {
    root.join("blobs/sha256").join(digest.hex())
}

/// An image whose layers' tars are these texts.
#[derive(Debug, Clone)]
pub struct Image {
    pub manifest: Descriptor,
    pub parsed: Manifest,
    pub chains: Vec<ChainId>,
    pub metas: Vec<LayerMeta>,
    pub blobs: Vec<Vec<u8>>,
}

pub fn image(layers: &[&str]) -> Image {
    let kind = Compression::None.layer_media_type();
    let descriptors: Vec<_> = layers.iter().map(|text| Descriptor::of(kind, text.as_bytes())).collect();
    let diff_ids: Vec<_> = descriptors.iter().map(|d| DiffId::new(d.digest)).collect();
    let mut metas: Vec<LayerMeta> = Vec::new();
    for (diff_id, blob) in diff_ids.iter().zip(&descriptors) {
        metas.push(LayerMeta::new(metas.last().map(|m| m.chain_id), *diff_id, blob.clone()));
    }
    let rootfs = RootFs { diff_ids, ..RootFs::default() };
    let config = serde_json::to_vec(&ImageConfig { rootfs, ..ImageConfig::default() }).unwrap();
    let parsed = Manifest::new(Descriptor::of(media_type::CONFIG, &config), descriptors);
    let manifest = serde_json::to_vec(&parsed).unwrap();
    let mut blobs: Vec<Vec<u8>> = layers.iter().map(|text| text.as_bytes().to_vec()).collect();
    let descriptor = Descriptor::of(media_type::MANIFEST, &manifest);
    blobs.extend([config, manifest]);
    let chains = metas.iter().map(|meta| meta.chain_id).collect();
    Image { manifest: descriptor, parsed, chains, metas, blobs }
}

impl Image {
    /// The entry of an index that gives it a name.
    pub fn named(&self, name: &str) -> Descriptor {
        let mut descriptor = self.manifest.clone();
        descriptor.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        descriptor
    }

    /// Adds all its parts, every second layer with its files.
    pub fn add_to(&self, writer: &Writer<'_>, transaction: &mut Transaction<'_>) -> Result<()> {
        for bytes in &self.blobs {
            transaction.add_blob(writer.stage_bytes(bytes)?);
        }
        for (n, meta) in self.metas.iter().enumerate() {
            let diff = if n % 2 == 0 { Some(writer.stage_dir()?) } else { None };
            if let Some(diff) = &diff {
                std::fs::create_dir(diff.path().join("etc")).unwrap();
                std::fs::write(diff.path().join("etc/file"), meta.chain_id.to_string()).unwrap();
            }
            transaction.add_layer(meta.clone(), diff);
        }
        Ok(())
    }

    /// Publishes it under a name, which another image may have had.
    pub fn publish(&self, writer: &Writer<'_>, name: &str) -> Result<()> {
        let mut transaction = writer.transaction();
        self.add_to(writer, &mut transaction)?;
        let mut index = without(&writer.store().index()?, name);
        index.manifests.push(self.named(name));
        transaction.publish(&index)
    }

    pub fn container(&self, name: Option<&str>) -> NewContainer {
        NewContainer {
            name: name.map(str::to_owned),
            image: ContainerImage {
                manifest: self.manifest.clone(),
                id: ImageId::new(self.parsed.config.digest),
                name: "app".to_owned(),
            },
            created: "2026-01-01T00:00:00Z".to_owned(),
            config: Default::default(),
            extra: Default::default(),
        }
    }
}

/// The index without the image of this name.
pub fn without(index: &Index, name: &str) -> Index {
    let mut index = index.clone();
    index.manifests.retain(|descriptor| descriptor.ref_name() != Some(name));
    index
}

/// Removes an image's name, and what is then of no use.
pub fn remove(writer: &Writer<'_>, name: &str) {
    let index = without(&writer.store().index().unwrap(), name);
    writer.set_index_and_collect(&index).unwrap();
}

/// The names in the index, sorted.
pub fn names(store: &Store) -> Vec<String> {
    let index = store.index().expect("an index");
    let mut names: Vec<_> = index.manifests.iter().filter_map(|d| d.ref_name().map(str::to_owned)).collect();
    names.sort();
    names
}

pub fn container_names(store: &Store) -> Vec<String> {
    store.containers().unwrap().into_iter().map(|c: Container| c.name).collect()
}
