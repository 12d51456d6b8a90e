//! A lost index made anew: every image whose manifest is among the blobs, without its names.

use super::Store;
use super::dir::parse_json;
use super::{JSON_LIMIT, Result, collect};
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::Digest;
use crate::oci::manifest::{Index, Manifest, SCHEMA_VERSION};
use crate::oci::media_type;

/// An index of all images whose manifest and configuration are there.
pub(super) fn rebuild_index(store: &Store) -> Result<Index> {
    let mut manifests = Vec::new();
    for digest in collect::present(store.layout())?.blobs {
        manifests.extend(manifest_descriptor(store, digest)?);
    }
    Ok(Index::new(manifests))
}

/// The descriptor of a blob that is an image's manifest.
fn manifest_descriptor(store: &Store, digest: Digest) -> Result<Option<Descriptor>> {
    let blobs = &store.layout().blobs;
    let Some(stat) = blobs.stat(digest.hex())? else { return Ok(None) };
    let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if size > JSON_LIMIT {
        return Ok(None);
    }
    let Ok(bytes) = store.read_blob(&Descriptor::new("", digest, size), JSON_LIMIT) else { return Ok(None) };
    let Ok(manifest) = parse_json::<Manifest>(&bytes, String::new) else { return Ok(None) };
    let config = blobs.stat(manifest.config.digest.hex())?;
    let has_config = config.is_some_and(|stat| u64::try_from(stat.st_size) == Ok(manifest.config.size));
    Ok(media_type_of(&manifest).filter(|_| has_config).map(|kind| Descriptor::new(kind, digest, size)))
}

/// What a manifest is, by its own word or by its configuration's; `None` where it is no image's.
fn media_type_of(manifest: &Manifest) -> Option<&'static str> {
    if manifest.schema_version != SCHEMA_VERSION {
        return None;
    }
    match (manifest.media_type.as_deref(), manifest.config.media_type.as_str()) {
        (Some(media_type::DOCKER_MANIFEST), _) | (None, media_type::DOCKER_CONFIG) => {
            Some(media_type::DOCKER_MANIFEST)
        }
        (Some(media_type::MANIFEST) | None, _) => Some(media_type::MANIFEST),
        _ => None,
    }
}
