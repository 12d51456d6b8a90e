//! Going into the background: the caller's process ends well only once the mount answers.
//!
//! The process forks before it has threads. The child mounts and serves; it tells the parent over a pipe
//! that the mount is live, or why there is none. podman reads our standard error until its end, so a live
//! daemon keeps no descriptor that it inherited.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Read, Write};

use crate::sys::process::{self, Fork, Pid, WaitOptions, WaitStatus};

/// What the child sends first when the mount is live; anything else is an error's text.
const LIVE: u8 = 0;

/// How a launch ended, in the process that [`launch`] returned in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The mount is live, served by another process.
    Live,
    /// This process served the mount until it was gone.
    Served,
    /// This process was to serve the mount and failed; its parent reports why.
    Failed,
}

/// Why no daemon serves the mount.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The daemon said why.
    #[error("{0}")]
    Refused(String),
    /// The daemon ended without a word.
    #[error("the daemon ended before the mount was ready ({0}); run with -f and PLYFS_LOG=debug to see more")]
    Died(String),
    /// No second process could be made.
    #[error("cannot start the daemon: {0}")]
    Start(io::Error),
}

/// What the server calls once the mount answers.
#[derive(Debug)]
pub struct Ready(Option<PipeWriter>);

impl Ready {
    /// For a server that stays in the foreground: nobody waits.
    pub fn foreground() -> Ready {
        Ready(None)
    }

    /// Lets go of all that was inherited, and of the parent.
    ///
    /// # Errors
    /// A descriptor could not be replaced, or the parent is gone.
    pub fn announce(self) -> io::Result<()> {
        let Some(mut pipe) = self.0 else { return Ok(()) };
        detach_from_terminal()?;
        process::close_inherited()?;
        pipe.write_all(&[LIVE])
    }
}

/// Leaves the session, the working directory and the standard streams of the caller.
pub(super) fn detach_from_terminal() -> io::Result<()> {
    // The only failure is that this process leads a session already.
    if let Err(e) = process::setsid() {
        log::debug!("setsid: {e}");
    }
    std::env::set_current_dir("/")?;
    process::redirect_stdio(OpenOptions::new().read(true).write(true).open("/dev/null")?)
}

/// Runs `serve` in a new process. Returns in this one when the mount is live or has failed, and in the new
/// one when `serve` has returned. The process must have one thread only.
///
/// # Errors
/// In the calling process only: why there is no mount.
pub fn launch<E: Display>(serve: impl FnOnce(Ready) -> Result<(), E>) -> Result<Outcome, LaunchError> {
    let (reader, writer) = io::pipe().map_err(LaunchError::Start)?;
    let report = writer.try_clone().map_err(LaunchError::Start)?;
    // Read arguments and configurations have left much, which each process would get its own copy of.
    process::trim_heap();
    match process::fork().map_err(LaunchError::Start)? {
        Fork::Parent(pid) => {
            drop((writer, report));
            await_daemon(reader, pid).map(|()| Outcome::Live)
        }
        Fork::Child => {
            drop(reader);
            match serve(Ready(Some(writer))) {
                Ok(()) => Ok(Outcome::Served),
                Err(e) => Ok(fail(report, &e)),
            }
        }
    }
}

/// Tells the parent, which is no longer there if the mount was live, why serving ended.
fn fail(mut report: PipeWriter, error: &impl Display) -> Outcome {
    if let Err(e) = report.write_all(error.to_string().as_bytes()) {
        log::error!("{error} (and nobody waits for this message: {e})");
    }
    Outcome::Failed
}

/// Waits until the daemon says how it went.
fn await_daemon(mut reader: PipeReader, pid: i32) -> Result<(), LaunchError> {
    let mut first = [LIVE];
    if reader.read(&mut first).map_err(LaunchError::Start)? == 0 {
        return Err(LaunchError::Died(how_it_ended(pid)));
    }
    if first == [LIVE] {
        return Ok(());
    }
    let mut message = first.to_vec();
    reader.read_to_end(&mut message).map_err(LaunchError::Start)?;
    Err(LaunchError::Refused(String::from_utf8_lossy(&message).into_owned()))
}

fn how_it_ended(pid: i32) -> String {
    let status = process::waitpid(Pid::from_raw(pid), WaitOptions::empty());
    let status = status.ok().flatten().map(|(_, status)| status);
    match status.and_then(WaitStatus::terminating_signal) {
        Some(signal) => format!("killed by signal {signal}"),
        None => format!("exit status {}", status.and_then(WaitStatus::exit_status).unwrap_or_default()),
    }
}
