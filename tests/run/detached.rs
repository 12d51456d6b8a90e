//! S105: detached containers with a terminal or an open standard input.

use crate::fixture::Run;

#[test]
fn a_terminals_output_goes_into_the_log() {
    let Some(run) = Run::new() else { return };
    run.run("run -dt --name web bb:1 sh -c", "test -t 0 && test -t 1 && echo terminal; exit 6").good();
    run.wait_for("web", "exited=Exited (6) ");
    assert_eq!(run.good("logs web"), "terminal\r\n");
    run.run("run -dit --name two bb:1 sh -c", "echo up; read line; echo closed").good();
    run.wait_for("two", "running=Up ");
    assert_eq!(run.run("exec two tty", "").code, Some(1));
    run.good("stop -t 0 two");
    run.wait_for("two", "exited=Exited (137) ");
    assert_eq!(run.good("logs --follow two"), "up\r\n");
    run.good("rm web two");
    assert!(run.mounts().is_empty());
}

#[test]
fn standard_input_stays_open() {
    let Some(run) = Run::new() else { return };
    run.good("run -d --name closed bb:1 cat");
    run.wait_for("closed", "exited=Exited (0) ");
    run.good("run -di --name open bb:1 cat");
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert!(run.status("open").starts_with("running=Up "), "{}", run.status("open"));
    run.good("stop -t 0 open");
    run.good("rm closed open");
    assert!(run.mounts().is_empty());
}
