//! Waiting for a container: its runtime is started, signals are passed on, how it ends is written down, and what it
//! leaves behind is cleared away.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use super::console::Console;
use super::container::remove_file;
use super::error::RunError;
use super::runtime::Runtime;
use super::status::{ProcessId, Record};
use super::streams::Streams;
use crate::image::time::{self, Timestamp};
use crate::sys::process::{
    self, Sender, block_signals, kill, signal, unblock_signals, unblock_signals_in, wait_signal_for,
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

/// What a program in a container did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It ran, and ended with this code.
    Program(u8),
    /// The runtime could not start it.
    NotStarted,
}

/// What becomes of a signal that this process is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnSignal {
    /// It is passed on to the program.
    PassOn,
    /// It ends the program, which need not heed it.
    End,
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

/// Has this process sent TERM when the one that started it ends, however that ends.
///
/// # Errors
/// What the system says.
pub fn end_with_parent() -> Result<(), RunError> {
    let asked = process::signal_at_parents_end().map_err(io::Error::from);
    asked.map_err(RunError::system("watch the parent of", "/proc/self"))
}

/// Runs `command`, a call of a runtime, to its end, doing with signals as `on_signal` says. `started` is called once the
/// program runs, which the runtime tells by writing `pid_file`.
///
/// # Errors
/// The runtime cannot be executed; the error of `started`. What was started goes on then.
pub fn follow(
    mut command: Command,
    streams: &Streams,
    pid_file: &Path,
    on_signal: OnSignal,
    started: impl FnOnce(i32) -> Result<(), RunError>,
) -> Result<Ended, RunError> {
    let held = streams.give_to(&mut command)?;
    unblock_signals_in(&mut command);
    keep_descriptors()?;
    // What the run before wrote.
    remove_file(pid_file)?;
    let program = command.get_program().to_owned();
    let mut child = command.spawn().map_err(RunError::system("run", &program))?;
    // With its ends of the streams.
    drop(command);
    let mut started = Some(started);
    let mut wait = FIRST_WAIT;
    let status = loop {
        if let Some(pid) = started.is_some().then(|| read_pid(pid_file)).flatten()
            && let Some(started) = started.take()
        {
            started(pid)?;
        }
        if let Some(status) = child.try_wait().map_err(RunError::system("wait for", &program))? {
            break status;
        }
        if let Some(taken) = take_signal(if started.is_some() { wait } else { IDLE })? {
            match on_signal {
                OnSignal::PassOn => pass_on(&child, taken),
                OnSignal::End => end(&child, pid_file),
            }
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    };
    held.finish();
    // A program may have ended before it was looked for.
    match (started, read_pid(pid_file)) {
        (Some(_), None) => Ok(Ended::NotStarted),
        (Some(started), Some(pid)) => started(pid).map(|()| Ended::Program(code(status))),
        (None, _) => Ok(Ended::Program(code(status))),
    }
}

/// Runs `command`, a call of a runtime that ends once the program runs, and waits for the program itself: nothing of the
/// runtime stays in memory. `console` is where it sends the program's terminal. Signals are passed on. Otherwise as [`follow`]. All children of this process are reaped, so
/// it must have no other use for them.
///
/// # Errors
/// As [`follow`].
fn adopt(
    mut command: Command,
    streams: &Streams,
    console: Option<Console>,
    pid_file: &Path,
    started: impl FnOnce(i32) -> Result<(), RunError>,
) -> Result<Ended, RunError> {
    process::adopt_orphans().map_err(io::Error::from).map_err(RunError::system("adopt", pid_file))?;
    let held = streams.give_to(&mut command)?;
    unblock_signals_in(&mut command);
    keep_descriptors()?;
    // What the run before wrote.
    remove_file(pid_file)?;
    let status = command.status().map_err(RunError::system("run", command.get_program()))?;
    drop(command);
    let Some(pid) = read_pid(pid_file).filter(|_| status.success()) else { return Ok(Ended::NotStarted) };
    let held = console.map_or(Ok(held), Console::keep)?;
    started(pid)?;
    process::trim_heap();
    let code = loop {
        // What the runtime leaves besides is reaped too: crun's helper, whose child the program is for a moment.
        let ended =
            process::reap().map_err(io::Error::from).map_err(RunError::system("wait for", pid_file))?;
        match ended {
            Some((ended, status)) if ended == pid => break code(status),
            Some(_) => continue,
            None => {}
        }
        if let Some(taken) = take_signal(IDLE)?
            && let Err(e) = kill(pid, taken.number)
        {
            log::debug!("passing on signal {}: {e}", taken.number);
        }
    };
    held.finish();
    Ok(Ended::Program(code))
}

/// Whatever the caller has open is not for the container: a descriptor of a directory that the runtime inherits is a way
/// out as long as it sets the container up, `/proc/self/fd/3` as the working directory (CVE-2024-21626).
fn keep_descriptors() -> Result<(), RunError> {
    process::keep_descriptors().map_err(RunError::system("look through", "/proc/self/fd"))
}

/// Waits for a signal that is not a child's end, `timeout` at most.
fn take_signal(timeout: Duration) -> Result<Option<process::Signal>, RunError> {
    let taken =
        wait_signal_for(&SIGNALS, timeout).map_err(RunError::system("wait for signals to", "/proc/self"))?;
    Ok(taken.filter(|taken| taken.number != signal::CHLD))
}

/// Passes a signal on to the runtime, which passes it on to the program. One that a terminal sent has reached the runtime
/// by itself.
fn pass_on(child: &Child, taken: process::Signal) {
    if taken.sender == Sender::Process
        && let Ok(pid) = i32::try_from(child.id())
        && let Err(e) = kill(pid, taken.number)
    {
        log::debug!("passing on signal {}: {e}", taken.number);
    }
}

/// Kills the program, or the runtime that is about to start it.
fn end(child: &Child, pid_file: &Path) {
    let Some(pid) = read_pid(pid_file).or_else(|| i32::try_from(child.id()).ok()) else { return };
    if let Err(e) = kill(pid, signal::KILL) {
        log::debug!("ending process {pid}: {e}");
    }
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
    on_signal: OnSignal,
    started: impl FnOnce() -> Result<(), RunError>,
) -> Result<u8, RunError> {
    record.supervisor = ProcessId::own();
    record.started = Some(time::format(Timestamp::now()));
    record.write(dir)?;
    let pid_file = dir.join("pid");
    let started = |pid| {
        record.process = ProcessId::of(pid);
        record.write(dir)?;
        started()
    };
    let ended = match streams {
        // Of a detached container, whose standard streams are nobody's.
        Streams::File(..) => adopt(runtime.start(&pid_file, None), streams, None, &pid_file, started)?,
        Streams::Terminal(log) => {
            let console = Console::listen(dir, log)?;
            let start = runtime.start(&pid_file, Some(&console.address()));
            adopt(start, streams, Some(console), &pid_file, started)?
        }
        _ => follow(runtime.run(&pid_file), streams, &pid_file, on_signal, started)?,
    };
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
    use std::process::Command;

    use super::*;
    use crate::run::settings::Input;

    fn shell(script: &str, pid_file: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(script).env("PID_FILE", pid_file);
        command
    }

    fn followed(script: &str, streams: &Streams, pid_file: &Path) -> (Ended, Option<i32>) {
        let mut pid = None;
        let ended = follow(shell(script, pid_file), streams, pid_file, OnSignal::PassOn, |started| {
            pid = Some(started);
            Ok(())
        });
        (ended.expect("followed"), pid)
    }

    #[test]
    fn the_end_of_a_program_and_of_a_runtime_are_told_apart() {
        if !is_alone("the_end_of_a_program_and_of_a_runtime_are_told_apart") {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let pid_file = dir.path().join("pid");
        let run = |script: &str| followed(script, &Streams::Callers(Input::None), &pid_file);
        assert_eq!(run("exit 3"), (Ended::NotStarted, None));
        assert_eq!(run("echo 12 >$PID_FILE; exit 3"), (Ended::Program(3), Some(12)));
        assert_eq!(run("sleep 0.1; echo 12 >$PID_FILE; kill -9 $$"), (Ended::Program(137), Some(12)));
        // The file of the run before does not count.
        assert_eq!(run("cat; exit 1"), (Ended::NotStarted, None));
    }

    /// Whether this process runs no other test than `name`, as one must that reaps children and takes signals: of a child's
    /// end only the thread would be told that does not wait for it. Otherwise another process runs it.
    fn is_alone(name: &str) -> bool {
        const ALONE: &str = "PLYFS_TEST_ALONE";
        if std::env::var_os(ALONE).is_some() {
            return true;
        }
        let mut alone = Command::new(std::env::current_exe().expect("this program"));
        let name = format!("run::supervise::tests::{name}");
        alone.args(["--exact", &name, "--nocapture"]).env(ALONE, "1");
        // Inherited: signals wait in all threads there.
        take_signals().expect("signals are blocked");
        let status = alone.status().expect("run");
        release_signals().expect("signals are let through");
        assert!(status.success());
        false
    }

    #[test]
    fn an_orphan_is_waited_for() {
        if !is_alone("an_orphan_is_waited_for") {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (pid_file, log) = (dir.path().join("pid"), dir.path().join("log"));
        let run = |script: &str| {
            let streams = Streams::File(log.clone(), Input::None);
            adopt(shell(script, &pid_file), &streams, None, &pid_file, |_| Ok(())).expect("followed")
        };
        assert_eq!(run("exit 3"), Ended::NotStarted);
        assert_eq!(run("echo 12 >$PID_FILE; exit 3"), Ended::NotStarted);
        assert_eq!(run("(sleep 0.1; exit 7) & echo $! >$PID_FILE; exec sleep 0.5"), Ended::Program(7));
        assert_eq!(run("(sleep 0.3; exit 7) & echo $! >$PID_FILE"), Ended::Program(7));
        assert_eq!(run("sh -c 'sleep 0.1; kill -9 $$' & echo $! >$PID_FILE"), Ended::Program(137));
        // A helper of the runtime, which outlives it, is the program's parent.
        let helper = "(sleep 0.6; exit 9) & echo $! >$PID_FILE; sleep 0.3; exit 1";
        assert_eq!(
            run(&format!("({helper}) & until test -s $PID_FILE; do sleep 0.01; done")),
            Ended::Program(9)
        );
    }

    #[test]
    fn what_is_printed_goes_into_files() {
        if !is_alone("what_is_printed_goes_into_files") {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (pid_file, log, errors) =
            (dir.path().join("pid"), dir.path().join("log"), dir.path().join("errors"));
        let script = "echo 1 >$PID_FILE; echo out; echo err >&2";
        for _ in 0..2 {
            followed(script, &Streams::File(log.clone(), Input::None), &pid_file);
        }
        assert_eq!(fs::read_to_string(&log).expect("read"), "out\nerr\nout\nerr\n");
        fs::remove_file(&log).expect("removed");
        let apart = Streams::Apart { output: log.clone(), error: errors.clone() };
        followed(script, &apart, &pid_file);
        assert_eq!(fs::read_to_string(&log).expect("read"), "out\n");
        assert_eq!(fs::read_to_string(errors).expect("read"), "err\n");
    }

    #[test]
    fn a_detached_program_has_an_input_that_stays_open() {
        if !is_alone("a_detached_program_has_an_input_that_stays_open") {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let (pid_file, log) = (dir.path().join("pid"), dir.path().join("log"));
        let script = "timeout 0.3 cat; echo $?; echo 1 >$PID_FILE";
        for (input, expected) in [(Input::None, "0\n"), (Input::Callers, "124\n")] {
            followed(script, &Streams::File(log.clone(), input), &pid_file);
            assert_eq!(fs::read_to_string(&log).expect("read"), expected);
            fs::remove_file(&log).expect("removed");
        }
    }
}
