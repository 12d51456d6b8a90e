//! `plyfs images`.

use std::path::Path;

use crate::cli::images::ImagesArgs;

/// Not written yet.
///
/// # Errors
/// Always.
pub fn run(_args: &ImagesArgs, _root: Option<&Path>) -> anyhow::Result<()> {
    anyhow::bail!("not written yet")
}
