//! `plyfs sandbox`: what was typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::diff::DiffFormat;
use super::run::Network;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs sandbox -- make install              see what it changes, then say what is to become of it
  plyfs sandbox --apply -- ./upgrade.sh      make the changes here if it ends well
  plyfs sandbox --discard -- ./unknown       look at them only
  plyfs sandbox --keep try -- bash           keep them, to look at later:
    plyfs diff try
    plyfs sandbox apply try
    plyfs rm try

The program sees the files of this machine, and no change of it reaches them. Without --apply, --keep or --discard you are
asked; where nobody can be asked, the changes are kept and it is told how to apply them or throw them away.

Exit code: the program's own, 128 and the signal that ended it, 127 if there is no such program, 126 if it cannot be
executed, 125 if plyfs or the OCI runtime failed.";

/// Shown below the help of `apply`.
const APPLY_EXAMPLES: &str = "\
Examples:
  plyfs sandbox --keep try -- make install
  plyfs sandbox apply try";

/// Run a program on this machine's own files, with what it changes kept apart
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct SandboxArgs {
    /// What to do with the changes of one that was kept.
    #[command(subcommand)]
    pub verb: Option<SandboxCommand>,
    /// Keep the changes, as a container of this name
    #[arg(long, value_name = "NAME")]
    pub keep: Option<String>,
    /// Make the changes on this machine if the program ends well
    #[arg(long, conflicts_with_all = ["keep", "discard"])]
    pub apply: bool,
    /// Throw the changes away
    #[arg(long, conflicts_with = "keep")]
    pub discard: bool,
    /// Set a variable; a bare NAME takes its value from here, as all others do
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// The directory the program starts in [default: this one]
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// The network
    #[arg(long, value_enum, default_value_t = Network::Host, value_name = "KIND")]
    pub network: Network,
    /// How to print the changes
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: DiffFormat,
    /// The OCI runtime: a path or a name [default: crun or runc, what is installed]
    #[arg(long, value_name = "PROGRAM")]
    pub runtime: Option<PathBuf>,
    /// The program and its arguments, behind --
    #[arg(value_name = "COMMAND", last = true, required = true)]
    pub command: Vec<String>,
}

/// The verbs for what was kept.
#[derive(Debug, Clone, Subcommand)]
pub enum SandboxCommand {
    /// Make the changes of a sandbox that was kept on this machine
    #[command(after_help = APPLY_EXAMPLES)]
    Apply(ApplyArgs),
}

/// Make the changes of a sandbox that was kept on this machine
#[derive(Debug, Clone, Args)]
pub struct ApplyArgs {
    /// The sandbox; it is removed afterwards
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Only say whether they can be made
    #[arg(long)]
    pub dry_run: bool,
}
