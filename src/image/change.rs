//! Changes to an image's run configuration, written as Dockerfile instructions: `docker commit --change`.

use crate::oci::config::RunConfig;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change;

/// Why an instruction cannot be read or applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is nothing.
    #[error("a change must not be empty")]
    Empty,
}

impl std::str::FromStr for Change {
    type Err = ChangeError;

    fn from_str(_: &str) -> Result<Change, ChangeError> {
        todo!()
    }
}

impl Change {
    /// The instruction as a history shows it.
    pub fn describe(&self) -> String {
        todo!()
    }
}

/// Reads changes: each text is one or several lines with one instruction each.
///
/// # Errors
/// The first text that is no instruction.
pub fn parse_all<T: AsRef<str>>(_: &[T]) -> Result<Vec<Change>, ChangeError> {
    todo!()
}

/// Applies changes in order. On failure `config` is as before.
///
/// # Errors
/// The first change that cannot be applied.
pub fn apply(_: &[Change], _: &mut RunConfig) -> Result<(), ChangeError> {
    todo!()
}
