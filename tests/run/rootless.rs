//! S93: an ordinary user runs containers.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::fixture::Run;

/// A store of an ordinary user's; `None`, said loudly, where such a user cannot mount or has no namespaces.
fn users_store() -> Option<Run> {
    let run = Run::empty()?;
    let device = fs::metadata("/dev/fuse").unwrap().permissions().mode();
    if device & 0o006 != 0o006 {
        eprintln!("SKIPPED: ordinary users may not use /dev/fuse here");
        return None;
    }
    run.write_for_user();
    let imported = run.run_as_user("import image.tar bb:1", "");
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let first = run.run_as_user("run --rm bb:1 true", "");
    if first.err.contains("make a user namespace") {
        eprintln!("SKIPPED: {}", first.err);
        return None;
    }
    first.good();
    Some(run)
}

#[test]
fn the_user_is_root_in_the_container() {
    let Some(run) = users_store() else { return };
    let said = run.run_as_user(
        "run --rm bb:1 sh -c",
        "id -u; touch /x; stat -c %u /x /etc; grep Seccomp: /proc/self/status; exit 7",
    );
    assert_eq!((said.code, said.out.as_str()), (Some(7), "0\n0\n0\nSeccomp:\t2\n"), "{said:?}");
    assert_eq!(run.run_as_user("run --rm --network none bb:1 ls /sys/class/net", "").good(), "lo\n");
    let refused = run.run_as_user("run --rm --memory 64m bb:1", "");
    assert!(refused.code == Some(125) && refused.err.contains("cannot be kept here"), "{refused:?}");
    let refused = run.run_as_user("run --rm -u 4000000 bb:1 true", "");
    assert!(refused.code == Some(125) && refused.err.contains("user 4000000 cannot be had"), "{refused:?}");
    assert_eq!(run.run_as_user("ps -aq", "").good(), "");
}

#[test]
fn changes_are_committed_as_roots() {
    let Some(run) = users_store() else { return };
    run.run_as_user("run --name web bb:1 sh -c", "echo new >/new; rm /etc/group").good();
    assert_eq!(run.run_as_user("diff web", "").good(), "C /etc\nD /etc/group\nA /new\n");
    run.run_as_user("commit web web:2", "").good();
    assert_eq!(
        run.run_as_user("run --rm web:2 sh -c", "cat /new; stat -c %u:%g /new; ls /etc/group 2>/dev/null")
            .out,
        "new\n0:0\n"
    );
}

#[test]
fn detached_containers_are_found_again() {
    let Some(run) = users_store() else { return };
    for name in ["one", "two"] {
        run.run_as_user(&format!("run -d --name {name} bb:1 sleep 1000"), "").good();
    }
    assert_eq!(run.run_as_user("exec one id -u", "").good(), "0\n");
    assert_eq!(run.run_as_user("stop -t 0 one two", "").good(), "one\ntwo\n");
    assert_eq!(run.run_as_user("rm one two", "").good(), "one\ntwo\n");
    assert_eq!(run.run_as_user("ps -aq", "").good(), "");
}

#[test]
fn subordinate_ids_are_users_of_the_container() {
    let Some(run) = users_store() else { return };
    let needed = ["/usr/bin/newuidmap", "/usr/bin/newgidmap", "/etc/subuid", "/etc/subgid"];
    if let Some(missing) = needed.into_iter().find(|path| !fs::exists(path).unwrap()) {
        eprintln!("SKIPPED: there is no {missing} here");
        return;
    }
    let maps = "echo $(cat /proc/self/uid_map /proc/self/gid_map)";
    let mapped = "0 65534 1 1 300000 65536 0 65534 1 1 300000 65536\n";
    assert_eq!(run.run_as_user_with_ids("run --rm bb:1 sh -c", maps).good(), mapped);
    let script = "id -u; id -g; stat -c %u:%g /etc; echo own >/tmp/own; stat -c %u:%g /tmp/own";
    let said = run.run_as_user_with_ids("run --rm --tmpfs /tmp -u 12:34 bb:1 sh -c", script);
    assert_eq!(said.good(), "12\n34\n0:0\n12:34\n");
    let refused = run.run_as_user_with_ids("run --rm -u 65537 bb:1 true", "");
    assert!(refused.code == Some(125) && refused.err.contains("user 65537 cannot be had"), "{refused:?}");

    run.run_as_user_with_ids("run --name web bb:1 sh -c", "echo new >/new; chown 7:8 /new; chown 9 /etc")
        .good();
    run.run_as_user_with_ids("commit web web:2", "").good();
    let shown = "stat -c %u:%g /new; stat -c %u:%g /etc";
    assert_eq!(run.run_as_user_with_ids("run --rm web:2 sh -c", shown).good(), "7:8\n9:0\n");
    assert_eq!(run.run_as_user_with_ids("rm web", "").good(), "web\n");
    // The layer has them, for everyone.
    run.run_as_user("export -o flat.tar web:2", "").good();
    let listed =
        Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(run.path("flat.tar")).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let owner = |name: &str| listed.lines().find(|line| line.ends_with(name))?.split_whitespace().nth(1);
    assert_eq!((owner(" new"), owner(" etc/")), (Some("7/8"), Some("9/0")), "{listed}");
}
