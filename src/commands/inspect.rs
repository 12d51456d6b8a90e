//! `plyfs inspect`.

use std::path::Path;

use crate::cli::inspect::InspectArgs;

/// Not written yet.
///
/// # Errors
/// Always.
pub fn run(_args: &InspectArgs, _root: Option<&Path>) -> anyhow::Result<()> {
    anyhow::bail!("not written yet")
}
