//! Configurations as the image tools write them, and hostile ones.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const DIFF_ID: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// docker's classic builder.
const DOCKER: &str = r##"{
  "architecture": "amd64",
  "config": {"Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": false,
    "AttachStderr": false, "ExposedPorts": {"80/tcp": {}}, "Tty": false, "OpenStdin": false, "StdinOnce": false,
    "Env": ["PATH=/usr/bin", "A="], "Cmd": ["nginx", "-g", "daemon off;"],
    "Healthcheck": {"Test": ["CMD-SHELL", "curl -f http://localhost/ || exit 1"], "Interval": 5000000000},
    "ArgsEscaped": true, "Image": "sha256:00", "Volumes": {"/data": {}}, "WorkingDir": "", "Entrypoint": null,
    "OnBuild": null, "Labels": null, "StopSignal": "SIGQUIT", "Shell": ["/bin/bash", "-c"]},
  "container": "2bc7a6f9",
  "container_config": {"Hostname": "2bc7a6f9", "Cmd": ["/bin/sh", "-c", "#(nop) "], "Labels": {}},
  "created": "2021-07-22T10:31:15.123456789Z",
  "docker_version": "20.10.7",
  "history": [
    {"created": "2021-07-22T10:31:14Z", "created_by": "/bin/sh -c #(nop) ADD file:5 in / "},
    {"created": "2021-07-22T10:31:15Z", "created_by": "/bin/sh -c #(nop)  CMD [\"bash\"]", "empty_layer": true}],
  "os": "linux",
  "os.version": "10.0.17763",
  "rootfs": {"type": "layers", "diff_ids": ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}
}"##;

/// buildah and podman.
const BUILDAH: &str = r#"{"created":"2024-05-01T00:00:00.5Z","author":"me","architecture":"arm64","variant":"v8",
  "os":"linux","config":{"Env":["PATH=/bin"],"Entrypoint":["/e"],"Cmd":[],"WorkingDir":"/w","Labels":
  {"io.buildah.version":"1.35.3"}},"rootfs":{"type":"layers","diff_ids":
  ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},"history":[{"created":
  "2024-05-01T00:00:00.5Z","created_by":"/bin/sh","author":"me","comment":"FROM docker.io/library/debian:13"}]}"#;

/// umoci's empty image.
const UMOCI: &str = r#"{"created":"2024-01-01T00:00:00Z","architecture":"amd64","os":"linux","config":{},
  "rootfs":{"type":"layers","diff_ids":null},"history":null}"#;

/// BuildKit.
const BUILDKIT: &str = r#"{"architecture":"amd64","config":{"Env":["PATH=/bin"],"Cmd":["/bin/sh"],"OnBuild":["RUN x"]},
  "created":"2024-05-01T00:00:00Z","history":[{"created":"2024-05-01T00:00:00Z","created_by":"CMD [\"/bin/sh\"]",
  "comment":"buildkit.dockerfile.v0","empty_layer":true}],"moby.buildkit.cache.v0":"AAEC","os":"linux","rootfs":
  {"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#;

fn parse(text: &str) -> ImageConfig {
    ImageConfig::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e:?}\n{text}"))
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = format!("{:?}", ImageConfig::parse(text.as_bytes()).expect_err(text));
    assert!(error.contains(expected), "{text}: {error}");
}

/// The value without what says nothing: `null`, `false`, and what is empty.
fn significant(value: Value) -> Value {
    let empty = |v: &Value| match v {
        Value::Null | Value::Bool(false) => true,
        Value::String(s) => s.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(map) => {
            map.into_iter().filter(|(_, v)| !empty(v)).map(|(k, v)| (k, significant(v))).collect()
        }
        other => other,
    }
}

#[test]
fn what_tools_write_survives_reading_and_writing() {
    for text in [DOCKER, BUILDAH, BUILDKIT] {
        let written = serde_json::to_value(parse(text)).expect("json");
        let original: Value = serde_json::from_str(text).expect("json");
        assert_eq!(significant(written), significant(original));
    }
}

#[test]
fn dockers_fields_are_read() {
    let config = parse(DOCKER);
    assert_eq!(config.config.env, ["PATH=/usr/bin", "A="]);
    assert!(config.config.entrypoint.is_none() && config.config.on_build.is_empty());
    assert_eq!(config.config.healthcheck.as_ref().expect("one")["Interval"], json!(5_000_000_000_u64));
    assert_eq!(config.config.extra["ArgsEscaped"], json!(true));
    assert_eq!(config.extra["os.version"], json!("10.0.17763"));
    assert_eq!(config.extra["container_config"]["Hostname"], json!("2bc7a6f9"));
    assert_eq!(config.history.iter().map(|h| h.empty_layer).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn an_empty_list_is_not_an_absent_one() {
    assert_eq!(parse(BUILDAH).config.cmd, Some(Vec::new()));
    assert_eq!(parse(BUILDAH).variant.as_deref(), Some("v8"));
}

#[test]
fn null_lists_are_empty() {
    let config = parse(UMOCI);
    assert!(config.rootfs.diff_ids.is_empty() && config.history.is_empty());
    let config = parse(r#"{"config":null,"rootfs":{"type":"layers"}}"#);
    assert_eq!(config.config, RunConfig::default());
}

#[test]
fn a_history_need_not_agree_with_the_layers() {
    let text = format!(r#"{{"rootfs":{{"type":"layers","diff_ids":["{DIFF_ID}"]}},"history":[{{}},{{}}]}}"#);
    assert_eq!(parse(&text).history.len(), 2);
}

#[test]
fn bad_configurations_are_errors() {
    refused("", "EOF");
    refused("[]", "expected");
    refused("{}", "rootfs");
    refused(r#"{"rootfs":{"type":"layers+base","diff_ids":[]}}"#, "layers+base");
    refused(r#"{"rootfs":{"type":"layers","diff_ids":["sha512:00"]}}"#, "sha256");
    refused(r#"{"rootfs":{"type":"layers","diff_ids":"x"}}"#, "invalid type");
    refused(r#"{"rootfs":{"type":"layers"},"os":1}"#, "invalid type");
    refused(r#"{"rootfs":{"type":"layers"},"config":{"Env":[1]}}"#, "invalid type");
    refused(r#"{"rootfs":{"type":"layers"},"config":{"Labels":{"a":1}}}"#, "invalid type");
    refused(r#"{"rootfs":{"type":"layers"},"os":"a","os":"b"}"#, "twice");
    refused(r#"{"rootfs":{"type":"layers"},"config":{"Labels":{"a":"1","a":"2"}}}"#, "twice");
    refused(r#"{"rootfs":{"type":"layers"},"x":{"y":1,"y":1}}"#, "twice");
    refused(r#"{"rootfs":{"type":"layers"},"x":1e999}"#, "out of range");
    refused(&format!(r#"{{"rootfs":{{"type":"layers"}},"x":{}"#, "[".repeat(10_000)), "recursion");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        assert!(ImageConfig::parse(&bytes).is_err());
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0..DOCKER.len(), with in any::<u8>(), cut in 0..DOCKER.len()) {
        let mut bytes = DOCKER.as_bytes().to_vec();
        bytes[at] = with;
        // Whether it is still a configuration depends on where the damage is.
        if let Ok(config) = ImageConfig::parse(&bytes) {
            prop_assert_eq!(config.rootfs.kind, "layers");
        }
        bytes.truncate(cut);
        prop_assert!(ImageConfig::parse(&bytes).is_err());
    }
}

#[test]
fn numbers_beyond_integers_come_back_as_they_were() {
    let text = br#"{"rootfs":{"type":"layers","diff_ids":[]},"x":300000000099999999999999999999990,"y":0.1}"#;
    let read = ImageConfig::parse(text).expect("a configuration");
    let written = serde_json::to_vec(&read).expect("JSON");
    assert_eq!(ImageConfig::parse(&written).expect("a configuration"), read);
}
