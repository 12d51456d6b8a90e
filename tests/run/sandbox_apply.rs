//! S98 to S101: what a sandbox changed is made on this machine, whole or not at all.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use crate::fixture::Run;

/// A directory of this machine, outside the store, with some files.
fn with_files() -> Option<Run> {
    let run = Run::empty()?;
    for dir in ["data/old/deep", "data/kept"] {
        fs::create_dir_all(run.path(dir)).unwrap();
    }
    for name in ["data/one", "data/two", "data/old/deep/file", "data/kept/file"] {
        fs::write(run.path(name), name).unwrap();
    }
    fs::hard_link(run.path("data/two"), run.path("data/two-too")).unwrap();
    Some(run)
}

/// S98.
#[test]
fn the_machine_is_afterwards_as_the_sandbox_was() {
    let Some(run) = with_files() else { return };
    let script = "cd data; echo changed >one; chmod 600 one; chown 7:8 one; rm -r old; rm two two-too
        mkdir -p new/dir; echo a >new/dir/a; ln new/dir/a new/b; ln -s /nowhere link; mkfifo pipe
        touch -d 2001-02-03T04:05:06Z new/dir/a; chmod 711 kept; chown 9 kept; mv kept/file kept/moved
        rm -rf kept2; mknod null c 1 3; chmod 2750 new";
    let said = run.run("sandbox --apply -- sh -ec", script);
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{}", said.out);
    let at = |name: &str| run.path("data").join(name);
    let meta = |name: &str| fs::symlink_metadata(at(name)).unwrap();
    assert_eq!(fs::read_to_string(at("one")).unwrap(), "changed\n");
    assert_eq!((meta("one").mode() & 0o7777, meta("one").uid(), meta("one").gid()), (0o600, 7, 8));
    assert!(!at("old").exists() && !at("two").exists() && !at("two-too").exists());
    assert_eq!(meta("new/dir/a").ino(), meta("new/b").ino());
    assert_eq!(meta("new/b").mtime(), 981_173_106);
    assert_eq!(meta("new").mode() & 0o7777, 0o2750);
    assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("/nowhere"));
    assert_eq!((meta("kept").mode() & 0o7777, meta("kept").uid()), (0o711, 9));
    assert_eq!(fs::read_to_string(at("kept/moved")).unwrap(), "data/kept/file");
    assert!(!at("kept/file").exists());
    assert_eq!(meta("null").rdev(), rustix::fs::makedev(1, 3));
    assert_eq!(run.good("ps -aq"), "");
    assert!(run.mounts().is_empty());
}

/// S99.
#[test]
fn what_was_changed_meanwhile_is_refused_and_all_is_kept() {
    let Some(run) = with_files() else { return };
    run.run("sandbox --keep try -- sh -c", "echo mine >data/one; rm data/two; echo new >data/new");
    fs::write(run.path("data/one"), "theirs").unwrap();
    for _ in 0..2 {
        let refused = run.run("sandbox apply try", "");
        assert_eq!(refused.code, Some(125), "{refused:?}");
        assert!(refused.err.contains("data/one was changed meanwhile"), "{refused:?}");
        assert!(!run.path("data/new").exists() && run.path("data/two").exists());
        assert_eq!(fs::read_to_string(run.path("data/one")).unwrap(), "theirs");
    }
    assert!(run.status("try").starts_with("exited"));
    assert!(run.good("diff try").contains("data/new"));
    run.good("rm try");
    run.run("sandbox --keep try -- sh -c", "echo mine >>data/kept/file; mv data/one data/renamed");
    fs::remove_file(run.path("data/kept/file")).unwrap();
    let refused = run.run("sandbox apply try", "");
    assert!(refused.err.ends_with("data/kept/file was removed meanwhile\n"), "{refused:?}");
    run.good("rm try");
}

/// S101: killed at whatever moment, each file is the old or the new one, and doing it again comes to the same end.
#[test]
fn an_apply_that_is_killed_can_be_repeated() {
    let Some(run) = with_files() else { return };
    let many = run.path("data/many");
    fs::create_dir(&many).unwrap();
    let old = "old ".repeat(20_000);
    (0..40).for_each(|i| fs::write(many.join(format!("f{i}")), &old).unwrap());
    let script = "for i in $(seq 0 39); do head -c 90000 /dev/zero | tr '\\0' n >data/many/f$i; done
        rm -r data/old; mkdir data/tree; for i in $(seq 0 9); do echo $i >data/tree/$i; done; rm data/two";
    run.run("sandbox --keep try -- sh -c", script);
    let mut killed = 0;
    for wait in [1, 3, 6, 10, 15, 21, 28, 36, 45] {
        let mut child = run.command(["sandbox", "apply", "try"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait * 3));
        child.kill().unwrap();
        if child.wait().unwrap().code().is_some() {
            break;
        }
        killed += 1;
        for i in 0..40 {
            let content = fs::read_to_string(many.join(format!("f{i}"))).unwrap();
            assert!(
                content == old || content == "n".repeat(90_000),
                "f{i} is neither the old nor the new one"
            );
        }
        if run.path("data/tree").exists() {
            assert_eq!(
                fs::read_dir(run.path("data/tree")).unwrap().count(),
                10,
                "a new directory is complete"
            );
        }
    }
    assert!(killed > 0);
    if run.status("try") != "gone" {
        run.good("sandbox apply try");
    }
    assert_eq!(run.status("try"), "gone");
    for i in 0..40 {
        assert_eq!(fs::read_to_string(many.join(format!("f{i}"))).unwrap(), "n".repeat(90_000));
    }
    assert!(!run.path("data/old").exists() && !run.path("data/two").exists());
    let names = |dir: &Path| fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
    assert!(
        names(&run.path("data")).iter().chain(&names(&many)).all(|n| !n.to_string_lossy().starts_with('.'))
    );
    assert_eq!(fs::metadata(many.join("f0")).unwrap().permissions().mode() & 0o777, 0o644);
}
