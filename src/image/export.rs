//! Export: the tree that a container or an image shows, as one flat tar.

use std::io::Write;
use std::path::PathBuf;

use crate::layer::pack::{PackOptions, Packed, squash};

use super::error::Result;

/// The layers of a tree, and where its link index is.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    /// Layer directories, the top one first; a container's upper among them.
    pub layers: Vec<PathBuf>,
    /// The work directory, for a container.
    pub work: Option<PathBuf>,
}

/// Writes the tree as an uncompressed tar. Equal trees make equal bytes.
///
/// # Errors
/// A layer cannot be read, or `out` not be written.
pub fn export(tree: &Tree, latest_mtime: Option<i64>, out: impl Write) -> Result<Packed> {
    let options = PackOptions { latest_mtime, work: tree.work.clone(), ..PackOptions::default() };
    Ok(squash(&tree.layers, &[], &options, out)?)
}
