//! Help, manual pages and completions.

use std::fs;

use crate::scratch::Scratch;

/// Everything that has a help page, hidden verbs too.
const VERBS: &[&str] = &["", "mount", "unmount", "diff", "layer", "layer pack", "generate"];

#[test]
fn every_help_has_examples() {
    let scratch = Scratch::new();
    for verb in VERBS {
        let long = scratch.run(&format!("{verb} --help")).good();
        let short = scratch.run(&format!("{verb} -h")).good();
        for help in [long, short] {
            assert!(help.contains("\nUsage: plyfs"), "{help}");
            assert!(help.contains("Examples:\n"), "`plyfs {verb} --help` has no examples:\n{help}");
            assert!(help.lines().all(|line| line.len() <= 120), "{help}");
        }
    }
}

#[test]
fn the_help_names_the_verbs_but_not_hidden_ones() {
    let help = Scratch::new().run("--help").good();
    for verb in ["mount", "unmount", "diff", "layer"] {
        assert!(help.contains(&format!("\n  {verb} ")), "{help}");
    }
    assert!(!help.contains("generate"), "{help}");
}

#[test]
fn the_version_is_the_packages() {
    let said = Scratch::new().run("--version").good();
    assert_eq!(said, format!("plyfs {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn manual_pages_are_written() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("man")).unwrap();
    assert_eq!(scratch.run("generate man man").good(), "");
    for (page, content) in [
        ("plyfs.1", "plyfs\\-mount"),
        ("plyfs-mount.1", "\\-\\-lower"),
        ("plyfs-unmount.1", "\\-\\-lazy"),
        ("plyfs-diff.1", "\\-\\-format"),
        ("plyfs-layer-pack.1", "\\-\\-output"),
        ("plyfs-mount.8", "lowerdir="),
    ] {
        let text = fs::read_to_string(scratch.path("man").join(page)).unwrap();
        assert!(text.contains(content), "{page} does not mention {content}");
    }
}

#[test]
fn completions_are_written() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("out")).unwrap();
    assert_eq!(scratch.run("generate completions out").good(), "");
    for file in ["plyfs.bash", "_plyfs", "plyfs.fish"] {
        let text = fs::read_to_string(scratch.path("out").join(file)).unwrap();
        assert!(text.contains("unmount") && text.contains("lower"), "{file}");
    }
    let bash = std::process::Command::new("bash").arg("-n").arg(scratch.path("out/plyfs.bash")).output();
    assert!(bash.is_ok_and(|output| output.status.success()), "bash does not understand its completions");
}
