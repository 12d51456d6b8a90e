//! Putting an image together and publishing it: layers, configuration, manifest and name, all or none.

use crate::oci::config::{History, ImageConfig};
use crate::oci::descriptor::Descriptor;
use crate::oci::manifest::{Index, Manifest};
use crate::oci::media_type::{self, Compression};
use crate::oci::reference::Reference;
use crate::store::{LayerMeta, StagedBlob, StagedDir, Writer};

use super::catalog::Image;
use super::error::{ImageError, Result};
use super::names;

/// A layer that is not in the store yet.
pub(super) struct NewLayer {
    /// Its blob.
    pub blob: StagedBlob,
    /// What is known of it.
    pub meta: LayerMeta,
    /// Its files, where they are unpacked already.
    pub files: Option<StagedDir>,
}

/// An image that is being made.
pub(super) struct Draft {
    /// The configuration, complete but for what [`Draft::push`] adds.
    pub config: ImageConfig,
    layers: Vec<Descriptor>,
    new: Vec<NewLayer>,
}

impl Draft {
    /// An image of these layers, which `config` lists already.
    pub fn new(config: ImageConfig, layers: &[Descriptor]) -> Draft {
        Draft { config, layers: layers.iter().map(as_oci_layer).collect(), new: Vec::new() }
    }

    /// Puts a layer on top.
    pub fn push(&mut self, layer: NewLayer) {
        self.config.rootfs.diff_ids.push(layer.meta.diff_id);
        self.layers.push(layer.meta.blob.clone());
        self.new.push(layer);
    }

    /// Adds a step to the history.
    pub fn record(&mut self, step: History) {
        self.config.created.clone_from(&step.created);
        self.config.history.push(step);
    }

    /// Writes the image into the store and names it. Atomic.
    ///
    /// # Errors
    /// The store cannot be written; it is as before then.
    pub fn publish(self, writer: &Writer<'_>, name: Option<&Reference>) -> Result<Image> {
        let config = json(&self.config)?;
        let config_descriptor = Descriptor::of(media_type::CONFIG, &config);
        let manifest = Manifest::new(config_descriptor, self.layers);
        let bytes = json(&manifest)?;
        let mut transaction = writer.transaction();
        for layer in self.new {
            transaction.add_blob(layer.blob);
            transaction.add_layer(layer.meta, layer.files);
        }
        transaction.add_blob(writer.stage_bytes(&config)?);
        transaction.add_blob(writer.stage_bytes(&bytes)?);
        let descriptor = Descriptor::of(media_type::MANIFEST, &bytes);
        let name = name.map(|name| name.clone().with_default_tag().familiar());
        let mut index: Index = writer.store().index()?;
        names::assign(&mut index, &descriptor, name.as_deref());
        transaction.publish(&index)?;
        Ok(Image { descriptor, manifest, names: name.into_iter().collect() })
    }
}

/// The bytes of a document.
pub(super) fn json(document: &impl serde::Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document).map_err(|e| ImageError::Io { action: "write JSON", source: e.into() })
}

/// The same layer in the words of the OCI specification, which a manifest of ours is written in.
fn as_oci_layer(layer: &Descriptor) -> Descriptor {
    let media_type = Compression::of_layer(&layer.media_type).map(Compression::layer_media_type);
    let media_type = media_type.unwrap_or(&layer.media_type).to_owned();
    Descriptor { media_type, annotations: Default::default(), ..layer.clone() }
}
