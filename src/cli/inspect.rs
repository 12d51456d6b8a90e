//! `plyfs inspect`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs inspect debian:12
  plyfs inspect --format '{{.Config.Env}}' debian:12
  plyfs inspect --format '{{json .RootFS.Layers}}' debian:12";

/// Print all that is known of images or containers
#[derive(Debug, Clone, Args)]
pub struct InspectArgs {
    /// Images or containers
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// json, or a template such as '{{.Config.Cmd}}'
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
}
