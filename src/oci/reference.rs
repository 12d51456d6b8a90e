//! Names of images: registry, path, tag and digest (distribution specification, as docker reads it).

use super::digest::Digest;

/// The name of an image. Made by parsing only, so that every one is valid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    registry: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text is no image's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// There is nothing.
    #[error("an image's name must not be empty")]
    Empty,
}

impl Reference {
    /// The registry's host name, with its port where one is given: `docker.io`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's path on the registry: `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The manifest's digest. Where there is a tag, too, the digest decides.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Registry and path: `docker.io/library/debian`.
    pub fn repository(&self) -> String {
        todo!()
    }

    /// Registry and path as docker shows them: `debian`.
    pub fn familiar_repository(&self) -> String {
        todo!()
    }

    /// As docker shows it: `debian:latest`.
    pub fn familiar(&self) -> String {
        todo!()
    }

    /// The same with the tag `latest`, if neither a tag nor a digest is given.
    pub fn with_default_tag(self) -> Reference {
        todo!()
    }

    /// The same repository with this tag and no digest.
    ///
    /// # Errors
    /// The text is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, ReferenceError> {
        let _ = tag;
        todo!()
    }
}

impl std::str::FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(_: &str) -> Result<Reference, ReferenceError> {
        todo!()
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
