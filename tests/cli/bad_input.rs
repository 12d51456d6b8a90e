//! What is wrong is said in one line, with what to do, and leaves no mount behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;

use crate::scratch::{Said, Scratch, can_mount};

/// Runs `line`; it must fail with `code` and a message that holds all of `parts`.
#[track_caller]
fn refused(scratch: &Scratch, line: &str, code: i32, parts: &[&str]) {
    let said = scratch.run(line);
    assert_eq!((said.code, said.out.as_str()), (Some(code), ""), "plyfs {line}: {said:?}");
    for part in parts {
        assert!(said.err.contains(part), "plyfs {line}: no {part:?} in {}", said.err);
    }
    if code == 1 {
        let last = said.err.trim_end().lines().next_back().unwrap_or_default();
        assert!(last.starts_with("plyfs: error: "), "plyfs {line}: {}", said.err);
        let twice = "(os error 2): No such file or directory (os error 2)";
        assert!(!said.err.contains(twice), "a reason is given twice: {}", said.err);
    }
    assert!(!scratch.is_mounted(), "plyfs {line}");
}

#[test]
fn usage() {
    let scratch = Scratch::new();
    for (line, message) in [
        ("frobnicate", "unrecognized subcommand 'frobnicate'"),
        ("mount", "<CONTAINER|IMAGE|TARGET>"),
        ("mount --lower lower --frob merged", "unexpected argument '--frob'"),
        ("unmount", "<DIR|CONTAINER>"),
        ("diff --upper upper", "--lower <DIR>"),
        ("diff --upper upper --lower lower --format xml", "[possible values: text, json]"),
        ("layer pack --upper upper", "--output <FILE>"),
        ("generate html .", "[possible values: man, completions]"),
    ] {
        refused(&scratch, line, 2, &[message, "--help"]);
    }
    let said = scratch.run("");
    assert_eq!(said.code, Some(2));
    assert!(said.err.contains("Usage: plyfs [OPTIONS] <COMMAND>"), "{said:?}");
}

#[test]
fn layers_that_are_missing() {
    let scratch = Scratch::new();
    fs::write(scratch.path("plain"), "").unwrap();
    symlink("nowhere", scratch.path("dangling")).unwrap();
    let open = "check that it exists, is a directory and can be searched";
    let cases: [(&str, &[&str]); 10] = [
        ("mount merged", &["no container and no image is called \"merged\"", "--lower"]),
        ("mount -o upperdir=upper,workdir=work merged", &["no lowerdir given", "-o lowerdir="]),
        ("mount --lower lower merged other", &["unexpected \"other\"", "mounted at \"merged\""]),
        ("mount --lower missing merged", &["cannot open the lower directory missing: No such file", open]),
        ("mount --lower plain merged", &["lower directory plain: Not a directory", open]),
        ("mount --lower dangling merged", &["lower directory dangling: No such file", open]),
        ("mount --lower lower --lower gone merged", &["lower directory gone"]),
        ("mount --lower lower --upper gone --work work merged", &["cannot open the upper directory gone"]),
        ("mount --lower lower --upper upper --work gone merged", &["cannot open the work directory gone"]),
        (
            "mount --lower lower --upper upper merged",
            &["upperdir upper was given without a workdir", "-o workdir=DIR"],
        ),
    ];
    for (line, parts) in cases {
        refused(&scratch, line, 1, parts);
    }
}

#[test]
fn layers_that_overlap() {
    let scratch = Scratch::new();
    for name in ["lower/sub", "upper/sub", "work/sub"] {
        fs::create_dir(scratch.path(name)).unwrap();
    }
    symlink("lower", scratch.path("link")).unwrap();
    for (line, message) in [
        (
            "mount --lower lower --upper lower/sub --work work merged",
            "upper directory lower/sub lies inside the lower directory lower",
        ),
        (
            "mount --lower link --upper lower/sub --work work merged",
            "upper directory lower/sub lies inside the lower directory link",
        ),
        (
            "mount --lower lower --upper upper --work lower/sub merged",
            "work directory lower/sub lies inside the lower directory lower",
        ),
        (
            "mount --lower upper/sub --upper upper --work work merged",
            "lower directory upper/sub lies inside the upper directory upper",
        ),
        (
            "mount --lower lower --upper upper --work upper/sub merged",
            "work directory upper/sub lies inside the upper directory upper",
        ),
        (
            "mount --lower lower --upper work/sub --work work merged",
            "upper directory work/sub lies inside the work directory work",
        ),
        ("mount --lower lower --upper upper --work upper merged", "lies inside"),
        ("mount --lower lower --upper upper --work work upper/sub", "lies inside the upper directory upper"),
    ] {
        refused(&scratch, line, 1, &[message, "they must not overlap"]);
    }
    assert_eq!(fs::read_dir(scratch.path("work/sub")).unwrap().count(), 0);
}

#[test]
fn mount_points() {
    let scratch = Scratch::new();
    fs::write(scratch.path("plain"), "").unwrap();
    for (target, reason) in [("nowhere", "No such file"), ("nowhere/deep", "No such file")] {
        let line = format!("mount --lower lower {target}");
        refused(&scratch, &line, 1, &[&format!("cannot use the mount point {target}: {reason}")]);
    }
    if can_mount() {
        refused(&scratch, "mount --lower lower plain", 1, &["plain", "directory"]);
    }
}

#[test]
fn names_that_are_too_long() {
    let scratch = Scratch::new();
    let name = "n".repeat(300);
    refused(&scratch, &format!("mount --lower {name} merged"), 1, &["File name too long"]);
    let path = format!("{}x", "d/".repeat(2100));
    refused(&scratch, &format!("mount --lower {path} merged"), 1, &["File name too long"]);
    refused(&scratch, &format!("mount --lower lower {name}"), 1, &["File name too long"]);
    refused(&scratch, &format!("unmount {name}"), 1, &["nothing is mounted"]);
}

#[test]
fn options() {
    let scratch = Scratch::new();
    for (options, message) in [
        ("threads=many", "bad value in option \"threads=many\": expected a number of threads"),
        ("io=fast", "bad value in option \"io=fast\": expected passthrough, cached or auto"),
        ("redirect_dir=maybe", "bad value in option \"redirect_dir=maybe\""),
        ("uidmapping=1:2", "bad value in option \"uidmapping=1:2\""),
        ("squash_to_uid=me", "bad value in option \"squash_to_uid=me\""),
        ("timeout=soon", "bad value in option \"timeout=soon\""),
        ("metacopy", "option \"metacopy\" needs a value (NAME=VALUE)"),
        ("volatile=1", "option \"volatile=1\" takes no value"),
    ] {
        refused(&scratch, &format!("mount --lower lower -o {options} merged"), 1, &[message]);
    }
    // Unknown ones are told of, and the mount goes on to its next fault.
    let line = "mount --lower lower -o frob=1,noxattr nowhere";
    let parts = ["plyfs: unknown option \"frob=1\" ignored\n", "\"noxattr\"", "cannot use the mount point"];
    refused(&scratch, line, 1, &parts);
}

#[test]
fn layers_that_may_not_be_read() {
    if !can_mount() {
        return;
    }
    let scratch = Scratch::new();
    fs::set_permissions(scratch.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(scratch.path("lower"), fs::Permissions::from_mode(0o700)).unwrap();
    // Where the test's target directory is closed to others, a copy is not. Another process makes it: a descriptor of
    // ours could be inherited by what another test starts, and a program that is open for writing does not run.
    let program = scratch.path("plyfs");
    let copied = std::process::Command::new("cp").arg(env!("CARGO_BIN_EXE_plyfs")).arg(&program).status();
    assert!(copied.unwrap().success());
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(arguments).current_dir(scratch.path("")).uid(65534).gid(65534);
        Said::of(&command.output().unwrap())
    };
    let said = run(&["mount", "--lower", "lower", "merged"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let told = ["lower", "Permission denied", "fuse"].iter().any(|part| said.err.contains(part));
    assert!(told && said.err.starts_with("plyfs: "), "{said:?}");
    let said = run(&["diff", "--upper", "upper", "--lower", "lower"]);
    assert!(said.code == Some(0) || said.err.contains("Permission denied"), "{said:?}");
    assert!(!scratch.is_mounted());
}

#[test]
fn diff_pack_unmount_and_generate() {
    let scratch = Scratch::new();
    fs::write(scratch.path("plain"), "").unwrap();
    let cases: [(&str, &[&str]); 8] = [
        ("diff --upper missing --lower lower", &["cannot compare missing", "missing: No such file"]),
        ("diff --upper upper --lower missing", &["missing: No such file"]),
        ("diff --upper upper --lower lower --work missing", &["missing: No such file"]),
        ("layer pack --upper missing -o -", &["cannot pack missing", "missing: No such file"]),
        ("layer pack --upper upper -o nowhere/layer.tar", &["cannot write nowhere/layer.tar: No such file"]),
        ("generate man missing", &["cannot write to missing; it must be a directory that exists"]),
        ("generate completions plain", &["cannot write to plain", "Not a directory"]),
        ("unmount merged", &["nothing is mounted at", "/proc/self/mountinfo"]),
    ];
    for (line, parts) in cases {
        refused(&scratch, line, 1, parts);
    }
    refused(&scratch, "unmount missing/dir", 1, &["cannot find missing/dir"]);
    refused(&scratch, "unmount /proc", 1, &["/proc is no FUSE mount but proc", "umount(8)"]);
    let mut command = scratch.command(["layer", "pack", "--upper", "upper", "-o", "layer.tar"]);
    let said = Said::of(&command.env("SOURCE_DATE_EPOCH", "noon").output().unwrap());
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("SOURCE_DATE_EPOCH is \"noon\", not a number of seconds"), "{said:?}");
    assert!(!scratch.path("layer.tar").exists(), "S52");
}
