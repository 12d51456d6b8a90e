//! The one writer.

use std::marker::PhantomData;
use std::path::PathBuf;

use super::*;
use crate::oci::digest::ChainId;
use crate::oci::manifest::Index;

/// Holds the lock.
#[derive(Debug)]
pub struct Writer<'s> {
    _store: PhantomData<&'s Store>,
}

impl Writer<'_> {
    /// The store.
    pub fn store(&self) -> &Store {
        todo!()
    }
    /// A blob to be written.
    pub fn stage_blob(&self) -> Result<BlobWriter> {
        todo!()
    }
    /// A blob of these bytes.
    pub fn stage_bytes(&self, _bytes: &[u8]) -> Result<StagedBlob> {
        todo!()
    }
    /// An empty directory to unpack into.
    pub fn stage_dir(&self) -> Result<StagedDir> {
        todo!()
    }
    /// Begins a transaction.
    pub fn transaction(&self) -> Transaction<'_> {
        todo!()
    }
    /// Publishes the files of a layer that is known already.
    pub fn unpacked(&self, _chain_id: ChainId, _diff: StagedDir) -> Result<PathBuf> {
        todo!()
    }
    /// Replaces the index. Removes nothing.
    pub fn set_index(&self, _index: &Index) -> Result<()> {
        todo!()
    }
    /// Replaces the index, then removes what nothing reaches any more.
    pub fn set_index_and_collect(&self, _index: &Index) -> Result<Freed> {
        todo!()
    }
    /// Removes what nothing reaches.
    pub fn collect(&self) -> Result<Freed> {
        todo!()
    }
    /// Makes a container.
    pub fn create_container(&self, _new: NewContainer) -> Result<Container> {
        todo!()
    }
    /// Replaces a container's config.json.
    pub fn update_container(&self, _container: &Container) -> Result<()> {
        todo!()
    }
    /// Removes a container and its files.
    pub fn remove_container(&self, _container: &Container) -> Result<()> {
        todo!()
    }
    /// Mends what can be mended.
    pub fn repair(&self, _findings: Vec<Finding>) -> Result<Vec<Repaired>> {
        todo!()
    }
}
