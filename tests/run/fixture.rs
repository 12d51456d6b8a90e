//! A store with an image made of a static busybox, and the program run on it. `PLYFS_TEST_RUNTIME` names the OCI runtime to
//! run it with; where that cannot run a container here, all tests say so and are skipped.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Where a busybox that needs no library lies.
const BUSYBOX: [&str; 2] = ["/bin/busybox", "/usr/bin/busybox"];
const APPLETS: [&str; 25] = [
    "sh", "cat", "chown", "echo", "env", "grep", "hostname", "id", "kill", "ls", "mkdir", "mount", "pwd",
    "readlink", "rm", "sleep", "stat", "touch", "true", "tty", "umount", "unshare", "wc", "head", "test",
];

/// An entry of a tar: its name, and what it is.
pub enum Entry<'a> {
    Dir(&'a str),
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
    Fifo(&'a str),
}

/// The ids of a user who owns nothing.
const NOBODY: u32 = 65534;

/// A store in a scratch directory. What is left in it is ended and unmounted when this is dropped.
pub struct Run {
    dir: tempfile::TempDir,
}

/// What a run of the program gave.
#[derive(Debug, PartialEq, Eq)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    /// A store with the image `bb:1`; `None`, said loudly, where this machine cannot run it.
    pub fn new() -> Option<Run> {
        let run = Run::empty()?;
        run.import("bb:1", &[]);
        Some(run)
    }

    /// A store without an image.
    pub fn empty() -> Option<Run> {
        static REFUSAL: OnceLock<Option<String>> = OnceLock::new();
        let run = Run::bare()?;
        match REFUSAL.get_or_init(refusal) {
            None => Some(run),
            Some(said) => {
                eprintln!(
                    "SKIPPED: {} runs no containers here: {said}",
                    wanted_runtime().unwrap_or_default()
                );
                None
            }
        }
    }

    /// As [`Run::empty`], where the runtime may refuse to run anything.
    fn bare() -> Option<Run> {
        let wanted = wanted_runtime();
        let runtime = match &wanted {
            Some(name) => found(name),
            None => ["crun", "runc"].iter().any(|name| found(name)),
        };
        let fuse = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok();
        let missing = match () {
            () if !rustix::process::geteuid().is_root() => "root",
            () if !fuse => "/dev/fuse",
            () if !runtime => wanted.as_deref().unwrap_or("crun or runc"),
            () if busybox().is_none() => "busybox-static",
            () => {
                let dir = tempfile::Builder::new().prefix("plyfs-run-").tempdir_in("/var/tmp").unwrap();
                return Some(Run { dir });
            }
        };
        eprintln!("SKIPPED: this test runs containers, which needs {missing}");
        None
    }

    /// Imports a busybox with `entries` beside it.
    pub fn import(&self, name: &str, entries: &[Entry<'_>]) {
        fs::write(self.path("image.tar"), image(entries)).unwrap();
        let words = ["import", "-c", "CMD [\"echo\",\"plain\"]", "image.tar", name];
        assert_eq!(Said::of(&self.command(words).output().unwrap()).code, Some(0));
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The program on this store, with its working directory here and nothing to read.
    pub fn command<S: AsRef<std::ffi::OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plyfs"));
        command.arg("--root").arg(self.path("store")).args(with_runtime(arguments));
        command.current_dir(self.dir.path()).stdin(Stdio::null()).env_remove("PLYFS_LOG");
        command
    }

    /// As [`Run::run`], as an ordinary user without any privilege, who owns the store.
    pub fn run_as_user(&self, line: &str, script: &str) -> Said {
        self.run_as_user_by(Command::new("setpriv"), line, script)
    }

    /// As [`Run::run_as_user`]; the user has the subordinate ids 300000 to 365535 meanwhile, and no other process sees that.
    pub fn run_as_user_with_ids(&self, line: &str, script: &str) -> Said {
        fs::write(self.path("subordinate"), format!("{NOBODY}:300000:65536\n")).unwrap();
        let mut command = Command::new("unshare");
        let give =
            "mount --bind subordinate /etc/subuid && mount --bind subordinate /etc/subgid && exec \"$@\"";
        command.args(["--mount", "--propagation", "slave", "sh", "-c", give, "sh", "setpriv"]);
        self.run_as_user_by(command, line, script)
    }

    /// `command` is `setpriv`, or executes it with the arguments that follow.
    fn run_as_user_by(&self, mut command: Command, line: &str, script: &str) -> Said {
        std::os::unix::fs::chown(self.dir.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        let nobody = NOBODY.to_string();
        command.args(["--reuid", &nobody, "--regid", &nobody, "--clear-groups", "--inh-caps=-all"]);
        command.arg(self.path("plyfs")).arg("--root").arg(self.path("store"));
        let words = line.split_whitespace().chain(Some(script).filter(|script| !script.is_empty()));
        command.args(with_runtime(words));
        command.current_dir(self.dir.path()).env("HOME", self.dir.path()).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait(&mut child);
        Said::of(&child.wait_with_output().unwrap())
    }

    /// Writes the archive that [`Run::import`] would import, and the program, for [`Run::run_as_user`].
    pub fn write_for_user(&self) {
        // Where it was built, that user may not go.
        fs::copy(env!("CARGO_BIN_EXE_plyfs"), self.path("plyfs")).unwrap();
        fs::write(self.path("image.tar"), image(&[])).unwrap();
    }

    /// Runs the program with the words of `line`, and `script` as its last one if there is any.
    pub fn run(&self, line: &str, script: &str) -> Said {
        let words = line.split_whitespace().chain(Some(script).filter(|script| !script.is_empty()));
        let mut child = self.command(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait(&mut child);
        Said::of(&child.wait_with_output().unwrap())
    }

    /// What the shell in a new container of `bb:1`, removed afterwards, prints for `script`.
    #[track_caller]
    pub fn shell(&self, options: &str, script: &str) -> String {
        self.run(&format!("run --rm {options} bb:1 sh -c"), script).good()
    }

    #[track_caller]
    pub fn good(&self, line: &str) -> String {
        self.run(line, "").good()
    }

    /// The status of a container, and its state in one word.
    pub fn status(&self, name: &str) -> String {
        let listed = self.good("ps -a --format {{.Names}}={{.State}}={{.Status}}");
        let line = listed.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or("gone").to_owned()
    }

    /// Waits until the container's status begins so.
    #[track_caller]
    pub fn wait_for(&self, name: &str, status: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.status(name).starts_with(status) {
            assert!(Instant::now() < deadline, "{name} is {} and not {status}", self.status(name));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The mounts below this store.
    pub fn mounts(&self) -> Vec<PathBuf> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
        points.filter(|point| point.starts_with(self.dir.path())).collect()
    }

    /// The directory of the only container.
    pub fn container(&self) -> PathBuf {
        let mut all: Vec<_> = fs::read_dir(self.path("store/containers")).unwrap().collect();
        assert_eq!(all.len(), 1);
        all.pop().unwrap().unwrap().path()
    }

    /// A process that `status.json` of the only container names.
    pub fn pid(&self, field: &str) -> i32 {
        let text = fs::read_to_string(self.container().join("run/status.json")).unwrap();
        let status: serde_json::Value = serde_json::from_str(&text).unwrap();
        status[field]["pid"].as_i64().unwrap().try_into().unwrap()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let removed = match self.path("plyfs").exists() {
            true => self.run_as_user("rm --force --all", ""),
            false => self.run("rm --force --all", ""),
        };
        if removed.code != Some(0) {
            eprintln!("removing what is left: {removed:?}");
        }
        for point in self.mounts() {
            eprintln!("left mounted: {}", point.display());
            if let Err(e) = rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH) {
                eprintln!("{}: {e}", point.display());
            }
        }
    }
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

/// Waits for a process, and ends it where it takes too long.
pub fn wait(child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it takes too long");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Sends a signal by number.
pub fn send(pid: i32, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// The runtime to test with; `None` for what plyfs chooses.
fn wanted_runtime() -> Option<String> {
    std::env::var("PLYFS_TEST_RUNTIME").ok().filter(|name| !name.is_empty())
}

/// The arguments, `run` with the runtime to test with. A test that names one has it.
fn with_runtime<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Vec<OsString> {
    let mut words: Vec<OsString> = arguments.into_iter().map(|word| word.as_ref().to_owned()).collect();
    let own = words.iter().any(|word| word == "--runtime");
    if let Some(name) = wanted_runtime()
        && starts_container(&words)
        && !own
    {
        words.splice(1..1, ["--runtime".into(), name.into()]);
    }
    words
}

fn starts_container(words: &[OsString]) -> bool {
    let word = |number: usize| words.get(number).and_then(|word| word.to_str()).unwrap_or_default();
    word(0) == "run" || (word(0) == "sandbox" && !["apply", "keep", "discard"].contains(&word(1)))
}

/// What the runtime to test with says if it cannot run a container here.
fn refusal() -> Option<String> {
    wanted_runtime()?;
    let run = Run::bare()?;
    run.import("bb:1", &[]);
    let said = run.run("run --rm bb:1 true", "");
    (said.code != Some(0)).then(|| said.err.lines().next().unwrap_or_default().to_owned())
}

fn found(name: &str) -> bool {
    ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin"]
        .iter()
        .any(|dir| Path::new(dir).join(name).is_file())
}

/// A busybox that needs no library.
fn busybox() -> Option<Vec<u8>> {
    let path = BUSYBOX.iter().find(|path| Path::new(path).is_file())?;
    // ldd fails for what is not linked dynamically.
    let dynamic = Command::new("ldd").arg(path).output().is_ok_and(|output| output.status.success());
    (!dynamic).then(|| fs::read(path).unwrap())
}

fn image(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let busybox = busybox().unwrap();
    let links: Vec<String> = APPLETS.iter().map(|name| format!("bin/{name}")).collect();
    let mut all = vec![Entry::Dir("bin/"), Entry::File("bin/busybox", &busybox)];
    all.extend(links.iter().map(|name| Entry::Link(name, "busybox")));
    let named = |wanted: &str| entries.iter().any(|entry| entry.name().starts_with(wanted));
    if !named("etc") {
        all.extend([
            Entry::Dir("etc/"),
            Entry::File("etc/passwd", b"root:x:0:0::/root:/bin/sh\nann:x:1000:100::/home/ann:/bin/sh\n"),
            Entry::File("etc/group", b"root:x:0:\nusers:x:100:\nwheel:x:10:ann\n"),
        ]);
    }
    for entry in all.iter().chain(entries) {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_mtime(1_000_000_000);
        header.set_size(0);
        match entry {
            Entry::Dir(name) => {
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, name, &[][..]).unwrap();
            }
            Entry::File(name, content) => {
                header.set_size(content.len() as u64);
                tar.append_data(&mut header, name, *content).unwrap();
            }
            Entry::Link(name, target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                tar.append_link(&mut header, name, target).unwrap();
            }
            Entry::Fifo(name) => {
                header.set_entry_type(tar::EntryType::Fifo);
                tar.append_data(&mut header, name, &[][..]).unwrap();
            }
        }
    }
    tar.into_inner().unwrap()
}

impl Entry<'_> {
    fn name(&self) -> &str {
        match self {
            Entry::Dir(name) | Entry::File(name, _) | Entry::Link(name, _) | Entry::Fifo(name) => name,
        }
    }
}
