//! `plyfs history`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs history app:1
  plyfs history --no-trunc --format '{{.CreatedBy}}' app:1";

/// Show the steps by which an image came about
#[derive(Debug, Clone, Args)]
pub struct HistoryArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// Print nothing but IDs
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not shorten IDs and commands
    #[arg(long)]
    pub no_trunc: bool,
    /// table, json, or a template such as '{{.ID}} {{.Size}}'
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}
