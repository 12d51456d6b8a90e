//! The ways in which container engines, mount(8) and people call the helper.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::harness::{Stand, can_mount, helper, stderr, wait_for};

#[test]
fn an_engines_call_gives_a_mount_that_answers() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    stand.mount("");
    assert_eq!(fs::read_to_string(stand.path("merged/file")).unwrap(), "from lower");
    fs::write(stand.path("merged/new"), "x").unwrap();
    assert_eq!(fs::read_to_string(stand.path("upper/new")).unwrap(), "x");
    let mounts = stand.mounts();
    assert_eq!(mounts.len(), 1);
    assert!(mounts[0].contains(" - fuse.plyfs plyfs rw,"), "{mounts:?}");
    assert!(mounts[0].contains("default_permissions,allow_other"), "{mounts:?}");
}

#[test]
fn the_daemon_keeps_nothing_of_its_caller() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    // Standard output goes in as descriptors 1, 7 and 9: the run ends only when all of them are closed.
    let script = format!("exec \"$0\" -o '{}' merged 7>&1 9>&1", stand.options(""));
    let output = stand.run_as(Path::new("sh"), ["-c", &script, helper().to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    for pid in stand.processes() {
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
        for number in 0..3 {
            let stream = fs::read_link(format!("/proc/{pid}/fd/{number}")).unwrap();
            assert_eq!(stream, Path::new("/dev/null"));
        }
    }
    assert_eq!(stand.processes().len(), 2, "a daemon and its watcher");
}

#[test]
fn podmans_whole_option_string() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    let more = concat!(
        ",fsync=0,nodev,,volatile,context=\"system_u:object_r:container_file_t:s0:c1,c2\",",
        "uidmapping=:0:100000:65536,gidmapping=:0:100000:65536"
    );
    let output = stand.run(["-o", &stand.options(more), "merged"]);
    assert!(output.status.success(), "{output:?}");
    assert!(stand.mounts()[0].contains("rw,nodev,relatime"), "{:?}", stand.mounts());
}

#[test]
fn mount_and_containerd_put_a_source_first() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    let merged = stand.path("merged");
    let layers = stand.options("");
    let [lower, upper, work] = layers.split(',').collect::<Vec<_>>().try_into().unwrap();
    let output = stand.run([
        "some source",
        merged.to_str().unwrap(),
        "-n",
        "-o",
        work,
        "-o",
        upper,
        "-o",
        lower,
        "-t",
        "plyfs",
        "-orw,dev,suid",
    ]);
    assert!(output.status.success(), "{output:?}");
    assert!(stand.mounts()[0].contains(" - fuse.plyfs some\\040source rw,"), "{:?}", stand.mounts());
}

#[test]
fn plyfs_itself_answers_to_mount_fuse() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    let plyfs = Path::new(env!("CARGO_BIN_EXE_plyfs"));
    let options = format!("rw,{},dev,suid", stand.options(""));
    let output = stand.run_as(plyfs, ["union", stand.path("merged").to_str().unwrap(), "-o", &options]);
    assert!(output.status.success(), "{output:?}");
    assert!(stand.mounts()[0].contains(" - fuse.plyfs union rw,"));
}

/// Runs `script` where /sbin holds nothing but the helper as `mount.fuse.plyfs`, in a private mount
/// namespace; `$S` is the scratch directory.
fn with_helper_in_sbin(stand: &Stand, script: &str) -> std::process::Output {
    let sbin = stand.path("sbin");
    fs::create_dir(&sbin).unwrap();
    symlink(helper(), sbin.join("mount.fuse.plyfs")).unwrap();
    let script = format!("set -e; S={}; mount --bind $S/sbin /sbin/; {script}", stand.path("").display());
    let mut command = Command::new("timeout");
    command.args(["20", "unshare", "--mount", "--propagation", "private", "sh", "-c", &script]);
    command.output().unwrap()
}

#[test]
fn mount_8_mounts_remounts_and_unmounts() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    let script = "mount -t fuse.plyfs -o lowerdir=$S/lower,upperdir=$S/upper,workdir=$S/work,nofail,x-a.b=c mine $S/merged
        grep -q ' - fuse.plyfs mine rw' /proc/self/mountinfo
        cat $S/merged/file
        mount -o remount,ro $S/merged
        ! touch $S/merged/new 2>/dev/null
        mount -o remount,rw $S/merged
        touch $S/merged/new
        umount $S/merged
        ! mountpoint -q $S/merged";
    let output = with_helper_in_sbin(&stand, script);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"from lower");
    assert!(stand.path("upper/new").exists());
}

#[test]
fn mount_f_mounts_nothing() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    let output = with_helper_in_sbin(
        &stand,
        "mount -f -t fuse.plyfs -o lowerdir=$S/lower x $S/merged; ! mountpoint -q $S/merged",
    );
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn root_of_a_user_namespace_mounts_directly() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    let script = format!(
        "\"$0\" -o '{}' merged && cat merged/file && echo hi >merged/new && umount merged",
        stand.options(",userxattr")
    );
    let program = helper().to_str().unwrap();
    let output = stand.run_as(Path::new("unshare"), ["-rm", "sh", "-c", &script, program]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout, b"from lower");
    assert_eq!(fs::read(stand.path("upper/new")).unwrap(), b"hi\n");
}

#[test]
fn paths_are_opened_as_given() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    fs::create_dir(stand.path("l")).unwrap();
    symlink("../lower", stand.path("l/LINK")).unwrap();
    let output =
        stand.run(["-o", "lowerdir=l/LINK:l/LINK/../upper,ro", stand.path("merged").to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(stand.path("merged/file")).unwrap(), "from lower");
}

#[test]
fn names_may_hold_anything() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    let odd = stand.path(OsString::from_vec(b"a,b:c\"d \\x2d \xff".to_vec()));
    fs::rename(stand.path("lower"), &odd).unwrap();
    let options = OsString::from_vec(b"lowerdir=a\\,b\\:c\"d \\x2d \xff".to_vec());
    let output = stand.run([OsString::from("-o"), options, stand.path("merged").into_os_string()]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(fs::read_to_string(stand.path("merged/file")).unwrap(), "from lower");
}

#[test]
fn unknown_options_are_reported_and_passed_over() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    let output = stand.run(["-o", &stand.options(",frobnicate=1,private"), "merged"]);
    assert!(output.status.success());
    assert_eq!(stderr(&output), "plyfs: unknown option \"frobnicate=1\" ignored\n");
}

#[test]
fn failures_are_told_and_leave_nothing() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    let upper = format!("upperdir={}", stand.path("upper").display());
    let cases = [
        (1, format!("{upper},workdir=work"), "merged", "no lowerdir given"),
        (1, format!("lowerdir=lower,{upper}"), "merged", "without a workdir"),
        (32, "lowerdir=missing".to_owned(), "merged", "missing"),
        (32, "lowerdir=lower".to_owned(), "absent", "cannot use the mount point absent"),
    ];
    for (code, options, target, message) in cases {
        let output = stand.run(["-o", &options, target]);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(stderr(&output).starts_with("plyfs: error: "), "{output:?}");
        assert!(stderr(&output).contains(message), "{output:?}");
        assert!(stand.mounts().is_empty());
    }
    assert!(stand.processes().is_empty());
}

#[test]
fn questions_are_answered_without_a_mount() {
    let stand = Stand::new();
    let output = stand.run(["--version"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("plyfs-mount: version "), "{output:?}");
    let output = stand.run(["-h"]);
    assert!(output.status.success() && output.stdout.starts_with(b"usage: "));
    assert_eq!(stand.run(["-o"]).status.code(), Some(1));
}

#[test]
fn in_the_foreground_it_stays_until_unmounted() {
    if !can_mount() {
        return;
    }
    let stand = Stand::new();
    let merged = stand.path("merged");
    let mut child =
        Command::new(helper()).args(["-f", "-o", &stand.options("")]).arg(&merged).spawn().unwrap();
    wait_for("the mount", || !stand.mounts().is_empty());
    assert_eq!(fs::read_to_string(merged.join("file")).unwrap(), "from lower");
    assert!(child.try_wait().unwrap().is_none());
    stand.umount();
    assert!(child.wait().unwrap().success());
    stand.wait_until_gone();
}
