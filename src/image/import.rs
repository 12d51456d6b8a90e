//! Import: a root file system's tar as an image of one layer.

use std::io::{self, Read, Write};

use crate::layer::compress::{Compressor, Format, decompress};
use crate::layer::unpack::{UnpackOptions, Unpacked, unpack};
use crate::oci::config::{History, ImageConfig};
use crate::oci::descriptor::Platform;
use crate::oci::media_type::Compression;
use crate::oci::reference::Reference;
use crate::store::{LayerMeta, StagedBlob, StagedDir, Writer};

use super::catalog::Image;
use super::change::{self, Change};
use super::error::{ImageError, Result};
use super::make::{Draft, NewLayer};
use super::time::{self, Timestamp};

/// The choices of an import.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The image's name.
    pub name: Option<Reference>,
    /// Changes to an empty configuration.
    pub changes: Vec<Change>,
    /// The comment in the history.
    pub message: Option<String>,
    /// What the programs in it run on.
    pub platform: Platform,
    /// When the image is made.
    pub created: Timestamp,
    /// What it is made from, for the comment in the history.
    pub source: String,
    /// How the layer is kept; as it came, where this is not said and the form is one that layers have.
    pub compression: Option<Compression>,
    /// How far the tar is trusted.
    pub unpack: UnpackOptions,
}

/// Makes an image of the tar `input`, compressed in any known way. Atomic.
///
/// # Errors
/// The tar is damaged or refused, a change makes no sense, or the store cannot be written; it is as before then.
pub fn import(writer: &Writer<'_>, input: impl Read, options: &ImportOptions) -> Result<Image> {
    let mut config = ImageConfig {
        architecture: options.platform.architecture.clone(),
        os: options.platform.os.clone(),
        variant: options.platform.variant.clone(),
        ..ImageConfig::default()
    };
    change::apply(&options.changes, &mut config.config)?;
    let layer = import_layer(writer, input, options)?;
    let created = Some(time::format(options.created));
    let comment = options.message.clone().unwrap_or_else(|| format!("Imported from {}", options.source));
    let created_by = match options.changes.is_empty() {
        true => None,
        false => Some(options.changes.iter().map(Change::describe).collect::<Vec<_>>().join(" ")),
    };
    let mut meta = LayerMeta::new(None, layer.unpacked.diff_id, layer.blob.descriptor(layer.media_type()));
    meta.size = Some(layer.unpacked.size);
    (meta.created, meta.created_by) = (created.clone(), created_by.clone());
    meta.comment = Some(comment.clone());
    meta.config = Some(config.config.clone());
    let mut draft = Draft::new(config, &[]);
    draft.push(NewLayer { blob: layer.blob, meta, files: Some(layer.files) });
    draft.record(History { created, created_by, comment: Some(comment), ..History::default() });
    draft.publish(writer, options.name.as_ref())
}

/// The layer as it was read.
struct Imported {
    blob: StagedBlob,
    compression: Compression,
    files: StagedDir,
    unpacked: Unpacked,
}

impl Imported {
    fn media_type(&self) -> &'static str {
        self.compression.layer_media_type()
    }
}

/// Reads the tar once: it is unpacked while it is written to its blob.
fn import_layer(writer: &Writer<'_>, mut input: impl Read, options: &ImportOptions) -> Result<Imported> {
    let read = ImageError::io("read the root file system's tar");
    let files = writer.stage_dir()?;
    let unpack_into = |tar: &mut dyn Read| {
        unpack(tar, files.path(), &[], &options.unpack)
            .map_err(|source| ImageError::Unpack { layer: options.source.clone(), source })
    };
    let mut start = Vec::new();
    input.by_ref().take(16).read_to_end(&mut start).map_err(read)?;
    if start.is_empty() {
        return Err(ImageError::Archive(format!("{} is empty", options.source)));
    }
    let came = Format::of(&start).of_layer();
    let kept = options.compression.or(came).unwrap_or(Compression::Gzip);
    let whole = start.chain(input);
    let (blob, unpacked) = if came == Some(kept) {
        let mut tee = Tee { input: whole, copy: writer.stage_blob()? };
        let unpacked = decompressed(&mut tee, unpack_into)?;
        // What lies behind the end of the stream belongs to the blob, too.
        io::copy(&mut tee, &mut io::sink()).map_err(ImageError::io("read the root file system's tar"))?;
        (tee.copy, unpacked)
    } else {
        let mut copy =
            Compressor::new(writer.stage_blob()?, kept).map_err(ImageError::io("compress the layer"))?;
        let unpacked = decompressed(whole, |tar| unpack_into(&mut Tee { input: tar, copy: &mut copy }))?;
        (copy.finish().map_err(ImageError::io("compress the layer"))?, unpacked)
    };
    Ok(Imported { blob: blob.finish()?, compression: kept, files, unpacked })
}

/// Calls `use_tar` with the decompressed input.
fn decompressed<T>(input: impl Read, use_tar: impl FnOnce(&mut dyn Read) -> Result<T>) -> Result<T> {
    let (_, mut tar) = decompress(input).map_err(ImageError::io("read the root file system's tar"))?;
    use_tar(&mut tar)
}

/// A reader that writes a copy of all it reads.
struct Tee<R, W> {
    input: R,
    copy: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.copy.write_all(&buffer[..n])?;
        Ok(n)
    }
}
