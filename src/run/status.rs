//! Whether a container runs, or how it ended: `status.json`, held against the processes that there are.
//!
//! A process is known by its number, its start and the boot it was started in, so that another one that got the same
//! number is not taken for it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::RunError;
use super::own_files::StandIns;

const STATUS: &str = "status.json";
const STATUS_NEW: &str = "status.json.new";

/// A process, over all boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since the boot (proc_pid_stat(5)).
    pub start: u64,
    /// The boot.
    pub boot: String,
}

/// What was written down of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// The process that waits for the container.
    pub supervisor: Option<ProcessId>,
    /// The container's first process.
    pub process: Option<ProcessId>,
    /// When it was started (RFC 3339).
    pub started: Option<String>,
    /// When it ended.
    pub finished: Option<String>,
    /// How it ended; there is none where it still runs, or where nobody was left to see it end.
    pub exit_code: Option<u8>,
    /// Whether what it left behind was cleared away.
    pub cleared: bool,
    /// What was made in the container to be mounted on.
    pub stand_ins: Vec<StandIns>,
}

/// Whether a container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It was never run.
    Created,
    /// It is about to run.
    Starting,
    /// It runs.
    Running,
    /// It ended, with this code where it is known.
    Exited(Option<u8>),
}

impl ProcessId {
    /// The live process of this number; `None` where there is none.
    pub fn of(pid: i32) -> Option<ProcessId> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let (start, state) = start_and_state(&stat)?;
        // A zombie has ended.
        (state != b'Z' && state != b'X').then_some(())?;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(ProcessId { pid, start, boot: boot.trim().to_owned() })
    }

    /// This process.
    pub fn own() -> Option<ProcessId> {
        i32::try_from(std::process::id()).ok().and_then(ProcessId::of)
    }

    /// Whether it lives.
    pub fn is_alive(&self) -> bool {
        ProcessId::of(self.pid).as_ref() == Some(self)
    }
}

/// When a process started, and its state, in the content of its `stat`. Its name, in parentheses, may hold anything.
fn start_and_state(stat: &[u8]) -> Option<(u64, u8)> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let fields = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = fields.split_ascii_whitespace();
    let state = *fields.next()?.as_bytes().first()?;
    Some((fields.nth(18)?.parse().ok()?, state))
}

impl Record {
    /// What is written in the container's directory `dir`; `None` where it was never run.
    ///
    /// # Errors
    /// The file cannot be read. One that cannot be understood is as good as none.
    pub fn read(dir: &Path) -> Result<Option<Record>, RunError> {
        let path = dir.join(STATUS);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).unwrap_or_else(|e| {
                log::warn!("{} cannot be understood: {e}", path.display());
                Record::default()
            }))),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(RunError::system("read", path)(e)),
        }
    }

    /// Writes it into the container's directory, atomically.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), RunError> {
        let (new, path) = (dir.join(STATUS_NEW), dir.join(STATUS));
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, &path)).map_err(RunError::system("write", path))
    }

    /// Whether the container runs now.
    pub fn state(&self) -> State {
        let alive = |process: &Option<ProcessId>| process.as_ref().is_some_and(ProcessId::is_alive);
        match (&self.process, self.exit_code) {
            (_, Some(code)) => State::Exited(Some(code)),
            (Some(_), None) if alive(&self.process) => State::Running,
            (None, None) if alive(&self.supervisor) => State::Starting,
            _ => State::Exited(None),
        }
    }

    /// Whether the process that waits for the container is still there.
    pub fn is_supervised(&self) -> bool {
        self.supervisor.as_ref().is_some_and(ProcessId::is_alive)
    }
}

/// Whether a container with the directory `dir` runs now.
///
/// # Errors
/// As [`Record::read`].
pub fn state(dir: &Path) -> Result<State, RunError> {
    Ok(Record::read(dir)?.map_or(State::Created, |record| record.state()))
}

/// The directory of a container that running it needs, beside where it is mounted.
pub fn directory(merged: &Path) -> PathBuf {
    merged.with_file_name("run")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_confuse() {
        let mut stat = b"12 (a) R (b) S".to_vec();
        for field in 4..=30 {
            stat.extend(format!(" {field}").bytes());
        }
        assert_eq!(start_and_state(&stat), Some((22, b'S')));
        assert_eq!(start_and_state(b"12 (a"), None);
        assert_eq!(start_and_state(b"12 (a) S 1"), None);
    }

    #[test]
    fn another_process_of_the_same_number_is_told_apart() {
        let own = ProcessId::own().expect("this process");
        assert!(own.is_alive());
        assert!(!ProcessId { start: own.start + 1, ..own.clone() }.is_alive());
        assert!(!ProcessId { boot: "another".into(), ..own }.is_alive());
    }

    #[test]
    fn a_record_without_its_processes_tells_the_truth() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(state(dir.path()).expect("read"), State::Created);
        let own = ProcessId::own();
        let dead = own.clone().map(|own| ProcessId { start: own.start + 1, ..own });
        let table = [
            (own.clone(), None, None, State::Starting),
            (dead.clone(), None, None, State::Exited(None)),
            (dead.clone(), own.clone(), None, State::Running),
            (own.clone(), dead.clone(), None, State::Exited(None)),
            (own.clone(), own, Some(3), State::Exited(Some(3))),
        ];
        for (supervisor, process, exit_code, expected) in table {
            let record = Record { supervisor, process, exit_code, ..Record::default() };
            record.write(dir.path()).expect("written");
            assert_eq!(state(dir.path()).expect("read"), expected);
            assert_eq!(Record::read(dir.path()).expect("read"), Some(record));
        }
        fs::write(dir.path().join(STATUS), "{").expect("written");
        assert_eq!(state(dir.path()).expect("read"), State::Exited(None));
    }
}
