//! The documents of docker's archive: `manifest.json` and `repositories`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::oci::json::null_is_default;

/// Where docker lists the images of an archive.
pub const MANIFEST: &str = "manifest.json";
/// Where docker before version 1.10 did.
pub const REPOSITORIES: &str = "repositories";

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ArchivedImage {
    /// The path of its configuration.
    pub config: String,
    /// Its names.
    #[serde(default, deserialize_with = "null_is_default")]
    pub repo_tags: Vec<String>,
    /// The paths of its layers, the bottom one first.
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<String>,
}

/// Repository, tag and the ID of the image's top layer.
pub type Repositories = BTreeMap<String, BTreeMap<String, String>>;
