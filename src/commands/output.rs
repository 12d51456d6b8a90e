//! Output that is a stream: to a file that appears only when it is complete, or to standard output.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use anyhow::{Context, bail};
use plyfs::layer::pack::Pending;

/// Calls `write` with what `-o` says: a file, which appears only once all is written, or standard output.
///
/// # Errors
/// Those of `write`; standard output is a terminal; the file cannot be made.
pub fn write_to(
    path: &Path,
    what: &str,
    write: impl FnOnce(&mut dyn Write) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if path != OsStr::new("-") {
        if !path.is_dir() && path.exists() && !path.is_file() {
            // A device or a pipe is written as it is: nothing can be renamed over it.
            let file = File::options().write(true).open(path);
            return write(&mut file.with_context(|| format!("cannot open {}", path.display()))?);
        }
        let mut pending = Pending::create(path)?;
        write(pending.file())?;
        return Ok(pending.publish()?);
    }
    let out = io::stdout();
    if out.is_terminal() {
        bail!("{what} is not for a terminal; redirect standard output or name a file with -o");
    }
    let mut out = out.lock();
    write(&mut out)?;
    Ok(out.flush()?)
}
