//! A store, for readers: nothing here locks or writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dir::parse_json;
use super::layout::{self, DIFF, INDEX, LAYER_META, Layout};
use super::{BlobReader, JSON_LIMIT, LayerMeta, Result, StoreError, blob, tree};
use crate::oci::config::ImageConfig;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::ChainId;
use crate::oci::manifest::{Index, Manifest};
use crate::oci::media_type;

/// A store of images and containers. Reading takes no lock: what is removed by another command while it is read gives
/// [`StoreError::BlobMissing`] or [`StoreError::LayerMissing`], never half of it.
#[derive(Debug)]
pub struct Store {
    layout: Arc<Layout>,
}

impl Store {
    /// `/var/lib/plyfs` for root, `$XDG_DATA_HOME/plyfs` or `~/.local/share/plyfs` otherwise.
    ///
    /// # Errors
    /// [`StoreError::NoHome`].
    pub fn default_root() -> Result<PathBuf> {
        layout::default_root()
    }

    /// Opens the store at `root`. Where nothing or an empty directory is, a store is made, of mode 0700; several
    /// processes may do so at once.
    ///
    /// # Errors
    /// [`StoreError::NotStore`], [`StoreError::ForeignStore`], [`StoreError::LayoutVersion`], what the system says.
    pub fn open(root: &Path) -> Result<Store> {
        Ok(Store { layout: Arc::new(layout::open(root)?) })
    }

    /// The root, as an absolute path.
    pub fn root(&self) -> &Path {
        self.layout.root.path()
    }

    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// The images: one descriptor for each name, and one for each image without.
    ///
    /// # Errors
    /// [`StoreError::IndexMissing`], [`StoreError::Json`], [`StoreError::TooLarge`], what the system says.
    pub fn index(&self) -> Result<Index> {
        let index = self.layout.root.read_json(INDEX)?;
        index.ok_or_else(|| StoreError::IndexMissing { path: self.root().join(INDEX) })
    }

    /// All bytes of a blob, verified against the descriptor's size and digest.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] where it is longer than `limit`, [`StoreError::BlobMissing`],
    /// [`StoreError::BlobSize`], [`StoreError::BlobDigest`], what the system says.
    pub fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>> {
        blob::read_all(&self.layout.blobs, descriptor, limit)
    }

    /// A blob to be read piece by piece, verified as part of reading.
    ///
    /// # Errors
    /// [`StoreError::BlobMissing`], [`StoreError::BlobSize`], [`StoreError::NotRegular`], what the system says.
    pub fn open_blob(&self, descriptor: &Descriptor) -> Result<BlobReader> {
        BlobReader::open(&self.layout.blobs, descriptor)
    }

    /// An image's manifest.
    ///
    /// # Errors
    /// [`StoreError::NotManifest`], [`StoreError::Json`], and those of [`Store::read_blob`].
    pub fn manifest(&self, descriptor: &Descriptor) -> Result<Manifest> {
        if !media_type::is_manifest(&descriptor.media_type) {
            let media_type = descriptor.media_type.clone();
            return Err(StoreError::NotManifest { digest: descriptor.digest, media_type });
        }
        self.document(descriptor, "manifest")
    }

    /// The list of manifests that an entry of the index points to.
    ///
    /// # Errors
    /// [`StoreError::Json`], and those of [`Store::read_blob`].
    pub fn nested_index(&self, descriptor: &Descriptor) -> Result<Index> {
        self.document(descriptor, "index")
    }

    /// An image's configuration.
    ///
    /// # Errors
    /// [`StoreError::Json`], and those of [`Store::read_blob`].
    pub fn config(&self, manifest: &Manifest) -> Result<ImageConfig> {
        self.document(&manifest.config, "image configuration")
    }

    fn document<T: serde::de::DeserializeOwned>(&self, descriptor: &Descriptor, kind: &str) -> Result<T> {
        let bytes = self.read_blob(descriptor, JSON_LIMIT)?;
        parse_json(&bytes, || format!("{kind} {}", descriptor.digest))
    }

    /// What is known of a layer; `None` where it is not in the store.
    ///
    /// # Errors
    /// [`StoreError::Json`], [`StoreError::LayerMisplaced`], what the system says.
    pub fn layer(&self, chain_id: ChainId) -> Result<Option<LayerMeta>> {
        let Some(dir) = self.layout.layers.sub_if_there(chain_id.digest().hex())? else { return Ok(None) };
        let meta: Option<LayerMeta> = dir.read_json(LAYER_META)?;
        match meta {
            Some(meta) if meta.chain_id != chain_id || !meta.is_consistent() => {
                Err(StoreError::LayerMisplaced { chain_id, found: meta.chain_id })
            }
            meta => Ok(meta),
        }
    }

    /// The directory of a layer's files; `None` where it is not unpacked.
    pub fn diff_dir(&self, chain_id: ChainId) -> Option<PathBuf> {
        let dir = self.layout.layers.sub_if_there(chain_id.digest().hex()).ok()??;
        let stat = dir.stat(DIFF).ok()??;
        tree::is_dir(&stat).then(|| dir.path().join(DIFF))
    }
}
