//! The unpacked layers of an image: made where they are missing, from the blobs.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::layer::compress::decompress;
use crate::layer::unpack::{UnpackOptions, Unpacked, unpack};
use crate::oci::config::ImageConfig;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::DiffId;
use crate::store::{LayerMeta, Writer};

use super::catalog::Image;
use super::error::{ImageError, Result};

/// The directories of an image's layers, the top one first. Those that are missing are unpacked, each one published
/// whole.
///
/// # Errors
/// A blob is missing, damaged or refused; nothing of that layer is kept then.
pub fn layer_dirs(writer: &Writer<'_>, image: &Image, options: &UnpackOptions) -> Result<Vec<PathBuf>> {
    let config = image.config(writer.store())?;
    let mut dirs: Vec<PathBuf> = Vec::new();
    let mut parent = None;
    for (diff_id, blob) in config.rootfs.diff_ids.iter().zip(&image.manifest.layers) {
        let meta = LayerMeta::new(parent, *diff_id, blob.clone());
        parent = Some(meta.chain_id);
        let lowers: Vec<PathBuf> = dirs.iter().rev().cloned().collect();
        let dir = match writer.store().diff_dir(meta.chain_id) {
            Some(dir) => dir,
            None => unpack_layer(writer, meta, &config, &lowers, options)?,
        };
        dirs.push(dir);
    }
    dirs.reverse();
    Ok(dirs)
}

/// Unpacks one layer and publishes it.
fn unpack_layer(
    writer: &Writer<'_>,
    mut meta: LayerMeta,
    config: &ImageConfig,
    lowers: &[PathBuf],
    options: &UnpackOptions,
) -> Result<PathBuf> {
    let dir = writer.stage_dir()?;
    let mut blob = writer.store().open_blob(&meta.blob)?;
    let unpacked = unpack_verified(&mut blob, &meta, dir.path(), lowers, options)?;
    blob.finish()?;
    let chain_id = meta.chain_id;
    if writer.store().layer(chain_id)?.is_some() {
        return Ok(writer.unpacked(chain_id, dir)?);
    }
    meta.size = Some(unpacked.size);
    meta.config = Some(config.config.clone());
    let mut transaction = writer.transaction();
    transaction.add_layer(meta, Some(dir));
    transaction.publish(&writer.store().index()?)?;
    writer
        .store()
        .diff_dir(chain_id)
        .ok_or_else(|| crate::store::StoreError::LayerMissing { chain_id }.into())
}

/// Gives a container's empty upper the root directory's owner, mode and attributes, as its layers (top first) show
/// them: in the union the upper's count.
///
/// # Errors
/// The upper is not empty, or cannot be changed.
pub fn dress_upper(upper: &Path, layers: &[PathBuf], options: &UnpackOptions) -> Result<()> {
    // A layer without entries has the root of those below.
    match unpack(io::empty(), upper, layers, options) {
        Ok(_) => Ok(()),
        Err(source) => Err(ImageError::Unpack { layer: upper.display().to_string(), source }),
    }
}

/// Unpacks a compressed layer into `target` and holds it against its diff ID.
///
/// # Errors
/// The layer is refused, or has another diff ID.
pub(super) fn unpack_verified(
    blob: &mut impl Read,
    meta: &LayerMeta,
    target: &Path,
    lowers: &[PathBuf],
    options: &UnpackOptions,
) -> Result<Unpacked> {
    let (_, tar) = decompress(&mut *blob).map_err(ImageError::io("read a layer"))?;
    let unpacked = unpack(tar, target, lowers, options)
        .map_err(|source| ImageError::Unpack { layer: meta.blob.digest.to_string(), source })?;
    expect_diff_id(&meta.blob, meta.diff_id, unpacked.diff_id)?;
    Ok(unpacked)
}

/// Whether a layer's content has the diff ID that the configuration says.
///
/// # Errors
/// It has not.
pub(super) fn expect_diff_id(blob: &Descriptor, expected: DiffId, found: DiffId) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(ImageError::DiffId { blob: blob.digest, expected, found })
}
