//! What the options of `plyfs run` do, seen from inside.

use std::fs;

use crate::fixture::Run;

/// S80, S87.
#[test]
fn user_directory_and_environment() {
    let Some(run) = Run::new() else { return };
    let out = run.shell(
        "-u ann -w /made/here -e A=1 -e HOME=/h",
        "id; pwd; echo $A $HOME; stat -c '%u %a' /made/here",
    );
    assert_eq!(out, "uid=1000(ann) gid=100(users) groups=10(wheel)\n/made/here\n1 /h\n0 755\n");
    assert_eq!(run.shell("-u 1000:10", "id -g; echo $HOME"), "10\n/home/ann\n");
    assert_eq!(
        run.shell("--entrypoint= ", "echo $PATH"),
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
    );
}

/// S88.
#[test]
fn privileges_are_dockers() {
    let Some(run) = Run::new() else { return };
    let out = run.shell("", "grep -E 'CapEff|CapBnd|CapInh|NoNewPrivs|Seccomp:' /proc/self/status");
    let words: Vec<&str> = out.split_whitespace().collect();
    let expected = [
        "CapInh:",
        "0000000000000000",
        "CapEff:",
        "00000000a80425fb",
        "CapBnd:",
        "00000000a80425fb",
        "NoNewPrivs:",
        "0",
        "Seccomp:",
        "2",
    ];
    assert_eq!(words, expected);
    let out = run.shell(
        "",
        "mount -t tmpfs x /bin 2>&1; unshare -U true 2>&1; { echo 1 >/proc/sys/kernel/printk; } 2>&1; true",
    );
    assert!(
        out.contains("mount: ") && out.contains("unshare: ") && out.contains("Read-only file system"),
        "{out}"
    );
}

/// S89.
#[test]
fn network_host_name_and_own_files() {
    let Some(run) = Run::new() else { return };
    assert_eq!(run.shell("--network none", "ls /sys/class/net"), "lo\n");
    assert_eq!(
        run.shell("--hostname box", "hostname; cat /etc/hostname; grep -c box /etc/hosts"),
        "box\nbox\n1\n"
    );
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert_eq!(run.shell("", "cat /etc/resolv.conf"), host);
    // Nothing of all this is a change of the container's.
    run.run("run --name plain bb:1 true", "").good();
    assert_eq!(run.good("diff plain"), "");
}

/// S90.
#[test]
fn volumes_directories_in_memory_and_read_only_roots() {
    let Some(run) = Run::new() else { return };
    fs::create_dir(run.path("data")).unwrap();
    fs::write(run.path("data/in"), "in").unwrap();
    assert_eq!(run.shell("-v ./data:/new/place", "cat /new/place/in; echo out >/new/place/out"), "in");
    assert_eq!(fs::read_to_string(run.path("data/out")).unwrap(), "out\n");
    assert_eq!(run.shell("-v ./data:/d:ro", "touch /d/x 2>/dev/null; echo $?"), "1\n");
    assert_eq!(run.shell("-v ./data/in:/etc/passwd", "cat /etc/passwd"), "in");
    let out = run.shell(
        "--read-only --tmpfs /tmp:size=1m",
        "touch /x 2>/dev/null; echo $?; echo y >/tmp/y && cat /tmp/y",
    );
    assert_eq!(out, "1\ny\n");
    let modes = "stat -c %a /a /b";
    assert_eq!(run.shell("--tmpfs /a --tmpfs /b:mode=750", modes), "1777\n750\n");
}

/// S91.
#[test]
fn limits_hold_or_are_refused() {
    let Some(run) = Run::new() else { return };
    let said = run
        .run("run --rm --pids-limit 5 bb:1 sh -c", "for i in 1 2 3 4 5 6 7 8; do sleep 1 & done; echo all");
    if said.err.contains("cannot be kept here") {
        eprintln!("SKIPPED: {}", said.err);
        assert_eq!(said.code, Some(125));
        return;
    }
    assert!(!said.out.contains("all"), "{said:?}");
    assert_eq!(run.run("run --rm --memory 5m bb:1", "").code, Some(125));
    run.good("run --rm --memory 64m --cpus 0.5 bb:1");
}

/// What is read from the caller goes in only if asked for.
#[test]
fn standard_input() {
    let Some(run) = Run::new() else { return };
    fs::write(run.path("input"), "typed").unwrap();
    for (words, expected) in
        [(["run", "--rm", "-i", "bb:1", "cat"], "typed"), (["run", "--rm", "--read-only", "bb:1", "cat"], "")]
    {
        let input = fs::File::open(run.path("input")).unwrap();
        let output = run.command(words).stdin(input).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}
