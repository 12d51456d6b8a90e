//! How an operation on the store fails. The system's reason is the source of an error and not in its own words.

use std::io;
use std::path::PathBuf;

use crate::oci::digest::{ChainId, Digest};

/// A failure, with what it happened to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call failed.
    #[error("cannot {action} {}", path.display())]
    System {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("cannot make a random name")]
    Random(#[source] io::Error),
    /// Nothing says where this user's data lies.
    #[error("no home directory is known, so no place for images; set HOME, or give a root directory")]
    NoHome,
    /// The directory holds something else.
    #[error("{} holds other files and is no image store; give an empty or a new directory", path.display())]
    NotStore {
        /// The directory.
        path: PathBuf,
    },
    /// The store is another user's.
    #[error("the image store {} belongs to user {owner}; run as that user, or give another root directory",
        path.display())]
    ForeignStore {
        /// The store's root.
        path: PathBuf,
        /// The owner's number.
        owner: u32,
    },
    /// The store is of a later version of the image layout.
    #[error("the image store {} has layout version {version:?}; only 1.x is understood", path.display())]
    LayoutVersion {
        /// The store's root.
        path: PathBuf,
        /// What its `oci-layout` says.
        version: String,
    },
    /// There is no index.json.
    #[error("{} is missing; `plyfs fsck --repair` makes it anew from the manifests", path.display())]
    IndexMissing {
        /// The index.
        path: PathBuf,
    },
    /// A document is too long.
    #[error("{what} has {size} bytes; {limit} are allowed")]
    TooLarge {
        /// The document.
        what: String,
        /// Its length.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A document is not what it should be.
    #[error("{what} cannot be understood")]
    Json {
        /// The document.
        what: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A file of the store is not a regular file.
    #[error("{} is no regular file", path.display())]
    NotRegular {
        /// The file.
        path: PathBuf,
    },
    /// A blob is not there.
    #[error("blob {digest} is not in the store; was its image removed meanwhile?")]
    BlobMissing {
        /// The blob.
        digest: Digest,
    },
    /// A blob's length is not that of its descriptor.
    #[error("blob {digest} should have {expected} bytes and has {found}")]
    BlobSize {
        /// The blob.
        digest: Digest,
        /// The descriptor's size.
        expected: u64,
        /// The real one.
        found: u64,
    },
    /// A blob's bytes are not those of its digest.
    #[error("blob {expected} is damaged: its digest is {found}")]
    BlobDigest {
        /// What the descriptor says.
        expected: Digest,
        /// What the bytes say.
        found: Digest,
    },
    /// A manifest was asked for and the blob is something else.
    #[error("{digest} is no image manifest but {media_type:?}")]
    NotManifest {
        /// The blob.
        digest: Digest,
        /// What its descriptor says it is.
        media_type: String,
    },
    /// A layer is not there.
    #[error("layer {chain_id} is not in the store; was its image removed meanwhile?")]
    LayerMissing {
        /// The layer.
        chain_id: ChainId,
    },
    /// A layer's file says that it is another layer's.
    #[error("layer {chain_id} has the file of layer {found}; `plyfs fsck --repair` makes it anew")]
    LayerMisplaced {
        /// The directory's chain ID.
        chain_id: ChainId,
        /// The chain ID in `layer.json`.
        found: ChainId,
    },
    /// A container's file is not there or is another container's.
    #[error("{} is missing or is another container's", path.display())]
    NoContainerConfig {
        /// The file.
        path: PathBuf,
    },
    /// No container is called so.
    #[error("no container is called {name:?}")]
    NoContainer {
        /// A name, an ID or its beginning.
        name: String,
    },
    /// Several containers' IDs begin so.
    #[error("several containers have an ID that begins with {prefix:?}; give more digits")]
    AmbiguousContainer {
        /// The beginning.
        prefix: String,
    },
    /// A name that no container may have.
    #[error(
        "{name:?} is no name for a container: a letter or digit, then letters, digits, `_`, `.` or `-`, 2 to 128 in all"
    )]
    ContainerName {
        /// The name.
        name: String,
    },
    /// Another container has the name.
    #[error("the name {name:?} is taken by container {id}")]
    NameTaken {
        /// The name.
        name: String,
        /// The container that has it.
        id: String,
    },
    /// The container's file system is mounted.
    #[error("container {name} is mounted on {}; unmount it first", path.display())]
    Mounted {
        /// The container's name.
        name: String,
        /// The mount point.
        path: PathBuf,
    },
    /// What is in use cannot be told, so nothing may be removed.
    #[error("nothing was freed, since it cannot be told what is still in use; see `plyfs fsck`")]
    Uncertain(#[source] Box<StoreError>),
}

impl StoreError {
    /// For `map_err`: a system call that was to `action` the file failed.
    pub(super) fn system<E: Into<io::Error>>(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> StoreError {
        let path = path.into();
        move |source| StoreError::System { action, path, source: source.into() }
    }

    /// Whether the failure is that a blob is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, StoreError::BlobMissing { .. })
    }
}
