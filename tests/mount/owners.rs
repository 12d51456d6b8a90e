//! Who may do what, and what becomes whose (S21, S22, S37, S39).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;

use crate::harness::{Mount, NOBODY, OtherMount, Stand, both_ways, fails_with, run, stdout, text};

both_ways! {
    a_foreign_write_drops_set_ids, root_keeps_set_ids, a_change_of_owner_drops_set_ids,
    set_group_id_directories_pass_the_group_on, the_umask_is_applied, the_default_acl_is_applied,
    squashing_lets_others_write, acls_are_honoured, noacl_refuses_acls, permissions_are_checked, owners_are_mapped,
    ids_of_an_idmapped_lower_are_mapped_once, capabilities_are_for_the_mapped_root,
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The permission bits that the mount shows.
fn mode(mount: &Mount<'_>, name: &str) -> u32 {
    fs::symlink_metadata(mount.path(name)).unwrap().mode() & 0o7777
}

/// The ways in which an ordinary user may change content.
const CHANGES: &[&str] = &[
    "echo x >>FILE",
    "echo x >FILE",
    "printf x | dd of=FILE conv=notrunc status=none",
    "truncate -s 1 FILE",
    "fallocate -l 100 FILE",
];

fn a_foreign_write_drops_set_ids(stand: Stand) {
    for number in 0..CHANGES.len() {
        chmod(&stand.lower_file(&format!("lower-{number}"), "content"), 0o6777);
    }
    let mount = stand.mount("");
    for (number, change) in CHANGES.iter().enumerate() {
        let upper = format!("upper-{number}");
        fs::write(mount.path(&upper), "content").unwrap();
        chmod(&mount.path(&upper), 0o6777);
        for name in [format!("lower-{number}"), upper] {
            assert_eq!(mode(&mount, &name), 0o6777, "{name}");
            let output = mount.sh_as_nobody(&change.replace("FILE", &name));
            assert!(output.status.success(), "{change}: {output:?}");
            assert_eq!(mode(&mount, &name), 0o777, "{name} after {change}");
            assert_eq!(
                fs::metadata(stand.upper(&name)).unwrap().mode() & 0o7777,
                0o777,
                "{name} after {change}"
            );
        }
    }
    // Where the group may not execute it, the bit does not mean set-group-id. Linux since 6.2.
    chmod(&mount.path("upper-0"), 0o2767);
    stdout(mount.sh_as_nobody("echo x >>upper-0"));
    assert_eq!(mode(&mount, "upper-0") & 0o4777, 0o767);
}

fn root_keeps_set_ids(stand: Stand) {
    for number in 0..CHANGES.len() {
        chmod(&stand.lower_file(&format!("file-{number}"), "content"), 0o6755);
    }
    let mount = stand.mount("");
    for (number, change) in CHANGES.iter().enumerate() {
        let name = format!("file-{number}");
        stdout(mount.sh(&change.replace("FILE", &name)));
        assert_eq!(mode(&mount, &name), 0o6755, "after {change}");
    }
}

fn a_change_of_owner_drops_set_ids(stand: Stand) {
    let lower = stand.lower_file("file", "x");
    chown(&lower, Some(NOBODY), Some(NOBODY)).unwrap();
    chmod(&lower, 0o6755);
    let mount = stand.mount("");
    stdout(mount.sh_as_nobody(&format!("chgrp {NOBODY} file")));
    assert_eq!(mode(&mount, "file"), 0o755);
    chmod(&mount.path("file"), 0o6755);
    chown(mount.path("file"), Some(12), None).unwrap();
    assert_eq!(mode(&mount, "file"), 0o755, "root's, too, as on a local file system");
}

fn set_group_id_directories_pass_the_group_on(stand: Stand) {
    let lower = stand.lower_dir("dir");
    chown(&lower, None, Some(34)).unwrap();
    chmod(&lower, 0o2777);
    let mount = stand.mount("");
    stdout(mount.sh_as_nobody(
        "echo >dir/file; mkdir dir/sub; ln -s x dir/link; mkfifo dir/pipe; echo >dir/sub/deep",
    ));
    for name in ["dir/file", "dir/sub", "dir/link", "dir/pipe", "dir/sub/deep"] {
        let shown = fs::symlink_metadata(mount.path(name)).unwrap();
        assert_eq!((shown.uid(), shown.gid()), (NOBODY, 34), "{name}");
    }
    assert_eq!(mode(&mount, "dir/sub") & 0o2000, 0o2000);
    assert_eq!(mode(&mount, "dir/file") & 0o2000, 0);
    // Elsewhere, what is made is the caller's.
    chmod(&mount.path(""), 0o777);
    stdout(mount.sh_as_nobody("echo >file"));
    assert_eq!(fs::metadata(mount.path("file")).unwrap().gid(), NOBODY);
}

fn the_umask_is_applied(stand: Stand) {
    chmod(&stand.upper(""), 0o777);
    let mount = stand.mount("");
    stdout(mount.sh_as_nobody(
        "umask 027; echo >file; mkdir dir; mkfifo pipe; umask 0; echo >open; mkdir -m 751 exact",
    ));
    let modes = ["file", "dir", "pipe", "open", "exact"].map(|name| mode(&mount, name));
    assert_eq!(modes, [0o640, 0o750, 0o640, 0o666, 0o751]);
}

fn the_default_acl_is_applied(stand: Stand) {
    let lower = stand.lower_dir("dir");
    run("setfacl", &["-d", "-m", "u::rwx,g::rx,o::-,u:12:rwx", text(&lower)]);
    let mount = stand.mount("");
    stdout(mount.sh("umask 077; echo >dir/file; mkdir dir/sub"));
    assert_eq!(mode(&mount, "dir/file"), 0o660, "the umask does not count");
    let acl = stdout(mount.sh("getfacl -cn dir/file dir/sub"));
    assert_eq!(acl.matches("user:12:rwx").count(), 3, "{acl}");
}

fn squashing_lets_others_write(stand: Stand) {
    chmod(&stand.lower_file("file", "x"), 0o644);
    stand.lower_dir("dir");
    let mount = stand.mount(&format!("squash_to_uid={NOBODY},squash_to_gid={NOBODY}"));
    let shown = fs::metadata(mount.path("file")).unwrap();
    assert_eq!((shown.uid(), shown.gid()), (NOBODY, NOBODY));
    stdout(mount.sh_as_nobody(
        "echo y >>file; echo z >dir/new; chmod 600 file; touch file; mv file dir/file; rm dir/new",
    ));
    stdout(
        mount.sh_as_nobody(&format!("chown {NOBODY} dir/file; mkdir made; setfattr -n user.a -v b dir/file")),
    );
    assert_eq!(mount.read("dir/file"), "xy\n");
    drop(mount);
    let mount = stand.mount("squash_to_root");
    assert_eq!(fs::metadata(mount.path("made")).unwrap().uid(), 0);
    chown(mount.path("made"), Some(77), Some(77)).unwrap();
    assert_eq!(fs::metadata(mount.path("made")).unwrap().uid(), 0, "S39: succeeds and does nothing");
}

fn acls_are_honoured(stand: Stand) {
    let lower = stand.lower_file("file", "x");
    chmod(&lower, 0o600);
    run("setfacl", &["-m", &format!("u:{NOBODY}:rw"), text(&lower)]);
    chmod(&stand.lower_file("closed", "x"), 0o600);
    let mount = stand.mount("");
    stdout(mount.sh_as_nobody("cat file; echo y >>file"));
    assert!(!mount.sh_as_nobody("cat closed").status.success());
    stdout(mount.sh(&format!("setfacl -m u:{NOBODY}:r closed")));
    stdout(mount.sh_as_nobody("cat closed"));
    assert!(!mount.sh_as_nobody("echo >>closed").status.success());
    stdout(mount.sh("chmod g= closed"));
    assert!(!mount.sh_as_nobody("cat closed").status.success(), "chmod sets the mask");
    drop(mount);
    let again = stand.mount("");
    assert!(stdout(again.sh("getfacl -cn file")).contains(&format!("user:{NOBODY}:rw-")));
}

fn noacl_refuses_acls(stand: Stand) {
    stand.lower_file("file", "x");
    let mount = stand.mount("noacl");
    let output = mount.sh("setfacl -m u:12:rw file");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not supported"), "{output:?}");
    stdout(mount.sh("chmod 640 file; echo y >>file; mkdir dir; umask 027; echo >dir/new"));
    assert_eq!(mode(&mount, "dir/new"), 0o640);
}

fn permissions_are_checked(stand: Stand) {
    chmod(&stand.lower_file("file", "x"), 0o644);
    chmod(&stand.lower_file("secret", "x"), 0o600);
    stand.lower_file("sticky/roots", "x");
    chmod(&stand.lower("sticky"), 0o1777);
    stand.lower_file("closed/in", "x");
    chmod(&stand.lower("closed"), 0o700);
    let mount = stand.mount("");
    let refused = [
        "echo >>file",
        "cat secret",
        "rm file",
        "echo >new",
        "chmod 777 file",
        "touch -d yesterday file",
        "rm -f sticky/roots",
        "mv sticky/roots sticky/mine",
        "cat closed/in",
        "ls closed",
        "setfattr -n user.a -v b file",
        "chown 65534 file",
        "mkdir dir",
        "mv file sticky/",
        "truncate -s 0 file",
    ];
    for script in refused {
        let output = mount.sh_as_nobody(script);
        assert!(!output.status.success(), "{script} is not refused");
    }
    stdout(mount.sh_as_nobody("echo mine >sticky/mine; mv sticky/mine sticky/my; rm sticky/my; cat file"));
    assert_eq!(stand.upper_names(""), ["sticky"], "nothing else was copied up");
}

/// S38.
fn owners_are_mapped(stand: Stand) {
    chown(stand.lower_file("file", "x"), Some(12), Some(34)).unwrap();
    chown(stand.lower_file("outside", "x"), Some(70_000), Some(70_000)).unwrap();
    let mount = stand.mount("uidmapping=0:100000:65536,gidmapping=0:200000:65536");
    let shown = |name: &str| fs::metadata(mount.path(name)).map(|m| (m.uid(), m.gid())).unwrap();
    let stored = |name: &str| fs::metadata(stand.upper(name)).map(|m| (m.uid(), m.gid())).unwrap();
    assert_eq!(shown("file"), (100_012, 200_034));
    assert_eq!(shown("outside"), (NOBODY, NOBODY));
    chmod(&mount.path("file"), 0o600);
    assert_eq!((shown("file"), stored("file")), ((100_012, 200_034), (12, 34)));
    chown(mount.path("file"), Some(100_056), Some(200_078)).unwrap();
    assert_eq!((shown("file"), stored("file")), ((100_056, 200_078), (56, 78)));
    assert!(fails_with(chown(mount.path("file"), Some(77), None), Errno::INVAL));
    assert_eq!(shown("file"), (100_056, 200_078));
    let mut made = Command::new("mkdir");
    made.arg(mount.path("made")).uid(100_000).gid(200_000);
    assert!(made.status().unwrap().success(), "the root of the mapping owns the mount's root");
    assert_eq!((shown("made"), stored("made")), ((100_000, 200_000), (0, 0)));
    stdout(mount.sh("setfacl -m u:100099:r file"));
    let acl = stdout(Command::new("getfacl").args(["-cnp"]).arg(stand.upper("file")).output().unwrap());
    assert!(acl.contains("user:99:r"), "{acl}");
}

/// Shows 0… on disk as 100000….
const MAPPED: &str = "uidmapping=0:100000:65536,gidmapping=0:100000:65536";

/// S38: ACLs of a lower whose mount maps ids itself.
fn ids_of_an_idmapped_lower_are_mapped_once(mut stand: Stand) {
    let file = stand.lower_file("file", "x");
    chown(&file, Some(12), Some(34)).unwrap();
    run("setfacl", &["-m", "u:5:rw,g:6:r", text(&file)]);
    let at = stand.path("idmapped");
    let Some(_idmapped) = OtherMount::idmapped(&stand.lowers[0], &at) else { return };
    stand.lowers[0] = at;
    let mount = stand.mount(MAPPED);
    let acl = |path: &Path| stdout(Command::new("getfacl").args(["-cnp"]).arg(path).output().unwrap());
    let shown = acl(&mount.path("file"));
    assert!(shown.contains("user:100005:rw-") && shown.contains("group:100006:r--"), "{shown}");
    stdout(mount.sh("echo y >>file"));
    assert_eq!(acl(&mount.path("file")), shown);
    let stored = acl(&stand.upper("file"));
    assert!(stored.contains("user:5:rw-") && stored.contains("group:6:r--"), "{stored}");
}

/// S38: file capabilities are for the root of the mapping, as on an idmapped mount.
fn capabilities_are_for_the_mapped_root(stand: Stand) {
    let lower = stand.lower_file("file", "x");
    run("setcap", &["cap_net_raw=ep", text(&lower)]);
    let mount = stand.mount(MAPPED);
    assert_eq!(stdout(mount.sh("getcap -n file")), "file cap_net_raw=ep [rootid=100000]\n");
    stdout(mount.sh("setcap -n 100000 cap_chown=ep file"));
    assert_eq!(stdout(mount.sh("getcap -n file")), "file cap_chown=ep [rootid=100000]\n");
    let upper = stand.upper("file");
    let stored = stdout(Command::new("getcap").arg("-n").arg(&upper).output().unwrap());
    assert_eq!(stored, format!("{} cap_chown=ep\n", upper.display()));
    assert!(!mount.sh("setcap cap_chown=ep file").status.success(), "the machine's root has no number there");
}
