//! `plyfs df`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs df
  plyfs df -v
  plyfs df --format json";

/// Show how much room images and containers take
#[derive(Debug, Clone, Args)]
pub struct DfArgs {
    /// Each image and container
    #[arg(short, long)]
    pub verbose: bool,
    /// table, json, or a template such as '{{.Type}} {{.Size}}'
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}
