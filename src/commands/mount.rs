//! `plyfs mount`: mounts the union of directories.

use std::ffi::OsStr;
use std::process::ExitCode;

use plyfs::mount::options::OptionError;
use plyfs::mount::remount::remount;
use plyfs::mount::{Attachment, Options, Outcome, mount};

use crate::cli::mount::MountArgs;

/// Mounts; returns when the mount answers, or with `--foreground` when it is gone.
///
/// # Errors
/// The options make no mount, or it could not be made.
pub fn run(args: MountArgs) -> anyhow::Result<ExitCode> {
    let mut options = options(&args)?;
    if options.remount {
        remount(&args.target, options.flags)?;
        return Ok(ExitCode::SUCCESS);
    }
    options.finish()?;
    for warning in &options.warnings {
        eprintln!("plyfs: {warning}");
    }
    let foreground = args.foreground || options.debug;
    let attachment = if foreground { Attachment::Foreground } else { Attachment::Daemon };
    Ok(match mount(options, &args.target, attachment)? {
        Outcome::Live | Outcome::Served => ExitCode::SUCCESS,
        // The process that waits for this one says why.
        Outcome::Failed => ExitCode::FAILURE,
    })
}

/// What was typed, with `-o` read first so that the flags win.
fn options(args: &MountArgs) -> Result<Options, OptionError> {
    let mut options = Options::default();
    for text in &args.options {
        options.read(text)?;
    }
    if !args.lowers.is_empty() {
        options.overlay.lowers.clone_from(&args.lowers);
    }
    if args.upper.is_some() {
        options.overlay.upper.clone_from(&args.upper);
    }
    if args.work.is_some() {
        options.overlay.work.clone_from(&args.work);
    }
    if args.read_only {
        options.read(OsStr::new("ro"))?;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn typed(line: &str) -> Options {
        match Cli::parse_from(line.split(' ')).command {
            Command::Mount(args) => options(&args).expect("good"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn flags_win_over_option_strings() {
        let options =
            typed("plyfs mount --lower a --lower b --upper u -o lowerdir=x,upperdir=y,workdir=w,volatile /m");
        assert_eq!(options.overlay.lowers, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(options.overlay.upper, Some(PathBuf::from("u")));
        assert_eq!(options.overlay.work, Some(PathBuf::from("w")));
        assert!(options.overlay.volatile);
    }

    #[test]
    fn read_only_is_an_option_of_the_mount() {
        assert!(typed("plyfs mount --read-only -o lowerdir=a,upperdir=u,workdir=w,rw /m").is_read_only());
    }
}
