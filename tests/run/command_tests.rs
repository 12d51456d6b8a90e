//! S104: `plyfs test` runs the command tests of container-structure-test.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;

use crate::fixture::{Run, Said, send, wait};

const HEAD: &str = "schemaVersion: 2.0.0\n";

fn test(run: &Run, yaml: &str) -> Said {
    fs::write(run.path("tests.yaml"), format!("{HEAD}{yaml}")).unwrap();
    run.run("test bb:1 tests.yaml", "")
}

#[track_caller]
fn nothing_is_left(run: &Run) {
    assert_eq!(run.good("ps -aq"), "");
    assert!(run.mounts().is_empty());
    assert_eq!(fs::read_dir(run.path("store/containers")).unwrap().count(), 0);
}

#[test]
fn commands_run_as_documented() {
    let Some(run) = Run::new() else { return };
    run.run("run --name made -e IMAGE=image --entrypoint false bb:1 x", "");
    run.good("commit made bb:1");
    run.good("rm made");
    let said = test(
        &run,
        r#"
globalEnvVars: [{key: GLOBAL, value: "g-$IMAGE"}, {key: PATH, value: "/env:$PATH"}]
commandTests:
- {name: entrypoint is not used, command: echo, args: ["a", "$GLOBAL"], expectedOutput: ['^a g-image\n$'], excludedError: ['.']}
- name: both streams and an exit code
  command: sh
  args: ["-c", "echo out; echo err >&2; exit 3"]
  exitCode: 3
  expectedOutput: [out]
  excludedOutput: [err]
  expectedError: [err]
  excludedError: [out]
- name: setup and teardown are in the same file system
  envVars: [{key: OWN, value: "$GLOBAL!"}]
  setup: [[sh, -c, 'echo $OWN >/made'], [touch, /made2]]
  command: cat
  args: [/made, /made2]
  expectedOutput: ['^g-image!\n$']
  teardown: [[rm, /made]]
- {name: each has its own, command: ls, args: [/made], exitCode: 1}
- {name: the path, command: sh, args: [-c, 'for i in 1; do echo $PATH$i; done'], expectedOutput: ['^/env:/usr/local/sbin']}
"#,
    );
    assert!(said.good().contains("5 passed, 0 failed, 0 skipped"));
    nothing_is_left(&run);
}

#[test]
fn what_is_wrong_is_told() {
    let Some(run) = Run::new() else { return };
    let said = test(
        &run,
        "
commandTests:
- {name: one, command: echo, args: [no], expectedOutput: ['yes'], setup: [[sh, -c, 'echo why >&2; exit 4']]}
- {name: two, command: /frob}
- {name: three, command: 'true', setup: [[frob2]]}
",
    );
    assert_eq!(said.code, Some(1), "{said:?}");
    for part in [
        "standard output does not match \"yes\"; it is \"no\\n\"",
        "exited with 4: why",
        "/frob",
        "setup [\"frob2\"]",
        "0 passed, 3 failed, 0 skipped",
    ] {
        assert!(said.out.contains(part), "{} lacks {part}", said.out);
    }
    nothing_is_left(&run);
}

#[test]
fn options_of_containers_are_kept_or_refused() {
    let Some(run) = Run::new() else { return };
    fs::create_dir(run.path("dir")).unwrap();
    fs::write(run.path("dir/file"), "bound").unwrap();
    fs::write(run.path("env"), "# a comment\nFROM_FILE=1\n").unwrap();
    let said = test(
        &run,
        "
containerRunOptions: {user: ann, envFile: env, bindMounts: ['./dir:/d:ro']}
commandTests:
- {name: one, command: sh, args: [-c, 'id -un; cat /d/file; echo $FROM_FILE'], expectedOutput: ['ann\\sbound1\\s']}
",
    );
    assert!(said.good().contains("1 passed"));
    for option in ["privileged: true", "allocateTty: true", "capabilities: [SYS_ADMIN]", "user: eve"] {
        let said = test(
            &run,
            &format!("containerRunOptions: {{{option}}}\ncommandTests: [{{name: a, command: 'true'}}]"),
        );
        assert_eq!(said.code, Some(1), "{option}: {said:?}");
    }
    nothing_is_left(&run);
}

#[test]
fn without_a_runtime_commands_fail() {
    let Some(run) = Run::new() else { return };
    fs::write(run.path("tests.yaml"), format!("{HEAD}commandTests: [{{name: a, command: 'true'}}]")).unwrap();
    let command = run.command(["test", "bb:1", "tests.yaml"]);
    // A root without any runtime in its usual places, in a mount namespace of its own.
    let script = "for dir in /usr/sbin /usr/bin /usr/local/bin /usr/local/sbin; do \
        for name in crun runc; do [ ! -e $dir/$name ] || mount --bind /dev/null $dir/$name || exit 9; done; done; \
        exec \"$@\"";
    let mut isolated = std::process::Command::new("unshare");
    isolated.args(["-m", "sh", "-c", script, "sh"]).arg(command.get_program()).args(command.get_args());
    isolated.current_dir(run.path("")).stdin(Stdio::null());
    let said = Said::of(&isolated.output().unwrap());
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("no OCI runtime is installed: install crun or runc"), "{said:?}");
    nothing_is_left(&run);
}

/// Whoever is killed: the test ends, and its container goes.
#[test]
fn a_test_that_is_interrupted_leaves_nothing() {
    let Some(run) = Run::new() else { return };
    let yaml = "commandTests: [{name: a, command: sh, args: [-c, 'echo up; exec sleep 1000']}]";
    fs::write(run.path("tests.yaml"), format!("{HEAD}{yaml}")).unwrap();
    for signal in [Signal::INT, Signal::KILL] {
        let mut child = run.command(["test", "bb:1", "tests.yaml"]).stdout(Stdio::null()).spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !run.good("ps --format {{.Names}}={{.State}}").contains("=running") {
            assert!(std::time::Instant::now() < deadline, "it does not start");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        send(child.id().try_into().unwrap(), signal);
        wait(&mut child);
        while !run.good("ps -aq").is_empty() || !run.mounts().is_empty() {
            assert!(std::time::Instant::now() < deadline, "it is left: {}", run.good("ps -a"));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    nothing_is_left(&run);
}
