//! `plyfs history`.

use std::path::Path;

use crate::cli::history::HistoryArgs;

/// Not written yet.
///
/// # Errors
/// Always.
pub fn run(_args: &HistoryArgs, _root: Option<&Path>) -> anyhow::Result<()> {
    anyhow::bail!("not written yet")
}
