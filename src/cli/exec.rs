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
    /// Let the program read standard input
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the program a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Set a variable; a bare NAME takes its value from here
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// The directory the program starts in
    #[arg(short, long, value_name = "DIR")]
    pub workdir: Option<String>,
    /// The user: a name of the image's or a number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// The container, and the program and its arguments
    #[arg(value_names = ["CONTAINER", "COMMAND"], required = true, num_args = 2.., trailing_var_arg = true)]
    pub container_and_command: Vec<String>,
}
