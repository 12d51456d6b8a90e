//! `plyfs df`.

use std::path::Path;

use crate::cli::df::DfArgs;

/// Not written yet.
///
/// # Errors
/// Always.
pub fn run(_args: &DfArgs, _root: Option<&Path>) -> anyhow::Result<()> {
    anyhow::bail!("not written yet")
}
