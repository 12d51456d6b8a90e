//! `plyfs logs`: prints what a detached container printed.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use plyfs::run::Instance;
use plyfs::run::status::State;

use super::store;
use crate::cli::logs::LogsArgs;

/// How often more is looked for.
const PAUSE: Duration = Duration::from_millis(100);

/// Prints it, standard output and error as they came.
///
/// # Errors
/// There is no such container, or the output cannot be read or written.
pub fn run(args: &LogsArgs, root: Option<&Path>) -> anyhow::Result<()> {
    let store = store::open(root)?;
    let instance = Instance::new(&store, store.find_container(&args.container)?);
    let path = instance.output();
    let mut file = match File::open(&path) {
        Ok(file) => file,
        // Never run, or in the foreground.
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut out = io::stdout().lock();
    loop {
        // Asked before reading: what came in between is read in the next round, or was the last.
        let ended = !matches!(instance.state()?, State::Running | State::Starting);
        io::copy(&mut file, &mut out).with_context(|| format!("cannot print {}", path.display()))?;
        out.flush()?;
        if !args.follow || ended {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
}
