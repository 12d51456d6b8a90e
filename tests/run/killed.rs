//! S86: whoever is killed, `ps` tells the truth afterwards, and `rm` clears up.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fixture::{Run, send};

#[test]
fn the_process_that_waits_is_killed() {
    let Some(run) = Run::new() else { return };
    run.good("run -d --name web bb:1 sleep 1000");
    send(run.pid("supervisor"), Signal::KILL);
    std::thread::sleep(Duration::from_millis(100));
    assert!(run.status("web").starts_with("running=Up "));
    assert_eq!(run.run("exec web echo alive", "").good(), "alive\n");
    run.good("stop -t 0 web");
    assert_eq!(run.status("web"), "exited=Exited");
    assert_eq!(run.mounts().len(), 1, "nobody was left to unmount");
    run.good("rm web");
    assert!(run.mounts().is_empty());
}

#[test]
fn the_program_is_killed_from_outside() {
    let Some(run) = Run::new() else { return };
    run.good("run -d --name web bb:1 sleep 1000");
    send(run.pid("process"), Signal::KILL);
    run.wait_for("web", "exited=Exited (137) ");
    run.good("rm web");
    assert!(run.mounts().is_empty());
}

#[test]
fn the_daemon_of_the_mount_is_killed() {
    let Some(run) = Run::new() else { return };
    run.good("run -d --name web bb:1 sleep 1000");
    let daemon = daemon_of(&run);
    send(daemon, Signal::KILL);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !run.mounts().is_empty() {
        assert!(Instant::now() < deadline, "the dead mount is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(run.status("web").starts_with("running=Up "), "{}", run.status("web"));
    run.good("stop -t 0 web");
    run.wait_for("web", "exited=Exited (137) ");
    run.good("rm web");
}

#[test]
fn all_are_killed_at_once() {
    let Some(run) = Run::new() else { return };
    run.good("run -d --name web bb:1 sleep 1000");
    let pids = [run.pid("supervisor"), daemon_of(&run), run.pid("process")];
    pids.into_iter().for_each(|pid| send(pid, Signal::KILL));
    run.wait_for("web", "exited=Exited");
    run.good("rm web");
    assert!(run.mounts().is_empty());
    assert_eq!(fs::read_dir(run.path("store/containers")).unwrap().count(), 0);
}

/// The process that serves the mount: it holds the container's upper open.
fn daemon_of(run: &Run) -> i32 {
    let upper = run.container().join("upper");
    let pids =
        fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let serves = |pid: &i32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        fds.filter_map(|fd| fs::read_link(fd.path()).ok()).any(|target| target == upper)
    };
    pids.into_iter().find(serves).expect("a daemon")
}
