//! Layers as directories and as tar streams: what an upper changes, and the OCI layer made of it.
//!
//! Layers are read through directory descriptors, one component at a time, no link followed. Nothing here
//! mounts anything or knows of images.

pub mod apply;
pub mod compress;
pub mod diff;
pub mod error;
pub mod lowers;
pub mod node;
pub mod pack;
pub mod source;
pub mod unpack;

mod index;
mod merged;

pub use error::LayerError;
