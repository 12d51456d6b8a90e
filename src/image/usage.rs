//! How much room images and containers take, layers that several share counted once.

use std::collections::{BTreeMap, BTreeSet};

use crate::oci::digest::ChainId;
use crate::oci::manifest::Index;
use crate::store::{ContainerId, Store, StoreError};

use super::catalog::{Catalog, Image};
use super::error::Result;
use super::history::layer_sizes;

/// What one kind of thing takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Row {
    /// How many there are.
    pub total: usize,
    /// How many are in use.
    pub active: usize,
    /// The bytes on disk.
    pub size: u64,
    /// The bytes that removing what is not in use would free.
    pub reclaimable: u64,
}

/// What an image takes.
#[derive(Debug, Clone)]
pub struct ImageUsage {
    /// The image.
    pub image: Image,
    /// When it was made (RFC 3339).
    pub created: Option<String>,
    /// The bytes of its layers, uncompressed.
    pub size: u64,
    /// Of these, the bytes of layers that another image has, too.
    pub shared: u64,
    /// How many containers use it.
    pub containers: usize,
}

/// What a container takes.
#[derive(Debug, Clone)]
pub struct ContainerRow {
    /// Its ID.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// The name of its image.
    pub image: String,
    /// The bytes of its upper.
    pub size: u64,
    /// When it was made (RFC 3339).
    pub created: String,
}

/// All that a store holds.
#[derive(Debug, Clone)]
pub struct StoreUsage {
    /// Images, with blobs and unpacked layers.
    pub images: Row,
    /// Containers' uppers.
    pub containers: Row,
    /// Each image.
    pub each_image: Vec<ImageUsage>,
    /// Each container.
    pub each_container: Vec<ContainerRow>,
}

/// Adds up what the store holds. `mounted` tells which containers are in use.
///
/// # Errors
/// The store cannot be read.
pub fn usage(store: &Store, catalog: &Catalog, mounted: impl Fn(&ContainerId) -> bool) -> Result<StoreUsage> {
    let sizes = store.usage()?;
    let containers = store.containers()?;
    let uses = |image: &Image| {
        containers.iter().filter(|c| c.image.manifest.digest == image.descriptor.digest).count()
    };
    let uppers: BTreeMap<_, _> = sizes.containers.iter().map(|row| (row.id.clone(), row.upper)).collect();
    let each_container: Vec<ContainerRow> = containers
        .iter()
        .map(|c| ContainerRow {
            id: c.id.clone(),
            name: c.name.clone(),
            image: c.image.name.clone(),
            size: uppers.get(&c.id).copied().unwrap_or(0),
            created: c.created.clone(),
        })
        .collect();
    let each_image = image_rows(store, catalog, uses)?;
    let blobs = sum(sizes.blobs.iter().map(|blob| blob.size));
    let unpacked = sum(sizes.layers.iter().filter_map(|layer| layer.unpacked));
    let idle = |row: &&ContainerRow| !mounted(&row.id);
    Ok(StoreUsage {
        images: Row {
            total: each_image.len(),
            active: each_image.iter().filter(|row| row.containers > 0).count(),
            size: blobs.saturating_add(unpacked),
            reclaimable: reclaimable(store, catalog, uses)?,
        },
        containers: Row {
            total: each_container.len(),
            active: each_container.iter().filter(|row| mounted(&row.id)).count(),
            size: sum(each_container.iter().map(|row| row.size)),
            reclaimable: sum(each_container.iter().filter(idle).map(|row| row.size)),
        },
        each_image,
        each_container,
    })
}

/// The sum; a damaged store may tell of more bytes than there are numbers.
fn sum(sizes: impl Iterator<Item = u64>) -> u64 {
    sizes.fold(0, u64::saturating_add)
}

/// What would be freed if all images went that no container uses. Nothing can, while it is not certain what is in use.
fn reclaimable(store: &Store, catalog: &Catalog, uses: impl Fn(&Image) -> usize) -> Result<u64> {
    let kept: BTreeSet<_> =
        catalog.images.iter().filter(|image| uses(image) > 0).map(|image| image.descriptor.digest).collect();
    let manifests = &catalog.index.manifests;
    let index = Index::new(manifests.iter().filter(|entry| kept.contains(&entry.digest)).cloned().collect());
    match store.garbage(&index) {
        Err(e @ StoreError::Uncertain(_)) => {
            log::warn!("nothing counts as reclaimable: {e}");
            Ok(0)
        }
        garbage => Ok(garbage?.bytes),
    }
}

fn image_rows(store: &Store, catalog: &Catalog, uses: impl Fn(&Image) -> usize) -> Result<Vec<ImageUsage>> {
    let mut all: Vec<ImageLayers> = Vec::new();
    let mut owners: BTreeMap<ChainId, usize> = BTreeMap::new();
    for image in &catalog.images {
        let layers = ImageLayers::read(store, image)?;
        for chain in &layers.chains {
            *owners.entry(*chain).or_default() += 1;
        }
        all.push(layers);
    }
    let shared = |chain: &ChainId| owners.get(chain).is_some_and(|count| *count > 1);
    let rows = catalog.images.iter().zip(all).map(|(image, layers)| {
        let with_chain = layers.chains.iter().zip(&layers.sizes);
        ImageUsage {
            image: image.clone(),
            size: sum(layers.sizes.iter().copied()),
            shared: sum(with_chain.filter(|(chain, _)| shared(chain)).map(|(_, size)| *size)),
            created: layers.created,
            containers: uses(image),
        }
    });
    Ok(rows.collect())
}

/// An image's layers, the bottom one first.
struct ImageLayers {
    chains: Vec<ChainId>,
    sizes: Vec<u64>,
    created: Option<String>,
}

impl ImageLayers {
    /// Of an image whose configuration cannot be read, only what is stored is known.
    fn read(store: &Store, image: &Image) -> Result<ImageLayers> {
        let config = match image.config(store) {
            Ok(config) => config,
            Err(e) => {
                log::warn!("image {}: {e}", image.label());
                let sizes = image.manifest.layers.iter().map(|layer| layer.size).collect();
                return Ok(ImageLayers { chains: Vec::new(), sizes, created: None });
            }
        };
        let sizes = layer_sizes(store, image, &config)?;
        Ok(ImageLayers {
            chains: ChainId::of_layers(&config.rootfs.diff_ids),
            sizes,
            created: config.created,
        })
    }
}
