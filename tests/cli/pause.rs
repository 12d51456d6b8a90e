//! Commit of a mounted container, and what a pause holds back (S53 to S59): both ways of moving file data.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use plyfs::mount::{Pause, PauseError};
use rustix::process::{Pid, Signal, kill_process};

use crate::scratch::{Said, Scratch, can_mount};

/// How long something that happens in another process may take.
const PATIENCE: Duration = Duration::from_secs(100);
/// Long enough for what is not held back to have happened; only a broken pause makes a test that waits it fail.
const MOMENT: Duration = Duration::from_millis(150);
/// The length of a file that takes a while to pack.
const LARGE: usize = 48 << 20;

/// A store with a container `web` that is mounted in the foreground.
struct Stand {
    scratch: Scratch,
    io: &'static str,
    daemon: Option<Child>,
    merged: PathBuf,
}

/// Runs a test with each way of moving file data.
fn both_ways(test: impl Fn(Stand)) {
    if can_mount() {
        for io in ["cached", "passthrough"] {
            eprintln!("io={io}");
            if let Some(stand) = Stand::new(io) {
                test(stand);
            }
        }
    }
}

impl Stand {
    fn new(io: &'static str) -> Option<Stand> {
        let scratch = Scratch::new();
        let mut base = tar::Builder::new(File::create(scratch.path("base.tar")).unwrap());
        for (name, content) in [("lower/file", "from lower"), ("gone/file", ""), ("a/log", ""), ("z/log", "")]
        {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            base.append_data(&mut header, name, content.as_bytes()).unwrap();
        }
        base.finish().unwrap();
        drop(base);
        scratch.run("--root root import base.tar base").ok();
        scratch.run("--root root create base --name web").ok();
        let mut stand = Stand { scratch, io, daemon: None, merged: PathBuf::new() };
        stand.mount().then_some(stand)
    }

    /// Mounts; whether that can be done here.
    fn mount(&mut self) -> bool {
        let log = self.scratch.path("daemon.log");
        let line = format!("--root root mount -f -o io={} web", self.io);
        let mut command = Command::new(env!("CARGO_BIN_EXE_plyfs"));
        command.args(line.split(' ')).current_dir(self.scratch.path("")).stdin(Stdio::null());
        let mut daemon = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        let control = || self.find("control.sock");
        let deadline = Instant::now() + PATIENCE;
        while control().is_none_or(|path| Pause::begin(&path).is_err()) {
            assert!(Instant::now() < deadline, "no daemon at the socket");
            if daemon.try_wait().unwrap().is_some() {
                let said = fs::read_to_string(&log).unwrap();
                assert!(said.contains("io=passthrough needs"), "{said}");
                eprintln!("SKIPPED: io={}: {said}", self.io);
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.merged = self.find("merged").unwrap();
        self.daemon = Some(daemon);
        true
    }

    /// What has the name in the container's directory.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let containers = fs::read_dir(self.scratch.path("root/containers")).unwrap();
        let container = containers.map(|entry| entry.unwrap().path()).next().unwrap();
        Some(container.join(name)).filter(|path| path.symlink_metadata().is_ok())
    }

    fn pause(&self) -> Pause {
        Pause::begin(&self.find("control.sock").unwrap()).unwrap()
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.merged.join(name)
    }

    fn upper(&self, name: &str) -> PathBuf {
        self.find("upper").unwrap().join(name)
    }

    fn run(&self, line: &str) -> Said {
        self.scratch.run(&format!("--root root {line}"))
    }

    /// The files of the image `name`, with their content.
    fn files(&self, name: &str) -> Vec<(String, Vec<u8>)> {
        self.run(&format!("export -o out.tar {name}")).ok();
        let mut archive = tar::Archive::new(File::open(self.scratch.path("out.tar")).unwrap());
        let mut files = Vec::new();
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().to_string_lossy().into_owned();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.push((path, content));
        }
        files
    }

    fn daemon(&self) -> &Child {
        self.daemon.as_ref().unwrap()
    }

    /// Waits for the daemon to end by itself.
    fn wait_for_end(&mut self) {
        let daemon = self.daemon.as_mut().unwrap();
        wait_for("the daemon's end", || daemon.try_wait().unwrap().is_some());
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        if self.daemon.is_some() {
            eprintln!("{:?}", self.run("unmount --lazy web"));
            self.wait_for_end();
        }
    }
}

impl Said {
    /// What was printed by a run that went well; whatever it warned of.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Appends a line to a file that is opened for it, and makes a file of its own beside it.
fn append(dir: &Path, number: usize) {
    let mut log = OpenOptions::new().append(true).open(dir.join("log")).unwrap();
    log.write_all(format!("{number}\n").as_bytes()).unwrap();
    drop(log);
    fs::write(dir.join(number.to_string()), "").unwrap();
}

#[test]
fn a_commit_sees_one_moment() {
    both_ways(|stand| {
        fs::create_dir(stand.path("m")).unwrap();
        fs::write(stand.path("m/large"), vec![7; LARGE]).unwrap();
        let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            // First in the directory that is packed first: without a pause the other one would be ahead.
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = done.load(Ordering::Relaxed);
                    append(&stand.path("a"), number);
                    append(&stand.path("z"), number);
                    done.store(number + 1, Ordering::Relaxed);
                }
            });
            for (image, least) in [("first", 20), ("second", 100)] {
                wait_for("the writer", || done.load(Ordering::Relaxed) >= least);
                let said = stand.run(&format!("commit --compression none web {image}"));
                assert_eq!(said.err, "");
                said.ok();
            }
            stop.store(true, Ordering::Relaxed);
        });
        for image in ["first", "second"] {
            let files = stand.files(image);
            let lines = |name: &str| {
                let log = &files.iter().find(|(path, _)| path == name).unwrap().1;
                log.iter().filter(|byte| **byte == b'\n').count()
            };
            let made = |dir: &str| files.iter().filter(|(path, _)| path.starts_with(dir)).count() - 2;
            let counts = [lines("a/log"), made("a/"), lines("z/log"), made("z/")];
            let steps = counts.windows(2).all(|pair| pair[0] >= pair[1]);
            assert!(steps && counts[0] - counts[3] <= 1, "{image}: {counts:?}");
        }
    });
}

#[test]
fn changes_wait_and_reading_goes_on() {
    both_ways(|stand| {
        thread::scope(|scope| {
            let pause = stand.pause();
            let jobs: [fn(&Stand); 6] = [
                |s| fs::write(s.path("gone/new"), "content").unwrap(),
                |s| append(&s.path("a"), 1),
                |s| fs::set_permissions(s.path("z/log"), fs::Permissions::from_mode(0o600)).unwrap(),
                |s| {
                    rustix::fs::setxattr(s.path("z"), "user.x", b"y", rustix::fs::XattrFlags::empty())
                        .unwrap()
                },
                |s| fs::remove_file(s.path("gone/file")).unwrap(),
                |s| std::os::unix::fs::symlink("target", s.path("z/link")).unwrap(),
            ];
            let stand = &stand;
            let running = jobs.map(|job| scope.spawn(move || job(stand)));
            thread::sleep(MOMENT);
            assert_eq!(running.each_ref().map(|job| job.is_finished()), [false; 6]);
            assert_eq!(fs::read_dir(stand.find("upper").unwrap()).unwrap().count(), 0);
            // The kernel keeps the directories of waiting changes locked, but this is not one of them.
            assert_eq!(fs::read_to_string(stand.path("lower/file")).unwrap(), "from lower");
            pause.end().unwrap();
        });
        assert_eq!(fs::read_to_string(stand.upper("gone/new")).unwrap(), "content");
        assert_eq!(fs::read_to_string(stand.upper("a/log")).unwrap(), "1\n");
        assert_eq!(fs::read_link(stand.upper("z/link")).unwrap(), Path::new("target"));
    });
}

#[test]
fn a_client_that_goes_away_leaves_nothing_paused() {
    both_ways(|stand| {
        thread::scope(|scope| {
            let (first, second) = (stand.pause(), stand.pause());
            let writer = scope.spawn(|| fs::write(stand.path("new"), "content").unwrap());
            // As the kernel does to the connection of a process that is killed.
            drop(first);
            thread::sleep(MOMENT);
            assert!(!writer.is_finished());
            drop(second);
        });
        assert_eq!(fs::read_to_string(stand.upper("new")).unwrap(), "content");
    });
}

#[test]
fn a_paused_mount_can_be_taken_away() {
    both_ways(|mut stand| {
        let pause = stand.pause();
        stand.run("unmount web").good();
        stand.wait_for_end();
        assert!(matches!(pause.end(), Err(PauseError::Ended)));
        assert_eq!(stand.find("control.sock"), None);
        assert!(stand.mount());
    });
}

#[test]
fn a_signal_ends_a_pause_and_what_waited_goes_on() {
    both_ways(|mut stand| {
        thread::scope(|scope| {
            let pause = stand.pause();
            // Held, so that the writer gets into the mount even if it comes after the signal.
            let root = File::open(stand.path("")).unwrap();
            let file = format!("/proc/self/fd/{}/new", root.as_raw_fd());
            let writer = scope.spawn(move || fs::write(file, "content").unwrap());
            thread::sleep(MOMENT);
            assert!(!writer.is_finished());
            kill_process(Pid::from_child(stand.daemon()), Signal::TERM).unwrap();
            writer.join().unwrap();
            assert!(matches!(pause.end(), Err(PauseError::Ended)));
        });
        assert_eq!(fs::read_to_string(stand.upper("new")).unwrap(), "content");
        stand.wait_for_end();
    });
}

#[test]
fn the_socket_is_the_users_own() {
    both_ways(|stand| {
        let mode = stand.find("control.sock").unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    });
}

#[test]
fn without_a_daemon_commit_warns_and_goes_on() {
    both_ways(|stand| {
        fs::write(stand.path("new"), "content").unwrap();
        fs::remove_file(stand.find("control.sock").unwrap()).unwrap();
        let said = stand.run("commit web image");
        assert!(said.err.contains("cannot reach the daemon") && said.err.contains("not paused"), "{said:?}");
        assert!(said.ok().starts_with("sha256:"));
        assert!(stand.files("image").contains(&("new".to_owned(), b"content".to_vec())));
    });
}

/// With `io=cached` writes through an open file wait like all others. With `io=passthrough` they go past the daemon.
#[test]
fn a_file_written_all_the_time() {
    both_ways(|stand| {
        fs::write(stand.path("large"), vec![7; LARGE]).unwrap();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let file = OpenOptions::new().write(true).open(stand.path("large")).unwrap();
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    file.write_all_at(b"x", 0).unwrap();
                }
            });
            let said = stand.run("commit --compression none web image");
            let as_it_is = stand.run("commit --compression none --no-pause web as-it-is");
            stop.store(true, Ordering::Relaxed);
            as_it_is.good();
            if stand.io == "cached" {
                said.good();
            } else {
                assert_eq!(said.code, Some(1));
                assert!(said.err.contains("large changed while it was read; stop the programs"), "{said:?}");
            }
        });
    });
}

#[test]
fn what_mappings_wrote_is_there() {
    both_ways(|stand| {
        let file = OpenOptions::new().read(true).write(true).open(stand.path("lower/file")).unwrap();
        // SAFETY: the kernel chooses the address, so no memory in use is replaced.
        let address = unsafe {
            use std::os::fd::AsRawFd;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(std::ptr::null_mut(), 10, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
        };
        assert_ne!(address, libc::MAP_FAILED);
        let write = |byte: u8| {
            // SAFETY: in bounds of a live mapping; no reference to it exists.
            unsafe { address.cast::<u8>().write_volatile(byte) };
        };
        write(b'F');
        assert!(stand.run("diff web").good().contains("C /lower/file\n"));
        write(b'T');
        stand.run("commit web image").good();
        // SAFETY: the whole of a mapping that nobody uses any more.
        unsafe { libc::munmap(address, 10) };
        assert!(stand.files("image").contains(&("lower/file".to_owned(), b"Trom lower".to_vec())));
    });
}
