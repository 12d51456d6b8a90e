//! The steps by which an image came about, each with its layer.

use crate::oci::config::{History, ImageConfig};
use crate::oci::digest::{ChainId, ImageId};
use crate::store::Store;

use super::catalog::{Catalog, Image};
use super::error::Result;

/// One step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    let mut sizes = layer_sizes(store, image, &config)?.into_iter();
    let mut steps: Vec<Step> = Vec::new();
    for history in &config.history {
        let size = if history.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
        steps.push(Step { history: history.clone(), size, ..Step::default() });
    }
    // Layers that the history does not tell of.
    steps.extend(sizes.map(|size| Step { size, ..Step::default() }));
    name_steps(store, catalog, &config, &mut steps);
    if let Some(last) = steps.last_mut() {
        (last.image, last.names) = (Some(image.id()), image.names.clone());
    }
    steps.reverse();
    Ok(steps)
}

/// Whether all of `earlier`, its history and its layers, is the beginning of `config`.
pub(super) fn begins(earlier: &ImageConfig, config: &ImageConfig) -> bool {
    !earlier.history.is_empty()
        && config.history.starts_with(&earlier.history)
        && config.rootfs.diff_ids.starts_with(&earlier.rootfs.diff_ids)
}

/// Finds the images that are the beginning of this one.
fn name_steps(store: &Store, catalog: &Catalog, config: &ImageConfig, steps: &mut [Step]) {
    for other in &catalog.images {
        let Ok(earlier) = other.config(store) else { continue };
        let Some(last) = earlier.history.len().checked_sub(1) else { continue };
        if begins(&earlier, config)
            && let Some(step) = steps.get_mut(last)
        {
            step.image = Some(other.id());
            step.names.extend(other.names.iter().cloned());
        }
    }
}

/// The command that made each layer, the bottom one first; empty where the history does not tell.
pub(super) fn layer_commands(config: &ImageConfig) -> Vec<String> {
    let told = config.history.iter().filter(|step| !step.empty_layer);
    let mut commands: Vec<String> = told.map(|step| step.created_by.clone().unwrap_or_default()).collect();
    commands.resize(config.rootfs.diff_ids.len(), String::new());
    commands
}

/// The sizes of an image's layers, the bottom one first: uncompressed where that is known, else as stored.
///
/// # Errors
/// What is known of a layer cannot be read.
pub fn layer_sizes(store: &Store, image: &Image, config: &ImageConfig) -> Result<Vec<u64>> {
    let mut sizes = Vec::new();
    for (chain_id, blob) in
        ChainId::of_layers(&config.rootfs.diff_ids).into_iter().zip(&image.manifest.layers)
    {
        let known = store.layer(chain_id)?.and_then(|meta| meta.size);
        sizes.push(known.unwrap_or(blob.size));
    }
    Ok(sizes)
}
