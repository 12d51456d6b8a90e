//! The verbs: each resolves its arguments, calls the library and prints.

mod command_test;
mod commit;
mod create;
mod df;
mod diff;
mod exec;
mod export;
mod flatten;
mod fsck;
mod generate;
mod history;
mod human;
mod images;
mod import;
mod inspect;
mod instance;
mod kill;
mod layer_pack;
mod layers;
mod listing;
mod load;
mod logs;
mod mount;
mod mounted;
mod output;
mod progress;
mod prune;
mod ps;
mod rm;
mod rmi;
mod run;
mod running;
mod save;
mod stop;
mod store;
mod structure_test;
mod tag;
mod tree;
mod unmount;

use std::path::Path;
use std::process::ExitCode;

use crate::cli::Command;
use crate::cli::layer::LayerCommand;

/// Prints an error with its causes. What a terminal takes for commands is left out: part of it may come from a foreign
/// image.
pub fn tell(error: &anyhow::Error) {
    let text = format!("{error:#}");
    let lines: Vec<String> = text.lines().map(listing::printable).collect();
    eprintln!("plyfs: error: {}", lines.join("\n"));
}

/// Runs a verb to its end. `root` is where images are kept, if it was said.
///
/// # Errors
/// What is to be told to the user.
pub fn run(command: Command, root: Option<&Path>) -> anyhow::Result<ExitCode> {
    match command {
        Command::Mount(args) => return mount::run(args, root),
        Command::Run(args) => return Ok(run::run(&args, root)),
        Command::Exec(args) => return Ok(exec::run(&args, root)),
        Command::Stop(args) => stop::run(&args, root)?,
        Command::Kill(args) => kill::run(&args, root)?,
        Command::Logs(args) => logs::run(&args, root)?,
        Command::Test(args) => return structure_test::run(&args, root),
        Command::TestOne(args) => return command_test::run(&args, root),
        Command::Inspect(args) => return inspect::run(&args, root),
        Command::Fsck(args) => return fsck::run(&args, root),
        Command::Unmount(args) => unmount::run(&args, root)?,
        Command::Diff(args) => diff::run(&args, root)?,
        Command::Import(args) => import::run(&args, root)?,
        Command::Load(args) => load::run(&args, root)?,
        Command::Save(args) => save::run(&args, root)?,
        Command::Images(args) => images::run(&args, root)?,
        Command::History(args) => history::run(&args, root)?,
        Command::Tag(args) => tag::run(&args, root)?,
        Command::Untag(args) => tag::run_untag(&args, root)?,
        Command::Rmi(args) => rmi::run(&args, root)?,
        Command::Flatten(args) => flatten::run(&args, root)?,
        Command::Layers(args) => layers::run(&args, root)?,
        Command::Create(args) => create::run(&args, root)?,
        Command::Ps(args) => ps::run(&args, root)?,
        Command::Commit(args) => commit::run(&args, root)?,
        Command::Export(args) => export::run(&args, root)?,
        Command::Rm(args) => rm::run(&args, root)?,
        Command::Prune(args) => prune::run(&args, root)?,
        Command::Df(args) => df::run(&args, root)?,
        Command::Layer(args) => match args.command {
            LayerCommand::Pack(args) => layer_pack::run(&args)?,
        },
        Command::Generate(args) => generate::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
