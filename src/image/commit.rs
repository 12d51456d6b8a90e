//! Commit: a container's changes as a new layer on its image.

use crate::layer::LayerError;
use crate::layer::compress::Compressor;
use crate::layer::pack::{IfWritten, PackOptions, Packed, pack};
use crate::layer::unpack::UnpackOptions;
use crate::oci::config::History;
use crate::oci::digest::ChainId;
use crate::oci::media_type::Compression;
use crate::oci::reference::Reference;
use crate::store::{Container, LayerMeta, StagedBlob, Writer};

use super::catalog::Image;
use super::change::{self, Change};
use super::error::{ImageError, Result};
use super::make::{Draft, NewLayer};
use super::time::{self, Timestamp};
use super::unpacked::layer_dirs;

/// The choices of a commit.
#[derive(Debug, Clone)]
pub struct CommitOptions {
    /// The new image's name.
    pub name: Option<Reference>,
    /// Who made it.
    pub author: Option<String>,
    /// Why.
    pub message: Option<String>,
    /// Changes to the configuration.
    pub changes: Vec<Change>,
    /// How the layer is compressed.
    pub compression: Compression,
    /// The time the image is made; no file of the layer is later if `clamp` says so.
    pub created: Timestamp,
    /// Whether times of files after `created` become it (`SOURCE_DATE_EPOCH`).
    pub clamp: Clamp,
    /// What to do about a file that is written while it is read.
    pub if_written: IfWritten,
}

/// What becomes of files with a later time than the image's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clamp {
    /// They get the image's.
    Later,
    /// They keep theirs.
    Nothing,
}

/// Writes what `container` changed as a layer on its image, with the container's configuration and the changes
/// asked for. Without any change to its files the image gets a step in its history and no layer. Atomic.
///
/// # Errors
/// The changes cannot be read or applied, a layer is missing, or the store cannot be written; it is as before then.
pub fn commit(writer: &Writer<'_>, container: &Container, options: &CommitOptions) -> Result<Image> {
    let store = writer.store();
    let descriptor = container.image.manifest.clone();
    let manifest = store.manifest(&descriptor)?;
    let base = Image { descriptor, manifest, names: vec![container.image.name.clone()] };
    let mut config = base.config(store)?;
    config.config = container.config.clone();
    change::apply(&options.changes, &mut config.config)?;
    config.author = options.author.clone().or(config.author);
    // What docker keeps of the container that an image was made of is not true of this one.
    for stale in ["container", "container_config", "docker_version", "parent", "id"] {
        config.extra.remove(stale);
    }

    let (blob, packed) = match pack_changes(writer, container, &base, options) {
        // Whoever could still write it may have come to wait by now, where the container is paused.
        Err(ImageError::Layer(LayerError::Changed { path })) => {
            log::info!("{} changed while it was read; packing anew", path.display());
            pack_changes(writer, container, &base, options)?
        }
        packed => packed?,
    };
    let created = Some(time::format(options.created));
    let created_by = Some(describe(&options.changes));
    let step = History {
        created: created.clone(),
        created_by: created_by.clone(),
        author: options.author.clone(),
        comment: options.message.clone(),
        empty_layer: packed.entries == 0,
    };
    let parent = ChainId::of_layers(&config.rootfs.diff_ids).last().copied();
    let run_config = config.config.clone();
    let mut draft = Draft::new(config, &base.manifest.layers);
    if packed.entries > 0 {
        let blob_descriptor = blob.descriptor(options.compression.layer_media_type());
        let mut meta = LayerMeta::new(parent, packed.diff_id, blob_descriptor);
        meta.size = Some(packed.size);
        (meta.created, meta.created_by) = (created, created_by);
        (meta.author, meta.comment) = (options.author.clone(), options.message.clone());
        meta.config = Some(run_config);
        draft.push(NewLayer { blob, meta, files: None });
    }
    draft.record(step);
    draft.publish(writer, options.name.as_ref())
}

/// Packs a container's upper into a blob.
fn pack_changes(
    writer: &Writer<'_>,
    container: &Container,
    base: &Image,
    options: &CommitOptions,
) -> Result<(StagedBlob, Packed)> {
    let lowers = layer_dirs(writer, base, &UnpackOptions::default())?;
    let paths = writer.store().container_paths(&container.id);
    let latest_mtime = (options.clamp == Clamp::Later).then(|| options.created.as_second());
    let pack_options = PackOptions { latest_mtime, work: Some(paths.work), if_written: options.if_written };
    let mut out = Compressor::new(writer.stage_blob()?, options.compression)
        .map_err(ImageError::io("compress the layer"))?;
    let packed = pack(&paths.upper, &lowers, &pack_options, &mut out)?;
    let blob = out.finish().map_err(ImageError::io("compress the layer"))?;
    Ok((blob.finish()?, packed))
}

/// The command that a history shows.
fn describe(changes: &[Change]) -> String {
    let changes: Vec<String> = changes.iter().map(Change::describe).collect();
    match changes.is_empty() {
        true => "plyfs commit".to_owned(),
        false => format!("plyfs commit {}", changes.join(" ")),
    }
}
