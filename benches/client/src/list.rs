//! Lists of names: read, shuffled, shared.

use std::ffi::CString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::random::Random;
use crate::share::Share;

/// The names of a list in random order, or the share of one process.
pub fn read(list: &Path, share: Option<&Share>) -> Result<Vec<CString>> {
    let text = fs::read(list).with_context(|| format!("reading the list {}", list.display()))?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut names =
        lines.map(CString::new).collect::<Result<Vec<_>, _>>().context("a name holds a zero byte")?;
    let mut random = Random::new();
    for at in (1..names.len()).rev() {
        let other = usize::try_from(random.below(at as u64 + 1))?;
        names.swap(at, other);
    }
    let Some(share) = share else { return Ok(names) };
    let (part, of) = (usize::try_from(share.part)?, usize::try_from(share.of)?);
    Ok(names.into_iter().skip(part).step_by(of).collect())
}
