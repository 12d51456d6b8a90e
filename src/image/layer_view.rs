//! What each layer of an image adds, changes and deletes, and what room is wasted by files that do not show.
//!
//! Wasted are the bytes of a file in a lower layer that a higher one replaces or deletes: they travel with the image, and
//! nobody sees them.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use crate::layer::diff::{ChangeKind, Effect, effect};
use crate::oci::digest::DiffId;
use crate::store::Store;

use super::catalog::Image;
use super::error::Result;
use super::history::{layer_commands, layer_sizes};

/// The layers of an image.
#[derive(Debug, Clone)]
pub struct LayerView {
    /// Each layer, the bottom one first.
    pub layers: Vec<Layer>,
    /// The paths at which room is wasted, that with the most first.
    pub wasted: Vec<WastedPath>,
}

/// A layer.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The digest of its uncompressed tar.
    pub diff_id: DiffId,
    /// The command that made it; empty where that is not known.
    pub created_by: String,
    /// The length of its tar; as stored, where the uncompressed one is not known.
    pub tar: u64,
    /// What it does.
    pub effect: Effect,
    /// The bytes in the layers below that it hides.
    pub wasted: u64,
}

/// A path at which room is wasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WastedPath {
    /// The path's bytes, beginning with `/`.
    pub path: Vec<u8>,
    /// In how many layers there is something at this path.
    pub layers: u64,
    /// The bytes of those that do not show.
    pub bytes: u64,
}

impl Layer {
    /// The bytes of its files.
    pub fn bytes(&self) -> u64 {
        self.effect.added.bytes.saturating_add(self.effect.changed.bytes)
    }

    /// How many paths it deletes.
    pub fn deleted(&self) -> usize {
        self.effect.changes.iter().filter(|change| change.kind == ChangeKind::Deleted).count()
    }
}

impl LayerView {
    /// The bytes of all layers' files.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.bytes()))
    }

    /// The bytes of those that do not show.
    pub fn wasted_bytes(&self) -> u64 {
        self.layers.iter().fold(0, |sum, layer| sum.saturating_add(layer.wasted))
    }

    /// The part of the bytes that shows, from 0 to 1; 1 where there are none.
    pub fn efficiency(&self) -> f64 {
        match self.bytes() {
            0 => 1.0,
            bytes => (1.0 - self.wasted_bytes() as f64 / bytes as f64).max(0.0),
        }
    }
}

/// Looks at the layers of an image, whose directories are given top first.
///
/// # Errors
/// The configuration is damaged, or a layer cannot be read.
pub fn layer_view(store: &Store, image: &Image, dirs: &[PathBuf]) -> Result<LayerView> {
    let config = image.config(store)?;
    let known = layer_commands(&config).into_iter().zip(layer_sizes(store, image, &config)?);
    let mut paths: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let mut seen = HashSet::new();
    let mut layers = Vec::new();
    for (number, (diff_id, (created_by, tar))) in config.rootfs.diff_ids.iter().zip(known).enumerate() {
        let from = dirs.len().saturating_sub(number.saturating_add(1));
        let Some((upper, lowers)) = dirs.get(from..).and_then(<[PathBuf]>::split_first) else { break };
        let effect = effect(upper, lowers)?;
        let mut wasted: u64 = 0;
        for hidden in &effect.hidden {
            // Of a file with several names, the bytes are there once.
            if seen.insert(hidden.inode) {
                let bytes = paths.entry(hidden.path.clone()).or_default();
                *bytes = bytes.saturating_add(hidden.size);
                wasted = wasted.saturating_add(hidden.size);
            }
        }
        layers.push(Layer { diff_id: *diff_id, created_by, tar, effect, wasted });
    }
    Ok(LayerView { wasted: wasted_paths(paths, &layers), layers })
}

/// The paths with their bytes, that with the most first.
fn wasted_paths(paths: BTreeMap<Vec<u8>, u64>, layers: &[Layer]) -> Vec<WastedPath> {
    let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
    let changes = layers.iter().flat_map(|layer| &layer.effect.changes);
    for change in changes.filter(|c| c.kind != ChangeKind::Deleted && paths.contains_key(&c.path)) {
        let count = counts.entry(&change.path).or_default();
        *count = count.saturating_add(1);
    }
    let wasted = paths.iter().filter(|(_, bytes)| **bytes > 0).map(|(path, bytes)| WastedPath {
        path: path.clone(),
        layers: counts.get(path.as_slice()).copied().unwrap_or(0),
        bytes: *bytes,
    });
    let mut list: Vec<WastedPath> = wasted.collect();
    list.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    list
}
