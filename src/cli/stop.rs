//! `plyfs stop`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs stop web
  plyfs stop -t 0 web        at once";

/// Ask running containers to end, and end those that do not
#[derive(Debug, Clone, Args)]
pub struct StopArgs {
    /// How long they may take
    #[arg(short, long, default_value_t = 10, value_name = "SECONDS")]
    pub time: u32,
    /// The containers
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}
