//! `plyfs prune`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs prune                                images without a name that no container uses
  plyfs prune --all --filter until=240h      all that no container uses and that are older than ten days
  plyfs prune --dry-run";

/// Remove images that nothing uses
#[derive(Debug, Clone, Args)]
pub struct PruneArgs {
    /// Those, too, that have a name
    #[arg(short, long)]
    pub all: bool,
    /// until=TIME or label=NAME[=VALUE]; may be given several times
    #[arg(long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
    /// Show what would be removed, and remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}
