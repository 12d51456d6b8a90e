//! `plyfs generate`: what was typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs generate man /usr/local/share/man/man1
  plyfs generate completions .";

/// Write manual pages or shell completions
#[derive(Debug, Clone, Args)]
pub struct GenerateArgs {
    /// What to write
    #[arg(value_enum)]
    pub what: Generated,
    /// The directory to write to; it must exist
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// What can be generated from the definition of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Generated {
    /// Manual pages, one a verb
    Man,
    /// Completions for bash, zsh and fish
    Completions,
}
