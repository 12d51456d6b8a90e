//! `plyfs diff`: what was typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// List what an upper directory changes in the lower directories below it.
#[derive(Debug, Clone, Args)]
pub struct DiffArgs {
    /// The writable layer of the union
    #[arg(long, value_name = "DIR")]
    pub upper: PathBuf,
    /// A read-only layer; give it several times, the top layer first
    #[arg(long = "lower", value_name = "DIR", required = true)]
    pub lowers: Vec<PathBuf>,
    /// The work directory of the union; its index tells the other names of changed hard links
    #[arg(long, value_name = "DIR")]
    pub work: Option<PathBuf>,
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
