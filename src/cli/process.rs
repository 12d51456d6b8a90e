//! What a program in a container is given: what was typed for `plyfs run` and `plyfs exec` alike.

use clap::Args;

/// How a program in a container is run.
#[derive(Debug, Clone, Args)]
pub struct ProcessArgs {
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
}
