//! What is in use: every blob and layer that an index or a container leads to.

use std::collections::{BTreeMap, BTreeSet};

use super::{LayerMeta, Result, Store, StoreError, container};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{ChainId, Digest};
use crate::oci::manifest::{Index, Manifest};
use crate::oci::media_type;

/// Whether it is a fault if the blob is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// It may lie elsewhere: another platform's part of an image, a layer that may not be distributed.
    Optional,
    /// The store must have it.
    Required,
}

/// A layer in use.
#[derive(Debug)]
pub(super) struct Used {
    pub(super) need: Need,
    /// What can be told of it from a manifest and a configuration.
    pub(super) meta: Option<LayerMeta>,
}

/// What is in use.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// The blobs, with the size that a descriptor gives them.
    pub(super) blobs: BTreeMap<Digest, (u64, Need)>,
    /// The layers.
    pub(super) layers: BTreeMap<ChainId, Used>,
    /// Why this may not be all, for each document that could not be read.
    pub(super) problems: Vec<(String, StoreError)>,
}

/// A document still to be read.
struct Pending {
    descriptor: Descriptor,
    need: Need,
    wanted_by: String,
}

/// What `index` and the containers lead to.
///
/// # Errors
/// What the system says of the directories; a document that cannot be read is among the result's problems.
pub(super) fn reach(store: &Store, index: &Index) -> Result<Reach> {
    let mut walk = Walk { store, reach: Reach::default(), pending: Vec::new(), seen: BTreeSet::new() };
    for descriptor in &index.manifests {
        let wanted_by = descriptor.ref_name().map_or_else(|| "an image".to_owned(), |n| format!("image {n}"));
        walk.pending.push(Pending { descriptor: descriptor.clone(), need: Need::Required, wanted_by });
    }
    walk.containers()?;
    while let Some(pending) = walk.pending.pop() {
        walk.document(pending);
    }
    walk.layers();
    Ok(walk.reach)
}

struct Walk<'a> {
    store: &'a Store,
    reach: Reach,
    pending: Vec<Pending>,
    seen: BTreeSet<(Digest, String)>,
}

impl Walk<'_> {
    fn containers(&mut self) -> Result<()> {
        for id in container::ids(self.store.layout())? {
            match container::read(self.store.layout(), &id) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    let wanted_by = format!("container {}", found.name);
                    found.layers.iter().for_each(|chain_id| self.layer(*chain_id, Need::Required, None));
                    let descriptor = found.image.manifest;
                    self.pending.push(Pending { descriptor, need: Need::Required, wanted_by });
                }
                Err(e) => self.reach.problems.push((format!("container {id}"), e)),
            }
        }
        Ok(())
    }

    /// Takes in one entry of an index.
    fn document(&mut self, pending: Pending) {
        let Pending { descriptor, need, wanted_by } = pending;
        self.blob(&descriptor, need);
        if !self.seen.insert((descriptor.digest, descriptor.media_type.clone())) {
            return;
        }
        let read = match &descriptor.media_type {
            kind if media_type::is_index(kind) => self.nested(&descriptor, &wanted_by),
            kind if media_type::is_manifest(kind) => self.manifest(&descriptor, need, &wanted_by),
            _ => Ok(()),
        };
        match read {
            Err(StoreError::BlobMissing { digest })
                if need == Need::Optional && digest == descriptor.digest => {}
            Err(e) => self.reach.problems.push((wanted_by, e)),
            Ok(()) => {}
        }
    }

    fn nested(&mut self, descriptor: &Descriptor, wanted_by: &str) -> Result<()> {
        for descriptor in self.store.nested_index(descriptor)?.manifests {
            let wanted_by = wanted_by.to_owned();
            self.pending.push(Pending { descriptor, need: Need::Optional, wanted_by });
        }
        Ok(())
    }

    fn manifest(&mut self, descriptor: &Descriptor, need: Need, wanted_by: &str) -> Result<()> {
        let manifest = self.store.manifest(descriptor)?;
        self.blob(&manifest.config, need);
        for layer in &manifest.layers {
            let elsewhere = !layer.urls.is_empty();
            self.blob(layer, if elsewhere { Need::Optional } else { need });
        }
        let kind = manifest.config.media_type.as_str();
        if ![media_type::CONFIG, media_type::DOCKER_CONFIG].contains(&kind) {
            return Ok(());
        }
        match self.chains(&manifest, need) {
            Err(StoreError::BlobMissing { .. }) if need == Need::Optional => {}
            Err(e) => self.reach.problems.push((wanted_by.to_owned(), e)),
            Ok(()) => {}
        }
        Ok(())
    }

    /// Takes in the layers of an image.
    fn chains(&mut self, manifest: &Manifest, need: Need) -> Result<()> {
        let config = self.store.config(manifest)?;
        let chains = ChainId::of_layers(&config.rootfs.diff_ids);
        let mut parent = None;
        for (place, (chain_id, diff_id)) in chains.into_iter().zip(&config.rootfs.diff_ids).enumerate() {
            // Lists of different length are an artifact's, or nonsense; the layers that have no blob are kept as well.
            let blob =
                manifest.layers.get(place).filter(|_| manifest.layers.len() == config.rootfs.diff_ids.len());
            let meta = blob.map(|blob| LayerMeta::new(parent, *diff_id, blob.clone()));
            self.layer(chain_id, need, meta);
            parent = Some(chain_id);
        }
        Ok(())
    }

    /// Keeps the blobs that the layers in use are unpacked from: another image's manifest may have brought them.
    fn layers(&mut self) {
        let chains: Vec<ChainId> = self.reach.layers.keys().copied().collect();
        for chain_id in chains {
            // What is wrong with a layer's file is for `check` to say; its blobs are known by the manifests.
            match self.store.layer(chain_id) {
                Ok(Some(meta)) => self.blob(&meta.blob, Need::Optional),
                Ok(None) => {}
                Err(e) => log::debug!("{e}"),
            }
        }
    }

    fn layer(&mut self, chain_id: ChainId, need: Need, meta: Option<LayerMeta>) {
        let known = self.reach.layers.entry(chain_id).or_insert(Used { need, meta: None });
        known.need = known.need.max(need);
        known.meta = known.meta.take().or(meta);
    }

    fn blob(&mut self, descriptor: &Descriptor, need: Need) {
        let known = self.reach.blobs.entry(descriptor.digest).or_insert((descriptor.size, need));
        known.1 = known.1.max(need);
    }
}
