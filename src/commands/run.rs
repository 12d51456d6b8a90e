//! `plyfs run`: a new container of an image, mounted, and a program in it.

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use plyfs::mount::{Attachment, Outcome, daemon, mount};
use plyfs::run::command::{Asked, Terminal};
use plyfs::run::runtime::Runtime;
use plyfs::run::settings::{Afterwards, Input, Limits, RootAccess, Settings, Tmpfs, Volume};
use plyfs::run::status::Record;
use plyfs::run::streams::Streams;
use plyfs::run::supervise::{OnSignal, supervise, take_signals};
use plyfs::run::{Instance, RunError, limits, rootless, runtime};

use super::instance::{self, Wanted};
use super::{running, store};
use crate::cli::run::RunArgs;

/// Runs it; ends with the program's exit code, or one of docker's.
pub fn run(args: &RunArgs, root: Option<&Path>) -> ExitCode {
    running::end(make_and_run(args, root))
}

fn make_and_run(args: &RunArgs, root: Option<&Path>) -> anyhow::Result<ExitCode> {
    let [image, arguments @ ..] = args.image_and_command.as_slice() else { bail!("name an image") };
    if args.process.tty && !args.detach && !std::io::stdin().is_terminal() {
        bail!("the input device is not a TTY: leave -t out where standard input is no terminal");
    }
    let settings = settings(args)?;
    limits::check(&settings.limits)?;
    // Told before the namespace makes root of everyone.
    let root = &store::root(root)?;
    rootless::become_root()?;
    let root = Some(root.as_path());
    let (instance, options) = instance::make(wanted(args, image, arguments, settings), root)?;
    // From here on signals wait, until there is a program to pass them on to.
    take_signals()?;
    let outcome = mount(options, &instance.root, Attachment::Daemon);
    match outcome {
        Ok(Outcome::Live) => start(&instance, args.detach, root),
        // This is the process that served the mount.
        Ok(Outcome::Served) => Ok(ExitCode::SUCCESS),
        Ok(Outcome::Failed) => Ok(ExitCode::FAILURE),
        Err(e) => {
            instance::discard(&instance, root);
            Err(e).with_context(|| format!("cannot mount container {}", instance.container.name))
        }
    }
}

/// The container to be made.
fn wanted<'a>(args: &'a RunArgs, image: &'a str, arguments: &[String], settings: Settings) -> Wanted<'a> {
    let asked = Asked {
        entrypoint: args.entrypoint.clone(),
        arguments: arguments.to_vec(),
        env: running::variables(&args.process.env),
        working_dir: args.process.workdir.clone(),
        user: args.process.user.clone(),
    };
    Wanted { image, name: args.name.clone(), asked, settings }
}

/// Starts the program in the mounted container, and waits for it, or lets another process wait.
fn start(instance: &Instance, detach: bool, root: Option<&Path>) -> anyhow::Result<ExitCode> {
    let prepared = instance.runtime().and_then(|runtime| Ok((runtime, instance.prepare()?)));
    let (runtime, mut record) = match prepared {
        Ok(prepared) => prepared,
        Err(e) => {
            instance::finish(instance, root);
            return Err(e.into());
        }
    };
    match detach {
        true => in_background(instance, &runtime, &mut record, root),
        false => in_foreground(instance, &runtime, &mut record, root),
    }
}

fn in_foreground(
    instance: &Instance,
    runtime: &Runtime,
    record: &mut Record,
    root: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let streams = Streams::Callers(instance.settings.input);
    let ended = running::in_foreground(instance, runtime, &streams, record);
    instance::finish(instance, root);
    match ended {
        Ok(code) => Ok(ExitCode::from(code)),
        Err(e @ RunError::Runtime(_)) => {
            // The runtime has told why.
            eprintln!("plyfs: error: container {} was not started", instance.container.name);
            Ok(ExitCode::from(e.exit_code()))
        }
        Err(e) => Err(e.into()),
    }
}

fn in_background(
    instance: &Instance,
    runtime: &Runtime,
    record: &mut Record,
    root: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let outcome = daemon::launch(|ready| {
        let streams = match instance.settings.terminal {
            Terminal::Yes => Streams::Terminal(instance.output()),
            Terminal::No => Streams::File(instance.output(), instance.settings.input),
        };
        let announce = || {
            ready.announce().map_err(|source| RunError::System {
                action: "detach from",
                path: "/dev/tty".into(),
                source,
            })
        };
        let ended = supervise(runtime, &instance.dir, &streams, record, OnSignal::PassOn, announce);
        instance::finish(instance, root);
        ended.map(drop)
    });
    match outcome.map_err(RunError::from)? {
        Outcome::Live => println!("{}", instance.container.id),
        Outcome::Served | Outcome::Failed => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// What was typed, apart from what belongs to the image.
fn settings(args: &RunArgs) -> anyhow::Result<Settings> {
    let here = std::env::current_dir().context("cannot tell the working directory")?;
    let volumes = args.volume.iter().map(|text| Volume::parse(text, &here)).collect::<Result<_, _>>()?;
    let tmpfs = args.tmpfs.iter().map(|text| Tmpfs::parse(text)).collect::<Result<_, _>>()?;
    let limits = Limits {
        memory: args.memory.as_deref().map(Limits::parse_memory).transpose()?,
        millicpus: args.cpus.as_deref().map(Limits::parse_cpus).transpose()?,
        pids: args.pids_limit,
    };
    Ok(Settings {
        network: running::network(args.network),
        hostname: args.hostname.clone(),
        volumes,
        tmpfs,
        root: if args.read_only { RootAccess::ReadOnly } else { RootAccess::ReadWrite },
        terminal: if args.process.tty { Terminal::Yes } else { Terminal::No },
        input: if args.process.interactive || args.process.tty { Input::Callers } else { Input::None },
        limits,
        afterwards: if args.rm { Afterwards::Remove } else { Afterwards::Keep },
        runtime: Some(runtime::choose(args.runtime.as_deref())?),
    })
}
