//! `plyfs test`.

use std::path::Path;

use crate::cli::test::TestArgs;

/// Not written yet.
///
/// # Errors
/// Always.
pub fn run(_args: &TestArgs, _root: Option<&Path>) -> anyhow::Result<std::process::ExitCode> {
    anyhow::bail!("not written yet")
}
