//! The command line of `plyfs`: what was typed, nothing more.

pub mod command_test;
pub mod commit;
pub mod create;
pub mod df;
pub mod diff;
pub mod exec;
pub mod export;
pub mod flatten;
pub mod fsck;
pub mod generate;
pub mod history;
pub mod images;
pub mod import;
pub mod inspect;
pub mod kill;
pub mod layer;
pub mod layers;
pub mod load;
pub mod logs;
pub mod mount;
pub mod process;
pub mod prune;
pub mod ps;
pub mod rm;
pub mod rmi;
pub mod run;
pub mod save;
pub mod stop;
pub mod tag;
pub mod test;
pub mod unmount;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  plyfs import rootfs.tar debian:12                    make an image
  plyfs run -it --name web debian:12 bash              a shell in a container of it
  plyfs create debian:12 --name web                    only a writable layer on it
  plyfs mount web /mnt                                 work in it from outside
  plyfs diff web                                       see what was changed
  plyfs commit web app:1                               keep that as an image
  plyfs save -o app.tar app:1                          take it to another machine
  plyfs mount --lower /base --upper /up --work /w /mnt      the union of any directories

`plyfs VERB --help` shows more. Images lie in /var/lib/plyfs for root, in ~/.local/share/plyfs for others; --root or
PLYFS_ROOT sets another place. PLYFS_LOG=debug logs to standard error, or to the file PLYFS_LOG_FILE.";

/// A FUSE union file system for containers, and the companion image tool
#[derive(Debug, Parser)]
#[command(name = "plyfs", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// Where images and containers are kept
    #[arg(long, global = true, env = "PLYFS_ROOT", hide_env_values = true, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Compression {
    /// Not at all
    None,
    /// gzip, which every tool reads
    Gzip,
    /// zstd, smaller and faster
    Zstd,
}

/// Limits to what comes from outside.
#[derive(Debug, Clone, Default, Args)]
pub struct Limits {
    /// The most entries that a layer may have
    #[arg(long, value_name = "N", help_heading = "Limits")]
    pub max_entries: Option<u64>,
    /// The most bytes that a layer, uncompressed, may have
    #[arg(long, value_name = "BYTES", help_heading = "Limits")]
    pub max_bytes: Option<u64>,
}

/// The verbs. Each one's summary is that of its arguments.
#[derive(Debug, Subcommand)]
#[allow(missing_docs)]
pub enum Command {
    #[command(after_help = import::EXAMPLES)]
    Import(import::ImportArgs),
    #[command(after_help = load::EXAMPLES)]
    Load(load::LoadArgs),
    #[command(after_help = save::EXAMPLES)]
    Save(save::SaveArgs),
    #[command(visible_alias = "ls", after_help = images::EXAMPLES)]
    Images(images::ImagesArgs),
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(inspect::InspectArgs),
    #[command(after_help = history::EXAMPLES)]
    History(history::HistoryArgs),
    #[command(after_help = tag::EXAMPLES)]
    Tag(tag::TagArgs),
    #[command(after_help = tag::UNTAG_EXAMPLES)]
    Untag(tag::UntagArgs),
    #[command(after_help = rmi::EXAMPLES)]
    Rmi(rmi::RmiArgs),
    #[command(after_help = flatten::EXAMPLES)]
    Flatten(flatten::FlattenArgs),
    #[command(after_help = layers::EXAMPLES)]
    Layers(layers::LayersArgs),
    #[command(after_help = test::EXAMPLES)]
    Test(test::TestArgs),
    #[command(after_help = run::EXAMPLES)]
    Run(Box<run::RunArgs>),
    #[command(after_help = exec::EXAMPLES)]
    Exec(exec::ExecArgs),
    #[command(after_help = stop::EXAMPLES)]
    Stop(stop::StopArgs),
    #[command(after_help = kill::EXAMPLES)]
    Kill(kill::KillArgs),
    #[command(after_help = logs::EXAMPLES)]
    Logs(logs::LogsArgs),
    #[command(after_help = create::EXAMPLES)]
    Create(create::CreateArgs),
    #[command(after_help = ps::EXAMPLES)]
    Ps(ps::PsArgs),
    #[command(after_help = mount::EXAMPLES)]
    Mount(mount::MountArgs),
    #[command(visible_alias = "umount", after_help = unmount::EXAMPLES)]
    Unmount(unmount::UnmountArgs),
    #[command(after_help = diff::EXAMPLES)]
    Diff(diff::DiffArgs),
    #[command(after_help = commit::EXAMPLES)]
    Commit(commit::CommitArgs),
    #[command(after_help = export::EXAMPLES)]
    Export(export::ExportArgs),
    #[command(after_help = rm::EXAMPLES)]
    Rm(rm::RmArgs),
    #[command(after_help = prune::EXAMPLES)]
    Prune(prune::PruneArgs),
    #[command(after_help = df::EXAMPLES)]
    Df(df::DfArgs),
    #[command(after_help = fsck::EXAMPLES)]
    Fsck(fsck::FsckArgs),
    #[command(after_help = layer::PACK_EXAMPLES)]
    Layer(layer::LayerArgs),
    #[command(hide = true, name = "command-test")]
    TestOne(command_test::CommandTestArgs),
    /// Write manual pages or shell completions
    #[command(hide = true, after_help = generate::EXAMPLES)]
    Generate(generate::GenerateArgs),
}

/// Whether `arguments` (the program's name in front) call the program as a mount helper:
/// `plyfs SOURCE TARGET -o OPTIONS`, as mount.fuse does for a mount of type `fuse.plyfs`.
pub fn is_helper_call(arguments: &[OsString]) -> bool {
    let [program, first, rest @ ..] = arguments else { return false };
    let helper_name =
        Path::new(program).file_name().is_some_and(|name| name.as_bytes().starts_with(b"mount."));
    let has_options = rest.iter().any(|argument| argument.as_bytes().starts_with(b"-o"));
    helper_name || (has_options && !first.as_bytes().starts_with(b"-") && !is_verb(first))
}

fn is_verb(word: &OsStr) -> bool {
    let command = Cli::command();
    let found = word.to_str().and_then(|name| command.find_subcommand(name));
    found.is_some() || word == "help"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_examples() {
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("plyfs "), "{} has no example", verb.get_name());
        }
    }

    #[test]
    fn helper_calls_are_told_from_verbs() {
        let call = |line: &str| is_helper_call(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(call("plyfs overlay /mnt -o rw,lowerdir=/a,dev,suid"));
        assert!(call("plyfs overlay /mnt -oro"));
        assert!(call("/sbin/mount.fuse.plyfs mount /mnt"));
        for line in
            ["plyfs", "plyfs mount -o ro /mnt", "plyfs umount /mnt", "plyfs -o x /mnt", "plyfs nonsense /mnt"]
        {
            assert!(!call(line), "{line}");
        }
    }
}
