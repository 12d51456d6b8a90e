//! `plyfs generate`: manual pages and shell completions, from the definition of the command line.

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::cli::generate::{GenerateArgs, Generated};

/// The mount helper has no definition to generate from: its command line is that of fuse-overlayfs.
const HELPER_PAGE: &str = include_str!("../../docs/man/plyfs-mount.8");

const SHELLS: &[Shell] = &[Shell::Bash, Shell::Zsh, Shell::Fish];

/// Writes the files.
///
/// # Errors
/// The directory is not there or cannot be written.
pub fn run(args: &GenerateArgs) -> anyhow::Result<()> {
    let directory = &args.directory;
    let written = match args.what {
        Generated::Man => clap_mangen::generate_to(Cli::command(), directory)
            .and_then(|()| std::fs::write(directory.join("plyfs-mount.8"), HELPER_PAGE)),
        Generated::Completions => SHELLS.iter().try_for_each(|shell| {
            clap_complete::generate_to(*shell, &mut Cli::command(), "plyfs", directory).map(drop)
        }),
    };
    written.with_context(|| {
        format!("cannot write to {}; it must be a directory that exists", directory.display())
    })
}
