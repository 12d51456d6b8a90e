//! `plyfs mount` and `plyfs unmount`.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use crate::scratch::{Scratch, can_mount};

const READ_WRITE: &str = "mount --lower lower --upper upper --work work";

#[test]
fn the_daemon_serves_when_the_command_returns() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::new();
    assert_eq!(scratch.run(&format!("{READ_WRITE} merged")).good(), "");
    assert_eq!(fs::read_to_string(scratch.path("merged/file")).unwrap(), "from lower");
    fs::write(scratch.path("merged/new"), "new").unwrap();
    assert_eq!(scratch.run("unmount merged").good(), "");
    assert!(!scratch.is_mounted() && !scratch.path("merged/file").exists());
    assert_eq!(fs::read_to_string(scratch.path("upper/new")).unwrap(), "new");
    // At once again, by the other name of the verb.
    scratch.run(&format!("{READ_WRITE} merged")).good();
    assert_eq!(fs::read_to_string(scratch.path("merged/new")).unwrap(), "new");
    scratch.run("umount merged").good();
}

#[test]
fn in_the_foreground_it_stays() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::new();
    let arguments = format!("{READ_WRITE} --foreground merged");
    let mut child = scratch.command(arguments.split(' ')).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !scratch.is_mounted() {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(fs::read_to_string(scratch.path("merged/file")).unwrap(), "from lower");
    assert!(child.try_wait().unwrap().is_none());
    scratch.run("unmount merged").good();
    assert!(child.wait().unwrap().success());
}

#[test]
fn without_an_upper_it_is_read_only() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::new();
    for line in
        ["mount --lower lower merged", "mount --read-only --lower lower --upper upper --work work merged"]
    {
        scratch.run(line).good();
        let refused = fs::write(scratch.path("merged/new"), "").unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(fs::read_to_string(scratch.path("merged/dir/in")).unwrap(), "in");
        scratch.run("unmount merged").good();
        scratch.wait_for_unmount();
    }
}

#[test]
fn flags_and_option_strings_mix() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("top")).unwrap();
    fs::write(scratch.path("top/file"), "from top").unwrap();
    let line = "mount --lower top --lower lower -o lowerdir=missing,upperdir=upper -o workdir=work,fsname=mine merged";
    scratch.run(line).good();
    assert_eq!(fs::read_to_string(scratch.path("merged/file")).unwrap(), "from top");
    assert_eq!(fs::read_to_string(scratch.path("merged/dir/in")).unwrap(), "in");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let merged = format!(" {} ", scratch.path("merged").display());
    let line = table.lines().find(|line| line.contains(&merged)).unwrap();
    assert!(line.contains(" - fuse.plyfs mine rw,"), "{line}");
    scratch.run("unmount merged").good();
}

#[test]
fn unknown_options_are_warned_of() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::new();
    let said = scratch.run("mount --lower lower -o frob=1,x-systemd.automount,nofail merged");
    assert_eq!((said.code, said.err.as_str()), (Some(0), "plyfs: unknown option \"frob=1\" ignored\n"));
    scratch.run("unmount merged").good();
}

#[test]
fn a_mount_in_use_is_unmounted_lazily_only() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::new();
    scratch.run(&format!("{READ_WRITE} merged")).good();
    let held = File::open(scratch.path("merged/file")).unwrap();
    let said = scratch.run("unmount merged");
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("is in use: end the programs") && said.err.contains("--lazy"), "{said:?}");
    scratch.run("unmount --lazy merged").good();
    assert!(!scratch.is_mounted());
    assert_eq!(std::io::read_to_string(held).unwrap(), "from lower");
}

#[test]
fn two_mounts_do_not_share_an_upper() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("second")).unwrap();
    scratch.run(&format!("{READ_WRITE} merged")).good();
    let said = scratch.run(&format!("{READ_WRITE} second"));
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("upper directory upper is in use by another mount"), "{said:?}");
    scratch.run("unmount merged").good();
}

#[test]
fn a_remount_changes_flags() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::new();
    scratch.run(&format!("{READ_WRITE} merged")).good();
    scratch.run("mount -o remount,ro merged").good();
    assert!(fs::write(scratch.path("merged/new"), "").is_err());
    scratch.run("mount -o remount,rw merged").good();
    fs::write(scratch.path("merged/new"), "").unwrap();
    scratch.run("unmount merged").good();
    let said = scratch.run("mount -o remount,ro merged");
    assert!(said.code == Some(1) && said.err.contains("no FUSE file system is mounted at"), "{said:?}");
}
