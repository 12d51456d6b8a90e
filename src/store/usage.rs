//! Sizes.

use super::ContainerId;
use crate::oci::digest::{ChainId, Digest};

/// A blob's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobUsage {
    /// The blob.
    pub digest: Digest,
    /// Its length.
    pub size: u64,
}

/// An unpacked layer's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerUsage {
    /// The layer.
    pub chain_id: ChainId,
    /// The bytes of its files; `None` where it is not unpacked.
    pub unpacked: Option<u64>,
}

/// A container's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// The container.
    pub id: ContainerId,
    /// The bytes of its upper.
    pub upper: u64,
}

/// All sizes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Blobs.
    pub blobs: Vec<BlobUsage>,
    /// Layers.
    pub layers: Vec<LayerUsage>,
    /// Containers.
    pub containers: Vec<ContainerUsage>,
}
