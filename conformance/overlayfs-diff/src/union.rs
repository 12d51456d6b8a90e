//! Mounting and unmounting one of the two file systems, and knowing its daemon.

use std::ffi::CString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Pid, WaitOptions};

/// One of the two file systems and the options it is mounted with.
#[derive(Debug, Clone)]
pub struct Program {
    /// None: the kernel's overlayfs.
    helper: Option<PathBuf>,
    options: String,
}

impl Program {
    /// The kernel's overlayfs.
    pub fn kernel(options: &str) -> Self {
        Self { helper: None, options: options.to_owned() }
    }

    /// A mount program by its path, or `kernel`.
    pub fn new(name: &str, options: &str) -> Self {
        match name {
            "kernel" => Self::kernel(options),
            path => Self { helper: Some(PathBuf::from(path)), options: options.to_owned() },
        }
    }

    /// How reports name it.
    pub fn name(&self) -> String {
        match &self.helper {
            None => "kernel".to_owned(),
            Some(path) => path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned(),
        }
    }
}

/// The directories of one mount.
#[derive(Debug, Clone)]
pub struct Layout {
    pub lowers: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub merged: PathBuf,
}

/// A live mount; unmounted on drop if nobody did it before.
#[derive(Debug)]
pub struct Mount {
    merged: PathBuf,
    daemon: Option<Pid>,
    live: bool,
}

impl Mount {
    /// Mounts, and returns once the mount answers.
    pub fn new(program: &Program, layout: &Layout) -> Result<Self, String> {
        let lowers: Vec<_> = layout.lowers.iter().map(|path| path.display().to_string()).collect();
        let options = format!(
            "lowerdir={},upperdir={},workdir={},{}",
            lowers.join(":"),
            layout.upper.display(),
            layout.work.display(),
            program.options
        );
        let daemon = match &program.helper {
            None => {
                let data = CString::new(options).map_err(|error| error.to_string())?;
                rustix::mount::mount(
                    "overlay",
                    &layout.merged,
                    "overlay",
                    MountFlags::empty(),
                    data.as_c_str(),
                )
                .map_err(|error| format!("mounting overlayfs: {error}; see dmesg"))?;
                None
            }
            Some(helper) => Some(start(helper, &options, &layout.merged)?),
        };
        Ok(Self { merged: layout.merged.clone(), daemon, live: true })
    }

    /// Unmounts and waits until the daemon has ended, which must be with success.
    pub fn unmount(mut self) -> Result<(), String> {
        self.live = false;
        for attempt in 0.. {
            match rustix::mount::unmount(&self.merged, UnmountFlags::empty()) {
                Ok(()) => break,
                Err(rustix::io::Errno::BUSY) if attempt < 50 => sleep(Duration::from_millis(10)),
                Err(error) => return Err(format!("unmounting {}: {error}", self.merged.display())),
            }
        }
        match self.daemon {
            Some(daemon) => wait_for_end(daemon),
            None => Ok(()),
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.live {
            // After a failed sequence; nothing more to tell.
            _ = rustix::mount::unmount(&self.merged, UnmountFlags::DETACH);
            if let Some(daemon) = self.daemon {
                _ = wait_for_end(daemon);
            }
        }
    }
}

/// Makes the daemons, which leave their parents, children of this process.
pub fn adopt_daemons() -> Result<(), String> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(|error| error.to_string())
}

/// Starts a helper that daemonises, and finds the daemon among our children.
fn start(helper: &Path, options: &str, merged: &Path) -> Result<Pid, String> {
    // Not a pipe: a daemon that keeps its stderr open would make us wait for ever.
    let log = merged.with_extension("log");
    let stderr = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let status = Command::new(helper)
        .args(["-o", options])
        .arg(merged)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .status()
        .map_err(|error| format!("{}: {error}", helper.display()))?;
    if !status.success() {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        return Err(format!("{} -o {options} {}: {status}: {said}", helper.display(), merged.display()));
    }
    find_daemon(merged).ok_or_else(|| format!("no daemon for {}", merged.display()))
}

/// The child whose last argument is the mount point.
fn find_daemon(merged: &Path) -> Option<Pid> {
    let children = std::fs::read_to_string("/proc/thread-self/children").ok()?;
    children.split_whitespace().find_map(|word| {
        let arguments = std::fs::read(format!("/proc/{word}/cmdline")).ok()?;
        let last = arguments.strip_suffix(b"\0")?.rsplit(|byte| *byte == 0).next()?;
        if last != merged.as_os_str().as_bytes() {
            return None;
        }
        Pid::from_raw(word.parse().ok()?)
    })
}

fn wait_for_end(daemon: Pid) -> Result<(), String> {
    for _ in 0..1000 {
        match rustix::process::waitpid(Some(daemon), WaitOptions::NOHANG) {
            Ok(None) => sleep(Duration::from_millis(5)),
            Ok(Some((_, status))) if status.exit_status() == Some(0) => {
                // What else it had forked is ours to reap now.
                while matches!(rustix::process::waitpid(None, WaitOptions::NOHANG), Ok(Some(_))) {}
                return Ok(());
            }
            Ok(Some((_, status))) => return Err(format!("the daemon ended with {status:?}")),
            Err(error) => return Err(format!("waiting for the daemon: {error}")),
        }
    }
    Err(format!("the daemon (process {}) outlived its mount by 5 s", daemon.as_raw_nonzero()))
}
