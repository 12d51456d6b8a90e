//! `plyfs sandbox`: a program on this machine's own files, and what becomes of its changes.

mod changes;
mod outcome;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use plyfs::image::machine;
use plyfs::image::time::{self, Timestamp};
use plyfs::mount::{Attachment, Outcome, mount};
use plyfs::oci::config::RunConfig;
use plyfs::run::command::{Terminal, put_over};
use plyfs::run::sandbox::caller::{Caller, StandardInput, standard_input, working_dir};
use plyfs::run::sandbox::prepare::{self, Layout};
use plyfs::run::settings::{Input, Settings};
use plyfs::run::status::Record;
use plyfs::run::streams::Streams;
use plyfs::run::supervise::{release_signals, take_signals};
use plyfs::run::{Instance, RunError, rootless, runtime};
use plyfs::store::{NewContainer, Store};

use super::{running, store};
use crate::cli::sandbox::{SandboxArgs, SandboxCommand};

pub use changes::of as changes;

/// Runs it, and does with the changes what was asked for; ends with the program's exit code, or one of docker's.
pub fn run(args: &SandboxArgs, root: Option<&Path>) -> ExitCode {
    running::end(match &args.verb {
        Some(SandboxCommand::Apply(args)) => outcome::apply_kept(args, root),
        None => make_and_run(args, root),
    })
}

/// A sandbox that is about to run.
struct Prepared {
    instance: Instance,
    layout: Layout,
    caller: Caller,
    /// What the program is and has; its environment is not kept.
    config: RunConfig,
    /// Where containers are kept, which the program does not see.
    hidden: PathBuf,
}

fn make_and_run(args: &SandboxArgs, root: Option<&Path>) -> anyhow::Result<ExitCode> {
    let input = standard_input()?;
    let settings = settings(args, input)?;
    let caller = Caller::own()?;
    let config = config(args)?;
    // Told before the namespace makes root of everyone.
    let root = store::root(root)?;
    rootless::become_root()?;
    let root = Some(root.as_path());
    let prepared = make(args, settings, caller, config, root)?;
    // From here on signals wait, until there is a program to pass them on to.
    take_signals()?;
    match start(&prepared, input, root) {
        Ok(Some(code)) => {
            release_signals()?;
            outcome::decide(args, &prepared.instance, code, root)
        }
        // This is a process that served a mount.
        Ok(None) => Ok(ExitCode::SUCCESS),
        Err(e) => {
            outcome::discard(&prepared.instance, root);
            match e.downcast_ref() {
                Some(error @ RunError::Runtime(_)) => {
                    // The runtime has told why.
                    eprintln!("plyfs: error: {} was not started", args.command.join(" "));
                    Ok(ExitCode::from(error.exit_code()))
                }
                _ => Err(e),
            }
        }
    }
}

/// Makes the container and its directories. Nothing of the store is held open afterwards.
fn make(
    args: &SandboxArgs,
    settings: Settings,
    caller: Caller,
    config: RunConfig,
    root: Option<&Path>,
) -> anyhow::Result<Prepared> {
    let store = store::open(root)?;
    let hidden = std::fs::canonicalize(store.root()).context("cannot find where containers are kept")?;
    let layout = Layout::find(&hidden, &caller)?;
    let instance = new_container(&store, args, &settings, &layout, &config)?;
    let made = prepare::make_directories(&instance, &layout.sandbox.unions(&instance.root));
    if let Err(e) = made {
        outcome::discard(&instance, root);
        return Err(e.into());
    }
    Ok(Prepared { instance, layout, caller, config, hidden })
}

fn new_container(
    store: &Store,
    args: &SandboxArgs,
    settings: &Settings,
    layout: &Layout,
    config: &RunConfig,
) -> anyhow::Result<Instance> {
    let writer = store.lock()?;
    let mut new = NewContainer {
        name: args.keep.clone(),
        image: machine::image(&writer)?,
        created: time::format(Timestamp::now()),
        config: RunConfig { env: Vec::new(), ..config.clone() },
        extra: serde_json::Map::new(),
    };
    settings.keep(&mut new.extra);
    layout.sandbox.keep(&mut new.extra);
    let container = writer.create_container(new)?;
    Ok(Instance::new(store, container))
}

/// Mounts the unions and runs the program to its end; `None` in a process that served one of them.
fn start(prepared: &Prepared, input: StandardInput, root: Option<&Path>) -> anyhow::Result<Option<u8>> {
    let Prepared { instance, layout, caller, config, hidden } = prepared;
    let unions = layout.sandbox.unions(&instance.root);
    let options = layout.options(&unions, &instance.container.name)?;
    for (union, options) in unions.iter().zip(options) {
        match mount(options, &union.merged, Attachment::Daemon) {
            Ok(Outcome::Live) => {}
            Ok(Outcome::Served | Outcome::Failed) => return Ok(None),
            Err(e) => {
                let shown = union.path.display();
                return Err(e).with_context(|| format!("cannot show {shown} in the sandbox"));
            }
        }
    }
    let ready = instance.runtime().and_then(|runtime| {
        prepare::write_bundle(instance, layout, config, caller, hidden)?;
        Ok(runtime)
    });
    let runtime = ready?;
    let streams = match input {
        StandardInput::Shared => Streams::Callers(Input::Callers),
        StandardInput::Copied => Streams::Fed,
    };
    let mut record = Record::read(&instance.dir)?.unwrap_or_default();
    let ended = running::in_foreground(instance, &runtime, &streams, &mut record);
    running::finish(instance, root);
    if let Err(e) = prepare::remove_bundle(instance) {
        eprintln!("plyfs: warning: {e:#}");
    }
    Ok(Some(ended?))
}

/// The program, the caller's environment with what was typed over it, and where it starts.
fn config(args: &SandboxArgs) -> anyhow::Result<RunConfig> {
    let mut env = Vec::new();
    for (name, value) in std::env::vars_os() {
        match (name.to_str(), value.to_str()) {
            (Some(name), Some(value)) => env.push(format!("{name}={value}")),
            // A bundle is JSON, which is text.
            _ => eprintln!("plyfs: the variable {} is no UTF-8 and left out", name.display()),
        }
    }
    put_over(&mut env, &running::variables(&args.env));
    let here = std::env::current_dir().context("cannot tell the working directory")?;
    let working_dir = working_dir(args.workdir.as_deref(), &here)?;
    Ok(RunConfig { env, working_dir, cmd: Some(args.command.clone()), ..RunConfig::default() })
}

fn settings(args: &SandboxArgs, input: StandardInput) -> anyhow::Result<Settings> {
    if args.command.first().is_none_or(String::is_empty) {
        bail!("name a program behind --");
    }
    let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    Ok(Settings {
        network: running::network(args.network),
        // One of its own: characters that a program puts into the caller's would be read by their shell afterwards.
        terminal: if has_terminal && input == StandardInput::Shared { Terminal::Yes } else { Terminal::No },
        input: Input::Callers,
        runtime: Some(runtime::choose(args.runtime.as_deref())?),
        ..Settings::default()
    })
}
