//! Writers killed at random moments: the next one finds a store in which nothing is wrong.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use plyfs::oci::manifest::Index;
use plyfs::store::{Depth, Store};

use crate::harness::{image, names, remove};

/// Names the store to the child process.
const ROOT: &str = "PLYFS_TEST_STORE";
const ROUNDS: u64 = 20;

/// The process that is killed: publishes and removes for ever. Does nothing unless [`ROOT`] names a store.
#[test]
fn child() {
    let Some(root) = std::env::var_os(ROOT) else { return };
    let store = Store::open(root.as_ref()).unwrap();
    // So that no name is given to another image below: what had it would be garbage that no journal knows.
    store.lock().unwrap().set_index_and_collect(&Index::new(Vec::new())).unwrap();
    println!("ready");
    std::io::stdout().flush().unwrap();
    for n in 0.. {
        let (new, old) = (format!("image{}", n % 5), format!("image{}", (n + 2) % 5));
        let writer = store.lock().unwrap();
        let app = image(&["base", &format!("middle{}", n % 2), &format!("top{n}")]);
        app.publish(&writer, &new).unwrap();
        let container = writer.create_container(app.container(None)).unwrap();
        let diff = writer.stage_dir().unwrap();
        std::fs::write(diff.path().join("f"), "x").unwrap();
        writer.unpacked(app.chains[1], diff).unwrap();
        remove(&writer, &old);
        writer.remove_container(&container).unwrap();
        remove(&writer, &new);
        app.publish(&writer, &new).unwrap();
    }
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_store_in_order() {
    // In memory where that can be had: what is tested is the order of the steps, and waiting for a disk would leave
    // few of them to be met.
    let memory = tempfile::tempdir_in("/dev/shm");
    let dir = memory.or_else(|_| tempfile::tempdir()).unwrap();
    let root = dir.path().join("store");
    let store = Store::open(&root).unwrap();
    let mut seen = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::child", "--nocapture"])
            .env(ROOT, &root)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap().ends_with("ready")), "the child ended early");
        std::thread::sleep(Duration::from_micros(500 + round * 1237 % 20_000));
        child.kill().unwrap();
        child.wait().unwrap();
        seen += usize::from(std::fs::read_dir(root.join("tmp")).unwrap().next().is_some());
        let writer = store.lock().unwrap();
        assert_eq!(store.check(Depth::Contents).unwrap(), [], "round {round}");
        for container in store.containers().unwrap() {
            writer.remove_container(&container).unwrap();
        }
        drop(writer);
        assert!(std::fs::read_dir(root.join("tmp")).unwrap().next().is_none());
    }
    println!("{seen} of {ROUNDS} were at work when killed; images: {:?}", names(&store));
}
