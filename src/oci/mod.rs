//! The OCI image format as pure values. Nothing here does I/O.

pub mod config;
pub mod descriptor;
pub mod digest;
pub(crate) mod json;
pub mod manifest;
pub mod media_type;
pub mod reference;
