//! The OCI image format as pure values. Nothing here does I/O.

pub mod digest;
