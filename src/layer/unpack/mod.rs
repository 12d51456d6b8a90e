//! A layer's tar as a directory, in the form in which the mount reads it.

mod error;
mod options;

use std::io::Read;
use std::path::{Path, PathBuf};

pub use self::error::{EntryName, Refusal, UnpackError};
pub use self::options::{Limits, Ownership, UnpackOptions};
use crate::oci::digest::DiffId;

/// A layer that was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// The digest of the tar stream, to its very end.
    pub diff_id: DiffId,
    /// The stream's length in bytes.
    pub size: u64,
    /// The number of entries, whiteouts and opaque marks among them.
    pub entries: u64,
}

/// Unpacks the uncompressed `tar` into `target`, an existing empty directory, over `lowers` (top first), which
/// are read where the layer refers to them and never changed.
///
/// # Errors
/// [`UnpackError`].
pub fn unpack(
    tar: impl Read,
    target: &Path,
    lowers: &[PathBuf],
    options: &UnpackOptions,
) -> Result<Unpacked, UnpackError> {
    drop((tar, lowers, options));
    Err(UnpackError::Target { path: target.to_owned(), source: crate::sys::Errno::NOSYS })
}
