//! Waiting for a container: its runtime is started, signals are passed on, how it ends is written down, and what it
//! leaves behind is cleared away.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::error::RunError;
use super::runtime::Runtime;
use super::settings::Input;
use super::status::{ProcessId, Record};
use crate::image::time::{self, Timestamp};
use crate::sys::process::{
    Sender, block_signals, kill, signal, unblock_signals, unblock_signals_in, wait_signal_for,
};

/// The signals that are passed on, and the one that tells of a child's end.
const SIGNALS: [i32; 8] = [
    signal::CHLD,
    signal::INT,
    signal::TERM,
    signal::HUP,
    signal::QUIT,
    signal::USR1,
    signal::USR2,
    signal::WINCH,
];

/// How soon the runtime is asked first whether the program started, and how late at most.
const FIRST_WAIT: Duration = Duration::from_millis(2);
const LONGEST_WAIT: Duration = Duration::from_millis(50);
/// How long it is waited once there is nothing to look for; a signal ends it at once.
const IDLE: Duration = Duration::from_secs(3600);

/// What a container's program has for its standard streams.
#[derive(Debug)]
pub enum Streams {
    /// The caller's; standard input only if so asked for.
    Callers(Input),
    /// The caller's, of the standard input only the content.
    Fed,
    /// Nothing to read; all it prints goes into the file.
    File(PathBuf),
}

/// What a program in a container did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It ran, and ended with this code.
    Program(u8),
    /// The runtime could not start it.
    NotStarted,
}

impl Streams {
    fn give_to(&self, command: &mut Command) -> Result<(), RunError> {
        match self {
            Streams::Callers(Input::Callers) => {}
            Streams::Callers(Input::None) => drop(command.stdin(Stdio::null())),
            Streams::Fed => drop(command.stdin(Stdio::piped())),
            Streams::File(path) => {
                let open = || File::options().create(true).append(true).open(path);
                let out = open().map_err(RunError::system("write", path))?;
                let err = out.try_clone().map_err(RunError::system("write", path))?;
                command.stdin(Stdio::null()).stdout(out).stderr(err);
            }
        }
        Ok(())
    }
}

/// Takes over the signals of this process, so that none is lost between the container's start and the first waiting.
/// The process must have one thread only.
///
/// # Errors
/// What the system says.
pub fn take_signals() -> Result<(), RunError> {
    block_signals(&SIGNALS).map_err(RunError::system("block signals of", "/proc/self"))
}

/// Gives the signals back to this process after the container's end; those that came for it meanwhile are dropped.
///
/// # Errors
/// What the system says.
pub fn release_signals() -> Result<(), RunError> {
    let failed = || RunError::system("unblock signals of", "/proc/self");
    while wait_signal_for(&SIGNALS, Duration::ZERO).map_err(failed())?.is_some() {}
    unblock_signals(&SIGNALS).map_err(failed())
}

/// Runs `command`, a call of a runtime, to its end, passing signals on. `started` is called once the program runs,
/// which the runtime tells by writing `pid_file`.
///
/// # Errors
/// The runtime cannot be executed; the error of `started`. What was started goes on then.
pub fn follow(
    mut command: Command,
    streams: &Streams,
    pid_file: &Path,
    started: impl FnOnce(i32) -> Result<(), RunError>,
) -> Result<Ended, RunError> {
    streams.give_to(&mut command)?;
    unblock_signals_in(&mut command);
    if let Err(e) = fs::remove_file(pid_file)
        && e.kind() != io::ErrorKind::NotFound
    {
        return Err(RunError::system("remove", pid_file)(e));
    }
    let mut child = command.spawn().map_err(RunError::system("run", command.get_program()))?;
    if let Some(pipe) = child.stdin.take() {
        feed(pipe);
    }
    let mut started = Some(started);
    let mut wait = FIRST_WAIT;
    let status = loop {
        if let Some(pid) = started.is_some().then(|| read_pid(pid_file)).flatten()
            && let Some(started) = started.take()
        {
            started(pid)?;
        }
        if let Some(status) = child.try_wait().map_err(RunError::system("wait for", command.get_program()))? {
            break status;
        }
        pass_on(&child, if started.is_some() { wait } else { IDLE })?;
        wait = (wait * 2).min(LONGEST_WAIT);
    };
    // A program may have ended before it was looked for.
    match (started, read_pid(pid_file)) {
        (Some(_), None) => Ok(Ended::NotStarted),
        (Some(started), Some(pid)) => started(pid).map(|()| Ended::Program(code(status))),
        (None, _) => Ok(Ended::Program(code(status))),
    }
}

/// Copies standard input into a pipe, in a thread that ends with either of them.
fn feed(mut pipe: ChildStdin) {
    std::thread::spawn(move || {
        if let Err(e) = io::copy(&mut io::stdin().lock(), &mut pipe) {
            log::debug!("the program reads no more: {e}");
        }
    });
}

/// Waits for a signal, `timeout` at most, and passes it on to the runtime, which passes it on to the program. One that
/// a terminal sent has reached the runtime by itself.
fn pass_on(child: &Child, timeout: Duration) -> Result<(), RunError> {
    let taken =
        wait_signal_for(&SIGNALS, timeout).map_err(RunError::system("wait for signals to", "/proc/self"))?;
    if let Some(taken) = taken
        && taken.number != signal::CHLD
        && taken.sender == Sender::Process
        && let Ok(pid) = i32::try_from(child.id())
        && let Err(e) = kill(pid, taken.number)
    {
        log::debug!("passing on signal {}: {e}", taken.number);
    }
    Ok(())
}

/// The number that a runtime wrote; `None` until it has.
fn read_pid(path: &Path) -> Option<i32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The exit code of a program, as a shell shows it.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255);
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Runs the container of `runtime` to its end, and keeps `record`, in `dir`, true. Returns the program's exit code.
/// `started` is called once it runs.
///
/// # Errors
/// The program could not be started; the record cannot be written.
pub fn supervise(
    runtime: &Runtime,
    dir: &Path,
    streams: &Streams,
    record: &mut Record,
    started: impl FnOnce() -> Result<(), RunError>,
) -> Result<u8, RunError> {
    record.supervisor = ProcessId::own();
    record.started = Some(time::format(Timestamp::now()));
    record.write(dir)?;
    let pid_file = dir.join("pid");
    let ended = follow(runtime.run(&pid_file), streams, &pid_file, |pid| {
        record.process = ProcessId::of(pid);
        record.write(dir)?;
        started()
    })?;
    record.finished = Some(time::format(Timestamp::now()));
    let result = match ended {
        Ended::Program(code) => Ok(code),
        Ended::NotStarted => {
            let said =
                runtime.last_error().unwrap_or_else(|| "the OCI runtime could not start it".to_owned());
            Err(RunError::Runtime(said))
        }
    };
    record.exit_code = Some(result.as_ref().map_or_else(RunError::exit_code, |code| *code));
    record.write(dir)?;
    if let Err(e) = runtime.delete() {
        log::debug!("{e}");
    }
    result
}

/// Waits until `done` says so, `timeout` at most. Returns what it said last.
///
/// # Errors
/// Those of `done`.
pub fn wait_until(
    timeout: Duration,
    mut done: impl FnMut() -> Result<bool, RunError>,
) -> Result<bool, RunError> {
    let deadline = Instant::now() + timeout;
    let mut pause = FIRST_WAIT;
    loop {
        if done()? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
        pause = (pause * 2).min(LONGEST_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, pid_file: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).env("PID_FILE", pid_file);
        command
    }

    #[test]
    fn the_end_of_a_program_and_of_a_runtime_are_told_apart() {
        let dir = tempfile::tempdir().expect("a directory");
        let pid_file = dir.path().join("pid");
        let run = |script: &str| {
            let mut pid = None;
            let ended =
                follow(shell(script, &pid_file), &Streams::Callers(Input::None), &pid_file, |started| {
                    pid = Some(started);
                    Ok(())
                });
            (ended.expect("followed"), pid)
        };
        assert_eq!(run("exit 3"), (Ended::NotStarted, None));
        assert_eq!(run("echo 12 >$PID_FILE; exit 3"), (Ended::Program(3), Some(12)));
        assert_eq!(run("sleep 0.1; echo 12 >$PID_FILE; kill -9 $$"), (Ended::Program(137), Some(12)));
        // The file of the run before does not count.
        assert_eq!(run("cat; exit 1"), (Ended::NotStarted, None));
    }

    #[test]
    fn what_is_printed_goes_into_a_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let (pid_file, log) = (dir.path().join("pid"), dir.path().join("log"));
        let streams = Streams::File(log.clone());
        for _ in 0..2 {
            let command = shell("echo 1 >$PID_FILE; echo out; echo err >&2", &pid_file);
            follow(command, &streams, &pid_file, |_| Ok(())).expect("followed");
        }
        assert_eq!(fs::read_to_string(log).expect("read"), "out\nerr\nout\nerr\n");
    }
}
