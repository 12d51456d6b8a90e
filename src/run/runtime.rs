//! The program that executes a bundle: crun, runc, or any other with the command line that they share.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::error::RunError;
use super::limits;
use super::rootless::Rights;
use crate::sys::process;

/// What is looked for, the best first.
const NAMES: [&str; 2] = [CRUN, RUNC];
const CRUN: &str = "crun";
const RUNC: &str = "runc";
/// Where programs lie that an ordinary user's search path may lack.
const MORE_PLACES: &str = "/usr/local/sbin:/usr/sbin:/sbin";

const STATE: &str = "state";
const LOG: &str = "runtime.log";
/// How much of what a runtime says is shown.
const MAX_SAID: usize = 4096;

/// A runtime at work on one container.
#[derive(Debug, Clone)]
pub struct Runtime {
    program: PathBuf,
    /// The container's directory for running.
    dir: PathBuf,
    id: String,
}

/// The runtime that is called `wanted` (a path, or a name in the search path), or the best that is installed.
///
/// # Errors
/// [`RunError::RuntimeMissing`], [`RunError::NoRuntime`].
pub fn choose(wanted: Option<&Path>) -> Result<PathBuf, RunError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places: Vec<PathBuf> =
        std::env::split_paths(&path).chain(std::env::split_paths(MORE_PLACES)).collect();
    let find = |name: &Path| places.iter().map(|place| place.join(name)).find(|path| is_program(path));
    match wanted {
        None => NAMES.iter().find_map(|name| find(Path::new(name))).ok_or(RunError::NoRuntime),
        Some(wanted) => {
            let found = match wanted.components().count() > 1 {
                true => Some(wanted.to_owned()).filter(|path| is_program(path)),
                false => find(wanted),
            };
            let found = found.and_then(|path| fs::canonicalize(path).ok());
            found.ok_or_else(|| RunError::RuntimeMissing(wanted.display().to_string()))
        }
    }
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

impl Runtime {
    /// The runtime `program` for the container `id` whose directory for running is `dir`.
    pub fn new(program: PathBuf, dir: &Path, id: &str) -> Runtime {
        Runtime { program, dir: dir.to_owned(), id: id.to_owned() }
    }

    /// A call that says what is wrong in the file `log`.
    fn command(&self, verb: &str, log: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.dir.join(STATE));
        // runc tries to make control groups otherwise; others find out by themselves.
        if Rights::own() == Rights::Namespace && self.is(RUNC) {
            command.arg("--rootless=true");
        }
        // crun refuses to work where both versions are mounted, though version 1 alone suffices it.
        if self.is(CRUN)
            && let Some(unified) = limits::unified_beside_separate()
        {
            process::cover_in(&mut command, unified);
        }
        command.arg("--log").arg(log).args(["--log-format", "json"]);
        command.arg(verb);
        command
    }

    fn is(&self, name: &str) -> bool {
        self.program.file_name() == Some(OsStr::new(name))
    }

    /// The call that runs the bundle and ends with it.
    pub fn run(&self, pid_file: &Path) -> Command {
        self.run_with(pid_file, &[])
    }

    /// The call that starts the bundle and ends once it runs. Its program is left to the nearest subreaper; its terminal,
    /// where it has one, is sent to the socket `console`.
    pub fn start(&self, pid_file: &Path, console: Option<&Path>) -> Command {
        let mut options = vec![OsStr::new("--detach")];
        options
            .extend(console.into_iter().flat_map(|path| [OsStr::new("--console-socket"), path.as_os_str()]));
        self.run_with(pid_file, &options)
    }

    fn run_with(&self, pid_file: &Path, options: &[&OsStr]) -> Command {
        self.clear_log();
        let mut command = self.command("run", &self.log());
        command.args(options).arg("--bundle").arg(&self.dir).arg("--pid-file").arg(pid_file).arg(&self.id);
        command
    }

    /// The call that runs one more program, which `process` describes, and ends with it. What is wrong is said in the
    /// file `log`.
    pub fn exec(&self, process: &Path, pid_file: &Path, log: &Path) -> Command {
        let mut command = self.command("exec", log);
        command.arg("--process").arg(process).arg("--pid-file").arg(pid_file).arg(&self.id);
        command
    }

    /// Sends a signal, by name or number, to the container's first process.
    ///
    /// # Errors
    /// [`RunError::Runtime`] with what the runtime says.
    pub fn kill(&self, signal: &str) -> Result<(), RunError> {
        self.finish("kill", &[OsStr::new(&self.id), OsStr::new(signal)])
    }

    /// Ends the container, if it runs, and removes what the runtime keeps of it.
    ///
    /// # Errors
    /// As [`Runtime::kill`].
    pub fn delete(&self) -> Result<(), RunError> {
        if !self.dir.join(STATE).join(&self.id).exists() {
            return Ok(());
        }
        self.finish("delete", &[OsStr::new("--force"), OsStr::new(&self.id)])
    }

    /// Why the last [`Runtime::run`] or other call failed, in the runtime's words; `None` where it said nothing.
    pub fn last_error(&self) -> Option<String> {
        last_error_in(&self.log())
    }

    /// As [`left_over_in`], of the last [`Runtime::run`].
    pub fn left_over(&self) -> Vec<u8> {
        left_over_in(&self.log())
    }

    fn log(&self) -> PathBuf {
        self.dir.join(LOG)
    }

    fn clear_log(&self) {
        if let Err(e) = fs::write(self.log(), "") {
            log::debug!("emptying {}: {e}", self.log().display());
        }
    }

    /// Runs a call to its end, in silence.
    fn finish(&self, verb: &str, arguments: &[&OsStr]) -> Result<(), RunError> {
        let mut command = self.command(verb, &self.log());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        process::unblock_signals_in(&mut command);
        let output = command.output().map_err(RunError::system("run", &self.program))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(RunError::Runtime(format!("{} {verb}: {}", self.program.display(), shortened(said.trim()))))
    }
}

/// The last error in a file that a runtime wrote; `None` where there is none.
pub fn last_error_in(log: &Path) -> Option<String> {
    last_error(&String::from_utf8_lossy(&fs::read(log).ok()?))
}

/// What a program showed on its terminal and the runtime, which passes that on, had not yet read when the program ended. crun
/// puts it into its log, behind its messages.
pub fn left_over_in(log: &Path) -> Vec<u8> {
    fs::read(log).map_or_else(|_| Vec::new(), |log| left_over(&log))
}

/// What stands behind the JSON lines of a log, put together from the pieces in which crun reads and writes it: of
/// `PIECE` bytes, the last one shorter, and a newline behind each.
fn left_over(log: &[u8]) -> Vec<u8> {
    const PIECE: usize = 255;
    let is_message = |line: &[u8]| {
        serde_json::from_slice::<Value>(line)
            .is_ok_and(|line| line["level"].is_string() && line["msg"].is_string())
    };
    let messages = log.split_inclusive(|byte| *byte == b'\n').take_while(|line| is_message(line));
    let rest = &log[messages.map(<[u8]>::len).sum()..];
    rest.chunks(PIECE + 1).flat_map(|piece| piece.strip_suffix(b"\n").unwrap_or(piece)).copied().collect()
}

/// The last error in a log of JSON lines.
fn last_error(log: &str) -> Option<String> {
    log.lines().rev().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        let is_error = matches!(line["level"].as_str(), Some("error" | "fatal"));
        line["msg"].as_str().filter(|_| is_error).map(shortened)
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_found() {
        let log = "{\"level\":\"error\",\"msg\":\"first\"}\n{\"level\":\"error\",\"msg\":\"second\"}\n{\"level\":\"warning\",\"msg\":\"x\"}\nnoise\n";
        assert_eq!(last_error(log).as_deref(), Some("second"));
        assert_eq!(last_error("noise\n"), None);
    }

    #[test]
    fn what_a_runtime_had_not_passed_on_is_found() {
        let message = "{\"level\":\"warning\",\"msg\":\"x\",\"time\":\"t\"}\n";
        let long = "y".repeat(300);
        let (piece, rest) = long.split_at(255);
        for (shown, log) in [
            ("", String::new()),
            ("", message.repeat(2)),
            ("first\r\n", "first\r\n\n".to_owned()),
            ("no end", format!("{message}no end\n")),
            ("{\"level\":1}\r\n", format!("{message}{{\"level\":1}}\r\n\n")),
            (&long, format!("{message}{piece}\n{rest}\n")),
            (piece, format!("{piece}\n")),
        ] {
            assert_eq!(String::from_utf8_lossy(&left_over(log.as_bytes())), shown, "{log:?}");
        }
    }

    #[test]
    fn a_runtime_that_is_not_there_is_an_error() {
        for name in ["/nonexistent", "no-such-runtime", "/etc/passwd", "/"] {
            assert!(matches!(choose(Some(Path::new(name))), Err(RunError::RuntimeMissing(_))), "{name}");
        }
    }
}
