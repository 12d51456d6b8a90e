//! The OCI image format as pure values. Nothing here does I/O.

pub mod config;
pub mod descriptor;
pub mod digest;
mod json;
pub mod manifest;
pub mod media_type;
pub mod reference;
