//! `plyfs layers`.

use std::path::Path;

use crate::cli::layers::LayersArgs;

/// Not written yet.
///
/// # Errors
/// Always.
pub fn run(_args: &LayersArgs, _root: Option<&Path>) -> anyhow::Result<()> {
    anyhow::bail!("not written yet")
}
