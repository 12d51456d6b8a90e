//! `-o remount`.

use std::fs;
use std::io;

use crate::harness::{Stand, can_mount, stderr};

fn is_read_only(result: io::Result<()>) -> bool {
    result.is_err_and(|e| e.kind() == io::ErrorKind::ReadOnlyFilesystem)
}

#[test]
fn read_only_and_back() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    stand.mount(",nosuid");
    let merged = stand.path("merged");
    let remount = |options| stand.run(["-o", options, merged.to_str().unwrap()]);

    assert!(remount("remount,ro").status.success());
    assert!(is_read_only(fs::write(merged.join("new"), "x")));
    assert!(stand.mounts()[0].contains("ro,nosuid,"), "{:?}", stand.mounts());
    assert_eq!(fs::read_to_string(merged.join("file")).unwrap(), "from lower");

    assert!(remount("remount,rw").status.success());
    fs::write(merged.join("new"), "x").unwrap();
    assert!(stand.mounts()[0].contains("rw,nosuid,"), "{:?}", stand.mounts());
}

#[test]
fn a_union_without_an_upper_stays_read_only() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    let merged = stand.path("merged");
    let output = stand.run(["-o", "lowerdir=lower", merged.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert!(is_read_only(fs::write(merged.join("new"), "x")));

    let output = stand.run(["-o", "remount,rw", merged.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(32));
    assert!(stderr(&output).contains("has no upper directory"), "{output:?}");
    assert!(is_read_only(fs::write(merged.join("new"), "x")));
}

#[test]
fn what_was_mounted_read_only_becomes_writable() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    stand.mount(",ro");
    let merged = stand.path("merged");
    assert!(is_read_only(fs::write(merged.join("new"), "x")));
    assert!(stand.run(["-o", "remount,rw", merged.to_str().unwrap()]).status.success());
    fs::write(merged.join("new"), "x").unwrap();
}

#[test]
fn there_must_be_a_mount() {
    let stand = Stand::new();
    let output = stand.run(["-o", "remount,ro", stand.path("merged").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(32));
    assert!(stderr(&output).contains("no FUSE file system is mounted at"), "{output:?}");
}
