//! From start to end: exit codes, what is kept, signals, detached containers.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fixture::{Run, send, wait};

/// S80, S81.
#[test]
fn exit_codes_are_dockers() {
    let Some(run) = Run::new() else { return };
    assert_eq!(run.good("run --rm bb:1"), "plain\n");
    for (line, script, code) in [
        ("run --rm bb:1 sh -c", "exit 7", 7),
        ("run --rm bb:1 sh -c", "exit 255", 255),
        ("run --rm bb:1 frob", "", 127),
        ("run --rm bb:1 /frob", "", 127),
        ("run --rm bb:1 /etc/passwd-", "", 127),
        ("run --rm bb:1 /etc", "", 126),
        ("run --rm nosuch", "", 125),
        ("run --rm -u eve bb:1", "", 125),
        ("run --rm -v /nonexistent/x:/y bb:1", "", 125),
        ("run --rm --runtime /nonexistent bb:1", "", 125),
        ("run --rm -t bb:1", "", 125),
    ] {
        let said = run.run(line, script);
        assert_eq!(said.code, Some(code), "{line}: {said:?}");
        assert!(code == 7 || code == 255 || said.err.contains("plyfs: error: "), "{said:?}");
        assert!(!said.err.contains("warning"), "{said:?}");
    }
    assert_eq!(run.good("ps -aq"), "");
    assert_eq!(run.mounts(), [""; 0].map(std::path::PathBuf::from));
}

/// S82, S83.
#[test]
fn what_was_changed_stays_and_is_committed_with_how_it_was_run() {
    let Some(run) = Run::new() else { return };
    run.run("run --name web -e A=b -w /srv -u 1000 --entrypoint sh bb:1 -c", "exit 0").good();
    run.run("run --name app bb:1 sh -c", "echo new >/file; rm /etc/group").good();
    assert_eq!(run.status("app").split(' ').next(), Some("exited=Exited"));
    assert_eq!(run.good("diff app"), "C /etc\nD /etc/group\nA /file\n");
    assert_eq!(run.good("diff web"), "A /srv\n");
    run.good("commit app app:2");
    run.good("commit web web:2");
    assert_eq!(run.run("run --rm app:2 cat /file", "").good(), "new\n");
    let config = run.good("inspect web:2 --format json");
    let config: String = config.split_whitespace().collect();
    for part in ["\"A=b\"", "\"/srv\"", "\"1000\"", "\"Entrypoint\":[\"sh\"]", "\"Cmd\":[\"-c\",\"exit0\"]"] {
        assert!(config.contains(part), "{config} lacks {part}");
    }
}

/// S84.
#[test]
fn signals_reach_the_program_and_end_it() {
    let Some(run) = Run::new() else { return };
    for (signal, trap, code) in
        [(Signal::USR1, "USR1", 33), (Signal::TERM, "TERM", 33), (Signal::HUP, "HUP", 33)]
    {
        let script = format!("trap 'exit 33' {trap}; echo ready; while :; do sleep 0.05; done");
        let words = ["run", "--rm", "bb:1", "sh", "-c", &script];
        let mut child = run.command(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut out, &mut line).unwrap();
        assert_eq!(line, "ready\n");
        send(child.id().try_into().unwrap(), signal);
        wait(&mut child);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{trap}");
    }
    assert!(run.mounts().is_empty());
}

/// S85.
#[test]
fn a_detached_container_lives_is_entered_and_stopped() {
    let Some(run) = Run::new() else { return };
    let id = run.run(
        "run -d --name web bb:1 sh -c",
        "trap 'echo term; exit 5' TERM; echo up; while :; do sleep 0.05; done",
    );
    assert_eq!(id.good().trim().len(), 64);
    assert!(run.status("web").starts_with("running=Up "));
    assert_eq!(run.mounts().len(), 1);
    assert_eq!(run.run("exec web cat /proc/1/comm", "").good(), "sh\n");
    assert_eq!(
        run.run("exec -e A=b -w /etc -u ann web sh -c", "pwd; id -u; echo $A; exit 9").out,
        "/etc\n1000\nb\n"
    );
    assert_eq!(run.run("exec web sh -c", "exit 9").code, Some(9));
    assert_eq!(run.run("exec web frob", "").code, Some(127));
    assert_eq!(run.run("exec -u eve web id", "").code, Some(125));
    let refused = run.run("rm web", "");
    assert!(refused.code == Some(1) && refused.err.contains("is running; stop it first"), "{refused:?}");
    assert_eq!(run.good("stop web"), "web\n");
    run.wait_for("web", "exited=Exited (5) ");
    assert_eq!(run.good("logs web"), "up\nterm\n");
    assert_eq!(run.run("exec web id", "").code, Some(125));
    run.good("rm web");
    assert!(run.mounts().is_empty());
}

/// S85.
#[test]
fn what_does_not_end_when_asked_is_ended() {
    let Some(run) = Run::new() else { return };
    run.good("run -d --name deaf bb:1 sleep 1000");
    let began = Instant::now();
    run.good("stop -t 1 deaf");
    assert!(began.elapsed() >= Duration::from_secs(1));
    run.wait_for("deaf", "exited=Exited (137) ");
    run.good("run -d --name deaf2 bb:1 sleep 1000");
    assert_eq!(run.run("kill -s FROB deaf2", "").code, Some(1));
    run.good("kill deaf2");
    run.wait_for("deaf2", "exited=Exited (137) ");
    assert!(run.run("kill deaf2", "").err.contains("is not running"));
}

/// S85.
#[test]
fn the_log_is_followed_to_the_end() {
    let Some(run) = Run::new() else { return };
    run.run("run -d --name web bb:1 sh -c", "for i in 1 2 3; do echo $i; sleep 0.2; done").good();
    assert_eq!(run.good("logs --follow web"), "1\n2\n3\n");
    let failed = run.run("run -d --name bad bb:1 frob", "");
    assert!(failed.code == Some(127) && failed.err.contains("frob"), "{failed:?}");
}

/// S86.
#[test]
fn many_containers_of_one_image_do_not_meet() {
    let Some(run) = Run::new() else { return };
    let script = "for i in 1 2 3 4 5 6 7 8 9; do echo $HOSTNAME >/f$i; done; cat /f* | wc -l";
    let mut children: Vec<_> = (0..8)
        .map(|_| {
            run.command(["run", "--rm", "bb:1", "sh", "-c", script]).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    children.iter_mut().for_each(wait);
    for child in children {
        assert_eq!(child.wait_with_output().unwrap().stdout, b"9\n");
    }
    assert_eq!(run.good("ps -aq"), "");
    assert!(run.mounts().is_empty());
    assert_eq!(std::fs::read_dir(run.path("store/containers")).unwrap().count(), 0);
}
