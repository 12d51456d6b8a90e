//! Instructions read, applied and written.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::oci::config::RunConfig;

fn parse(text: &str) -> Change {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// The configuration of an image, as JSON.
fn base() -> RunConfig {
    let json =
        json!({"Env": ["PATH=/bin", "A=1"], "Cmd": ["old"], "WorkingDir": "/srv", "OnBuild": ["RUN a"]});
    serde_json::from_value(json).expect("a configuration")
}

/// What the changes make of [`base`].
fn changed(texts: &[&str]) -> Value {
    let mut config = base();
    let changes = parse_all(texts).unwrap_or_else(|e| panic!("{texts:?}: {e}"));
    apply(&changes, &mut config).unwrap_or_else(|e| panic!("{texts:?}: {e}"));
    serde_json::to_value(config).expect("json")
}

/// Why the changes cannot be read or applied.
#[track_caller]
fn refused(text: &str, expected: &str) {
    let mut config = base();
    let result = parse_all(&[text]).and_then(|changes| apply(&changes, &mut config));
    let error = result.expect_err(text);
    let source = std::error::Error::source(&error).map(|s| s.to_string()).unwrap_or_default();
    assert!(format!("{error}: {source}").contains(expected), "{text}: {error}: {source}");
    assert_eq!(config, base(), "{text}");
}

#[test]
fn each_instruction_sets_its_field() {
    for (text, field, expected) in [
        ("CMD [\"a\", \"b c\"]", "Cmd", json!(["a", "b c"])),
        ("cmd a  \"b\" $A", "Cmd", json!(["/bin/sh", "-c", "a  \"b\" $A"])),
        ("CMD [ a ]", "Cmd", json!(["/bin/sh", "-c", "[ a ]"])),
        ("CMD []", "Cmd", json!([])),
        ("ENTRYPOINT [\"e\"]", "Entrypoint", json!(["e"])),
        ("ENTRYPOINT exec top", "Entrypoint", json!(["/bin/sh", "-c", "exec top"])),
        ("ENV B=2", "Env", json!(["PATH=/bin", "A=1", "B=2"])),
        ("ENV A=2 B=\"x y\" C=x\\ y D=", "Env", json!(["PATH=/bin", "A=2", "B=x y", "C=x y", "D="])),
        ("ENV A=2 B=$A", "Env", json!(["PATH=/bin", "A=2", "B=1"])),
        ("ENV PATH /opt/bin:$PATH", "Env", json!(["PATH=/opt/bin:/bin", "A=1"])),
        ("ENV B b \"c\"  d=e", "Env", json!(["PATH=/bin", "A=1", "B=b c  d=e"])),
        ("ENV B='$A' C=\\$A D=${N:-w}", "Env", json!(["PATH=/bin", "A=1", "B=$A", "C=$A", "D=w"])),
        ("EXPOSE 80 53/udp", "ExposedPorts", json!({"80/tcp": {}, "53/udp": {}})),
        ("EXPOSE 1-2/udp", "ExposedPorts", json!({"1/udp": {}, "2/udp": {}})),
        ("LABEL a=b \"c d\"='e f'", "Labels", json!({"a": "b", "c d": "e f"})),
        ("LABEL a b c", "Labels", json!({"a": "b c"})),
        ("ONBUILD RUN x \"y\"", "OnBuild", json!(["RUN a", "RUN x \"y\""])),
        ("USER 1000:$A", "User", json!("1000:1")),
        ("VOLUME /a /b$A", "Volumes", json!({"/a": {}, "/b1": {}})),
        ("VOLUME [\"/a b\", \"/c\"]", "Volumes", json!({"/a b": {}, "/c": {}})),
        ("WORKDIR /a b/../c", "WorkingDir", json!("/a b/../c")),
        ("WORKDIR x/./y/../$A", "WorkingDir", json!("/srv/x/1")),
        ("WORKDIR ../../..", "WorkingDir", json!("/")),
        ("STOPSIGNAL SIGQUIT", "StopSignal", json!("SIGQUIT")),
        ("STOPSIGNAL 9", "StopSignal", json!("9")),
        ("HEALTHCHECK NONE", "Healthcheck", json!({"Test": ["NONE"]})),
        (
            "HEALTHCHECK CMD curl -f x || exit 1",
            "Healthcheck",
            json!({"Test": ["CMD-SHELL", "curl -f x || exit 1"]}),
        ),
        (
            "HEALTHCHECK --interval=5s --timeout=1m30s --start-period=0s --start-interval=2s --retries=3 CMD [\"a\"]",
            "Healthcheck",
            json!({"Test": ["CMD", "a"], "Interval": 5_000_000_000_u64, "Timeout": 90_000_000_000_u64,
                "StartInterval": 2_000_000_000_u64, "Retries": 3}),
        ),
    ] {
        assert_eq!(changed(&[text])[field], expected, "{text}");
    }
}

#[test]
fn a_variable_may_hold_several_ports() {
    let ports = &changed(&["ENV P=\"80 90-91/udp\"", "EXPOSE $P"])["ExposedPorts"];
    assert_eq!(*ports, json!({"80/tcp": {}, "90/udp": {}, "91/udp": {}}));
}

#[test]
fn an_entrypoint_takes_the_images_command_away_and_no_other() {
    assert_eq!(changed(&["ENTRYPOINT [\"e\"]"]).get("Cmd"), None);
    assert_eq!(changed(&["CMD c", "ENTRYPOINT [\"e\"]"])["Cmd"], json!(["/bin/sh", "-c", "c"]));
    assert_eq!(changed(&["ENTRYPOINT [\"e\"]", "CMD [\"c\"]"])["Cmd"], json!(["c"]));
    let without = changed(&["ENTRYPOINT [\"e\"]", "ENTRYPOINT []"]);
    assert_eq!((without.get("Entrypoint"), without.get("Cmd")), (None, None));
}

#[test]
fn the_configurations_shell_is_used() {
    let mut config = base();
    config.extra.insert("Shell".to_owned(), json!(["/bin/bash", "-lc"]));
    apply(&[parse("CMD x")], &mut config).expect("applied");
    assert_eq!(config.cmd, Some(["/bin/bash", "-lc", "x"].map(str::to_owned).to_vec()));
}

#[test]
fn later_changes_see_earlier_ones() {
    let config = changed(&["ENV A=2", "ENV B=$A$A", "LABEL l=$B", "WORKDIR a", "WORKDIR $B"]);
    assert_eq!(config["Labels"], json!({"l": "22"}));
    assert_eq!(config["WorkingDir"], json!("/srv/a/22"));
}

#[test]
fn one_text_may_hold_several_lines() {
    let config = changed(&["# why\nENV \\\n  # also a comment\n  B=2 \\\n  C=3\n\nUSER me\n"]);
    assert_eq!(config["Env"], json!(["PATH=/bin", "A=1", "B=2", "C=3"]));
    assert_eq!(config["User"], json!("me"));
    assert!(matches!("USER a\nUSER b".parse::<Change>(), Err(ChangeError::SeveralLines(_))));
}

#[test]
fn bad_changes_are_refused_and_change_nothing() {
    for (text, expected) in [
        ("", "must not be empty"),
        ("# only a comment", "must not be empty"),
        ("RUN x", "RUN is not a valid change; valid are CMD"),
        ("SHELL [\"x\"]", "SHELL is not a valid change"),
        ("FROM x", "not a valid change"),
        ("CMD", "CMD needs an argument"),
        ("ENV", "ENV needs an argument"),
        ("CMD [\"a\", 1]", "not a string"),
        ("ENV a", "not NAME=VALUE"),
        ("ENV a=b c", "\"c\" is not NAME=VALUE"),
        ("ENV =b", "must not be empty"),
        ("ENV $NO=b", "must not be empty"),
        ("ENV a='b", "the quote ' is not closed"),
        ("ENV a=${b", "not closed"),
        ("LABEL a=${b%c}", "modifier"),
        ("EXPOSE 0", "\"0\" is not PORT"),
        ("EXPOSE 8080:80", "is not PORT"),
        ("EXPOSE 80/icmp", "is not PORT"),
        ("ONBUILD FROM x", "FROM is not allowed"),
        ("ONBUILD ONBUILD RUN x", "ONBUILD is not allowed"),
        ("ONBUILD MAINTAINER x", "MAINTAINER is not allowed"),
        ("ONBUILD RUN", "RUN without an argument"),
        ("USER a b", "takes one argument"),
        ("USER $NO", "needs an argument"),
        ("VOLUME []", "needs an argument"),
        ("VOLUME [\"\"]", "must not be empty"),
        ("VOLUME [1]", "not a string"),
        ("WORKDIR $NO", "needs an argument"),
        ("STOPSIGNAL SIGNOT", "no signal"),
        ("STOPSIGNAL 0", "no signal"),
        ("HEALTHCHECK x", "neither NONE nor CMD"),
        ("HEALTHCHECK NONE x", "neither NONE nor CMD"),
        ("HEALTHCHECK CMD", "neither NONE nor CMD"),
        ("HEALTHCHECK CMD []", "neither NONE nor CMD"),
        ("HEALTHCHECK --interval=5s NONE", "neither NONE nor CMD"),
        ("HEALTHCHECK --interval=5 CMD x", "no duration"),
        ("HEALTHCHECK --interval=1us CMD x", "out of range"),
        ("HEALTHCHECK --interval=-1s CMD x", "out of range"),
        ("HEALTHCHECK --retries=-1 CMD x", "out of range"),
        ("HEALTHCHECK --retries=1 --retries=1 CMD x", "there twice"),
        ("HEALTHCHECK --foo=1 CMD x", "no option"),
        ("HEALTHCHECK --interval CMD x", "no option"),
        ("USER ok\nEXPOSE 0", "is not PORT"),
    ] {
        refused(text, expected);
    }
}

#[test]
fn changes_are_described_on_one_line() {
    for (text, expected) in [
        ("cmd [ \"x\",\"y z\" ]", "CMD [\"x\",\"y z\"]"),
        ("CMD x y", "CMD x y"),
        ("ENV a b c", "ENV a b c"),
        ("ENV a b", "ENV a=b"),
        ("env a=b  c=\"d e\"", "ENV a=b c=\"d e\""),
        ("EXPOSE 80   90", "EXPOSE 80 90"),
        ("VOLUME /a /b", "VOLUME [\"/a\",\"/b\"]"),
        (
            "HEALTHCHECK --interval=90s --retries=2 CMD [\"x\"]",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD [\"x\"]",
        ),
        ("healthcheck none", "HEALTHCHECK NONE"),
        ("ONBUILD run x", "ONBUILD run x"),
    ] {
        assert_eq!(parse(text).describe(), expected);
    }
}

proptest! {
    #[test]
    fn what_is_described_is_read_as_the_same(
        word in "CMD|ENTRYPOINT|ENV|EXPOSE|LABEL|ONBUILD RUN|USER|VOLUME|WORKDIR|STOPSIGNAL|HEALTHCHECK CMD",
        rest in "\\PC{0,20}|[a-c=$\"'\\\\ \\[\\],{}0-9]{1,30}|\\[\"[a-c$ ]{0,9}\"\\]"
    ) {
        if let Ok(change) = format!("{word} {rest}").parse::<Change>() {
            let text = change.describe();
            // A backslash at the end of a line would be read as its continuation.
            if !text.trim_end().ends_with('\\') {
                prop_assert_eq!(text.parse::<Change>(), Ok(change));
            }
        }
    }

    #[test]
    fn no_text_makes_it_panic(
        word in "|CMD|ENV|EXPOSE|LABEL|ONBUILD|USER|VOLUME|WORKDIR|STOPSIGNAL|HEALTHCHECK",
        rest in "[\\PC\n]{0,40}"
    ) {
        let mut config = base();
        if let Ok(changes) = parse_all(&[format!("{word} {rest}")]) {
            let result = apply(&changes, &mut config);
            prop_assert!(result.is_ok() || config == base());
        }
    }
}
