//! `plyfs logs`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs logs web
  plyfs logs -f web        and all that is to come";

/// Print what a detached container printed
#[derive(Debug, Clone, Args)]
pub struct LogsArgs {
    /// Go on until the container ends
    #[arg(short, long)]
    pub follow: bool,
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub container: String,
}
