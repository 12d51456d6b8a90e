//! The standard streams of a container's program: the caller's, files, a terminal whose output is kept.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};

use super::error::RunError;
use super::settings::Input;

/// What a container's program has for its standard streams.
#[derive(Debug)]
pub enum Streams {
    /// The caller's; standard input only if so asked for.
    Callers(Input),
    /// The caller's, of the standard input only the content.
    Fed,
    /// All it prints goes into the file. It reads nothing; with [`Input::Callers`] it waits for what never comes.
    File(PathBuf, Input),
    /// A terminal, on which nobody types; what appears on it goes into the file. The runtime makes it, and its own streams
    /// are nobody's.
    Terminal(PathBuf),
    /// Nothing to read; what it prints goes into two files.
    Apart {
        /// That of standard output.
        output: PathBuf,
        /// That of standard error.
        error: PathBuf,
    },
}

/// What this process holds of a program's streams while the program runs.
#[derive(Debug)]
pub(super) enum Held {
    /// Nothing.
    Nothing,
    /// The end of its standard input that nobody writes to.
    Input(PipeWriter),
    /// Who writes down what appears on its terminal.
    Terminal(JoinHandle<()>),
}

impl Streams {
    /// Gives them to a program that is about to be started.
    pub(super) fn give_to(&self, command: &mut Command) -> Result<Held, RunError> {
        match self {
            Streams::Callers(Input::Callers) => {}
            Streams::Callers(Input::None) => drop(command.stdin(Stdio::null())),
            Streams::Fed => drop(command.stdin(feed()?)),
            Streams::File(path, input) => {
                let out = open(path)?;
                let err = out.try_clone().map_err(RunError::system("write", path))?;
                command.stdin(Stdio::null()).stdout(out).stderr(err);
                if *input == Input::Callers {
                    let (reader, writer) = io::pipe().map_err(RunError::system("make", "a pipe"))?;
                    command.stdin(reader);
                    return Ok(Held::Input(writer));
                }
            }
            Streams::Terminal(_) => {
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            }
            Streams::Apart { output, error } => {
                command.stdin(Stdio::null()).stdout(open(output)?).stderr(open(error)?);
            }
        }
        Ok(Held::Nothing)
    }
}

pub(super) fn open(path: &Path) -> Result<File, RunError> {
    File::options().create(true).append(true).open(path).map_err(RunError::system("write", path))
}

/// A pipe that standard input is copied into, by a thread that ends with either of them.
fn feed() -> Result<PipeReader, RunError> {
    let failed = |e: io::Error| RunError::system("make", "a pipe")(e);
    let (reader, mut writer) = io::pipe().map_err(failed)?;
    let copy = move || {
        if let Err(e) = io::copy(&mut io::stdin().lock(), &mut writer) {
            log::debug!("the program reads no more: {e}");
        }
    };
    thread::Builder::new().name("plyfs-input".to_owned()).spawn(copy).map_err(failed)?;
    Ok(reader)
}

impl Held {
    /// Lets go of the streams of a program that ended; all that it printed is where it belongs then.
    pub(super) fn finish(self) {
        match self {
            Held::Nothing => {}
            Held::Input(writer) => drop(writer),
            Held::Terminal(writer) => {
                if writer.join().is_err() {
                    log::warn!("writing down what a program shows on its terminal failed");
                }
            }
        }
    }
}
