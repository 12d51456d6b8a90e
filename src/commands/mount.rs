//! `plyfs mount`: mounts a container, an image, or the union of directories.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use plyfs::image::Catalog;
use plyfs::mount::options::OptionError;
use plyfs::mount::remount::remount;
use plyfs::mount::{Attachment, Options, Outcome, mount};
use plyfs::store::Container;

use super::tree::{self, Named};
use super::{mounted, store};
use crate::cli::mount::MountArgs;

/// Mounts; returns when the mount answers, or with `--foreground` when it is gone.
///
/// # Errors
/// There is no such container or image, the options make no mount, or it could not be made.
pub fn run(args: MountArgs, root: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut options = options(&args)?;
    if options.remount {
        remount(Path::new(&args.what), options.flags)?;
        return Ok(ExitCode::SUCCESS);
    }
    if !options.overlay.lowers.is_empty() || options.overlay.upper.is_some() {
        if let Some(unexpected) = &args.target {
            bail!("unexpected {:?}: the union of directories is mounted at {:?}", unexpected, args.what);
        }
        return mount_at(options, Path::new(&args.what), args.foreground);
    }
    let name = args.what.to_str().with_context(|| format!("{:?} is no name", args.what))?;
    let target = prepare(&mut options, name, args.target.as_deref(), root)?;
    let shown = target.display().to_string();
    let code = mount_at(options, &target, args.foreground)?;
    if code == ExitCode::SUCCESS && !args.foreground {
        println!("{shown}");
    }
    Ok(code)
}

/// Mounts what `options` describe.
fn mount_at(mut options: Options, target: &Path, foreground: bool) -> anyhow::Result<ExitCode> {
    options.finish()?;
    for warning in &options.warnings {
        eprintln!("plyfs: {warning}");
    }
    let foreground = foreground || options.debug;
    let attachment = if foreground { Attachment::Foreground } else { Attachment::Daemon };
    Ok(match mount(options, target, attachment)? {
        Outcome::Live | Outcome::Served => ExitCode::SUCCESS,
        // The process that waits for this one says why.
        Outcome::Failed => ExitCode::FAILURE,
    })
}

/// Makes `options` those of a container, which is made if `name` is an image's. Returns where to mount. Nothing of
/// the store is held open afterwards: the daemon would inherit it, with its lock.
fn prepare(
    options: &mut Options,
    name: &str,
    target: Option<&Path>,
    root: Option<&Path>,
) -> anyhow::Result<PathBuf> {
    let store = store::open(root)?;
    let writer = store.lock()?;
    let named =
        tree::find(&store, name).map_err(|e| anyhow!("{e}; to mount directories, name them with --lower"))?;
    let (image, mut container): (_, Container) = match named {
        Named::Container(container) => (tree::image_of(&store, &container)?, container),
        Named::Image(_) => {
            let image = Catalog::read(&store)?.find(name)?.clone();
            let container = store::new_container(&writer, &image, name, None)?;
            eprintln!("plyfs: made container {} of {name}", container.name);
            (image, container)
        }
    };
    if let Some(place) = mounted::mount_point(&store, &container)? {
        bail!("container {} is mounted already, at {}", container.name, place.display());
    }
    let target = match target {
        Some(target) => target.canonicalize().with_context(|| {
            format!("cannot mount at {}; it must be a directory that exists", target.display())
        })?,
        None => store.container_paths(&container.id).merged,
    };
    mounted::set_up(options, &writer, &image, &mut container, &target)?;
    Ok(target)
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
