//! A store with two images, made of tars that are built here.

use std::fs;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::scratch::{Said, Scratch};

/// A command longer than a listing shows, with a tab.
pub const COMMAND: &str = "RUN make\tall that is needed for a rather long line of a listing";

/// A scratch whose `store` holds `base:1` (imported; one layer) and `app:1`, `app:latest` (loaded; three layers, the
/// lowest of them that of `base:1`).
pub struct Images(pub Scratch);

impl Images {
    pub fn new() -> Images {
        let scratch = Scratch::new();
        fs::write(scratch.path("base.tar"), base()).unwrap();
        fs::write(scratch.path("app.tar"), app()).unwrap();
        let images = Images(scratch);
        let import = "import -c LABEL\u{a0}stage=base -m first base.tar base:1";
        let words = import.split(' ').map(|word| word.replace('\u{a0}', " "));
        let mut command = images.0.command(["--root", "store"].map(str::to_owned).into_iter().chain(words));
        Said::of(&command.env("SOURCE_DATE_EPOCH", "1000000000").output().unwrap()).good();
        images.good("load -i app.tar");
        images
    }

    pub fn run(&self, line: &str) -> Said {
        self.0.run(&format!("--root store {line}"))
    }

    pub fn good(&self, line: &str) -> String {
        self.run(line).good()
    }

    /// Runs a verb whose last argument may have blanks.
    pub fn with(&self, line: &str, last: &str) -> Said {
        let words = ["--root", "store"].into_iter().chain(line.split(' ')).chain([last]);
        Said::of(&self.0.command(words).output().unwrap())
    }

    /// What a verb prints with `--format json`.
    pub fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.good(&format!("{line} --format json"))).unwrap()
    }
}

/// What is in a tar: a path, its mode, its owner, and its content or where it links to.
type Entry<'a> = (&'a str, u32, u64, &'a [u8]);

fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, mode, owner, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_uid(*owner);
        header.set_gid(*owner);
        header.set_mtime(1_000_000);
        if let Some(target) = content.strip_prefix(b"-> ") {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            builder.append_link(&mut header, path, std::str::from_utf8(target).unwrap()).unwrap();
            continue;
        }
        header.set_entry_type(if path.ends_with('/') {
            tar::EntryType::Directory
        } else {
            tar::EntryType::Regular
        });
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, path, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn base() -> Vec<u8> {
    tar(&[
        ("etc/", 0o755, 0, b""),
        ("etc/passwd", 0o644, 0, b"root:x:0:0\n"),
        ("link", 0o777, 0, b"-> /etc/passwd"),
        ("usr/", 0o755, 0, b""),
        ("usr/big", 0o644, 0, &[b'x'; 1000]),
        ("usr/old/", 0o755, 0, b""),
        ("usr/old/a", 0o644, 0, &[b'a'; 10]),
        ("usr/old/b", 0o644, 0, &[b'b'; 20]),
        ("usr/tool", 0o4755, 7, b"#!/bin/sh\n"),
    ])
}

/// A `docker save` archive.
fn app() -> Vec<u8> {
    let layers = [
        base(),
        tar(&[("etc/new", 0o600, 0, b"new"), ("usr/big", 0o644, 0, &[b'y'; 2000])]),
        tar(&[("usr/.wh.big", 0o644, 0, b""), ("usr/.wh.old", 0o644, 0, b"")]),
    ];
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
    let step = |second: u32, command: &str| json!({ "created": format!("2020-01-01T00:00:0{second}Z"), "created_by": command, "comment": "" });
    let mut empty = step(2, "CMD [\"tool\"]");
    empty["empty_layer"] = json!(true);
    let config = json!({
        "created": "2020-01-01T00:00:04Z", "author": "me", "architecture": "amd64", "os": "linux",
        "config": { "Cmd": ["tool"], "Env": ["PATH=/usr"], "Labels": { "stage": "app", "x": "<1>" } },
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
        "history": [step(1, "ADD base"), empty, step(3, COMMAND), step(4, "RUN rm")],
    })
    .to_string();
    let manifest = json!([{
        "Config": "config.json", "RepoTags": ["app:1", "app:latest"],
        "Layers": ["1/layer.tar", "2/layer.tar", "3/layer.tar"],
    }])
    .to_string();
    tar(&[
        ("manifest.json", 0o644, 0, manifest.as_bytes()),
        ("config.json", 0o644, 0, config.as_bytes()),
        ("1/layer.tar", 0o644, 0, &layers[0]),
        ("2/layer.tar", 0o644, 0, &layers[1]),
        ("3/layer.tar", 0o644, 0, &layers[2]),
    ])
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
