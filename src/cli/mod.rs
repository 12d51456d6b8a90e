//! The command line of `plyfs`: what was typed, nothing more.

pub mod diff;
pub mod generate;
pub mod layer;
pub mod mount;
pub mod unmount;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::{CommandFactory, Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  plyfs mount --lower /app --lower /base --upper /data/upper --work /data/work /mnt
  plyfs diff --upper /data/upper --lower /app --lower /base
  plyfs unmount /mnt

`plyfs VERB --help` shows more. PLYFS_LOG=debug logs to standard error, or to the file PLYFS_LOG_FILE.";

const DIFF_EXAMPLES: &str = "\
Examples:
  plyfs diff --upper /data/upper --lower /app --lower /base
  plyfs diff --format json --upper /data/upper --lower /base";

/// A FUSE union file system for containers, and the companion image tool
#[derive(Debug, Parser)]
#[command(name = "plyfs", version, after_help = EXAMPLES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Mount the union of directories
    #[command(after_help = mount::EXAMPLES)]
    Mount(mount::MountArgs),
    /// Take a mount away
    #[command(visible_alias = "umount", after_help = unmount::EXAMPLES)]
    Unmount(unmount::UnmountArgs),
    #[command(after_help = DIFF_EXAMPLES)]
    #[allow(missing_docs)]
    Diff(diff::DiffArgs),
    #[command(after_help = layer::PACK_EXAMPLES)]
    #[allow(missing_docs)]
    Layer(layer::LayerArgs),
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
