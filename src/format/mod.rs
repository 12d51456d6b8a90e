//! The on-disk marks of a layer directory, as pure values: names, encodings, and the ids inside them.
//!
//! Nothing here does I/O or knows where a mark was read. One mechanism a file; what other programs write
//! and read is in contracts.md, section 2.

pub mod acl;
pub mod capability;
pub mod error;
pub mod idmap;
pub mod names;
pub mod nlink;
pub mod origin;
pub mod override_stat;
pub mod redirect;
pub mod whiteout;

pub use error::FormatError;
