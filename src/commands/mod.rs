//! The verbs: each resolves its arguments, calls the library and prints.

mod diff;
mod generate;
mod layer_pack;
mod mount;
mod unmount;

use std::process::ExitCode;

use crate::cli::Command;
use crate::cli::layer::LayerCommand;

/// Runs a verb to its end.
///
/// # Errors
/// What is to be told to the user.
pub fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Mount(args) => return mount::run(args),
        Command::Unmount(args) => unmount::run(&args)?,
        Command::Diff(args) => diff::run(&args)?,
        Command::Layer(args) => match args.command {
            LayerCommand::Pack(args) => layer_pack::run(&args)?,
        },
        Command::Generate(args) => generate::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
