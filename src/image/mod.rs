//! Images: commit, history, archives, root file systems. Knows layers and the store, mounts nothing.

pub mod archive;
pub mod catalog;
pub mod change;
pub mod commit;
pub mod error;
pub mod export;
pub mod field_path;
pub mod files;
pub mod filter;
pub mod flatten;
pub mod glob;
pub mod history;
pub mod import;
pub mod inspect;
pub mod layer_view;
pub mod machine;
mod make;
mod names;
pub mod platform;
pub mod remove;
pub mod structure_test;
pub mod time;
pub mod unpacked;
pub mod usage;

pub use catalog::{Catalog, Image};
pub use error::ImageError;

/// The longest document (manifest, configuration, list) that is read, in bytes.
pub const MAX_DOCUMENT: u64 = 8 << 20;
