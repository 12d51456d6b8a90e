//! `plyfs layers`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs layers app:1
  plyfs layers --files app:1              every file added, changed or deleted
  plyfs layers --wasted app:1             files that a later layer replaces or deletes
  plyfs layers --format json app:1";

/// Show what each layer of an image adds, changes, deletes and wastes
#[derive(Debug, Clone, Args)]
pub struct LayersArgs {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// List the files of each layer
    #[arg(long)]
    pub files: bool,
    /// List the files that take room in a layer and do not show
    #[arg(long, conflicts_with = "files")]
    pub wasted: bool,
    /// table, json, or a template such as '{{.DiffId}} {{.Wasted}}'
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
}
