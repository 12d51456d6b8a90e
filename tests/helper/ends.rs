//! How mounts end: never as a dead mount, never with a process left.

use std::fs;
use std::process::Command;

use crate::harness::{Stand, can_mount, helper, kill, wait_for};

/// A mount, and the layers to mount again.
fn mounted(more: &str) -> Option<Stand> {
    can_mount().then(|| {
        let stand = Stand::new();
        let output =
            stand.run(["-o".to_owned(), stand.options(more), stand.path("merged").display().to_string()]);
        assert!(output.status.success(), "{output:?}");
        stand
    })
}

#[test]
fn an_outside_unmount_ends_the_daemon() {
    let Some(stand) = mounted("") else { return };
    stand.umount();
    stand.wait_until_gone();
}

#[test]
fn fusermount_ends_the_daemon() {
    let Some(stand) = mounted("") else { return };
    let status = Command::new("fusermount3").arg("-u").arg(stand.path("merged")).status();
    assert!(status.expect("fusermount3").success());
    stand.wait_until_gone();
}

#[test]
fn plyfs_unmount_ends_the_daemon() {
    let Some(stand) = mounted("") else { return };
    let plyfs = env!("CARGO_BIN_EXE_plyfs");
    assert!(Command::new(plyfs).arg("unmount").arg(stand.path("merged")).status().unwrap().success());
    stand.wait_until_gone();
    let again = Command::new(plyfs).arg("unmount").arg(stand.path("merged")).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing is mounted at"), "{again:?}");
}

#[test]
fn signals_unmount() {
    for signal in ["TERM", "INT", "HUP"] {
        let Some(stand) = mounted("") else { return };
        kill(signal, &stand.daemon());
        stand.wait_until_gone();
    }
}

#[test]
fn a_signal_detaches_a_mount_in_use_and_serves_its_users_for_a_while() {
    let Some(stand) = mounted("") else { return };
    let daemon = stand.daemon();
    let held = fs::File::open(stand.path("merged/file")).unwrap();
    kill("TERM", &daemon);
    wait_for("the mount to be detached", || stand.mounts().is_empty());
    assert_eq!(std::io::read_to_string(&held).unwrap(), "from lower");
    drop(held);
    stand.wait_until_gone();
}

#[test]
fn a_second_signal_ends_the_daemon_at_once() {
    let Some(stand) = mounted("") else { return };
    let daemon = stand.daemon();
    let held = fs::File::open(stand.path("merged/file")).unwrap();
    kill("TERM", &daemon);
    wait_for("the mount to be detached", || stand.mounts().is_empty());
    kill("TERM", &daemon);
    stand.wait_until_gone();
    drop(held);
}

#[test]
fn bound_copies_of_the_mount_are_not_left_dead() {
    let Some(stand) = mounted("") else { return };
    fs::create_dir(stand.path("copy")).unwrap();
    let bound = Command::new("mount").arg("--bind").args([stand.path("merged"), stand.path("copy")]).status();
    assert!(bound.unwrap().success());
    kill("TERM", &stand.daemon());
    stand.wait_until_gone();
}

#[test]
fn another_mount_on_top_is_left_alone() {
    let Some(stand) = mounted("") else { return };
    let over = Command::new("mount").args(["-t", "tmpfs", "none"]).arg(stand.path("merged")).status();
    assert!(over.unwrap().success());
    kill("TERM", &stand.daemon());
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(stand.mounts().len(), 2, "neither is gone");
    stand.umount();
    kill("TERM", &stand.daemon());
    stand.wait_until_gone();
}

#[test]
fn a_killed_daemon_leaves_no_dead_mount() {
    let Some(stand) = mounted("") else { return };
    kill("KILL", &stand.daemon());
    stand.wait_until_gone();
    assert!(!stand.path("merged/file").exists());
}

#[test]
fn a_dead_mount_is_mounted_over() {
    let Some(stand) = mounted(",noauto_unmount") else { return };
    kill("KILL", &stand.daemon());
    wait_for("the daemon's death", || stand.daemons().is_empty());
    assert_eq!(stand.mounts().len(), 1, "nobody takes it away");
    let output = Command::new(helper()).args(["-o", &stand.options("")]).arg(stand.path("merged")).output();
    assert!(output.unwrap().status.success());
    assert_eq!(stand.mounts().len(), 1);
    assert_eq!(fs::read_to_string(stand.path("merged/file")).unwrap(), "from lower");
}
