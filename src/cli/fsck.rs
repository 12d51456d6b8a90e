//! `plyfs fsck`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs fsck                 reads every blob
  plyfs fsck --quick         names and sizes only
  plyfs fsck --repair";

/// Find, and mend, what a crash or a disk fault did to the store
#[derive(Debug, Clone, Args)]
pub struct FsckArgs {
    /// Mend what can be mended; no container's files are touched
    #[arg(long)]
    pub repair: bool,
    /// Do not read the blobs' contents
    #[arg(long)]
    pub quick: bool,
    /// table, json, or a template such as '{{.Severity}} {{.What}}'
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}
