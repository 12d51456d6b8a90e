//! `plyfs rm`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs rm web
  plyfs rm --force web        ends and unmounts it first
  plyfs rm --all";

/// Remove containers with what was changed in them
#[derive(Debug, Clone, Args)]
pub struct RmArgs {
    /// The containers
    #[arg(value_name = "CONTAINER", required_unless_present = "all")]
    pub containers: Vec<String>,
    /// End those that run, unmount those that are mounted
    #[arg(short, long)]
    pub force: bool,
    /// All containers
    #[arg(short, long, conflicts_with = "containers")]
    pub all: bool,
}
