//! How a mount begins and ends where something is in the way (S3, S9, S10, S42, S43).

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::harness::{Stand, both_ways, fails_with, names, stdout, wait_for};

both_ways! {
    a_killed_daemon_takes_its_mount_along, a_dead_mount_is_mounted_over, a_killed_daemons_work_directory_serves_again,
    a_mount_point_inside_a_lower, a_mount_over_its_own_lower, an_upper_in_use_is_refused, a_mount_in_use_stays,
    a_lazy_unmount_serves_those_who_stay, other_things_in_the_work_directory_stay, a_lower_that_changes_does_no_harm,
    a_name_answers_at_once_after_a_remount,
}

fn a_killed_daemon_takes_its_mount_along(stand: Stand) {
    stand.lower_file("file", "x");
    let mut mount = stand.mount("");
    let mut held = File::open(mount.path("file")).unwrap();
    mount.kill();
    wait_for("the dead mount to go", || !stand.is_mounted());
    assert_eq!(names(&stand.target), [""; 0], "what is below the mount shows again");
    // Those who hold files get an error or data, but do not hang.
    let start = Instant::now();
    let given = held.read(&mut [0; 8]);
    eprintln!("a held file now gives {given:?}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

fn a_dead_mount_is_mounted_over(stand: Stand) {
    stand.lower_file("file", "x");
    let mut mount = stand.mount("noauto_unmount");
    mount.kill();
    assert!(fails_with(fs::metadata(mount.path("file")), Errno::NOTCONN));
    assert!(stand.is_mounted());
    let again = stand.try_mount("").unwrap_or_else(|message| panic!("{message}"));
    assert_eq!(again.read("file"), "x");
}

/// What a daemon killed amidst its work leaves in the work directory.
fn a_killed_daemons_work_directory_serves_again(stand: Stand) {
    stand.lower_file("dir/file", "x");
    let mut mount = stand.mount("");
    fs::write(mount.path("dir/file"), "changed").unwrap();
    mount.kill();
    wait_for("the dead mount to go", || !stand.is_mounted());
    drop(mount);
    let (_, work) = stand.upper.clone().unwrap();
    for name in ["dir/file", "0", "1/2/3", "#17"] {
        fs::create_dir_all(work.join("work").join(name)).unwrap();
    }
    fs::write(work.join("work/temporary"), "half").unwrap();
    fs::write(work.join("work/1/2/in"), "half").unwrap();
    let again = stand.mount("");
    assert_eq!(names(&work.join("work")), [""; 0]);
    assert_eq!(again.read("dir/file"), "changed");
    // As dpkg does: move away, make anew, remove.
    stdout(
        again.sh(
            "mv dir dir.old; mkdir dir; echo new >dir/file; rm -r dir.old; mv dir/file dir/f2; rm -r dir",
        ),
    );
}

fn a_mount_point_inside_a_lower(mut stand: Stand) {
    stand.lower_file("file", "x");
    stand.target = stand.lower_dir("mnt/point");
    stand.lower_file("mnt/point/below", "x");
    let mount = stand.mount("");
    let found =
        Command::new("timeout").args(["10", "find", "."]).current_dir(mount.path("")).output().unwrap();
    let mut lines: Vec<_> = stdout(found).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(
        lines,
        [".", "./file", "./mnt", "./mnt/point", "./mnt/point/below"],
        "the mount is not seen in itself"
    );
    fs::write(mount.path("mnt/point/below"), "changed").unwrap();
    assert_eq!(mount.read("mnt/point/below"), "changed");
}

fn a_mount_over_its_own_lower(mut stand: Stand) {
    stand.lower_file("dir/file", "x");
    stand.target.clone_from(&stand.lowers[0]);
    let mount = stand.mount("");
    assert_eq!(mount.names(""), ["dir"]);
    stdout(mount.sh("timeout 10 find . >/dev/null; echo new >dir/file"));
    assert_eq!(mount.read("dir/file"), "new\n");
    drop(mount);
    assert_eq!(fs::read_to_string(stand.lower("dir/file")).unwrap(), "x");
}

fn an_upper_in_use_is_refused(stand: Stand) {
    stand.lower_file("file", "x");
    let mount = stand.mount("");
    let mut other = Stand::new(stand.io).unwrap();
    other.upper.clone_from(&stand.upper);
    let message = other.try_mount("").err().unwrap();
    assert!(message.contains("in use by another mount"), "{message}");
    fs::write(mount.path("new"), "").unwrap();
    drop(mount);
    drop(other.try_mount("").unwrap_or_else(|message| panic!("{message}")));
}

fn a_mount_in_use_stays(stand: Stand) {
    stand.lower_file("file", "x");
    let mount = stand.mount("");
    let plyfs = |lazy: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_plyfs"))
            .arg("unmount")
            .args(lazy)
            .arg(&stand.target)
            .output()
            .unwrap()
    };
    let held = File::open(mount.path("file")).unwrap();
    let output = plyfs(&[]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("is in use: end the programs") && message.contains("--lazy"), "{message}");
    assert_eq!(unmount(&stand.target, UnmountFlags::empty()), Err(Errno::BUSY));
    assert_eq!(mount.read("file"), "x");
    drop(held);
    wait_for("the unmount", || plyfs(&[]).status.success());
}

fn a_lazy_unmount_serves_those_who_stay(stand: Stand) {
    stand.lower_file("file", "content");
    let mut mount = stand.mount("");
    let mut held = File::open(mount.path("file")).unwrap();
    let mut made = File::create(mount.path("new")).unwrap();
    let plyfs =
        Command::new(env!("CARGO_BIN_EXE_plyfs")).args(["unmount", "--lazy"]).arg(&stand.target).output();
    stdout(plyfs.unwrap());
    assert!(!stand.is_mounted());
    let mut content = String::new();
    held.read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
    std::io::Write::write_all(&mut made, b"late").unwrap();
    drop((held, made));
    mount.wait_for_end();
    assert_eq!(fs::read_to_string(stand.upper("new")).unwrap(), "late");
}

/// S10.
fn other_things_in_the_work_directory_stay(stand: Stand) {
    let (_, work) = stand.upper.clone().unwrap();
    fs::write(work.join("notes"), "mine").unwrap();
    fs::create_dir_all(work.join("incompat/volatile")).unwrap();
    drop(stand.mount(""));
    assert_eq!(fs::read_to_string(work.join("notes")).unwrap(), "mine");
    assert!(work.join("incompat/volatile").exists());
}

/// S3: no crash and no harm to the upper; what shows is old, new, or an error.
fn a_lower_that_changes_does_no_harm(mut stand: Stand) {
    for name in ["a", "b", "dir/c", "dir/d"] {
        stand.lower_file(name, "old");
    }
    // Not one that the guard checks.
    let lower = stand.lowers[0].clone();
    let link = stand.path("link");
    std::os::unix::fs::symlink(&lower, &link).unwrap();
    stand.lowers = vec![link];
    let mount = stand.mount("");
    stdout(mount.sh("find . -type f | xargs cat"));
    fs::write(mount.path("b"), "mine").unwrap();
    fs::remove_file(lower.join("a")).unwrap();
    fs::remove_dir_all(lower.join("dir")).unwrap();
    fs::write(lower.join("dir"), "now a file").unwrap();
    fs::write(lower.join("new"), "new").unwrap();
    for script in [
        "cat a",
        "echo >>a",
        "cat dir/c",
        "echo >>dir/c",
        "rm dir/d",
        "mv dir moved",
        "ls -lR",
        "cat new",
        "rm -r dir",
    ] {
        let output = mount.sh(script);
        assert_ne!(output.status.code(), Some(124), "{script} hangs: {output:?}");
    }
    assert_eq!(mount.read("b"), "mine");
    fs::write(mount.path("still-works"), "yes").unwrap();
    assert_eq!(fs::read_to_string(stand.upper("still-works")).unwrap(), "yes");
}

/// The kernel must keep nothing of an earlier mount.
fn a_name_answers_at_once_after_a_remount(stand: Stand) {
    let mut number = 0;
    for round in 0..3 {
        let mount = stand.mount("");
        assert_eq!(mount.names("").len(), round);
        fs::write(mount.path(format!("file-{round}")), "x").unwrap();
        let shown = fs::metadata(mount.path("file-0")).unwrap().ino();
        assert!(number == 0 || number == shown);
        number = shown;
    }
}
