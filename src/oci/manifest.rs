//! An image's manifest, and a list of manifests (OCI image specification; Docker image manifest 2.2).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::descriptor::Descriptor;
use super::digest::Digest;
use super::json::{self, null_is_default};
use super::media_type::{self, Compression};

/// The only version there is.
pub const SCHEMA_VERSION: u32 = 2;

/// What an image consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What this is; older tools leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// What kind of artifact this is, where it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers, the bottom one first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    /// Free-form annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
}

/// Why bytes are no manifest, or no list of manifests.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// They are not JSON of the right shape.
    #[error("cannot read the manifest")]
    Json(#[source] serde_json::Error),
    /// They are of another version of the format.
    #[error("the manifest has schemaVersion {0}; only {SCHEMA_VERSION} is known")]
    SchemaVersion(u32),
    /// They say that they are something else.
    #[error("{found:?} is not the media type of {expected}")]
    MediaType {
        /// What they say.
        found: String,
        /// What was to be read.
        expected: &'static str,
    },
    /// The configuration is not an image's: the manifest describes an artifact of another kind.
    #[error("the manifest is no image's: its configuration has the media type {0:?}")]
    NoImage(String),
    /// A layer is of a kind that cannot be unpacked.
    #[error("layer {digest} has the media type {media_type:?}, which is not known")]
    Layer {
        /// The layer.
        digest: Digest,
        /// What it is said to be.
        media_type: String,
    },
    /// A size is larger than the format allows.
    #[error("blob {digest} is said to have {size} bytes; a size is at most 2^63 - 1")]
    Size {
        /// The blob.
        digest: Digest,
        /// What is said.
        size: u64,
    },
}

impl Manifest {
    /// Reads an image's manifest.
    ///
    /// # Errors
    /// The bytes are not JSON of the right shape, name a field twice, or do not describe an image whose layers can be
    /// unpacked.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = json::parse(bytes).map_err(ManifestError::Json)?;
        check_version(manifest.schema_version)?;
        check_media_type(&manifest.media_type, media_type::is_manifest, "a manifest")?;
        if !media_type::is_config(&manifest.config.media_type) {
            return Err(ManifestError::NoImage(manifest.config.media_type));
        }
        check_size(&manifest.config)?;
        for layer in &manifest.layers {
            if Compression::of_layer(&layer.media_type).is_none() {
                let media_type = layer.media_type.clone();
                return Err(ManifestError::Layer { digest: layer.digest, media_type });
            }
            check_size(layer)?;
        }
        Ok(manifest)
    }

    /// An OCI image's manifest.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: SCHEMA_VERSION,
            media_type: Some(media_type::MANIFEST.to_owned()),
            artifact_type: None,
            config,
            layers,
            annotations: BTreeMap::new(),
        }
    }
}

/// A list of manifests: an image for several platforms, or all images of a layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What this is; older tools leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
    /// Free-form annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// Reads a list of manifests. What the members are is not looked at: some are no images.
    ///
    /// # Errors
    /// The bytes are not JSON of the right shape, name a field twice, or are no list of manifests.
    pub fn parse(bytes: &[u8]) -> Result<Index, ManifestError> {
        let index: Index = json::parse(bytes).map_err(ManifestError::Json)?;
        check_version(index.schema_version)?;
        check_media_type(&index.media_type, media_type::is_index, "a list of manifests")?;
        index.manifests.iter().try_for_each(check_size)?;
        Ok(index)
    }

    /// A list of these manifests.
    pub fn new(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: SCHEMA_VERSION,
            media_type: Some(media_type::INDEX.to_owned()),
            manifests,
            annotations: BTreeMap::new(),
        }
    }
}

fn check_version(version: u32) -> Result<(), ManifestError> {
    if version == SCHEMA_VERSION { Ok(()) } else { Err(ManifestError::SchemaVersion(version)) }
}

/// Whether what bytes say about themselves, if anything, is what was expected.
fn check_media_type(
    found: &Option<String>,
    is_expected: fn(&str) -> bool,
    expected: &'static str,
) -> Result<(), ManifestError> {
    match found {
        Some(found) if !found.is_empty() && !is_expected(found) => {
            Err(ManifestError::MediaType { found: found.clone(), expected })
        }
        _ => Ok(()),
    }
}

/// Other programs keep sizes in signed numbers.
fn check_size(descriptor: &Descriptor) -> Result<(), ManifestError> {
    let (digest, size) = (descriptor.digest, descriptor.size);
    if i64::try_from(size).is_ok() { Ok(()) } else { Err(ManifestError::Size { digest, size }) }
}

#[cfg(test)]
mod tests;
