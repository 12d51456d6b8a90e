//! Golden configurations, held to the specification's types (crate oci-spec).

use std::path::PathBuf;

use super::*;
use crate::run::settings::{Tmpfs, Volume};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn identity(uid: u32) -> Identity {
    Identity { uid, gid: uid, groups: vec![7], home: "/home".to_owned() }
}

fn config() -> RunConfig {
    RunConfig {
        entrypoint: Some(vec!["/start".into()]),
        cmd: Some(vec!["a".into()]),
        env: vec!["A=1".into()],
        working_dir: "/work/../srv".into(),
        ..RunConfig::default()
    }
}

/// The configuration, which oci-spec must take without loss.
fn made(settings: &Settings, uid: u32, cgroups: Cgroups) -> Value {
    let made = bundle(&Bundle {
        id: ID,
        root: Path::new("/merged"),
        config: &config(),
        settings,
        identity: &identity(uid),
        own_files: Path::new("/own"),
        cgroups,
        rights: Rights::Machine,
        seccomp: None,
    });
    let made = made.expect("good");
    let spec: oci_spec::runtime::Spec =
        serde_json::from_value(made.clone()).expect("as the specification says");
    let back = serde_json::to_value(spec).expect("JSON");
    for (field, value) in made["linux"].as_object().expect("an object") {
        let empty = value.as_object().is_some_and(serde_json::Map::is_empty);
        assert!(empty || !back["linux"][field].is_null(), "linux.{field} is not the specification's");
    }
    assert_eq!(back["process"]["args"], made["process"]["args"]);
    made
}

fn destinations(made: &Value) -> Vec<&str> {
    made["mounts"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|mount| mount["destination"].as_str())
        .collect()
}

#[test]
fn the_plain_container() {
    let made = made(&Settings::default(), 0, Cgroups::Separate);
    assert_eq!(made["root"], json!({ "path": "/merged", "readonly": false }));
    assert_eq!(made["hostname"], "0123456789ab");
    assert_eq!(
        made["process"],
        json!({
            "terminal": false,
            "user": { "uid": 0, "gid": 0, "additionalGids": [7] },
            "args": ["/start", "a"],
            "env": [command::DEFAULT_PATH, "HOSTNAME=0123456789ab", "A=1", "HOME=/home"],
            "cwd": "/srv",
            "capabilities": { "bounding": CAPABILITIES, "effective": CAPABILITIES, "permitted": CAPABILITIES },
            "noNewPrivileges": false,
        })
    );
    let expected = [
        "/proc",
        "/dev",
        "/dev/pts",
        "/sys",
        "/dev/mqueue",
        "/dev/shm",
        "/etc/resolv.conf",
        "/etc/hosts",
        "/etc/hostname",
    ];
    assert_eq!(destinations(&made), expected);
    let kinds = json!([{ "type": "mount" }, { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }]);
    assert_eq!(made["linux"]["namespaces"], kinds);
    assert_eq!(made["linux"]["cgroupsPath"], format!("/plyfs-{ID}"));
    assert_eq!(made["linux"]["resources"], json!({ "devices": [{ "allow": false, "access": "rwm" }] }));
}

#[test]
fn what_was_asked_for_is_in_it() {
    let settings = Settings {
        network: Network::None,
        hostname: Some("box".into()),
        root: RootAccess::ReadOnly,
        terminal: Terminal::Yes,
        limits: Limits { memory: Some(8 << 20), millicpus: Some(1500), pids: Some(10) },
        volumes: vec![Volume {
            source: PathBuf::from("/s"),
            target: PathBuf::from("/t"),
            access: RootAccess::ReadOnly,
        }],
        tmpfs: vec![Tmpfs { target: PathBuf::from("/run"), options: vec!["size=1m".into()] }],
        ..Settings::default()
    };
    let made = made(&settings, 0, Cgroups::Unified);
    assert_eq!(made["root"]["readonly"], true);
    assert_eq!(made["hostname"], "box");
    assert_eq!(made["process"]["terminal"], true);
    let env = made["process"]["env"].as_array().expect("a list");
    assert!(env.contains(&json!("TERM=xterm")) && env.contains(&json!("HOSTNAME=box")));
    let mounts = made["mounts"].as_array().expect("a list");
    assert!(mounts.contains(&json!({
        "destination": "/t", "type": "bind", "source": "/s", "options": ["rbind", "rprivate", "ro"],
    })));
    assert!(mounts.contains(&json!({
        "destination": "/run", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "noexec", "size=1m"],
    })));
    let kinds: Vec<_> =
        made["linux"]["namespaces"].as_array().expect("a list").iter().map(|n| &n["type"]).collect();
    assert!(kinds.contains(&&json!("network")) && kinds.contains(&&json!("cgroup")));
    let resources = &made["linux"]["resources"];
    assert_eq!(resources["memory"], json!({ "limit": 8 << 20, "swap": 16 << 20 }));
    assert_eq!(resources["cpu"], json!({ "quota": 150_000, "period": 100_000 }));
    assert_eq!(resources["pids"], json!({ "limit": 10 }));
}

#[test]
fn control_groups_are_seen_where_they_say_something() {
    let seen = |limits, cgroups| {
        let settings = Settings { limits, ..Settings::default() };
        destinations(&made(&settings, 0, cgroups)).contains(&"/sys/fs/cgroup")
    };
    let limited = Limits { pids: Some(10), ..Limits::default() };
    assert!(seen(limited, Cgroups::Separate) && seen(limited, Cgroups::Unified));
    assert!(!seen(Limits::default(), Cgroups::Separate) && seen(Limits::default(), Cgroups::Unified));
    assert!(!seen(limited, Cgroups::None));
}

#[test]
fn another_user_starts_without_capabilities() {
    let made = made(&Settings::default(), 1000, Cgroups::None);
    let capabilities = &made["process"]["capabilities"];
    assert_eq!(capabilities["effective"], json!([]));
    assert_eq!(capabilities["permitted"], json!([]));
    assert_eq!(capabilities["bounding"], json!(CAPABILITIES));
    assert!(!destinations(&made).contains(&"/sys/fs/cgroup"));
    assert!(made["linux"]["cgroupsPath"].is_null());
}
