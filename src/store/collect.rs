//! Garbage: what nothing reaches is planned, written into the journal, and removed.

use std::collections::BTreeSet;

use super::journal::Journal;
use super::layout::{DIFF, LAYER_META, Layout};
use super::reach::{Reach, reach};
use super::stage::Scrap;
use super::{Result, Store, StoreError, Writer, tree};
use crate::oci::digest::{ChainId, Digest};
use crate::oci::manifest::Index;

/// What nothing reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Garbage {
    /// The blobs.
    pub blobs: Vec<Digest>,
    /// The layers.
    pub layers: Vec<ChainId>,
    /// The bytes of the blobs and of the unpacked layers.
    pub bytes: u64,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freed {
    /// The blobs.
    pub blobs: Vec<Digest>,
    /// The layers.
    pub layers: Vec<ChainId>,
    /// The bytes of the blobs and of the unpacked layers.
    pub bytes: u64,
}

impl Store {
    /// What would be removed if `index` were the store's. Nothing is changed.
    ///
    /// # Errors
    /// [`StoreError::Uncertain`] where a document in use cannot be read, what the system says.
    pub fn garbage(&self, index: &Index) -> Result<Garbage> {
        let plan = plan_garbage(&certain(reach(self, index)?)?, &present(self.layout())?);
        let mut garbage = Garbage {
            blobs: plan.blobs.into_iter().collect(),
            layers: plan.layers.into_iter().collect(),
            bytes: 0,
        };
        for digest in &garbage.blobs {
            let size = self.layout().blobs.stat(digest.hex())?.map_or(0, |stat| stat.st_size);
            garbage.bytes = garbage.bytes.saturating_add(u64::try_from(size).unwrap_or(0));
        }
        for chain_id in &garbage.layers {
            let size = unpacked_size(self.layout(), *chain_id)?.unwrap_or(0);
            garbage.bytes = garbage.bytes.saturating_add(size);
        }
        Ok(garbage)
    }
}

impl Writer<'_> {
    /// Replaces the index, then removes the blobs and layers that nothing reaches any more. Killed between the two,
    /// the next writer goes on.
    ///
    /// # Errors
    /// As [`Writer::set_index`] and [`Writer::collect`]. After [`StoreError::Uncertain`] the index is the new one.
    pub fn set_index_and_collect(&self, index: &Index) -> Result<Freed> {
        let plan = reach(self.store(), index).and_then(certain);
        let plan = plan.and_then(|reach| Ok(plan_garbage(&reach, &present(self.layout())?)));
        let plan = match plan {
            Ok(plan) => plan,
            Err(e @ StoreError::Uncertain(_)) => {
                self.set_index(index)?;
                return Err(e);
            }
            Err(e) => return Err(e),
        };
        let journal = plan.write(self.layout())?;
        self.set_index(index)?;
        let freed = remove(self, &plan)?;
        self.layout().tmp.unlink(&journal)?;
        Ok(freed)
    }

    /// Removes the blobs and layers that nothing reaches.
    ///
    /// # Errors
    /// [`StoreError::Uncertain`] where a document in use cannot be read, what the system says.
    pub fn collect(&self) -> Result<Freed> {
        let index = self.store().index()?;
        let plan = plan_garbage(&certain(reach(self.store(), &index)?)?, &present(self.layout())?);
        remove_journalled(self, &plan)
    }
}

/// Refuses to go on where what is in use is not known for certain.
fn certain(mut reach: Reach) -> Result<Reach> {
    match reach.problems.pop() {
        None => Ok(reach),
        Some((wanted_by, problem)) => {
            log::debug!("{wanted_by} cannot be read");
            Err(StoreError::Uncertain(Box::new(problem)))
        }
    }
}

/// What is there and not in use.
fn plan_garbage(reach: &Reach, present: &Journal) -> Journal {
    let blobs = present.blobs.iter().filter(|digest| !reach.blobs.contains_key(digest));
    let layers = present.layers.iter().filter(|chain_id| !reach.layers.contains_key(chain_id));
    Journal { blobs: blobs.copied().collect(), layers: layers.copied().collect() }
}

/// All blobs and layers of the store. Files whose names are no digests are left out.
pub(super) fn present(layout: &Layout) -> Result<Journal> {
    Ok(Journal {
        blobs: digests(layout.blobs.names()?).collect(),
        layers: digests(layout.layers.names()?).map(ChainId::new).collect(),
    })
}

/// The digests that file names are.
pub(super) fn digests(names: Vec<std::ffi::OsString>) -> impl Iterator<Item = Digest> {
    names.into_iter().filter_map(|name| format!("sha256:{}", name.to_str()?).parse().ok())
}

/// Removes those of `suspects` that nothing reaches.
pub(super) fn remove_suspects(writer: &Writer<'_>, suspects: Journal) -> Result<()> {
    if suspects.is_empty() {
        return Ok(());
    }
    let index = writer.store().index()?;
    let plan = plan_garbage(&certain(reach(writer.store(), &index)?)?, &suspects);
    remove(writer, &plan).map(drop)
}

/// Removes blobs and layers, having written down which.
pub(super) fn remove_journalled(writer: &Writer<'_>, plan: &Journal) -> Result<Freed> {
    if plan.is_empty() {
        return Ok(Freed::default());
    }
    let journal = plan.write(writer.layout())?;
    let freed = remove(writer, plan)?;
    writer.layout().tmp.unlink(&journal)?;
    Ok(freed)
}

/// Removes blobs and layers: first from their places, then from the disk.
fn remove(writer: &Writer<'_>, plan: &Journal) -> Result<Freed> {
    let layout = writer.layout();
    let mut freed = Freed::default();
    let mut scraps = Vec::new();
    let present: BTreeSet<ChainId> = digests(layout.layers.names()?).map(ChainId::new).collect();
    for chain_id in plan.layers.intersection(&present) {
        let scrap = Scrap::new(layout, "layer")?;
        layout.layers.rename(chain_id.digest().hex(), &layout.tmp, scrap.name())?;
        scraps.push(scrap);
        freed.layers.push(*chain_id);
    }
    layout.layers.sync()?;
    for digest in &plan.blobs {
        let Some(stat) = layout.blobs.stat(digest.hex())? else { continue };
        if tree::is_dir(&stat) {
            let scrap = Scrap::new(layout, "blob")?;
            layout.blobs.rename(digest.hex(), &layout.tmp, scrap.name())?;
            scraps.push(scrap);
        } else if let Some(size) = layout.blobs.unlink(digest.hex())? {
            freed.bytes = freed.bytes.saturating_add(size);
        }
        freed.blobs.push(*digest);
    }
    layout.blobs.sync()?;
    for scrap in &scraps {
        // A file that cannot be removed is tried again by the next writer; the layer is gone in any case.
        match discard(layout, scrap) {
            Ok(bytes) => freed.bytes = freed.bytes.saturating_add(bytes),
            Err(e) => log::warn!("{e}"),
        }
    }
    Ok(freed)
}

/// Removes what was moved away; returns the bytes of a layer's files, as [`unpacked_size`] counts them.
fn discard(layout: &Layout, scrap: &Scrap) -> Result<u64> {
    if let Some(dir) = layout.tmp.sub_if_there(scrap.name())? {
        // Not one of the layer's files.
        dir.unlink(LAYER_META)?;
    }
    tree::remove(&layout.tmp, scrap.name().as_ref())
}

/// The bytes of a layer's files; `None` where it is not unpacked.
pub(super) fn unpacked_size(layout: &Layout, chain_id: ChainId) -> Result<Option<u64>> {
    let Some(dir) = layout.layers.sub_if_there(chain_id.digest().hex())? else { return Ok(None) };
    dir.sub_if_there(DIFF)?.map(tree::size).transpose()
}
