//! Layers in a scratch directory, the program serving them in the foreground, and, when the mount goes, the check
//! that the lowers are as they were (S2), that nothing is left in the work directory, and that the daemon ended well.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::snapshot::snapshot;

/// How long something that happens in another process may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The user id of an ordinary user, and the group id.
pub const NOBODY: u32 = 65534;

/// The two ways of moving file data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Io {
    /// The kernel does it by itself.
    Passthrough,
    /// The daemon does it, and the kernel caches.
    Cached,
}

impl Io {
    fn option(self) -> &'static str {
        match self {
            Io::Passthrough => "io=passthrough",
            Io::Cached => "io=cached",
        }
    }
}

/// Makes a test of each function, for both ways of moving file data.
macro_rules! both_ways {
    ($($name:ident),+ $(,)?) => {
        mod passthrough {
            $(#[test]
            fn $name() {
                if let Some(stand) = $crate::harness::Stand::new($crate::harness::Io::Passthrough) {
                    super::$name(stand);
                }
            })+
        }
        mod cached {
            $(#[test]
            fn $name() {
                if let Some(stand) = $crate::harness::Stand::new($crate::harness::Io::Cached) {
                    super::$name(stand);
                }
            })+
        }
    };
}
pub(crate) use both_ways;

/// Directories for one union: `lower`, `upper`, `work`, and `merged` to mount at.
pub struct Stand {
    dir: tempfile::TempDir,
    pub io: Io,
    /// The lowers, top first.
    pub lowers: Vec<PathBuf>,
    /// The upper and the work directory.
    pub upper: Option<(PathBuf, PathBuf)>,
    /// Where it is mounted.
    pub target: PathBuf,
    /// How many files the daemon may have open.
    pub open_files: Option<u64>,
}

/// Says why a test does not run.
pub fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Whether this process may mount.
fn can_mount() -> bool {
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    if rustix::process::geteuid().is_root() && device.is_ok() {
        return true;
    }
    skipped("this test mounts, which needs root and /dev/fuse");
    false
}

/// Whether the kernel passes reads and writes through here; asked once.
fn can_pass_through() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let stand = Stand::bare(Io::Passthrough);
        match stand.try_mount("") {
            Ok(_) => true,
            Err(message) if message.contains("io=passthrough needs") => {
                skipped(&format!("all of io=passthrough: {message}"));
                false
            }
            Err(message) => panic!("{message}"),
        }
    })
}

impl Stand {
    /// Nothing, with a loud word, where the test cannot run.
    pub fn new(io: Io) -> Option<Stand> {
        (can_mount() && (io == Io::Cached || can_pass_through())).then(|| Stand::bare(io))
    }

    /// The directories. Not in /tmp, which may be a tmpfs.
    fn bare(io: Io) -> Stand {
        let dir = tempfile::Builder::new().prefix("plyfs-mount-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let [lower, upper, work, target] =
            ["lower", "upper", "work", "merged"].map(|name| dir.path().join(name));
        for path in [&lower, &upper, &work, &target] {
            fs::create_dir(path).unwrap();
        }
        Stand { dir, io, lowers: vec![lower], upper: Some((upper, work)), target, open_files: None }
    }

    /// A path in the scratch directory.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path in the topmost lower.
    pub fn lower(&self, name: impl AsRef<Path>) -> PathBuf {
        self.lowers[0].join(name)
    }

    /// A path in the upper.
    pub fn upper(&self, name: impl AsRef<Path>) -> PathBuf {
        self.upper.as_ref().unwrap().0.join(name)
    }

    /// Writes a file of the topmost lower, its parents made as needed.
    pub fn lower_file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.lower(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Makes a directory of the topmost lower, its parents as needed.
    pub fn lower_dir(&self, name: &str) -> PathBuf {
        let path = self.lower(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Another lower, below those there are.
    pub fn add_lower(&mut self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        self.lowers.push(path.clone());
        path
    }

    /// Whether the upper hides `name`.
    pub fn has_whiteout(&self, name: &str) -> bool {
        is_whiteout(&self.upper(name))
    }

    /// The names in a directory of the upper, sorted.
    pub fn upper_names(&self, name: &str) -> Vec<String> {
        names(&self.upper(name))
    }

    /// Mounts with `options` beside the layers and the way of moving data.
    pub fn mount(&self, options: &str) -> Mount<'_> {
        self.try_mount(options).unwrap_or_else(|message| panic!("{message}"))
    }

    /// As [`Stand::mount`]; the program's message where it fails.
    pub fn try_mount(&self, options: &str) -> Result<Mount<'_>, String> {
        let before = self.lowers.iter().map(|lower| snapshot(lower)).collect();
        let outside = fs::metadata(&self.target).map_or(0, |m| m.dev());
        let log = self.path("stderr");
        let mut child = self.command(options).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while fs::metadata(&self.target).map_or(0, |m| m.dev()) == outside {
            if child.try_wait().unwrap().is_some() {
                return Err(fs::read_to_string(&log).unwrap());
            }
            assert!(Instant::now() < deadline, "no mount, no message");
            std::thread::sleep(Duration::from_millis(2));
        }
        let device = fs::metadata(&self.target).map_or(0, |m| m.dev());
        Ok(Mount { stand: self, child, before, device, ended: None })
    }

    /// The call that mounts.
    fn command(&self, options: &str) -> Command {
        let program = env!("CARGO_BIN_EXE_plyfs");
        let mut command = Command::new(if self.open_files.is_some() { "prlimit" } else { program });
        if let Some(count) = self.open_files {
            command.arg(format!("--nofile={count}:{count}")).arg(program);
        }
        command.arg("mount").arg("-f").arg("-o").arg(self.io.option());
        if !options.is_empty() {
            command.arg("-o").arg(options);
        }
        for lower in &self.lowers {
            command.arg("--lower").arg(lower);
        }
        if let Some((upper, work)) = &self.upper {
            command.arg("--upper").arg(upper).arg("--work").arg(work);
        }
        command.arg(&self.target).stdin(Stdio::null()).env_remove("PLYFS_LOG");
        command
    }

    /// Whether anything is mounted at or below the scratch directory.
    pub fn is_mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.contains(&format!(" {} ", self.target.display()))
    }
}

/// A live mount of a [`Stand`].
pub struct Mount<'a> {
    stand: &'a Stand,
    child: Child,
    before: Vec<Vec<String>>,
    /// The number of the mounted file system.
    device: u64,
    /// Set where the test itself ended the daemon.
    ended: Option<ExitStatus>,
}

impl Mount<'_> {
    /// A path in the mount.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.stand.target.join(name)
    }

    /// The content of a file of the mount, as text.
    pub fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The names in a directory of the mount, sorted.
    pub fn names(&self, name: &str) -> Vec<String> {
        names(&self.path(name))
    }

    /// The daemon.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many descriptors the daemon holds.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }

    /// What the daemon said so far.
    pub fn messages(&self) -> String {
        fs::read_to_string(self.stand.path("stderr")).unwrap()
    }

    /// Runs a shell script in the mount, as root.
    pub fn sh(&self, script: &str) -> Output {
        self.shell(script).output().unwrap()
    }

    /// Runs a shell script in the mount, as [`NOBODY`].
    pub fn sh_as_nobody(&self, script: &str) -> Output {
        self.shell(script).uid(NOBODY).gid(NOBODY).output().unwrap()
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("timeout");
        command.args(["60", "sh", "-ec", script]).current_dir(&self.stand.target).stdin(Stdio::null());
        command
    }

    /// Ends the daemon as nothing should, and waits for its end.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.ended = Some(self.child.wait().unwrap());
    }

    /// Waits for a daemon whose mount was taken away.
    pub fn wait_for_end(&mut self) {
        wait_for("the daemon's end", || self.has_ended());
    }

    fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended.is_some()
    }

    /// Unmounts; the faults that come to light.
    fn take_down(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        let killed = self.ended.is_some();
        if self.stand.is_mounted()
            && let Err(e) = unmount_patiently(&self.stand.target)
        {
            faults.push(format!("unmounting: {e}"));
        }
        let deadline = Instant::now() + PATIENCE;
        while !self.has_ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let held = self.ended.is_none() && self.is_held_elsewhere();
        if self.ended.is_none() {
            faults.extend((!held).then(|| "the daemon outlives its mount".to_owned()));
            self.kill();
        }
        if !killed && !held && !self.ended.is_some_and(|status| status.success()) {
            faults.push(format!("the daemon ended with {:?}", self.ended));
        }
        let messages = self.messages();
        if messages.contains("panicked") || messages.contains("ERROR") {
            faults.push(messages);
        }
        faults.extend(self.left_in_work().filter(|_| !killed));
        faults.extend(self.harmed_lowers());
        faults
    }

    /// Whether a container or the like, begun meanwhile by someone else, took a copy of the mount along.
    fn is_held_elsewhere(&self) -> bool {
        let (major, minor) = (rustix::fs::major(self.device), rustix::fs::minor(self.device));
        let ours = format!(" {major}:{minor} ");
        let tables = fs::read_dir("/proc").unwrap().flatten().map(|process| process.path().join("mountinfo"));
        let holds = |table: &PathBuf| fs::read_to_string(table).is_ok_and(|table| table.contains(&ours));
        let holder = tables.into_iter().find(holds);
        eprintln!("after its unmount, {ours} is to be found in {holder:?}");
        holder.is_some()
    }

    /// What copy-ups left behind.
    fn left_in_work(&self) -> Option<String> {
        let work = self.stand.upper.as_ref()?.1.join("work");
        let left = if work.exists() { names(&work) } else { Vec::new() };
        // The whiteout that all are links of.
        let left: Vec<_> = left.into_iter().filter(|name| !is_whiteout(&work.join(name))).collect();
        (!left.is_empty()).then(|| format!("left in the work directory: {left:?}"))
    }

    /// Where a lower is not what it was.
    fn harmed_lowers(&self) -> Vec<String> {
        let mut harm = Vec::new();
        for (lower, before) in self.stand.lowers.iter().zip(&self.before) {
            let after = snapshot(lower);
            harm.extend(
                before.iter().filter(|line| !after.contains(line)).map(|l| format!("lower lost {l}")),
            );
            harm.extend(after.iter().filter(|line| !before.contains(line)).map(|l| format!("lower got {l}")));
        }
        harm
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let faults = self.take_down();
        if faults.is_empty() {
            return;
        }
        let report = faults.join("\n");
        if std::thread::panicking() {
            eprintln!("{report}");
        } else {
            panic!("{report}");
        }
    }
}

/// Unmounts. What was closed just now may keep it busy for a moment; what goes on being busy is detached, and an error.
fn unmount_patiently(target: &Path) -> io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(3);
    loop {
        match unmount(target, UnmountFlags::NOFOLLOW) {
            Err(Errno::BUSY) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            Err(e) => {
                unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?;
                return Err(e.into());
            }
            Ok(()) => return Ok(()),
        }
    }
}

/// Whether a file of a layer hides those below.
fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_char_device() && m.rdev() == 0)
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let list = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut names: Vec<OsString> = list.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names.iter().map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Waits until `condition` holds.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The output of a program that must have succeeded.
pub fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Whether a result is the error `errno`.
pub fn fails_with<T>(result: io::Result<T>, errno: Errno) -> bool {
    result.is_err_and(|e| e.raw_os_error() == Some(errno.raw_os_error()))
}

/// Runs a program that must succeed.
pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// `path` as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Something mounted for the length of a test.
pub struct OtherMount(PathBuf);

impl OtherMount {
    /// Mounts with mount(8), at a directory made for it; nothing, with a loud word, where that is refused.
    pub fn new(arguments: &[&str], at: &Path) -> Option<OtherMount> {
        fs::create_dir(at).unwrap();
        let output = Command::new("mount").args(arguments).arg(at).output().unwrap();
        if output.status.success() {
            return Some(OtherMount(at.to_owned()));
        }
        skipped(&format!("mount {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)));
        None
    }
}

impl OtherMount {
    /// Mounts `directory` with the ids from 0 on disk shown from 100000; nothing, with a loud word, where that is refused.
    pub fn idmapped(directory: &Path, at: &Path) -> Option<OtherMount> {
        fs::create_dir(at).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/mount/idmapped.py");
        let mut command = Command::new("python3");
        let output =
            command.arg(script).args([directory, at]).args(["0", "100000", "65536"]).output().unwrap();
        if output.status.success() {
            return Some(OtherMount(at.to_owned()));
        }
        skipped(&format!("an idmapped mount: {}", String::from_utf8_lossy(&output.stderr)));
        None
    }
}

impl Drop for OtherMount {
    fn drop(&mut self) {
        if let Err(e) = unmount_patiently(&self.0) {
            eprintln!("left mounted: {}: {e}", self.0.display());
        }
    }
}
