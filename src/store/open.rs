//! A store, for readers.

use std::path::{Path, PathBuf};

use super::*;
use crate::oci::config::ImageConfig;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::ChainId;
use crate::oci::manifest::{Index, Manifest};

/// A store. Reading takes no lock.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// `/var/lib/plyfs` for root, `$XDG_DATA_HOME/plyfs` or `~/.local/share/plyfs` otherwise.
    pub fn default_root() -> Result<PathBuf> {
        todo!()
    }
    /// Opens the store at `root`, which is made where there is none.
    pub fn open(_root: &Path) -> Result<Store> {
        todo!()
    }
    /// The root, as an absolute path.
    pub fn root(&self) -> &Path {
        todo!()
    }
    /// The images.
    pub fn index(&self) -> Result<Index> {
        todo!()
    }
    /// A small blob, verified.
    pub fn read_blob(&self, _descriptor: &Descriptor, _limit: u64) -> Result<Vec<u8>> {
        todo!()
    }
    /// A blob, verified while it is read.
    pub fn open_blob(&self, _descriptor: &Descriptor) -> Result<BlobReader> {
        todo!()
    }
    /// An image's manifest.
    pub fn manifest(&self, _descriptor: &Descriptor) -> Result<Manifest> {
        todo!()
    }
    /// An image's configuration.
    pub fn config(&self, _manifest: &Manifest) -> Result<ImageConfig> {
        todo!()
    }
    /// What is known of a layer.
    pub fn layer(&self, _chain_id: ChainId) -> Result<Option<LayerMeta>> {
        todo!()
    }
    /// An unpacked layer's directory.
    pub fn diff_dir(&self, _chain_id: ChainId) -> Option<PathBuf> {
        todo!()
    }
    /// All containers, oldest first.
    pub fn containers(&self) -> Result<Vec<Container>> {
        todo!()
    }
    /// By name, ID, or unique beginning of an ID.
    pub fn find_container(&self, _name: &str) -> Result<Container> {
        todo!()
    }
    /// A container's directories.
    pub fn container_paths(&self, _id: &ContainerId) -> ContainerPaths {
        todo!()
    }
    /// Waits for the lock; clears what a killed writer left.
    pub fn lock(&self) -> Result<Writer<'_>> {
        todo!()
    }
    /// What would be freed if the index were this.
    pub fn garbage(&self, _index: &Index) -> Result<Garbage> {
        todo!()
    }
    /// Sizes.
    pub fn usage(&self) -> Result<Usage> {
        todo!()
    }
    /// What is wrong.
    pub fn check(&self, _depth: Depth) -> Result<Vec<Finding>> {
        todo!()
    }
}
