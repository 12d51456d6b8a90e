//! Images and containers on disk: blobs, layers, containers, locks, transactions, garbage.
//!
//! ```text
//! ROOT/oci-layout  index.json  blobs/sha256/HEX     an OCI image layout
//!      layers/<chain ID>/layer.json  diff/          what a layer is; its files, once something needed them
//!      containers/<id>/config.json  upper/  work/  merged/
//!      tmp/  lock
//! ```
//!
//! A [`Store`] reads and is never made to wait. A [`Writer`], of which there is one at a time, prepares everything in
//! `tmp/` and publishes by rename after fsync; `index.json` is replaced last. What is about to be published or removed
//! is written into a journal first, so that the next writer can clear away what a killed one left. Nothing here
//! follows a symbolic link inside the store, and nothing knows what is in a layer.

mod blob;
mod check;
mod collect;
mod container;
mod dir;
mod error;
mod journal;
mod layer;
mod layout;
mod made_up;
mod open;
mod reach;
mod rebuild;
mod repair;
mod stage;
mod transaction;
mod tree;
mod usage;
mod writer;

pub use blob::BlobReader;
pub use check::{Depth, Finding, Severity};
pub use collect::{Freed, Garbage};
pub use container::{Container, ContainerId, ContainerImage, ContainerPaths, NewContainer};
pub use error::StoreError;
pub use layer::LayerMeta;
pub use open::Store;
pub use repair::{Outcome, Repaired};
pub use stage::{BlobWriter, StagedBlob, StagedDir};
pub use transaction::Transaction;
pub use usage::{BlobUsage, ContainerUsage, LayerUsage, Usage};
pub use writer::Writer;

/// The result of an operation on the store.
pub type Result<T> = std::result::Result<T, StoreError>;

/// The longest JSON document that is read: an index, a manifest, a configuration, a layer's or container's file.
pub const JSON_LIMIT: u64 = 8 << 20;
