//! Mending what `check` found, as far as nothing is lost by it: a container's files are never touched.

use super::check::reason;
use super::container::{self, ContainerId};
use super::dir::write_json;
use super::journal::Journal;
use super::layout::{DIFF, INDEX, LAYER_META};
use super::reach::reach;
use super::rebuild::rebuild_index;
use super::stage::Scrap;
use super::{Finding, Result, StoreError, Writer, collect, tree};
use crate::oci::digest::ChainId;

/// Where an index that cannot be read is kept, for what a person may still read in it.
const DAMAGED_INDEX: &str = "index.json.damaged";

/// What became of a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is mended; what was done.
    Mended(String),
    /// It is as it was; what a person can do, or why it failed.
    Left(String),
}

/// A finding and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// What was found.
    pub finding: Finding,
    /// What became of it.
    pub outcome: Outcome,
}

impl Writer<'_> {
    /// Mends what can be mended: an index that is lost is made anew from the manifests, without names; what is known of
    /// a layer, from its image; damaged unpacked files are dropped, to be unpacked again; leftovers and what nothing
    /// reaches are removed. Blobs that are missing or damaged stay so until their image is loaded again.
    pub fn repair(&self, findings: &[Finding]) -> Vec<Repaired> {
        let mut findings = findings.to_vec();
        // The index first: it tells what all else is for.
        findings.sort_by_key(|f| !matches!(f, Finding::IndexMissing | Finding::IndexDamaged { .. }));
        let mend = |finding: Finding| {
            let outcome = self.mend(&finding).unwrap_or_else(|e| Outcome::Left(reason(&e)));
            Repaired { finding, outcome }
        };
        findings.into_iter().map(mend).collect()
    }

    fn mend(&self, finding: &Finding) -> Result<Outcome> {
        Ok(match finding {
            Finding::IndexMissing | Finding::IndexDamaged { .. } => self.mend_index()?,
            Finding::LayerDamaged { chain_id, .. } => self.mend_layer(*chain_id)?,
            Finding::DiffDamaged { chain_id, .. } => self.drop_diff(*chain_id)?,
            Finding::ContainerDamaged { id, .. } => self.mend_container(id)?,
            Finding::UnreachableBlob { digest } => {
                let blobs = [*digest].into();
                self.remove_unused(Journal { blobs, ..Journal::default() })?
            }
            Finding::UnreachableLayer { chain_id } => {
                let layers = [*chain_id].into();
                self.remove_unused(Journal { layers, ..Journal::default() })?
            }
            Finding::Leftover { name } => {
                tree::remove(&self.layout().tmp, name)?;
                Outcome::Mended("removed".to_owned())
            }
            Finding::BlobMissing { .. } | Finding::BlobDamaged { .. } | Finding::Unreadable { .. } => {
                Outcome::Left("load or pull the image again, or remove it".to_owned())
            }
            Finding::Stray { .. } => {
                Outcome::Left("not the store's; remove it if it is of no use".to_owned())
            }
        })
    }

    fn mend_index(&self) -> Result<Outcome> {
        if self.store().index().is_ok() {
            return Ok(Outcome::Mended("it was mended already".to_owned()));
        }
        let index = rebuild_index(self.store())?;
        let root = &self.layout().root;
        if root.stat(INDEX)?.is_some() {
            root.rename(INDEX, root, DAMAGED_INDEX)?;
        }
        self.set_index(&index)?;
        let count = index.manifests.len();
        Ok(Outcome::Mended(format!("made anew with {count} images; their names are lost, tag them again")))
    }

    /// Writes again what is known of a layer, as far as its image tells.
    fn mend_layer(&self, chain_id: ChainId) -> Result<Outcome> {
        let index = self.store().index()?;
        let meta = reach(self.store(), &index)?.layers.remove(&chain_id).and_then(|used| used.meta);
        let Some(meta) = meta else {
            return Ok(Outcome::Left("no image tells what it is; load or pull its image again".to_owned()));
        };
        let layout = self.layout();
        let name = chain_id.digest().hex();
        let bytes = write_json(&meta, LAYER_META)?;
        match layout.layers.sub_if_there(&name) {
            Ok(Some(dir)) if !dir.stat(LAYER_META)?.is_some_and(|stat| tree::is_dir(&stat)) => {
                dir.replace(LAYER_META, &bytes, &layout.tmp)?;
            }
            other => {
                // Missing, or so odd that it is best put aside as a whole.
                let aside = Scrap::new(layout, "layer")?;
                if !matches!(other, Ok(None)) {
                    layout.layers.rename(&name, &layout.tmp, aside.name())?;
                }
                let scrap = Scrap::new(layout, "layer")?;
                let dir = layout.tmp.make(scrap.name(), 0o700)?;
                dir.create_with(LAYER_META, &bytes)?;
                dir.sync()?;
                scrap.publish(&layout.layers, &name)?;
                layout.layers.sync()?;
            }
        }
        Ok(Outcome::Mended("written anew from the image".to_owned()))
    }

    /// Drops the unpacked files of a layer, which are unpacked again on need.
    fn drop_diff(&self, chain_id: ChainId) -> Result<Outcome> {
        let layout = self.layout();
        let Some(layer) = layout.layers.sub_if_there(chain_id.digest().hex())? else {
            return Ok(Outcome::Mended("it is gone".to_owned()));
        };
        let scrap = Scrap::new(layout, "layer")?;
        let outer = layout.tmp.make(scrap.name(), 0o700)?;
        tree::rename_dir(&layer, DIFF, &outer, DIFF)?;
        layer.sync()?;
        Ok(Outcome::Mended("dropped; it is unpacked again when needed".to_owned()))
    }

    fn mend_container(&self, id: &ContainerId) -> Result<Outcome> {
        let layout = self.layout();
        if let Err(StoreError::NoContainerConfig { .. } | StoreError::Json { .. }) =
            container::read(layout, id)
        {
            let upper = container::paths(layout, id).upper;
            return Ok(Outcome::Left(format!(
                "what it changed is in {}; save it, then remove the container by its ID",
                upper.display()
            )));
        }
        let Some(dir) = layout.containers.sub_if_there(id.as_str())? else {
            return Ok(Outcome::Mended("it is gone".to_owned()));
        };
        container::make_missing(&dir)?;
        match container::missing_directories(&dir)?.is_empty() {
            true => Ok(Outcome::Mended("its directories were made".to_owned())),
            false => Ok(Outcome::Left("what it changed is lost; remove the container".to_owned())),
        }
    }

    fn remove_unused(&self, suspects: Journal) -> Result<Outcome> {
        collect::remove_suspects(self, suspects)?;
        Ok(Outcome::Mended("removed".to_owned()))
    }
}
