//! Images that try to lead out: each is contained or refused, and nothing outside is touched (S92).

use std::fs;
use std::os::fd::IntoRawFd;

use crate::fixture::{Entry, Run};

/// A directory outside the store with a file in it.
fn canary(run: &Run) -> String {
    let dir = run.path("outside");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("canary"), "canary").unwrap();
    dir.to_str().unwrap().to_owned()
}

fn untouched(run: &Run) {
    let names: Vec<_> = fs::read_dir(run.path("outside")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["canary"]);
    assert_eq!(fs::read_to_string(run.path("outside/canary")).unwrap(), "canary");
    assert!(run.mounts().is_empty());
}

#[test]
fn links_in_place_of_etc_and_its_files() {
    let Some(run) = Run::empty() else { return };
    let outside = canary(&run);
    let passwd = format!("{outside}/passwd");
    let up = format!("../../../../../../../..{outside}");
    let cases: [(&str, Vec<Entry<'_>>); 6] = [
        ("etc is a link out", vec![Entry::Link("etc", &outside)]),
        ("etc is a link up", vec![Entry::Link("etc", &up)]),
        ("etc is a file", vec![Entry::File("etc", b"")]),
        ("passwd is a link out", vec![Entry::Dir("etc/"), Entry::Link("etc/passwd", &passwd)]),
        ("passwd is a FIFO", vec![Entry::Dir("etc/"), Entry::Fifo("etc/passwd")]),
        ("hosts is a link out", vec![Entry::Dir("etc/"), Entry::Link("etc/hosts", &passwd)]),
    ];
    for (at, (what, entries)) in cases.iter().enumerate() {
        run.import(&format!("bad:{at}"), entries);
        let said = run.run(&format!("run --rm -u eve bad:{at} true"), "");
        assert_eq!(said.code, Some(125), "{what}: {said:?}");
        let said = run.run(&format!("run --rm bad:{at} cat /etc/canary"), "");
        assert!(!said.out.contains("canary"), "{what}: {said:?}");
        untouched(&run);
    }
}

#[test]
fn links_in_place_of_directories_that_are_made_or_mounted_on() {
    let Some(run) = Run::empty() else { return };
    let outside = canary(&run);
    let up = format!("../../../../../../../..{outside}");
    for (at, name) in ["proc", "dev", "sys", "work", "place", "tmp"].into_iter().enumerate() {
        for (way, target) in [&*outside, &up, "/proc/self/root", "."].into_iter().enumerate() {
            let image = format!("bad:{at}-{way}");
            run.import(&image, &[Entry::Link(name, target)]);
            let line = format!("run --rm -w /work/in -v ./outside:/place/in:ro --tmpfs /tmp/in {image} true");
            let said = run.run(&line, "");
            assert!(said.code.is_some_and(|code| code == 0 || code == 125), "{name} → {target}: {said:?}");
            untouched(&run);
        }
    }
}

#[test]
fn links_that_lead_round_and_programs_that_lead_out() {
    let Some(run) = Run::empty() else { return };
    canary(&run);
    run.import("bad:1", &[Entry::Link("work", "work"), Entry::Link("prog", "/proc/1/root/bin/sh")]);
    assert_eq!(run.run("run --rm -w /work bad:1 true", "").code, Some(125));
    assert_eq!(run.run("run --rm -w /work/x bad:1 true", "").code, Some(125));
    // Within the container, which is all that it sees.
    let said = run.run("run --rm bad:1 /prog -c", "echo $0; ls /var 2>&1");
    assert!(!said.out.contains("tmp"), "{said:?}");
    untouched(&run);
}

/// S106.
#[test]
fn errors_hold_nothing_that_a_terminal_obeys() {
    let Some(run) = Run::new() else { return };
    let said = run.run("run --rm -u \u{1b}[31m bb:1 true", "");
    assert_eq!(said.code, Some(125));
    assert!(
        said.err.contains("unable to find user \u{fffd}[31m") && !said.err.contains('\u{1b}'),
        "{said:?}"
    );
}

/// CVE-2024-21626, with a descriptor that the caller of plyfs left open.
#[test]
fn descriptors_of_the_caller_stay_outside() {
    let Some(run) = Run::new() else { return };
    let outside = fs::File::open(canary(&run)).unwrap();
    // Unlike the first, this one is inherited.
    let inherited = rustix::io::dup(&outside).unwrap().into_raw_fd();
    for place in ["/proc/self/fd", "/dev/fd"] {
        let said = run.run(&format!("run --rm -w {place}/{inherited} bb:1 sh -c"), "ls; touch new");
        assert!(!said.out.contains("canary"), "{place}: {said:?}");
        untouched(&run);
    }
    assert_eq!(run.shell("", &format!("ls /proc/self/fd/{inherited} 2>/dev/null; true")), "");
}
