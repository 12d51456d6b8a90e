//! `plyfs`: parse, start logging, dispatch; the place that picks exit codes.

mod cli;
mod commands;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if cli::is_helper_call(&arguments) {
        return plyfs::mount::helper::main(arguments);
    }
    let cli = cli::Cli::parse_from(arguments);
    plyfs::mount::logging::init(log::LevelFilter::Warn);
    match commands::run(cli.command, cli.root.as_deref()) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            commands::tell(&error);
            ExitCode::FAILURE
        }
    }
}

/// Whether the reader of our output went away, as `plyfs diff | head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let of_io = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(of_io)
}
