//! `plyfs diff`: what was typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs diff web
  plyfs diff -s --format json web
  plyfs diff --upper /data/upper --lower /app --lower /base";

/// List what was changed in a container, or what an upper directory changes in those below it
#[derive(Debug, Clone, Args)]
pub struct DiffArgs {
    /// The container
    #[arg(value_name = "CONTAINER", required_unless_present = "upper", conflicts_with_all = ["upper", "lowers", "work"])]
    pub container: Option<String>,
    /// The writable layer of the union
    #[arg(long, value_name = "DIR", requires = "lowers")]
    pub upper: Option<PathBuf>,
    /// A read-only layer; give it several times, the top layer first
    #[arg(long = "lower", value_name = "DIR", requires = "upper")]
    pub lowers: Vec<PathBuf>,
    /// The work directory of the union; its index tells the other names of changed hard links
    #[arg(long, value_name = "DIR", requires = "upper")]
    pub work: Option<PathBuf>,
    /// Show the size of each file that was added or changed, and their sum
    #[arg(short, long)]
    pub size: bool,
    /// How to print the changes
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: DiffFormat,
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DiffFormat {
    /// Lines of A, C or D and the path, as docker prints them
    #[default]
    Text,
    /// An array of objects with "kind" (A, C or D) and "path"
    Json,
}
