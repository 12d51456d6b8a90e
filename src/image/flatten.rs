//! Flatten: an image's layers, or those above a base, made one; the configuration stays.

use crate::layer::compress::Compressor;
use crate::layer::pack::{PackOptions, squash};
use crate::layer::unpack::UnpackOptions;
use crate::oci::config::{History, ImageConfig};
use crate::oci::digest::ChainId;
use crate::oci::media_type::Compression;
use crate::oci::reference::Reference;
use crate::store::{LayerMeta, Writer};

use super::catalog::Image;
use super::error::{ImageError, Result};
use super::make::{Draft, NewLayer};
use super::time::{self, Timestamp};
use super::unpacked::layer_dirs;

/// The choices of a flattening.
#[derive(Debug, Clone)]
pub struct FlattenOptions<'a> {
    /// The new image's name.
    pub name: Option<Reference>,
    /// The image whose layers stay as they are.
    pub above: Option<&'a Image>,
    /// The comment in the history.
    pub message: Option<String>,
    /// How the layer is compressed.
    pub compression: Compression,
    /// When the image is made.
    pub created: Timestamp,
}

/// Makes an image that shows the same tree in fewer layers. Atomic.
///
/// # Errors
/// The image is not built on the base that was named, a layer is missing, or the store cannot be written; it is as
/// before then.
pub fn flatten(writer: &Writer<'_>, image: &Image, options: &FlattenOptions<'_>) -> Result<Image> {
    let mut config = image.config(writer.store())?;
    let kept = kept_layers(writer, &config, options.above)?;
    let dirs = layer_dirs(writer, image, &UnpackOptions::default())?;
    let (above, base) = dirs.split_at(dirs.len() - kept);
    let mut out = Compressor::new(writer.stage_blob()?, options.compression)
        .map_err(ImageError::io("compress the layer"))?;
    let packed = squash(&dirs, base, &PackOptions::default(), &mut out)?;
    let blob = out.finish().map_err(ImageError::io("compress the layer"))?.finish()?;

    config.rootfs.diff_ids.truncate(kept);
    truncate_history(&mut config, kept);
    let parent = ChainId::of_layers(&config.rootfs.diff_ids).last().copied();
    let created = Some(time::format(options.created));
    let step = History {
        created: created.clone(),
        created_by: Some(format!("plyfs flatten ({} layers)", above.len())),
        comment: options.message.clone(),
        empty_layer: packed.entries == 0,
        ..History::default()
    };
    let descriptor = blob.descriptor(options.compression.layer_media_type());
    let mut meta = LayerMeta::new(parent, packed.diff_id, descriptor);
    meta.size = Some(packed.size);
    (meta.created, meta.created_by) = (created, step.created_by.clone());
    meta.comment.clone_from(&options.message);
    meta.config = Some(config.config.clone());
    let mut draft = Draft::new(config, &image.manifest.layers[..kept]);
    if packed.entries > 0 {
        draft.push(NewLayer { blob, meta, files: None });
    }
    draft.record(step);
    draft.publish(writer, options.name.as_ref())
}

/// How many of the lowest layers stay: all of the base's.
fn kept_layers(writer: &Writer<'_>, config: &ImageConfig, base: Option<&Image>) -> Result<usize> {
    let Some(base) = base else { return Ok(0) };
    let below = base.config(writer.store())?.rootfs.diff_ids;
    match config.rootfs.diff_ids.starts_with(&below) {
        true => Ok(below.len()),
        false => Err(ImageError::NotBase(base.label())),
    }
}

/// Keeps the steps of the history that made the lowest `layers` layers, and those without a layer among them.
fn truncate_history(config: &mut ImageConfig, layers: usize) {
    let mut left = layers;
    config.history.retain(|step| {
        let keep = left > 0;
        if keep && !step.empty_layer {
            left -= 1;
        }
        keep
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_history_of_the_kept_layers_stays() {
        let step = |name: &str, empty_layer| History {
            created_by: Some(name.to_owned()),
            empty_layer,
            ..History::default()
        };
        let history =
            vec![step("a", false), step("e", true), step("b", false), step("f", true), step("c", false)];
        for (layers, left) in [(0, ""), (1, "a"), (2, "aeb"), (3, "aebfc")] {
            let mut config = ImageConfig { history: history.clone(), ..ImageConfig::default() };
            truncate_history(&mut config, layers);
            let names: String = config.history.iter().filter_map(|step| step.created_by.clone()).collect();
            assert_eq!(names, left);
        }
    }
}
