//! Containers that run or ran: clearing away what is left of one, and telling how it ended.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use plyfs::mount::{Lazy, UnmountError, unmount};
use plyfs::run::command::Terminal;
use plyfs::run::container::Mounted;
use plyfs::run::error::OURS;
use plyfs::run::runtime::Runtime;
use plyfs::run::settings::Network;
use plyfs::run::status::{Record, State};
use plyfs::run::streams::Streams;
use plyfs::run::supervise::{OnSignal, supervise, wait_until};
use plyfs::run::{Instance, RunError, rootless};
use plyfs::store::{Container, Store};
use serde_json::{Value, json};

use super::store;
use crate::cli::run as cli;

/// How long an unmount is tried before the mount is detached, and how long its daemon may take to end.
const BUSY: Duration = Duration::from_millis(500);
const DAEMON: Duration = Duration::from_secs(10);
/// How long the process that waits for a container may take to clear up after it.
const SUPERVISOR: Duration = Duration::from_secs(15);

/// The container called `name`, in whose namespaces this process is from now on.
///
/// # Errors
/// There is none, or its namespaces cannot be entered.
pub fn enter(store: &Store, name: &str) -> anyhow::Result<Instance> {
    let instance = Instance::new(store, store.find_container(name)?);
    rootless::enter(&instance.root)?;
    Ok(instance)
}

/// Does `work` on a container, in its namespaces.
///
/// # Errors
/// Those of `work`; the namespaces cannot be entered.
pub fn inside(instance: &Instance, work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    rootless::inside(&instance.root, || work().map_err(|e| format!("{e:#}"))).map_err(anyhow::Error::msg)
}

/// The network that was typed, as the library knows it.
pub fn network(typed: cli::Network) -> Network {
    match typed {
        cli::Network::None => Network::None,
        cli::Network::Host => Network::Host,
    }
}

/// Clears away what an ended container left: what its runtime keeps, the places made to be mounted on, its mount.
///
/// # Errors
/// It cannot be unmounted.
pub fn clear_away(store: &Store, instance: &Instance) -> anyhow::Result<()> {
    let record = Record::read(&instance.dir)?;
    let made = record.clone().unwrap_or_default();
    let mounted = store.is_mounted(&instance.container.id)?;
    instance.clear(&made, if mounted { Mounted::Yes } else { Mounted::No });
    let failed = || format!("cannot unmount container {}", instance.container.name);
    if mounted {
        take_away(instance, &instance.root, || Ok(store.is_mounted(&instance.container.id)?))
            .with_context(failed)?;
    }
    for part in instance.unions().iter().skip(1) {
        take_away(instance, &part.merged, || part.is_served()).with_context(failed)?;
    }
    match record {
        Some(record) => Ok(Record { cleared: true, ..record }.write(&instance.dir)?),
        // It failed before anything was made.
        None => Ok(()),
    }
}

/// Unmounts `place`, and waits until its daemon has let go of the upper.
fn take_away(
    instance: &Instance,
    place: &Path,
    is_served: impl Fn() -> Result<bool, RunError>,
) -> anyhow::Result<()> {
    let mut last = Ok(());
    // The last process of a container lets go of the mount a moment after it ended.
    let tried = wait_until(BUSY, || {
        last = unmount(place, Lazy::No);
        Ok(!matches!(last, Err(UnmountError::Busy(_))))
    })?;
    if !tried {
        last = unmount(place, Lazy::Yes);
    }
    match last {
        // Another command, or the daemon's watcher, was faster; or it was never mounted.
        Err(UnmountError::NotMounted(_) | UnmountError::Path { .. }) => {}
        other => other?,
    }
    let free = wait_until(DAEMON, || Ok(!is_served()?))?;
    if !free {
        log::warn!("container {} is in use still; its mount is detached", instance.container.name);
    }
    Ok(())
}

/// Clears away what an ended container left. What fails is told; the program's exit code counts more.
pub fn finish(instance: &Instance, root: Option<&Path>) {
    let cleared = store::open(root).and_then(|store| clear_away(&store, instance));
    if let Err(e) = cleared {
        eprintln!("plyfs: warning: {e:#}; `plyfs rm {}` tries again", instance.container.name);
    }
}

/// Brings a container into a state in which it can be removed: it has ended, and nothing of it is left behind. One
/// that runs is ended if `force` says so.
///
/// # Errors
/// It runs, or cannot be ended or unmounted.
pub fn settle(store: &Store, container: &Container, force: Force) -> anyhow::Result<()> {
    let instance = Instance::new(store, container.clone());
    inside(&instance, || settle_inside(store, &instance, force))
}

fn settle_inside(store: &Store, instance: &Instance, force: Force) -> anyhow::Result<()> {
    let container = &instance.container;
    let Some(record) = Record::read(&instance.dir)? else { return Ok(()) };
    match record.state() {
        State::Running | State::Starting if force == Force::No => {
            return Err(RunError::Running(container.name.clone()).into());
        }
        State::Running | State::Starting => instance.stop(Duration::ZERO)?,
        _ => {}
    }
    // Whoever waits for the container clears up after it; if it was killed, it is done here.
    wait_until(SUPERVISOR, || {
        Ok(Record::read(&instance.dir)?.is_none_or(|now| now.cleared || !now.is_supervised()))
    })?;
    match Record::read(&instance.dir)? {
        Some(now) if !now.cleared => clear_away(store, instance),
        _ => Ok(()),
    }
}

/// What `inspect` shows of a container that was run; `None` where it never was.
///
/// # Errors
/// Its record cannot be read.
pub fn inspect(store: &Store, container: &Container) -> anyhow::Result<Option<Value>> {
    let Some(record) = Record::read(&Instance::new(store, container.clone()).dir)? else { return Ok(None) };
    let state = record.state();
    let status = match state {
        State::Created => "created",
        State::Starting => "starting",
        State::Running => "running",
        State::Exited(_) => "exited",
    };
    let running = state == State::Running;
    Ok(Some(json!({
        "Status": status,
        "Running": running,
        "Pid": record.process.as_ref().filter(|_| running).map_or(0, |process| process.pid),
        "ExitCode": if let State::Exited(code) = state { code } else { Some(0) },
        "StartedAt": record.started,
        "FinishedAt": record.finished,
    })))
}

/// Whether what runs is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Force {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Runs the bundle of a container on the caller's streams to its end, as [`supervise`] does, and shows what the runtime did
/// not pass on of its terminal.
pub fn in_foreground(
    instance: &Instance,
    runtime: &Runtime,
    streams: &Streams,
    record: &mut Record,
) -> Result<u8, RunError> {
    let ended = supervise(runtime, &instance.dir, streams, record, OnSignal::PassOn, || Ok(()));
    if ended.is_ok() && instance.settings.terminal == Terminal::Yes {
        show_left_over(&runtime.left_over());
    }
    ended
}

/// Shows on the caller's terminal what the program had shown on its own and the runtime did not pass on.
pub fn show_left_over(shown: &[u8]) {
    let mut out = io::stdout().lock();
    if let Err(e) = out.write_all(shown).and_then(|()| out.flush()) {
        log::debug!("the rest of what the program showed: {e}");
    }
}

/// The exit code for an error; it is docker's, and 125 for what docker knows nothing of.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.chain().find_map(|cause| cause.downcast_ref::<RunError>()).map_or(OURS, RunError::exit_code)
}

/// What a command that ran a program ends with; an error is told here.
pub fn end(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        super::tell(&error);
        ExitCode::from(exit_code(&error))
    })
}

/// Variables as typed: a bare `NAME` takes its value from this process.
pub fn variables(typed: &[String]) -> Vec<String> {
    let value =
        |name: &str| std::env::var(name).map_or_else(|_| name.to_owned(), |value| format!("{name}={value}"));
    typed.iter().map(|text| if text.contains('=') { text.clone() } else { value(text) }).collect()
}
