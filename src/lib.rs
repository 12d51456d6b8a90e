//! plyfs: a FUSE union file system for containers, and the companion image tool.
//!
//! ARCHITECTURE.md shows how the modules fit together and who may import whom.

pub mod format;
pub mod fuse;
pub mod image;
pub mod layer;
pub mod marks;
pub mod mount;
pub mod oci;
pub mod overlay;
pub mod run;
pub mod store;
pub mod sys;
