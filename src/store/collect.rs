//! Garbage.

use crate::oci::digest::{ChainId, Digest};

/// What nothing reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// Blobs and their sizes.
    pub blobs: Vec<(Digest, u64)>,
    /// Layers.
    pub layers: Vec<ChainId>,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freed {
    /// Blobs.
    pub blobs: Vec<Digest>,
    /// Layers.
    pub layers: Vec<ChainId>,
    /// Bytes of blobs and unpacked layers.
    pub bytes: u64,
}
