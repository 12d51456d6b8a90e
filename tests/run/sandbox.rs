//! S94 to S97, S102, S103: programs on this machine's own files, of which none is changed.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::fixture::{Run, Said, send};

/// What must never change, below the directory of the test: in it, on another mount, in /tmp.
fn with_canaries() -> Option<(Run, tempfile::NamedTempFile)> {
    let run = Run::empty()?;
    for dir in ["mnt", "mnt2", "sub"] {
        fs::create_dir(run.path(dir)).unwrap();
    }
    fs::write(run.path("canary"), "canary").unwrap();
    fs::write(run.path("sub/canary"), "canary").unwrap();
    std::os::unix::fs::symlink("../canary", run.path("sub/link")).unwrap();
    let in_tmp = tempfile::Builder::new().prefix("plyfs-canary-").tempfile_in("/tmp").unwrap();
    fs::write(in_tmp.path(), "canary").unwrap();
    Some((run, in_tmp))
}

/// Runs a shell script in a mount namespace of its own, with the program as `$PLYFS` and its store set.
fn in_own_mounts(run: &Run, script: &str) -> Said {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-ec", script]).current_dir(run.path(""));
    command.env("PLYFS", env!("CARGO_BIN_EXE_plyfs")).env("PLYFS_ROOT", run.path("store"));
    Said::of(&command.stdin(Stdio::null()).output().unwrap())
}

fn sandbox(run: &Run, options: &str, script: &str) -> Said {
    run.run(&format!("sandbox {options} -- sh -c"), script)
}

/// S94, S95: whichever way it is tried, what is written stays in the sandbox.
#[test]
fn no_write_gets_out() {
    let Some((run, in_tmp)) = with_canaries() else { return };
    let here = run.path("").display().to_string();
    let socket = UnixListener::bind(run.path("socket")).unwrap();
    let script = format!(
        "cd {here}
        mount -t tmpfs plyfs-test mnt; mount --bind sub mnt2; echo canary >mnt/canary
        exec 3<. 4<canary
        $PLYFS sandbox --discard -- sh -c '
            for place in canary ./sub/link {here}/canary sub/../canary mnt/canary mnt2/canary {tmp} \
                /proc/self/root{here}/canary /proc/1/root{here}/canary /proc/self/cwd/canary \
                /proc/self/fd/0 /proc/self/fd/3/canary /proc/self/fd/4 /proc/1/cwd/mnt/canary; do
                sh -c \"echo bad >$place\" 2>/dev/null
            done
            rm -rf sub mnt/canary; ln -s / out; echo bad >out{here}/canary
            mv mnt2 elsewhere; umount mnt; umount -l /; mount -o remount,rw /
            mknod disk b $(stat -c \"%Hd %Ld\" {here}); echo bad >disk; chroot / sh -c \"echo bad >{here}/canary\"
            mkdir new; echo kept >new/file; cat canary new/file; true' <canary 2>/dev/null
        cat mnt/canary mnt2/canary canary; test -d sub; ! test -e new; ! test -e disk",
        tmp = in_tmp.path().display(),
    );
    let said = in_own_mounts(&run, &script);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("bad\nkept\n"), "{said:?}");
    assert!(said.out.ends_with("canary\ncanarycanary"), "{said:?}");
    for line in ["/mnt/canary\n", "/mnt2/canary\n", &format!("A {here}new/file\n")] {
        assert!(said.out.contains(line), "{line} is missing: {}", said.out);
    }
    assert_eq!(fs::read_to_string(in_tmp.path()).unwrap(), "canary");
    socket.set_nonblocking(true).unwrap();
    assert!(socket.accept().is_err());
    assert_eq!(nothing_left(&run), 0);
}

/// S95: neither the store nor what the machine's services listen at is there.
#[test]
fn sockets_and_the_store_cannot_be_reached() {
    let Some((run, _)) = with_canaries() else { return };
    let listener = UnixListener::bind(run.path("socket")).unwrap();
    listener.set_nonblocking(true).unwrap();
    let python = "import socket; s = socket.socket(socket.AF_UNIX); s.connect(\"socket\")";
    let said = sandbox(&run, "--discard", &format!("ls -A store; touch store/x; python3 -c '{python}'"));
    assert_ne!(said.code, Some(0), "{said:?}");
    assert!(listener.accept().is_err());
    assert_eq!(said.out, "", "nothing was changed, and the store is empty");
}

/// S94, S96.
#[test]
fn the_program_is_the_callers_own() {
    let Some((run, _)) = with_canaries() else { return };
    let here = fs::canonicalize(run.path("")).unwrap().display().to_string();
    let hostname = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut command = run.command(["sandbox", "-e", "B=2", "--", "sh", "-c"]);
    command.arg("pwd; id -u; echo $A $B; cat /proc/sys/kernel/hostname; echo /proc/[0-9]*");
    let output = command.env("A", "1").output().unwrap();
    assert_eq!(Said::of(&output).good(), format!("{here}\n0\n1 2\n{hostname}/proc/1\n"));
    assert_eq!(sandbox(&run, "-w sub", "pwd").good(), format!("{here}/sub\n"));
    assert_eq!(sandbox(&run, "--network none", "ls /sys/class/net").good(), "lo\n");
    assert_eq!(nothing_left(&run), 0);
}

/// S96.
#[test]
fn exit_codes_are_those_of_run() {
    let Some((run, _)) = with_canaries() else { return };
    fs::write(run.path("plain"), "").unwrap();
    for (line, code) in [
        ("sandbox -- false", 1),
        ("sandbox -- /nonexistent", 127),
        ("sandbox -- frob", 127),
        ("sandbox -- ./plain", 126),
        ("sandbox -- /etc", 126),
        ("sandbox -w /nonexistent -- true", 125),
        ("sandbox -w /proc/self -- true", 125),
        ("sandbox --runtime /nonexistent -- true", 125),
        ("sandbox --keep a/b -- true", 125),
        ("sandbox apply nosuch", 125),
    ] {
        let said = run.run(line, "");
        assert_eq!(said.code, Some(code), "{line}: {said:?}");
    }
    assert_eq!(sandbox(&run, "", "exit 7").code, Some(7));
    assert_eq!(sandbox(&run, "", "sh -c 'kill -9 $$'").code, Some(137));
    assert_eq!(nothing_left(&run), 0);
    let directory = fs::File::open(run.path("")).unwrap();
    let refused = run.command(["sandbox", "--", "true"]).stdin(directory).output().unwrap();
    assert_eq!(refused.status.code(), Some(125));
    let mut cat = run.command(["sandbox", "--", "cat"]);
    let output = cat.stdin(fs::File::open(run.path("canary")).unwrap()).output().unwrap();
    assert_eq!(output.stdout, b"canary");
}

/// S97: whoever is not asked loses nothing.
#[test]
fn what_is_not_thrown_away_is_kept() {
    let Some((run, _)) = with_canaries() else { return };
    let here = run.path("").display().to_string();
    let said = sandbox(&run, "", "echo x >new; rm canary");
    assert!(said.out.ends_with(&format!("D {here}canary\nA {here}new\n")), "{said:?}");
    assert!(said.err.contains("plyfs sandbox apply "), "{said:?}");
    assert!(run.path("canary").exists() && !run.path("new").exists());
    let name = run.good("ps -aq --format {{.Names}}");
    assert_eq!(run.run(&format!("diff {}", name.trim()), "").good(), said.out);
    let json = run.good(&format!("diff --format json {}", name.trim()));
    assert!(json.contains("\"kind\": \"A\""), "{json}");
    for verb in ["commit", "export -o out.tar", "mount"] {
        let refused = run.run(&format!("{verb} {}", name.trim()), "");
        assert!(refused.code != Some(0) && refused.err.contains("is a sandbox"), "{verb}: {refused:?}");
    }
    let failed = sandbox(&run, "--apply", "echo y >new; exit 3");
    assert!(failed.code == Some(3) && failed.err.contains("are not applied"), "{failed:?}");
    assert!(!run.path("new").exists());
    let kept = sandbox(&run, "--keep mine", "true");
    assert!(kept.code == Some(0) && run.status("mine").starts_with("exited"), "{kept:?}");
    let config = fs::read_dir(run.path("store/containers")).unwrap();
    let secret = config.map(|dir| dir.unwrap().path().join("run/config.json")).filter(|path| path.exists());
    assert_eq!(secret.count(), 0, "the caller's environment is not kept");
    run.good("rm --all");
    assert_eq!(nothing_left(&run), 0);
    assert_eq!(run.good("images -q"), "");
}

/// S103.
#[test]
fn one_whose_plyfs_was_killed_is_found_and_removed() {
    let Some((run, _)) = with_canaries() else { return };
    let mut child = run.command(["sandbox", "--keep", "busy", "--", "sleep", "1000"]).spawn().unwrap();
    run.wait_for("busy", "running=Up ");
    send(child.id().try_into().unwrap(), Signal::KILL);
    child.wait().unwrap();
    assert!(run.status("busy").starts_with("running=Up "));
    assert!(run.run("rm busy", "").err.contains("is running"));
    assert!(run.run("sandbox apply busy", "").err.contains("is running"));
    run.good("rm --force busy");
    assert_eq!(nothing_left(&run), 0);
}

/// What is left of sandboxes: mounts, and directories of containers.
fn nothing_left(run: &Run) -> usize {
    let containers = fs::read_dir(run.path("store/containers")).map_or(0, Iterator::count);
    run.mounts().len() + containers
}

/// S102: an ordinary user has what they have outside, and no more.
#[test]
fn ordinary_users_gain_nothing() {
    let Some(run) = Run::empty() else { return };
    let device = fs::metadata("/dev/fuse").unwrap().mode();
    if device & 0o006 != 0o006 {
        eprintln!("SKIPPED: ordinary users may not use /dev/fuse here");
        return;
    }
    run.write_for_user();
    fs::write(run.path("secret"), "secret").unwrap();
    fs::set_permissions(run.path("secret"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::write(run.path("mine"), "mine").unwrap();
    std::os::unix::fs::chown(run.path("mine"), Some(65534), Some(65534)).unwrap();
    let first = run.run_as_user("sandbox -- true", "");
    if first.err.contains("make a user namespace") {
        eprintln!("SKIPPED: {}", first.err);
        return;
    }
    first.good();
    let said = run.run_as_user(
        "sandbox --keep try -- sh -c",
        "cat secret; cat mine; echo changed >mine; echo new >new; echo x >/tmp/plyfs-sandbox-new; rm -f secret
        grep -h CapEff /proc/self/status; grep NoNewPrivs /proc/self/status; chown 1 mine; mount -t tmpfs x /mnt",
    );
    assert!(said.out.starts_with("mineCapEff:\t0000000000000000\nNoNewPrivs:\t1\n"), "{said:?}");
    assert!(said.out.contains("A /tmp/plyfs-sandbox-new\n"), "{said:?}");
    assert!(!run.path("new").exists() && run.path("secret").exists());
    assert_eq!(fs::read_to_string(run.path("mine")).unwrap(), "mine");
    run.run_as_user("sandbox apply try", "").good();
    assert_eq!(fs::read_to_string(run.path("mine")).unwrap(), "changed\n");
    assert_eq!(fs::metadata(run.path("new")).unwrap().uid(), 65534);
    assert!(fs::metadata("/tmp/plyfs-sandbox-new").is_ok());
    fs::remove_file("/tmp/plyfs-sandbox-new").unwrap();
    let refused = run.run_as_user("sandbox --apply -- sh -c", "echo bad >/etc/plyfs-sandbox-new");
    assert!(refused.code != Some(0), "{refused:?}");
    assert!(!std::path::Path::new("/etc/plyfs-sandbox-new").exists());
}
