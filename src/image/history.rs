//! The steps by which an image came about, each with its layer.

use crate::oci::config::History;
use crate::oci::digest::ImageId;
use crate::store::Store;

use super::catalog::{Catalog, Image};
use super::error::Result;
use super::unpacked::chain_ids;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The image that the step made, where the store has it.
    pub image: Option<ImageId>,
    /// What the configuration says.
    pub history: History,
    /// The bytes of its layer, uncompressed where that is known.
    pub size: u64,
    /// Names of the image that the step made.
    pub names: Vec<String>,
}

/// The steps, the newest first.
///
/// # Errors
/// The configuration is missing or damaged.
pub fn history(store: &Store, catalog: &Catalog, image: &Image) -> Result<Vec<Step>> {
    let config = image.config(store)?;
    let mut sizes = layer_sizes(store, image)?.into_iter();
    let mut steps: Vec<Step> = Vec::new();
    for history in config.history {
        let size = if history.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
        steps.push(Step { image: None, history, size, names: Vec::new() });
    }
    // Layers that the history does not tell of.
    for size in sizes {
        steps.push(Step { image: None, history: History::default(), size, names: Vec::new() });
    }
    name_steps(store, catalog, &mut steps);
    if let Some(last) = steps.last_mut() {
        (last.image, last.names) = (Some(image.id()), image.names.clone());
    }
    steps.reverse();
    Ok(steps)
}

/// Finds the images whose whole history is the beginning of this one.
fn name_steps(store: &Store, catalog: &Catalog, steps: &mut [Step]) {
    for other in &catalog.images {
        let Ok(config) = other.config(store) else { continue };
        let length = config.history.len();
        let same = length > 0
            && length <= steps.len()
            && config.history.iter().zip(steps.iter()).all(|(theirs, ours)| *theirs == ours.history);
        if same && let Some(step) = steps.get_mut(length - 1) {
            (step.image, step.names) = (Some(other.id()), other.names.clone());
        }
    }
}

/// The sizes of an image's layers, the bottom one first: uncompressed where that is known, else as stored.
///
/// # Errors
/// The configuration is missing or damaged.
pub fn layer_sizes(store: &Store, image: &Image) -> Result<Vec<u64>> {
    let config = image.config(store)?;
    let mut sizes = Vec::new();
    for (chain_id, blob) in chain_ids(&config.rootfs.diff_ids).into_iter().zip(&image.manifest.layers) {
        let known = store.layer(chain_id)?.and_then(|meta| meta.size);
        sizes.push(known.unwrap_or(blob.size));
    }
    Ok(sizes)
}
