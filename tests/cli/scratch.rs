//! A scratch directory with layers, and the program run in it.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{UnmountFlags, unmount};

/// `lower` (with `file` and `dir/in`), `upper`, `work` and `merged`.
pub struct Scratch {
    dir: tempfile::TempDir,
}

impl Scratch {
    pub fn new() -> Scratch {
        let dir = tempfile::Builder::new().prefix("plyfs-cli-").tempdir_in("/var/tmp").unwrap();
        let scratch = Scratch { dir };
        for name in ["lower/dir", "upper", "work", "merged"] {
            fs::create_dir_all(scratch.path(name)).unwrap();
        }
        fs::write(scratch.path("lower/file"), "from lower").unwrap();
        fs::write(scratch.path("lower/dir/in"), "in").unwrap();
        scratch
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program with its working directory here and nothing to read.
    pub fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new("timeout");
        command.arg("100").arg(env!("CARGO_BIN_EXE_plyfs")).args(arguments);
        command.current_dir(self.dir.path()).stdin(Stdio::null()).env_remove("PLYFS_LOG");
        command.env("PLYFS_ROOT", self.dir.path().join("images"));
        command
    }

    /// Runs the program with the words of `line`.
    pub fn run(&self, line: &str) -> Said {
        Said::of(&self.command(line.split_whitespace()).output().unwrap())
    }

    /// Whether something is mounted in here.
    pub fn is_mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.contains(&format!(" {} ", self.path("merged").display()))
    }

    /// Waits until nothing is mounted in here.
    pub fn wait_for_unmount(&self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.is_mounted() {
            assert!(Instant::now() < deadline, "still mounted");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.is_mounted()
            && let Err(e) = unmount(self.path("merged"), UnmountFlags::DETACH)
        {
            eprintln!("left mounted: {e}");
        }
    }
}

/// What a run of the program gave.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: &Output) -> Said {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Said { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Asserts that all went well, in silence on standard error; returns what was printed.
    #[track_caller]
    pub fn good(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (Some(0), ""), "{}", self.out);
        self.out
    }
}

/// Whether these tests may mount; says so where they may not.
pub fn can_mount() -> bool {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    if rustix::process::geteuid().is_root() && device.is_ok() {
        return true;
    }
    eprintln!("SKIPPED: this test mounts, which needs root and /dev/fuse");
    false
}
