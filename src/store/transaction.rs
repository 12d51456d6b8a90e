//! Publishing blobs, layers and an index as one: all of it, or after a crash nothing.

use super::dir::write_json;
use super::journal::Journal;
use super::layout::LAYER_META;
use super::stage::Scrap;
use super::{LayerMeta, Result, StagedBlob, StagedDir, Writer, collect};
use crate::oci::manifest::Index;

/// What is to be published together. Dropped, it is all thrown away.
#[derive(Debug)]
pub struct Transaction<'w> {
    writer: &'w Writer<'w>,
    blobs: Vec<StagedBlob>,
    layers: Vec<(LayerMeta, Option<StagedDir>)>,
}

impl<'w> Transaction<'w> {
    pub(super) fn new(writer: &'w Writer<'w>) -> Transaction<'w> {
        Transaction { writer, blobs: Vec::new(), layers: Vec::new() }
    }

    /// Adds a blob. One that the store has already is replaced by these bytes, which are known to be right.
    pub fn add_blob(&mut self, blob: StagedBlob) {
        self.blobs.push(blob);
    }

    /// Adds a layer, with its files if they are unpacked. What the store knows of such a layer stays as it is, as do
    /// its files, unless the blob that it is unpacked from is missing.
    pub fn add_layer(&mut self, meta: LayerMeta, diff: Option<StagedDir>) {
        match self.layers.iter_mut().find(|(known, _)| known.chain_id == meta.chain_id) {
            Some((_, files)) => *files = files.take().or(diff),
            None => self.layers.push((meta, diff)),
        }
    }

    /// Publishes all: blobs, then layers, then `index` in place of the store's.
    ///
    /// # Errors
    /// What the system says; the index is then as it was, and what was published before is removed.
    pub fn publish(self, index: &Index) -> Result<()> {
        let journal = Journal {
            blobs: self.blobs.iter().map(StagedBlob::digest).collect(),
            layers: self.layers.iter().map(|(meta, _)| meta.chain_id).collect(),
        };
        let layout = self.writer.layout();
        let name = match journal.is_empty() {
            true => None,
            false => Some(journal.write(layout)?),
        };
        let published = self.publish_parts().and_then(|()| self.writer.set_index(index));
        if published.is_err()
            && let Err(e) = collect::remove_suspects(self.writer, journal)
        {
            log::warn!("what was published in vain stays for now: {e}");
            return published;
        }
        if let Some(name) = name {
            layout.tmp.unlink(&name)?;
        }
        published
    }

    fn publish_parts(&self) -> Result<()> {
        let layout = self.writer.layout();
        let mut prepared = Vec::new();
        for (meta, diff) in &self.layers {
            prepared.extend(self.prepare_layer(meta, diff.as_ref())?);
        }
        if self.layers.iter().any(|(_, diff)| diff.is_some()) {
            // The files of a layer are too many to be waited for one by one.
            layout.tmp.sync_all()?;
        }
        for blob in &self.blobs {
            blob.publish()?;
        }
        layout.blobs.sync()?;
        for layer in prepared {
            layer.publish(self.writer)?;
        }
        layout.layers.sync()
    }

    /// Puts a layer's directory together in `tmp/`; `None` where nothing is to be published.
    fn prepare_layer<'t>(
        &self,
        meta: &LayerMeta,
        diff: Option<&'t StagedDir>,
    ) -> Result<Option<Prepared<'t>>> {
        let name = meta.chain_id.digest().hex();
        let bytes = write_json(meta, LAYER_META)?;
        if self.is_known(meta) {
            let unpack = self.writer.store().diff_dir(meta.chain_id).is_none();
            return Ok(diff.filter(|_| unpack).map(|diff| Prepared { name, what: What::Files(diff) }));
        }
        if self.writer.store().diff_dir(meta.chain_id).is_some() {
            return Ok(Some(Prepared { name, what: What::Meta(bytes) }));
        }
        if let Some(diff) = diff {
            diff.outer().create_with(LAYER_META, &bytes)?;
            return Ok(Some(Prepared { name, what: What::Unpacked(diff) }));
        }
        let layout = self.writer.layout();
        let scrap = Scrap::new(layout, "layer")?;
        let dir = layout.tmp.make(scrap.name(), 0o700)?;
        dir.create_with(LAYER_META, &bytes)?;
        dir.sync()?;
        Ok(Some(Prepared { name, what: What::Packed(scrap) }))
    }

    /// Whether the store has such a layer, and the blob that it says it is unpacked from.
    fn is_known(&self, meta: &LayerMeta) -> bool {
        let known = self.writer.store().layer(meta.chain_id);
        known.is_ok_and(|known| known.is_some_and(|known| self.has_blob(&known)))
    }

    fn has_blob(&self, known: &LayerMeta) -> bool {
        let size = self.writer.layout().blobs.stat(known.blob.digest.hex());
        size.is_ok_and(|stat| stat.is_some_and(|stat| u64::try_from(stat.st_size) == Ok(known.blob.size)))
    }
}

/// A layer that can be published by one rename.
struct Prepared<'t> {
    /// The name of its directory.
    name: String,
    what: What<'t>,
}

/// What of a layer is new.
enum What<'t> {
    /// All: what is known of it, and its files.
    Unpacked(&'t StagedDir),
    /// All, without its files.
    Packed(Scrap),
    /// Its files.
    Files(&'t StagedDir),
    /// What is known of it.
    Meta(Vec<u8>),
}

impl Prepared<'_> {
    fn publish(self, writer: &Writer<'_>) -> Result<()> {
        let layout = writer.layout();
        match self.what {
            What::Files(diff) => {
                let layer = layout.layers.sub(&self.name)?;
                diff.publish_diff(&layer)?;
                return layer.sync();
            }
            What::Meta(bytes) => {
                return layout.layers.sub(&self.name)?.replace(LAYER_META, &bytes, &layout.tmp);
            }
            What::Unpacked(_) | What::Packed(_) => {}
        }
        // Only a directory that is of no use can be in the way: it has no files, or nothing tells what they are.
        let mut old = None;
        if layout.layers.stat(&self.name)?.is_some() {
            let scrap = Scrap::new(layout, "layer")?;
            layout.layers.rename(&self.name, &layout.tmp, scrap.name())?;
            old = Some(scrap);
        }
        let published = match &self.what {
            What::Unpacked(diff) => diff.publish(&layout.layers, &self.name),
            What::Packed(scrap) => scrap.publish(&layout.layers, &self.name),
            What::Files(_) | What::Meta(_) => Ok(()),
        };
        drop(old);
        published
    }
}
