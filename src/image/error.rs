//! How an operation on images fails.

use std::io;

use crate::layer::LayerError;
use crate::layer::unpack::UnpackError;
use crate::oci::digest::{DiffId, Digest};
use crate::store::StoreError;

use super::change::ChangeError;

/// The result of an operation on images.
pub type Result<T> = std::result::Result<T, ImageError>;

/// A failure. The system's reason is the source of an error and not in its own words.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A layer directory could not be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
    /// A layer could not be unpacked.
    #[error("layer {layer} cannot be unpacked")]
    Unpack {
        /// The layer's blob, or what stands for it.
        layer: String,
        /// What is wrong.
        source: UnpackError,
    },
    /// A change of the configuration makes no sense.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// No image is called so.
    #[error("no image is called {name:?}; `plyfs images` lists those that are there")]
    NoImage {
        /// A name, a digest, an ID or its beginning.
        name: String,
    },
    /// Several images' IDs begin so.
    #[error("several images have an ID that begins with {prefix:?}; give more digits")]
    Ambiguous {
        /// The beginning.
        prefix: String,
    },
    /// What was given is no image's name.
    #[error("{0:?} is not the name of an image but its ID")]
    NotName(String),
    /// The image cannot be removed yet.
    #[error("image {image} is used by container {container}; remove it first (`plyfs rm {container}`)")]
    InUse {
        /// The image's name or ID.
        image: String,
        /// The container's name.
        container: String,
    },
    /// The image has several names.
    #[error("image {image} has several names: {}; remove these, or use --force", names.join(", "))]
    SeveralNames {
        /// The image's ID.
        image: String,
        /// Its names.
        names: Vec<String>,
    },
    /// Layers do not match the configuration.
    #[error("the image is damaged: {0}")]
    Damaged(String),
    /// A layer's content is not what the configuration says.
    #[error("the layer of blob {blob} has the diff ID {found} and not {expected}")]
    DiffId {
        /// The blob.
        blob: Digest,
        /// What the configuration says.
        expected: DiffId,
        /// What the bytes say.
        found: DiffId,
    },
    /// The archive is not one.
    #[error("the archive cannot be read: {0}")]
    Archive(String),
    /// The base is none.
    #[error("the image is not built on {0}: its lowest layers are others")]
    NotBase(String),
    /// Reading the input or writing the output failed.
    #[error("cannot {action}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
    },
}

impl ImageError {
    /// For `map_err`: input or output failed when `action` was attempted.
    pub(super) fn io(action: &'static str) -> impl FnOnce(io::Error) -> ImageError {
        move |source| ImageError::Io { action, source }
    }
}
