//! `plyfs exec`: what was typed.

use clap::Args;

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs exec -it web bash
  plyfs exec -u nobody -w /tmp web id";

/// Run one more program in a running container
#[derive(Debug, Clone, Args)]
pub struct ExecArgs {
    /// How the program is run
    #[command(flatten)]
    pub process: super::process::ProcessArgs,
    /// The container, and the program and its arguments
    #[arg(value_names = ["CONTAINER", "COMMAND"], required = true, num_args = 2.., trailing_var_arg = true)]
    pub container_and_command: Vec<String>,
}
