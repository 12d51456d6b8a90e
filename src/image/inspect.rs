//! What is known of an image or a container, in docker's words.

use serde_json::{Value, json};

use crate::oci::digest::ChainId;
use crate::oci::reference::Reference;
use crate::store::{Container, Store};

use super::catalog::{Catalog, Image};
use super::error::Result;
use super::history::layer_sizes;
use super::unpacked::chain_ids;

/// An image's document, with the fields of `docker image inspect`.
///
/// # Errors
/// The configuration is missing or damaged.
pub fn inspect_image(store: &Store, catalog: &Catalog, image: &Image) -> Result<Value> {
    let config = image.config(store)?;
    let chains = chain_ids(&config.rootfs.diff_ids);
    let last = config.history.last();
    let dirs: Vec<String> = chains.iter().rev().filter_map(|chain| layer_dir(store, *chain)).collect();
    let size: u64 = layer_sizes(store, image)?.iter().sum();
    Ok(json!({
        "Id": image.id().to_string(),
        "RepoTags": image.names,
        "RepoDigests": repo_digests(image),
        "Parent": parent(store, catalog, image, &config.rootfs.diff_ids),
        "Comment": last.and_then(|step| step.comment.clone()).unwrap_or_default(),
        "Created": config.created.clone().unwrap_or_default(),
        "Author": config.author.clone().unwrap_or_default(),
        "Config": serde_json::to_value(&config.config).unwrap_or_default(),
        "Architecture": config.architecture,
        "Variant": config.variant.clone().unwrap_or_default(),
        "Os": config.os,
        "Size": size,
        "VirtualSize": size,
        "GraphDriver": {
            "Name": "plyfs",
            "Data": {
                "LowerDir": dirs.get(1..).unwrap_or_default().join(":"),
                "UpperDir": dirs.first().cloned().unwrap_or_default(),
            },
        },
        "RootFS": { "Type": config.rootfs.kind, "Layers": config.rootfs.diff_ids },
        "Metadata": { "ManifestDigest": image.descriptor.digest, "MediaType": image.descriptor.media_type },
        "Layers": layers(store, &chains)?,
        "History": config.history,
    }))
}

/// A container's document.
pub fn inspect_container(store: &Store, container: &Container, mountpoint: Option<&str>) -> Value {
    let paths = store.container_paths(&container.id);
    let dirs: Vec<String> = container.layers.iter().filter_map(|chain| layer_dir(store, *chain)).collect();
    json!({
        "Id": container.id.to_string(),
        "Name": container.name,
        "Created": container.created,
        "Image": container.image.id.to_string(),
        "ImageName": container.image.name,
        "Config": serde_json::to_value(&container.config).unwrap_or_default(),
        "Mounted": mountpoint.is_some(),
        "MountPoint": mountpoint.unwrap_or_default(),
        "GraphDriver": {
            "Name": "plyfs",
            "Data": {
                "LowerDir": dirs.join(":"),
                "UpperDir": paths.upper,
                "WorkDir": paths.work,
                "MergedDir": paths.merged,
            },
        },
    })
}

/// An unpacked layer's directory.
fn layer_dir(store: &Store, chain_id: ChainId) -> Option<String> {
    store.diff_dir(chain_id).map(|dir| dir.display().to_string())
}

/// What is known of each layer, the bottom one first.
fn layers(store: &Store, chains: &[ChainId]) -> Result<Vec<Value>> {
    let mut layers = Vec::new();
    for chain_id in chains {
        let meta = store.layer(*chain_id)?;
        layers.push(serde_json::to_value(meta).unwrap_or_default());
    }
    Ok(layers)
}

/// The image's names with its manifest's digest.
fn repo_digests(image: &Image) -> Vec<String> {
    let named = image.names.iter().filter_map(|name| name.parse::<Reference>().ok());
    let mut digests: Vec<String> = named
        .map(|reference| format!("{}@{}", reference.familiar_repository(), image.descriptor.digest))
        .collect();
    digests.dedup();
    digests
}

/// The ID of the image that this one was made from, where the store has it: the one with the longest history that
/// begins this one's.
fn parent(
    store: &Store,
    catalog: &Catalog,
    image: &Image,
    diff_ids: &[crate::oci::digest::DiffId],
) -> String {
    let Ok(own) = image.config(store) else { return String::new() };
    let others = catalog.images.iter().filter(|other| other.id() != image.id());
    let fits = others.filter_map(|other| {
        let config = other.config(store).ok()?;
        let begins =
            own.history.starts_with(&config.history) && diff_ids.starts_with(&config.rootfs.diff_ids);
        let shorter = config.history.len() < own.history.len() && !config.history.is_empty();
        (begins && shorter).then_some((config.history.len(), other.id()))
    });
    fits.max_by_key(|(length, _)| *length).map_or_else(String::new, |(_, id)| id.to_string())
}
