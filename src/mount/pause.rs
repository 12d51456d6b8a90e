//! Pausing a mount that another process serves, to read its layers at rest; and bringing to them what only the kernel
//! has.

use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::control::{self, Address, PAUSE, PAUSED, RESUME, RESUMED};
use crate::sys::fs::syncfs;

/// Why a mount is not paused.
#[derive(Debug, thiserror::Error)]
pub enum PauseError {
    /// No daemon listens at the socket.
    #[error("cannot reach the daemon of the mount at {}", path.display())]
    Unreachable {
        /// The control socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The daemon does not let us.
    #[error("the daemon of the mount does not pause: {0}")]
    Refused(String),
    /// The mount went away, or was being taken away, while it was paused: changes went on.
    #[error("the mount was taken away while it was paused")]
    Ended,
}

/// A paused mount. It goes on when this is dropped, or when the process ends in whatever way.
#[derive(Debug)]
pub struct Pause(UnixStream);

impl Pause {
    /// Pauses the mount whose daemon listens at `control`. Returns when every change that was under way is in the
    /// upper directory; all later ones wait. Reading goes on, except where the kernel keeps something locked for
    /// a change that waits: do not look into the mount meanwhile.
    ///
    /// Not held back are writes that go past the daemon: through files that were open for writing, with
    /// `io=passthrough`, and through mappings.
    ///
    /// # Errors
    /// [`PauseError::Unreachable`], [`PauseError::Refused`].
    pub fn begin(control: &Path) -> Result<Pause, PauseError> {
        let unreachable = |source| PauseError::Unreachable { path: control.to_owned(), source };
        let address = Address::open(control).map_err(unreachable)?;
        let mut stream = UnixStream::connect(address.path()).map_err(unreachable)?;
        control::say(&mut stream, PAUSE).map_err(unreachable)?;
        match control::read_line(&stream).map_err(unreachable)? {
            answer if answer == PAUSED => Ok(Pause(stream)),
            answer => Err(PauseError::Refused(answer)),
        }
    }

    /// Lets changes go on.
    ///
    /// # Errors
    /// [`PauseError::Ended`]: they went on before.
    pub fn end(mut self) -> Result<(), PauseError> {
        let answer = control::say(&mut self.0, RESUME).and_then(|()| control::read_line(&self.0));
        match answer {
            Ok(answer) if answer == RESUMED => Ok(()),
            Ok(_) | Err(_) => Err(PauseError::Ended),
        }
    }
}

/// Has the kernel write what it keeps in memory of the file system at `path`: of a mount, what mappings wrote, to its
/// upper directory. Not while that mount is paused.
///
/// # Errors
/// What the system says.
pub fn flush(path: &Path) -> io::Result<()> {
    Ok(syncfs(File::open(path)?)?)
}
