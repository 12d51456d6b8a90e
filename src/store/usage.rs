//! How much space blobs, unpacked layers and containers take.

use super::collect::{digests, present, unpacked_size};
use super::{ContainerId, Result, Store, container};
use crate::oci::digest::{ChainId, Digest};

/// A blob's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobUsage {
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A layer's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerUsage {
    /// The layer.
    pub chain_id: ChainId,
    /// The bytes that its files take on disk; `None` where it is not unpacked.
    pub unpacked: Option<u64>,
}

/// A container's size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerUsage {
    /// The container.
    pub id: ContainerId,
    /// The bytes that the files of its upper take on disk.
    pub upper: u64,
}

/// All sizes, each list in the order of its digests or IDs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// The blobs.
    pub blobs: Vec<BlobUsage>,
    /// The layers.
    pub layers: Vec<LayerUsage>,
    /// The containers.
    pub containers: Vec<ContainerUsage>,
}

impl Store {
    /// Measures everything; what is removed meanwhile counts nothing.
    ///
    /// # Errors
    /// What the system says.
    pub fn usage(&self) -> Result<Usage> {
        let layout = self.layout();
        let mut usage = Usage::default();
        for digest in digests(layout.blobs.names()?) {
            if let Some(stat) = layout.blobs.stat(digest.hex())? {
                usage.blobs.push(BlobUsage { digest, size: u64::try_from(stat.st_size).unwrap_or(0) });
            }
        }
        for chain_id in present(layout)?.layers {
            usage.layers.push(LayerUsage { chain_id, unpacked: unpacked_size(layout, chain_id)? });
        }
        for id in container::ids(layout)? {
            let upper = container::upper_size(layout, &id)?;
            usage.containers.push(ContainerUsage { id, upper });
        }
        Ok(usage)
    }

    /// The bytes that the files of an unpacked layer take on disk; `None` where it is not unpacked.
    ///
    /// # Errors
    /// What the system says.
    pub fn unpacked_size(&self, chain_id: ChainId) -> Result<Option<u64>> {
        unpacked_size(self.layout(), chain_id)
    }

    /// The bytes that the files of a container's upper take on disk.
    ///
    /// # Errors
    /// What the system says.
    pub fn upper_size(&self, id: &ContainerId) -> Result<u64> {
        container::upper_size(self.layout(), id)
    }
}
