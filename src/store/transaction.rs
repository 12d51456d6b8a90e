//! Publishing.

use super::*;
use crate::oci::manifest::Index;

/// What is to be published together.
#[derive(Debug)]
pub struct Transaction<'w> {
    _writer: &'w (),
}

impl Transaction<'_> {
    /// Adds a blob.
    pub fn add_blob(&mut self, _blob: StagedBlob) {
        todo!()
    }
    /// Adds a layer, with its files if they are unpacked.
    pub fn add_layer(&mut self, _meta: LayerMeta, _diff: Option<StagedDir>) {
        todo!()
    }
    /// Publishes all, the index last.
    pub fn publish(self, _index: &Index) -> Result<()> {
        todo!()
    }
}
