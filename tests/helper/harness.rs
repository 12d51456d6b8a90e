//! A scratch directory with layers in it, the helper run against them, and nothing left mounted afterwards.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use plyfs::sys::fs::geteuid;
use plyfs::sys::mount::{UnmountFlags, unmount};

/// How long something that happens in another process may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether these tests can run; says so where they cannot.
pub fn can_mount() -> bool {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    if geteuid().is_root() && device.is_ok() {
        return true;
    }
    eprintln!("SKIPPED: this test mounts, which needs root and /dev/fuse");
    false
}

/// The helper, built as the test was. Its package is another one, so cargo does not hand its path to us.
pub fn helper() -> &'static Path {
    static HELPER: OnceLock<PathBuf> = OnceLock::new();
    HELPER.get_or_init(|| {
        let programs = Path::new(env!("CARGO_BIN_EXE_plyfs")).parent().expect("a directory");
        let profile = programs.file_name().and_then(OsStr::to_str).expect("a profile");
        let profile = if profile == "debug" { "dev" } else { profile };
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--offline", "--package", "plyfs-mount", "--profile", profile])
            .arg("--target-dir")
            .arg(programs.parent().expect("a target directory"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status();
        assert!(built.expect("cargo").success(), "building plyfs-mount");
        programs.join("plyfs-mount")
    })
}

/// Directories for one union: `lower` (with the file `file`), `upper`, `work`, and `merged`.
pub struct Stand {
    dir: tempfile::TempDir,
}

impl Stand {
    pub fn new() -> Stand {
        let dir = tempfile::Builder::new().prefix("plyfs-helper-").tempdir().expect("a scratch directory");
        let stand = Stand { dir };
        for name in ["lower", "upper", "work", "merged"] {
            fs::create_dir(stand.path(name)).expect("mkdir");
        }
        fs::write(stand.path("lower/file"), "from lower").expect("write");
        stand
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `lowerdir=…,upperdir=…,workdir=…` and `more`.
    pub fn options(&self, more: &str) -> String {
        let path = |name| self.path(name).display().to_string();
        format!("lowerdir={},upperdir={},workdir={}{more}", path("lower"), path("upper"), path("work"))
    }

    /// Runs the helper with `arguments` in the scratch directory. Returns when it has exited and both its
    /// output streams have ended.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        self.run_as(helper(), arguments)
    }

    /// As [`Stand::run`], for another program.
    pub fn run_as<A: AsRef<OsStr>>(&self, program: &Path, arguments: impl IntoIterator<Item = A>) -> Output {
        let mut command = Command::new("timeout");
        command.arg("--foreground").arg("20").arg(program).args(arguments);
        let output = command.current_dir(self.dir.path()).stdin(Stdio::null()).output().expect("timeout(1)");
        assert_ne!(output.status.code(), Some(124), "{program:?} did not end, or kept its output open");
        output
    }

    /// Mounts at `merged` with the layers and `more` options.
    pub fn mount(&self, more: &str) {
        let output = self.run(["-o", &self.options(more), "merged"]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    }

    /// The mounts at and below the scratch directory, as lines of mountinfo.
    pub fn mounts(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let here = format!(" {}", self.dir.path().display());
        table.lines().filter(|line| line.contains(&here)).map(str::to_owned).collect()
    }

    /// The daemons that serve mounts made from here: the watchers are their children.
    pub fn daemons(&self) -> Vec<String> {
        let all = self.processes();
        all.iter().filter(|pid| !all.contains(&parent(pid))).cloned().collect()
    }

    /// The one daemon that serves a mount made from here.
    pub fn daemon(&self) -> String {
        let daemons = self.daemons();
        assert_eq!(daemons.len(), 1, "{daemons:?}");
        daemons[0].clone()
    }

    /// Every helper process started from here: its working directory may be /, its arguments name us.
    pub fn processes(&self) -> Vec<String> {
        let ours = self.dir.path().as_os_str().as_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("/proc").flatten() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let pid = entry.file_name().to_string_lossy().into_owned();
            if line.windows(ours.len()).any(|part| part == ours) && comm(&pid).starts_with("plyfs") {
                found.push(pid);
            }
        }
        found
    }

    /// Waits until nothing is mounted here and no process of ours is left.
    pub fn wait_until_gone(&self) {
        wait_for("the mount and its processes to go away", || {
            self.mounts().is_empty() && self.processes().is_empty()
        });
    }

    pub fn umount(&self) {
        unmount(self.path("merged"), UnmountFlags::empty()).expect("umount");
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        for line in self.mounts().iter().rev() {
            if let Some(path) = line.split(' ').nth(4) {
                let unescaped = path.replace("\\040", " ");
                if let Err(e) = unmount(Path::new(&unescaped), UnmountFlags::DETACH) {
                    eprintln!("left mounted: {path}: {e}");
                }
            }
        }
    }
}

fn comm(pid: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}

fn parent(pid: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap_or_default().trim().to_owned()
}

/// Sends `signal` to the process `pid`, one that [`Stand::daemon`] named.
pub fn kill(signal: &str, pid: &str) {
    let status = Command::new("kill").args(["-s", signal, pid]).status().expect("kill(1)");
    assert!(status.success());
}

/// Waits until `condition` holds.
pub fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
