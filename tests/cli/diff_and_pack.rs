//! `plyfs diff` and `plyfs layer pack`, on an upper that a mount has written.

use std::fs::{self, File};
use std::process::{Command, Stdio};

use crate::scratch::{Said, Scratch, can_mount};

/// A scratch whose upper holds changes of every kind.
fn changed() -> Option<Scratch> {
    if !can_mount() {
        return None;
    }
    let scratch = Scratch::new();
    for name in ["lower/gone", "lower/sub/deep/same", "lower/remade/old"] {
        let path = scratch.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    scratch.run("mount --lower lower --upper upper --work work merged").good();
    let script = "echo more >>file; rm gone; mkdir -p new/dir; echo x >new/dir/file; mv dir moved
        rm -r remade; mkdir remade; echo x >remade/now; echo y >>sub/deep/same; ln -s a sub/link";
    let done = Command::new("sh").args(["-ec", script]).current_dir(scratch.path("merged")).status().unwrap();
    assert!(done.success());
    scratch.run("unmount merged").good();
    Some(scratch)
}

const DIFF: &str = "diff --upper upper --lower lower";
const CHANGES: &str = "\
D /dir
C /file
D /gone
A /moved
A /moved/in
A /new
A /new/dir
A /new/dir/file
C /remade
A /remade/now
D /remade/old
C /sub
C /sub/deep
C /sub/deep/same
A /sub/link
";

#[test]
fn diff_as_text() {
    let Some(scratch) = changed() else { return };
    assert_eq!(scratch.run(DIFF).good(), CHANGES);
    assert_eq!(scratch.run(&format!("{DIFF} --work work --format text")).good(), CHANGES);
}

#[test]
fn diff_as_json() {
    let Some(scratch) = changed() else { return };
    let json: serde_json::Value =
        serde_json::from_str(&scratch.run(&format!("{DIFF} --format json")).good()).unwrap();
    let line = |change: &serde_json::Value| {
        format!("{} {}\n", change["kind"].as_str().unwrap(), change["path"].as_str().unwrap())
    };
    assert_eq!(json.as_array().unwrap().iter().map(line).collect::<String>(), CHANGES);
}

#[test]
fn diff_of_nothing() {
    let scratch = Scratch::new();
    assert_eq!(scratch.run(DIFF).good(), "");
    assert_eq!(scratch.run(&format!("{DIFF} --format json")).good(), "[]\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let Some(scratch) = changed() else { return };
    for number in 0..3000 {
        File::create(scratch.path(format!("upper/{}-{number}", "a-long-name".repeat(10)))).unwrap();
    }
    let mut child =
        scratch.command(DIFF.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let said = Said::of(&child.wait_with_output().unwrap());
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""));
}

/// Names in the tar, as tar(1) lists them.
fn listed(tar: &std::path::Path) -> String {
    let output = Command::new("tar").arg("-tf").arg(tar).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_layer_is_packed_into_a_file_and_to_standard_output() {
    let Some(scratch) = changed() else { return };
    let digest = scratch.run("layer pack --upper upper --lower lower --work work -o layer.tar").good();
    let digest = digest.trim_end();
    let sum = Command::new("sha256sum").arg(scratch.path("layer.tar")).output().unwrap();
    let sum = String::from_utf8_lossy(&sum.stdout).into_owned();
    assert_eq!(digest, format!("sha256:{}", sum.split(' ').next().unwrap()));
    let names = listed(&scratch.path("layer.tar"));
    for name in [".wh.dir\n", ".wh.gone\n", "remade/.wh..wh..opq\n", "moved/in\n", "sub/deep/same\n"] {
        assert!(names.contains(name), "{name:?} is not in\n{names}");
    }
    assert!(!names.contains("sub/deep/other") && !names.starts_with("./\n"), "{names}");

    let streamed = scratch
        .command("layer pack --upper upper --lower lower --work work -o -".split(' '))
        .output()
        .unwrap();
    assert!(streamed.status.success());
    assert!(streamed.stdout == fs::read(scratch.path("layer.tar")).unwrap(), "the same bytes");
    assert_eq!(
        String::from_utf8_lossy(&streamed.stderr).trim_end(),
        digest,
        "the diff ID goes to standard error"
    );
}

#[test]
fn source_date_epoch_clamps_times() {
    let Some(scratch) = changed() else { return };
    let pack = |file: &str| {
        let mut command =
            scratch.command(["layer", "pack", "--upper", "upper", "--lower", "lower", "-o", file]);
        Said::of(&command.env("SOURCE_DATE_EPOCH", "86400").output().unwrap()).good()
    };
    let first = pack("one.tar");
    fs::write(scratch.path("upper/new/dir/file"), "x\n").unwrap();
    assert_eq!(pack("two.tar"), first, "newer times do not show");
    let output =
        Command::new("tar").env("TZ", "UTC").arg("-tvf").arg(scratch.path("one.tar")).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // Whiteouts bear no time at all.
    let clamped =
        |line: &str| line.contains("1970-01-02") || (line.contains("1970-01-01") && line.contains(".wh."));
    assert!(text.lines().all(clamped), "{text}");
}

#[test]
fn a_file_that_cannot_be_replaced_is_left_alone() {
    let Some(scratch) = changed() else { return };
    fs::create_dir(scratch.path("out")).unwrap();
    let said = scratch.run("layer pack --upper upper --lower lower -o out");
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(fs::read_dir(scratch.path("out")).unwrap().count(), 0);
    let here: Vec<_> =
        fs::read_dir(scratch.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(here.len(), 5, "no temporary file stays: {here:?}");
}
