//! Findings.

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Names and sizes.
    Structure,
    /// All bytes.
    Contents,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Takes space.
    Info,
    /// Something does not work.
    Error,
}

/// Something wrong.
#[derive(Debug)]
pub enum Finding {}

impl Finding {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        todo!()
    }
}
