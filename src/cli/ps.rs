//! `plyfs ps`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs ps            containers that run or are mounted
  plyfs ps -a         all of them
  plyfs ps -a --format json";

/// List containers
#[derive(Debug, Clone, Args)]
pub struct PsArgs {
    /// Those, too, that neither run nor are mounted
    #[arg(short, long)]
    pub all: bool,
    /// Print nothing but IDs
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not shorten IDs
    #[arg(long)]
    pub no_trunc: bool,
    /// Show the size of each container's writable layer
    #[arg(short, long)]
    pub size: bool,
    /// table, json, or a template such as '{{.Names}} {{.Image}}'
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}
