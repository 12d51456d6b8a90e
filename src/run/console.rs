//! The terminal of a detached container: the runtime makes it, and sends its other end over a socket (`--console-socket` of
//! the OCI runtimes' command line). What appears on it is written down here, so that nothing is lost, however soon the
//! program ends: a runtime that passes the output on by itself drops what it had not read by then.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;

use super::container::remove_file;
use super::error::RunError;
use super::streams::{Held, open};
use crate::sys::socket::receive_descriptor;

/// Its name in the container's directory.
const SOCKET: &str = "console";

/// The socket on which a runtime is waited for.
#[derive(Debug)]
pub(super) struct Console {
    listener: UnixListener,
    /// The directory of the socket: by its descriptor the path is short enough for an address, wherever it lies.
    dir: File,
    log: PathBuf,
}

impl Console {
    /// Listens in the directory `dir`; what appears on the terminal will go into the file `log`.
    pub(super) fn listen(dir: &Path, log: &Path) -> Result<Console, RunError> {
        remove_file(&dir.join(SOCKET))?;
        let opened = File::open(dir).map_err(RunError::system("open", dir))?;
        let address = address(&opened);
        let listener = UnixListener::bind(&address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = listener.map_err(RunError::system("listen at", &dir.join(SOCKET)))?;
        Ok(Console { listener, dir: opened, log: log.to_owned() })
    }

    /// Where the runtime finds the socket, as long as this process lives.
    pub(super) fn address(&self) -> PathBuf {
        address(&self.dir)
    }

    /// Takes the terminal that the runtime has sent, and writes down what appears on it from now on.
    ///
    /// # Errors
    /// The runtime has sent none.
    pub(super) fn keep(self) -> Result<Held, RunError> {
        let failed = || RunError::system("take the terminal from the OCI runtime at", self.address());
        let (socket, _) = self.listener.accept().map_err(failed())?;
        let terminal = receive_descriptor(socket.as_fd()).map_err(io::Error::from).map_err(failed())?;
        let terminal = terminal.ok_or_else(|| failed()(io::ErrorKind::InvalidData.into()))?;
        let log = open(&self.log)?;
        let writer = thread::Builder::new().name("plyfs-terminal".to_owned());
        let writer = writer.spawn(move || write_down(File::from(terminal), log)).map_err(failed())?;
        Ok(Held::Terminal(writer))
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Err(e) = fs::remove_file(self.address()) {
            log::debug!("removing {}: {e}", self.address().display());
        }
    }
}

fn address(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}/{SOCKET}", process::id(), dir.as_raw_fd()))
}

/// Writes down what appears on a terminal, until nobody has it open any more.
fn write_down(mut terminal: File, mut log: File) {
    let mut buffer = vec![0; 4096];
    loop {
        let length = match terminal.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            // The end is told as an error (EIO).
            Ok(0) | Err(_) => return,
            Ok(length) => length,
        };
        if let Err(e) = log.write_all(&buffer[..length]) {
            log::warn!("what a program shows on its terminal is lost: {e}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_runtime_that_sends_no_terminal_is_an_error() {
        let dir = tempfile::tempdir().expect("a directory");
        let deep = dir.path().join("d".repeat(200));
        fs::create_dir(&deep).expect("made");
        for connects in [false, true] {
            let console = Console::listen(&deep, &deep.join("log")).expect("listens");
            let stream = connects.then(|| UnixStream::connect(console.address()).expect("connected"));
            drop(stream);
            let error = console.keep().expect_err("there is no terminal").to_string();
            assert!(error.contains("terminal"), "{error}");
        }
    }
}
