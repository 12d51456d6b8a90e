//! `plyfs images`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs images
  plyfs images debian
  plyfs images --format '{{.Repository}}:{{.Tag}} {{.Size}}'
  plyfs images --format json";

/// List images
#[derive(Debug, Clone, Args)]
pub struct ImagesArgs {
    /// Only those of this repository, or with this name
    #[arg(value_name = "NAME[:TAG]")]
    pub name: Option<String>,
    /// Print nothing but IDs
    #[arg(short, long)]
    pub quiet: bool,
    /// Do not shorten IDs
    #[arg(long)]
    pub no_trunc: bool,
    /// Show the digests of manifests
    #[arg(long)]
    pub digests: bool,
    /// dangling=true|false, label=NAME[=VALUE], before=IMAGE, since=IMAGE, reference=PATTERN; may be given several times
    #[arg(short, long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
    /// table, json, or a template such as '{{.Repository}}:{{.Tag}}'
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}
