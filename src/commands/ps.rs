//! `plyfs ps`.

use std::path::Path;

use crate::cli::ps::PsArgs;

/// Not written yet.
///
/// # Errors
/// Always.
pub fn run(_args: &PsArgs, _root: Option<&Path>) -> anyhow::Result<()> {
    anyhow::bail!("not written yet")
}
