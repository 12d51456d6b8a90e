//! Containers: an upper on an image, and what is known of it in `config.json`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::oci::config::RunConfig;
use crate::oci::descriptor::Descriptor;
use crate::oci::digest::{ChainId, ImageId};

/// A container's identity: 64 lower-case hexadecimal digits, random.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContainerId(String);

/// What is known of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Container {
    /// Its identity.
    pub id: ContainerId,
    /// Its name, which no other container has.
    pub name: String,
    /// The image it was made of.
    pub image: ContainerImage,
    /// When it was made (RFC 3339).
    pub created: String,
    /// The chain IDs of the image's layers, the top one first.
    pub layers: Vec<ChainId>,
    /// How it is run.
    #[serde(default)]
    pub config: RunConfig,
    /// All other fields.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The image that a container was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerImage {
    /// Its manifest, which stays in the store as long as the container does.
    pub manifest: Descriptor,
    /// The digest of its configuration.
    pub id: ImageId,
    /// What the person called it.
    pub name: String,
}

/// A container to be made.
#[derive(Debug, Clone)]
pub struct NewContainer {
    /// Its name; one is made up where there is none.
    pub name: Option<String>,
    /// The image.
    pub image: ContainerImage,
    /// When it is made (RFC 3339).
    pub created: String,
    /// How it is run.
    pub config: RunConfig,
    /// Other fields to be kept with it.
    pub extra: Map<String, Value>,
}

/// Where a container's directories are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPaths {
    /// The writable layer.
    pub upper: PathBuf,
    /// The mount's work directory.
    pub work: PathBuf,
    /// The mount point.
    pub merged: PathBuf,
}
