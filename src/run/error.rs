//! How running a container fails, and the exit code that says so.

use std::io;
use std::path::PathBuf;

use crate::mount::daemon::LaunchError;
use crate::mount::options::OptionError;
use crate::store::StoreError;

/// The exit code where we failed, and not the program.
pub const OURS: u8 = 125;
/// The exit code where the program cannot be executed.
pub const NOT_EXECUTABLE: u8 = 126;
/// The exit code where there is no such program.
pub const NOT_FOUND: u8 = 127;

/// A failure. The system's reason is the source of an error and not in its own words.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Neither the image nor the command line names a program.
    #[error("no command specified: the image has none, so name a program behind the image")]
    NoCommand,
    /// A text that cannot be handed to a program.
    #[error("{what} holds a zero byte: {text:?}")]
    Nul {
        /// What kind of text it is.
        what: &'static str,
        /// The text.
        text: String,
    },
    /// The user is not in the image.
    #[error("unable to find user {0}: no matching entries in passwd file")]
    NoUser(String),
    /// The group is not in the image.
    #[error("unable to find group {0}: no matching entries in group file")]
    NoGroup(String),
    /// The user is in more groups than runtimes can set in fair time.
    #[error(
        "user {user} is in {count} groups of the image; {most} are possible, so name the group: --user {user}:GROUP"
    )]
    Groups {
        /// The user.
        user: String,
        /// In how many groups.
        count: usize,
        /// In how many a user may be.
        most: usize,
    },
    /// The user or group does not exist in the user namespace.
    #[error(
        "{kind} {id} cannot be had here: this user may use too few ids; an administrator gives more in /etc/subuid and /etc/subgid (usermod --add-subuids), and newuidmap must be installed"
    )]
    Unmapped {
        /// `user` or `group`.
        kind: &'static str,
        /// Its number.
        id: u32,
    },
    /// A number that is no user's or group's.
    #[error("bad user {0:?}: uids and gids must be in range 0-2147483647")]
    IdRange(String),
    /// A file of the image cannot be used.
    #[error("cannot {action} {path} in the image")]
    InRoot {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The path, as seen in the container.
        path: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A file of the image is of the wrong kind, or too long.
    #[error("cannot use {path} in the image: it {fault}")]
    Unusable {
        /// The path, as seen in the container.
        path: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A volume that makes no sense.
    #[error("bad volume {text:?}: {fault}")]
    Volume {
        /// The volume as typed.
        text: String,
        /// What is wrong with it.
        fault: String,
    },
    /// A value that makes no sense.
    #[error("bad value {text:?} for {option}: {fault}")]
    Value {
        /// The option.
        option: &'static str,
        /// The value as typed.
        text: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// A limit that would not be kept.
    #[error("{option} cannot be kept here: {reason}")]
    Limit {
        /// The option.
        option: &'static str,
        /// Why not.
        reason: String,
    },
    /// The seccomp profile is none.
    #[error("the seccomp profile {} cannot be understood", path.display())]
    Seccomp {
        /// The profile.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// There is no program that runs containers.
    #[error("no OCI runtime is installed: install crun or runc, or name one with --runtime")]
    NoRuntime,
    /// The runtime that was asked for is not there.
    #[error("there is no OCI runtime {0:?}")]
    RuntimeMissing(String),
    /// The runtime refused.
    #[error("{0}")]
    Runtime(String),
    /// The container does not run.
    #[error("container {0} is not running")]
    NotRunning(String),
    /// The container runs.
    #[error("container {0} is running; stop it first, or use --force")]
    Running(String),
    /// It did not end although it was killed.
    #[error("container {0} does not end")]
    Endless(String),
    /// A text that names no signal.
    #[error("{0:?} is no signal")]
    Signal(String),
    /// A file on this machine cannot be used.
    #[error("cannot {action} {}", path.display())]
    System {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A standard stream that may not be handed over.
    #[error(
        "file descriptor {number} is a directory, through which a sandbox could be left; redirect it elsewhere"
    )]
    Stream {
        /// The descriptor.
        number: u8,
    },
    /// The unions of a sandbox cannot be described.
    #[error(transparent)]
    Options(#[from] OptionError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The process that watches a detached container could not be started, or says why there is no container.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

impl RunError {
    /// For `map_err`: a system call that was to `action` the file failed.
    pub(super) fn system(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> RunError {
        let path = path.into();
        move |source| RunError::System { action, path, source }
    }

    /// The exit code that docker gives for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Runtime(text) => code_of(text),
            RunError::Launch(LaunchError::Refused(text)) => code_of(text),
            _ => OURS,
        }
    }
}

/// What runtimes say of a program that is there.
const NOT_TO_BE_EXECUTED: &[&str] = &[
    "permission denied",
    "Permission denied",
    "is a directory",
    // crun's words for a directory.
    "open executable: Operation not permitted",
    "exec format error",
];

/// The exit code for what a runtime says of a program that it could not start. Runtimes tell by words alone.
fn code_of(text: &str) -> u8 {
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    // runc begins with `exec: "NAME"`; what else is missing or forbidden is not about the program.
    if !says(&["exec: \"", "executable"]) {
        OURS
    } else if says(&["executable file not found", "executable file `", "no such file or directory"]) {
        NOT_FOUND
    } else if says(NOT_TO_BE_EXECUTED) {
        NOT_EXECUTABLE
    } else {
        OURS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_dockers() {
        let of = |text: &str| RunError::Runtime(text.to_owned()).exit_code();
        assert_eq!(of("exec: \"frob\": executable file not found in $PATH"), 127);
        assert_eq!(of("exec: \"/frob\": stat /frob: no such file or directory"), 127);
        assert_eq!(of("exec: \"/etc/passwd\": permission denied"), 126);
        assert_eq!(of("exec: \"/etc\": is a directory"), 126);
        assert_eq!(of("error mounting tmpfs at /dev: no such file or directory"), 125);
        assert_eq!(of("executable file `frob` not found in $PATH: No such file or directory"), 127);
        assert_eq!(of("open executable: Permission denied"), 126);
        assert_eq!(of("open executable: Operation not permitted"), 126);
        assert_eq!(RunError::NoCommand.exit_code(), 125);
    }
}
