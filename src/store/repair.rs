//! Repair.

use super::Finding;

/// What became of a finding.
#[derive(Debug)]
pub enum Outcome {
    /// It is mended.
    Mended,
    /// It is not, and why.
    Left(String),
}

/// A finding and what became of it.
#[derive(Debug)]
pub struct Repaired {
    /// The finding.
    pub finding: Finding,
    /// What became of it.
    pub outcome: Outcome,
}
