//! The watcher: a small process that takes the mount away should the daemon be killed, so that no mount
//! answers ENOTCONN for ever.
//!
//! It is forked before the daemon has threads or open layers, waits at a pipe that only the daemon holds,
//! and ends with it.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use super::mountinfo::Device;
use super::unmount::Mounted;
use crate::sys::process::{self, Fork, Pid, WaitOptions};

/// What the daemon says when it has unmounted by itself.
const DONE: &str = "done";

/// The daemon's end of the pipe. Dropped without [`Watcher::dismiss`], the mount is taken away.
#[derive(Debug)]
pub(super) struct Watcher {
    pipe: PipeWriter,
    pid: i32,
}

impl Watcher {
    /// Forks the watcher of a mount that will be made at the absolute path `mountpoint`. The process must
    /// have one thread only.
    pub fn start(mountpoint: &Path) -> io::Result<Watcher> {
        let (reader, writer) = io::pipe()?;
        match process::fork()? {
            Fork::Parent(pid) => Ok(Watcher { pipe: writer, pid }),
            Fork::Child => {
                let status = watch(reader, mountpoint).map_or(1, |()| 0);
                // The caller's values belong to the daemon: none of them may be dropped in this process.
                process::exit_now(status)
            }
        }
    }

    /// Says which mount is to be taken away if the daemon dies from here on.
    pub fn guard(&mut self, mounted: &Mounted) {
        if let Some(device) = mounted.device() {
            self.say(&format!("{} {}\n", device.major, device.minor));
        }
    }

    /// Says that the mount is gone, and waits for the watcher to end: whoever inherits it from us may not
    /// collect its exit status.
    pub fn dismiss(mut self) {
        self.say(DONE);
        drop(self.pipe);
        if let Err(e) = process::waitpid(Pid::from_raw(self.pid), WaitOptions::empty()) {
            log::debug!("waiting for the watcher: {e}");
        }
    }

    fn say(&mut self, text: &str) {
        if let Err(e) = self.pipe.write_all(text.as_bytes()) {
            log::warn!("the watcher of the mount is gone: {e}");
        }
    }
}

/// Waits for the daemon to end, and takes its mount away where it did not do so itself.
fn watch(mut reader: PipeReader, mountpoint: &Path) -> io::Result<()> {
    process::close_all_but(reader.as_fd())?;
    super::daemon::detach_from_terminal()?;
    // Only a name in ps.
    if let Err(e) = std::fs::write("/proc/self/comm", "plyfs-watch") {
        log::debug!("naming the watcher: {e}");
    }
    let mut said = String::new();
    reader.read_to_string(&mut said)?;
    match orphan(&said) {
        Some(device) => Mounted::known(mountpoint, device).take_away(),
        None => Ok(()),
    }
}

/// The mount left behind by a daemon that said `said` before it ended.
fn orphan(said: &str) -> Option<Device> {
    let (device, end) = said.split_once('\n')?;
    let (major, minor) = device.split_once(' ')?;
    let device = Device { major: major.parse().ok()?, minor: minor.parse().ok()? };
    (end != DONE).then_some(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_mount_that_was_made_and_not_taken_away_is_an_orphan() {
        assert_eq!(orphan(""), None);
        assert_eq!(orphan("done"), None);
        assert_eq!(orphan("0 5"), None);
        assert_eq!(orphan("0 51\n"), Some(Device { major: 0, minor: 51 }));
        assert_eq!(orphan("0 51\ndone"), None);
    }
}
