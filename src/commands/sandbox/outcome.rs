//! What becomes of a sandbox's changes: they are made here, kept, or thrown away. Unless that was said, they are kept.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use plyfs::layer::apply::{ApplyError, Attempt, Owners, Request, apply, check};
use plyfs::layer::diff::Change;
use plyfs::run::rootless::{self, Rights};
use plyfs::run::sandbox::caller::Caller;
use plyfs::run::sandbox::{self, Sandbox};
use plyfs::run::status::State;
use plyfs::run::{Instance, RunError};
use plyfs::store::Store;

use super::changes;
use crate::cli::sandbox::{ApplyArgs, SandboxArgs};
use crate::commands::diff::{Sizes, print};
use crate::commands::{running, store};

/// How many digits of a container's ID are part of the names of what is made beside its place.
const TOKEN_DIGITS: usize = 16;

/// What becomes of the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// They are made on this machine.
    Apply,
    /// They stay where they are.
    Keep,
    /// They are thrown away.
    Discard,
}

/// Shows what the program changed and does with it what was asked for. Returns the program's exit code.
///
/// # Errors
/// The changes cannot be read, or not be applied; they are kept then.
pub fn decide(
    args: &SandboxArgs,
    instance: &Instance,
    code: u8,
    root: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let changes = changes::of(instance).inspect_err(|_| tell_kept(instance))?;
    print(&changes, args.format, Sizes::Left).inspect_err(|_| tell_kept(instance))?;
    let fate = plan_fate(args, &changes, code).map_or_else(|| ask(changes.len()), Ok);
    match fate.inspect_err(|_| tell_kept(instance))? {
        Fate::Discard => discard(instance, root),
        Fate::Keep => {
            if args.apply && code != 0 {
                eprintln!("plyfs: the program ended with {code}; its changes are not applied");
            }
            tell_kept(instance);
        }
        Fate::Apply => {
            apply_changes(instance, root).inspect_err(|_| tell_kept(instance))?;
            discard(instance, root);
        }
    }
    Ok(ExitCode::from(code))
}

/// What was asked for; `None` where nothing was and a person can be asked.
fn plan_fate(args: &SandboxArgs, changes: &[Change], code: u8) -> Option<Fate> {
    let can_ask = || io::stdin().is_terminal() && io::stderr().is_terminal();
    match () {
        () if args.keep.is_some() => Some(Fate::Keep),
        () if args.discard || changes.is_empty() => Some(Fate::Discard),
        () if args.apply && code == 0 => Some(Fate::Apply),
        () if args.apply || !can_ask() => Some(Fate::Keep),
        () => None,
    }
}

/// Asks the person at the terminal. No answer is one to keep the changes.
fn ask(count: usize) -> anyhow::Result<Fate> {
    let mut input = io::stdin().lock();
    loop {
        eprint!("plyfs: {count} changes: [a]pply them here, [k]eep them for later, or [d]iscard them? ");
        io::stderr().flush()?;
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            eprintln!();
            return Ok(Fate::Keep);
        }
        match line.trim() {
            "a" | "apply" => return Ok(Fate::Apply),
            "k" | "keep" => return Ok(Fate::Keep),
            "d" | "discard" => return Ok(Fate::Discard),
            _ => {}
        }
    }
}

fn tell_kept(instance: &Instance) {
    let name = &instance.container.name;
    eprintln!(
        "plyfs: the changes are kept in {name}: `plyfs sandbox apply {name}` makes them here, `plyfs diff {name}` shows them, `plyfs rm {name}` throws them away"
    );
}

/// Removes a sandbox with all that is left of it. What fails is told.
pub fn discard(instance: &Instance, root: Option<&Path>) {
    let removed = store::open(root).and_then(|store| remove(&store, instance));
    if let Err(e) = removed {
        eprintln!("plyfs: warning: {e:#}; `plyfs rm {}` tries again", instance.container.name);
    }
}

fn remove(store: &Store, instance: &Instance) -> anyhow::Result<()> {
    running::clear_away(store, instance)?;
    Ok(store.lock()?.remove_container(&instance.container)?)
}

/// Makes the changes of a sandbox that was kept, and removes it.
///
/// # Errors
/// There is none, it runs still, or its changes cannot be applied; it is kept then.
pub fn apply_kept(args: &ApplyArgs, root: Option<&Path>) -> anyhow::Result<ExitCode> {
    let caller = Caller::own()?;
    let store_root = store::root(root)?;
    let store = store::open(root)?;
    let container = store.find_container(&args.name)?;
    let name = container.name.clone();
    match Sandbox::of(&container.extra) {
        None => bail!(
            "{name} is a container of an image and no sandbox; `plyfs commit {name}` makes an image of its changes"
        ),
        // To another one the owners of what was changed mean something else.
        Some(sandbox) if sandbox.user != caller.uid() => {
            bail!("{name} is a sandbox of the user {}, who alone can apply it", sandbox.user);
        }
        Some(_) => {}
    }
    let instance = Instance::new(&store, container);
    if matches!(instance.state()?, State::Running | State::Starting) {
        return Err(RunError::Running(name).into());
    }
    running::settle(&store, &instance.container, running::Force::No)?;
    rootless::become_root()?;
    if args.dry_run {
        with_request(&instance, &store_root, attempt(&instance), check)?;
        return Ok(ExitCode::SUCCESS);
    }
    apply_changes(&instance, Some(&store_root))?;
    discard(&instance, Some(&store_root));
    Ok(ExitCode::SUCCESS)
}

fn apply_changes(instance: &Instance, root: Option<&Path>) -> anyhow::Result<()> {
    let root = store::root(root)?;
    let attempt = attempt(instance);
    with_request(instance, &root, attempt, check)?;
    sandbox::mark_applying(instance)?;
    with_request(instance, &root, attempt, apply)
}

fn attempt(instance: &Instance) -> Attempt {
    if sandbox::was_applying(instance) { Attempt::Repeated } else { Attempt::First }
}

fn with_request(
    instance: &Instance,
    root: &Path,
    attempt: Attempt,
    work: impl FnOnce(&Request<'_>) -> Result<(), ApplyError>,
) -> anyhow::Result<()> {
    let sandbox = Sandbox::of(&instance.container.extra).unwrap_or_default();
    let Some(union) = instance.unions().into_iter().next() else { return Ok(()) };
    let name = &instance.container.name;
    let token: String = instance.container.id.as_str().chars().take(TOKEN_DIGITS).collect();
    let request = Request {
        upper: &union.upper,
        target: &union.path,
        mounts: &sandbox.parts,
        began: sandbox::began(instance)?,
        token: &token,
        owners: if Rights::own() == Rights::Machine { Owners::All } else { Owners::Own },
        attempt,
        kept_out: root,
    };
    work(&request).with_context(|| format!("cannot apply the changes of {name}"))
}
