//! `plyfs run`: what was typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Shown below the help.
pub const EXAMPLES: &str = "\
Examples:
  plyfs run -it debian:12 bash               a shell; what is changed stays in the container
  plyfs run --rm debian:12 cat /etc/os-release
  plyfs run --rm -v \"$PWD:/src\" -w /src -u 1000 gcc:13 make
  plyfs run -d --name web --memory 256m app:1
  plyfs run --entrypoint sh app:1 -c 'echo $PATH'

Exit code: the program's own, 128 and the signal that ended it, 127 if there is no such program, 126 if it cannot be
executed, 125 if plyfs or the OCI runtime failed.";

/// Which network a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Network {
    /// None but a loopback interface of its own
    None,
    /// This machine's
    Host,
}

/// Run a program in a new container of an image
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// Remove the container when it ends
    #[arg(long)]
    pub rm: bool,
    /// The container's name; one is made up where none is given
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Go on in the background, and print the container's ID
    #[arg(short, long)]
    pub detach: bool,
    /// How the program is run
    #[command(flatten)]
    pub process: super::process::ProcessArgs,
    /// Show a directory or file of this machine in the container
    #[arg(short, long, value_name = "SOURCE:TARGET[:ro]")]
    pub volume: Vec<String>,
    /// The program, in place of the image's entrypoint; empty for none
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// The network
    #[arg(long, value_enum, default_value_t = Network::Host, value_name = "KIND")]
    pub network: Network,
    /// Let nothing write to the root file system
    #[arg(long)]
    pub read_only: bool,
    /// The host name
    #[arg(long, value_name = "NAME")]
    pub hostname: Option<String>,
    /// A directory in memory, which everyone may write to unless there is another mode= among the options
    #[arg(long, value_name = "DIR[:OPTIONS]")]
    pub tmpfs: Vec<String>,
    /// The most memory, such as 512m
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// The most processor time, in processors, such as 1.5
    #[arg(long, value_name = "N")]
    pub cpus: Option<String>,
    /// The most processes and threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub pids_limit: Option<u64>,
    /// The OCI runtime: a path or a name [default: crun or runc, what is installed]
    #[arg(long, value_name = "PROGRAM")]
    pub runtime: Option<PathBuf>,
    /// The image, and the program and its arguments
    #[arg(value_names = ["IMAGE", "COMMAND"], required = true, num_args = 1.., trailing_var_arg = true)]
    pub image_and_command: Vec<String>,
}
