//! How applying fails. The system's reason is the source of an error and not in its own words.

use std::fmt;
use std::path::PathBuf;

use crate::layer::LayerError;
use crate::sys::Errno;

/// How many paths a message names.
const NAMED: usize = 10;

/// A failure. What was applied before stays, each file whole; the rest is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The tree is not as it was, or may not be changed so.
    #[error("{}", told(.0))]
    Conflicts(Vec<Conflict>),
    /// A file of the tree could not be changed.
    #[error("cannot {action} {}", path.display())]
    System {
        /// The file.
        path: PathBuf,
        /// What was attempted, as a verb.
        action: &'static str,
        /// Why it failed.
        source: Errno,
    },
    /// The upper cannot be read.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

/// A name that stands against applying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub why: Why,
}

/// Why a name stands against applying.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It was changed since the upper began, or something in it.
    Changed,
    /// It was there when the upper began and is not any more.
    Gone,
    /// Another file system is mounted at it or in it, or is no longer.
    Mount,
    /// It may not be touched at all.
    KeptOut,
    /// It belongs to another user, who would lose it.
    Foreign,
    /// It names other users in an access control list, which would be lost.
    AccessList,
    /// This user may not change the directory that holds it.
    Denied,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Changed => "was changed meanwhile",
            Why::Gone => "was removed meanwhile",
            Why::Mount => "has a file system mounted at it or in it that it had not, or has it no longer",
            Why::KeptOut => "holds where containers are kept",
            Why::Foreign => "belongs to another user",
            Why::AccessList => "has an access control list that only root can keep",
            Why::Denied => "lies in a directory that this user may not change",
        })
    }
}

fn told(conflicts: &[Conflict]) -> String {
    let lines = conflicts.iter().take(NAMED).map(|c| format!("{} {}", c.path.display(), c.why));
    let more = conflicts.len().saturating_sub(NAMED);
    let rest = (more > 0).then(|| format!("and {more} more"));
    lines.chain(rest).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_some_and_counts_the_rest() {
        let all: Vec<_> =
            (0..12).map(|i| Conflict { path: format!("/{i}").into(), why: Why::Changed }).collect();
        let text = ApplyError::Conflicts(all).to_string();
        assert!(text.starts_with("/0 was changed meanwhile; /1 "), "{text}");
        assert!(text.ends_with("; and 2 more"), "{text}");
    }
}
