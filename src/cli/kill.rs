//! `plyfs kill`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs kill web
  plyfs kill -s HUP web";

/// Send a signal to running containers
#[derive(Debug, Clone, Args)]
pub struct KillArgs {
    /// The signal: a name or a number
    #[arg(short, long, default_value = "KILL", value_name = "SIGNAL")]
    pub signal: String,
    /// The containers
    #[arg(value_name = "CONTAINER", required = true)]
    pub containers: Vec<String>,
}
