//! Sandboxes: a program on this machine's own root file system, what it changes kept apart.
//!
//! ```text
//! ROOT/containers/<id>/upper                   what was changed, in the shape of the whole tree
//!                      work merged             the union over /
//!                      parts/<n>/{work,merged} the union over another mount; its upper is upper/PATH
//!                      run/began               its time tells what the machine changed later
//! ```
//!
//! A sandbox is a container whose lower is `/`. What is known of it beyond a container is kept in its `config.json`.

pub mod caller;
pub mod mounts;
pub mod prepare;
pub mod spec;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::container::Instance;
use super::error::RunError;
use crate::sys::Errno;
use crate::sys::fs::{CWD, FlockOperation, Mode, O_DIRPATH, OFlags, flock, openat};

/// The field of a container's file that holds this.
const FIELD: &str = "sandbox";
const PARTS: &str = "parts";
const WORK: &str = "work";
const MERGED: &str = "merged";
const BEGAN: &str = "began";
const APPLYING: &str = "applying";

/// What is known of a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// The mounts below the root that have a union of their own, those above before those below them.
    pub parts: Vec<PathBuf>,
    /// Whose it is.
    pub user: u32,
}

/// The directories of one union of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Union {
    /// What is shown: the lower, and where it is shown in the sandbox.
    pub path: PathBuf,
    /// Where changes go.
    pub upper: PathBuf,
    /// The union's work directory.
    pub work: PathBuf,
    /// Where it is mounted on this machine.
    pub merged: PathBuf,
}

impl Sandbox {
    /// What is known of the sandbox; `None` for any other container.
    pub fn of(extra: &Map<String, Value>) -> Option<Sandbox> {
        extra.get(FIELD).map(|value| serde_json::from_value(value.clone()).unwrap_or_default())
    }

    /// Puts it where a container keeps it.
    pub fn keep(&self, extra: &mut Map<String, Value>) {
        extra.insert(FIELD.to_owned(), serde_json::to_value(self).unwrap_or_default());
    }

    /// The unions of the sandbox whose root is mounted at `merged`, that over the root first.
    pub fn unions(&self, merged: &Path) -> Vec<Union> {
        let upper = merged.with_file_name("upper");
        let root = Union {
            path: PathBuf::from("/"),
            upper: upper.clone(),
            work: merged.with_file_name(WORK),
            merged: merged.to_owned(),
        };
        let part = |(number, path): (usize, &PathBuf)| {
            let dir = merged.with_file_name(PARTS).join(number.to_string());
            let upper = upper.join(path.strip_prefix("/").unwrap_or(path));
            Union { path: path.clone(), upper, work: dir.join(WORK), merged: dir.join(MERGED) }
        };
        [root].into_iter().chain(self.parts.iter().enumerate().map(part)).collect()
    }
}

impl Union {
    /// Whether a daemon serves it still: it holds a lock on the upper as long as it lives.
    ///
    /// # Errors
    /// The upper cannot be looked at.
    pub fn is_served(&self) -> Result<bool, RunError> {
        let failed = |e: Errno| RunError::system("look at", &self.upper)(e.into());
        let fd = match openat(CWD, &self.upper, (O_DIRPATH - OFlags::PATH) | OFlags::RDONLY, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(false),
            other => other.map_err(failed)?,
        };
        match flock(&fd, FlockOperation::NonBlockingLockShared) {
            Err(Errno::AGAIN) => Ok(true),
            other => other.map(|()| false).map_err(failed),
        }
    }
}

/// Marks the moment from which on a change of the machine's own files is one that the sandbox may not know. The clock
/// is that of the file system.
///
/// # Errors
/// The mark cannot be written.
pub fn begin(instance: &Instance) -> Result<(), RunError> {
    let path = instance.dir.join(BEGAN);
    fs::write(&path, "").map_err(RunError::system("write", path))
}

/// That moment: seconds and nanoseconds.
///
/// # Errors
/// The program of the sandbox was never started.
pub fn began(instance: &Instance) -> Result<(i64, i64), RunError> {
    let path = instance.dir.join(BEGAN);
    let time =
        fs::metadata(&path).and_then(|meta| meta.modified()).map_err(RunError::system("read", &path))?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok((i64::try_from(since.as_secs()).unwrap_or(i64::MAX), i64::from(since.subsec_nanos())))
}

/// Writes down that its changes are being applied.
///
/// # Errors
/// The mark cannot be written.
pub fn mark_applying(instance: &Instance) -> Result<(), RunError> {
    let path = instance.dir.join(APPLYING);
    fs::write(&path, "").map_err(RunError::system("write", path))
}

/// Whether its changes were begun to be applied before.
pub fn was_applying(instance: &Instance) -> bool {
    instance.dir.join(APPLYING).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uppers_of_the_parts_lie_in_the_upper_of_the_whole() {
        let sandbox = Sandbox { parts: vec!["/home".into(), "/home/a/mnt".into()], user: 7 };
        let unions = sandbox.unions(Path::new("/s/containers/x/merged"));
        let uppers: Vec<_> = unions.iter().map(|union| union.upper.display().to_string()).collect();
        assert_eq!(
            uppers,
            ["/s/containers/x/upper", "/s/containers/x/upper/home", "/s/containers/x/upper/home/a/mnt"]
        );
        assert_eq!(unions[2].merged, Path::new("/s/containers/x/parts/1/merged"));
        let mut extra = Map::new();
        assert_eq!(Sandbox::of(&extra), None);
        sandbox.keep(&mut extra);
        assert_eq!(Sandbox::of(&extra), Some(sandbox));
    }
}
