//! Files of tests read, and run over a table of files in memory.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;

use proptest::prelude::*;
use serde_json::json;

use super::command::CommandOutput;
use super::*;

/// The example of container-structure-test's documentation, with what it says about each field.
const YAML: &str = r#"
schemaVersion: "2.0.0"
globalEnvVars:
  - key: "VIRTUAL_ENV"
    value: "/env"
containerRunOptions:
  user: "root"
  privileged: true
  allocateTty: true
  envFile: path/to/.env
  envVars: [SECRET_KEY_FOO]
  capabilities: [NET_BIND_SERVICE]
  bindMounts: [/etc/example/dir:/etc/dir]
commandTests:
  - name: "gunicorn flask"
    setup: [["virtualenv", "/env"], ["pip", "install", "gunicorn", "flask"]]
    command: "which"
    args: ["gunicorn"]
    expectedOutput: ["/env/bin/gunicorn"]
    excludedError: ['.*Inst.*Security.*']
    exitCode: 1
fileExistenceTests:
- name: 'Root'
  path: '/'
  permissions: 'drwxr-xr-x'
  uid: 0
  gid: 0
  isExecutableBy: 'group'
- name: 'No such file'
  path: '/none'
  shouldExist: false
- name: 'Tool'
  path: '$BIN/tool'
  shouldExist: true
  permissions: 'urwxr-x---'
  isExecutableBy: any
fileContentTests:
- name: 'Debian Sources'
  path: '/etc/apt/sources.list'
  expectedContents: ['.*deb\.debian\.org.*', '^deb ']
  excludedContents: ['.*gce_debian_mirror.*']
metadataTest:
  envVars:
    - key: BIN
      value: /usr/bin
    - key: DATE
      value: '^\d{4}$'
      isRegex: true
  unboundEnvVars:
    - key: NO
  labels:
    - key: 'com.example.vendor'
      value: 'ACME Incorporated'
  exposedPorts: ["8080", "53/udp"]
  unexposedPorts: ["80"]
  volumes: ["/test"]
  unmountedVolumes: ["/other"]
  entrypoint: []
  cmd: ["/bin/bash"]
  workdir: "/app"
  user: "luke"
licenseTests:
- debian: true
  files: ["/foo/bar"]
"#;

/// Files with mode, owner and content.
struct Table(BTreeMap<&'static str, (u32, u32, &'static str)>);

impl Files for Table {
    type Error = io::Error;

    fn stat(&self, path: &[u8]) -> io::Result<Option<FileFact>> {
        if path.starts_with(b"/shut") {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        let found = std::str::from_utf8(path).ok().and_then(|path| self.0.get(path));
        Ok(found.map(|(mode, id, _)| FileFact { mode: *mode, uid: *id, gid: *id }))
    }

    fn read(&self, path: &[u8]) -> io::Result<Vec<u8>> {
        let found = std::str::from_utf8(path).ok().and_then(|path| self.0.get(path));
        found.map(|(_, _, content)| content.as_bytes().to_vec()).ok_or(io::ErrorKind::NotFound.into())
    }
}

fn files() -> Table {
    Table(BTreeMap::from([
        ("/", (0o040_755, 0, "")),
        ("/usr/bin/tool", (0o104_750, 7, "")),
        ("/etc/apt/sources.list", (0o100_644, 0, "deb http://deb.debian.org/debian trixie main\n")),
    ]))
}

fn config() -> RunConfig {
    let json = json!({
        "Env": ["BIN=/usr/bin", "DATE=2024"], "Labels": {"com.example.vendor": "ACME Incorporated"},
        "ExposedPorts": {"8080/tcp": {}, "53/udp": {}}, "Volumes": {"/test": {}}, "Cmd": ["/bin/bash"],
        "WorkingDir": "/app", "User": "luke",
    });
    serde_json::from_value(json).expect("a configuration")
}

fn parse(text: &str) -> StructureTest {
    StructureTest::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = StructureTest::parse(text).expect_err(text).to_string();
    assert!(error.contains(expected), "{text}: {error}");
}

/// What is wrong, of the only test in a file whose rest is `text`.
fn wrong(text: &str) -> Vec<String> {
    let tests = parse(&format!("schemaVersion: 2.0.0\n{text}"));
    match tests.evaluate(&files(), &NoRunner, &config()).pop().expect("one").result {
        TestResult::Fail(wrong) => wrong,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_documented_example_passes() {
    let outcomes = parse(YAML).evaluate(&files(), &NoRunner, &config());
    let kinds: Vec<&str> = outcomes.iter().map(|outcome| outcome.kind.title()).collect();
    assert_eq!(
        kinds,
        [
            "Command Test",
            "File Existence Test",
            "File Existence Test",
            "File Existence Test",
            "File Content Test",
            "License Test",
            "Metadata Test"
        ]
    );
    for outcome in outcomes {
        match outcome.kind {
            Kind::Command | Kind::License => assert!(matches!(outcome.result, TestResult::Skipped(_))),
            _ => assert_eq!(outcome.result, TestResult::Pass, "{}", outcome.name),
        }
    }
}

#[test]
fn json_is_read_as_well() {
    let tests = parse(
        r#"{"schemaVersion": "2.0.0", "fileExistenceTests": [{"name": "a", "path": "/none", "shouldExist": true}],
            "metadataTest": {"env": [{"key": "BIN", "value": "/usr/bin"}]}}"#,
    );
    let results = tests.evaluate(&files(), &NoRunner, &config());
    assert_eq!(results[0].result, TestResult::Fail(vec!["/none should exist and does not".to_owned()]));
    assert_eq!(results[1].result, TestResult::Pass);
}

#[test]
fn what_is_wrong_with_files_is_told() {
    let test = |rest: &str| wrong(&format!("fileExistenceTests: [{{name: a, {rest}}}]"));
    assert_eq!(test("path: /, shouldExist: false"), ["/ should not exist and does"]);
    assert_eq!(test("path: /shut/x"), ["cannot look up /shut/x: permission denied"]);
    assert_eq!(
        test("path: /usr/bin/tool, permissions: '-rwxr-x---', uid: 1, gid: -1, isExecutableBy: other"),
        [
            "/usr/bin/tool has the permissions -rwsr-x---; -rwxr-x--- was expected",
            "/usr/bin/tool belongs to the user 7; 1 was expected",
            "/usr/bin/tool should be executable by others; its permissions are -rwsr-x---",
        ]
    );
    let test = |rest: &str| wrong(&format!("fileContentTests: [{{name: a, {rest}}}]"));
    assert_eq!(test("path: /none"), ["cannot read /none: entity not found"]);
    let found =
        test("path: /etc/apt/sources.list, expectedContents: [ubuntu], excludedContents: ['^deb', no]");
    assert!(found[0].contains("does not match \"ubuntu\"; it is \"deb http"), "{found:?}");
    assert_eq!(found[1..], ["/etc/apt/sources.list matches \"^deb\" and should not"]);
}

#[test]
fn what_is_wrong_with_the_configuration_is_told() {
    let found = wrong(
        "metadataTest: {envVars: [{key: A, value: b}, {key: DATE, value: '^x', isRegex: true}], unboundEnvVars: [{key: \
         BIN}], labels: [{key: com.example.vendor, value: x}], exposedPorts: ['53/tcp'], unexposedPorts: ['8080'], \
         volumes: [/x], unmountedVolumes: [/test], entrypoint: [e], cmd: [], workdir: /, user: root}",
    );
    assert_eq!(
        found,
        [
            "variable A is not set; \"b\" was expected",
            "variable DATE is \"2024\"; a match of \"^x\" was expected",
            "variable BIN should not be set; it is \"/usr/bin\"",
            "label com.example.vendor is \"ACME Incorporated\"; \"x\" was expected",
            "port 53/tcp should be exposed and is not",
            "port 8080 should not be exposed and is",
            "volume /x should be there and is not",
            "volume /test should not be there and is",
            "entrypoint is []; [\"e\"] was expected",
            "cmd is [\"/bin/bash\"]; [] was expected",
            "workdir is \"/app\"; \"/\" was expected",
            "user is \"luke\"; \"root\" was expected",
        ]
    );
}

#[test]
fn a_commands_output_is_judged() {
    let tests = parse(YAML);
    let test = &tests.schema().command_tests[0];
    let good =
        CommandOutput { exit_code: 1, stdout: b"/env/bin/gunicorn\n".to_vec(), stderr: b"\xff".to_vec() };
    assert_eq!(test.judge(&good), TestResult::Pass);
    let bad = CommandOutput { exit_code: 0, stdout: Vec::new(), stderr: b"Inst a Security b".to_vec() };
    assert_eq!(
        test.judge(&bad),
        TestResult::Fail(vec![
            "standard output does not match \"/env/bin/gunicorn\"; it is \"\"".to_owned(),
            "standard error matches \".*Inst.*Security.*\" and should not".to_owned(),
            "exited with 0; 1 was expected".to_owned(),
        ])
    );
}

#[test]
fn a_runner_runs_the_commands() {
    struct Echo;
    impl Runner for Echo {
        fn run(&self, run: &CommandRun) -> TestResult {
            let CommandRun { test, variables, options } = run;
            TestResult::Skipped(format!("{} {} {}", test.command, variables.len(), options.privileged))
        }
    }
    let outcomes = parse(YAML).evaluate(&files(), &Echo, &config());
    assert_eq!(outcomes[0].result, TestResult::Skipped("which 1 true".to_owned()));
}

#[test]
fn what_is_not_of_the_schema_is_refused() {
    refused("", "cannot read");
    refused("schemaVersion: 1.0.0", "schemaVersion \"1.0.0\"");
    refused("fileExistenceTests: []", "schemaVersion");
    refused("schemaVersion: 2.0.0\nfileTests: []", "fileTests");
    refused(
        "schemaVersion: 2.0.0\nfileExistenceTests: [{name: a, path: /, shouldExists: true}]",
        "shouldExists",
    );
    refused(r#"{"schemaVersion": "2.0.0", "metadataTest": {"ports": []}}"#, "unknown field `ports`");
    refused("schemaVersion: 2.0.0\nfileExistenceTests: [{name: a, path: /, isExecutableBy: me}]", "me");
    refused("schemaVersion: 2.0.0\nfileExistenceTests: [{name: '', path: /}]", "name must not be empty");
    refused("schemaVersion: 2.0.0\nfileContentTests: [{name: a, path: ''}]", "path must not be empty");
    refused("schemaVersion: 2.0.0\ncommandTests: [{name: a, command: ''}]", "command must not be empty");
    refused("schemaVersion: 2.0.0\ncommandTests: [{name: a, command: b, setup: [[]]}]", "setup");
    refused("schemaVersion: 2.0.0\nmetadataTest: {labels: [{key: '', value: a}]}", "key must not be empty");
    refused(
        "schemaVersion: 2.0.0\nfileContentTests: [{name: a, path: /, expectedContents: ['(']}]",
        "file content test \"a\": \"(\" is no regular expression",
    );
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(at in 0..YAML.len(), with in "\\PC{0,3}", text in "\\PC*|[a-z:\\[\\]{}&*!|> \n-]{0,60}") {
        prop_assert!(StructureTest::parse(&text).is_err());
        let damaged = [&YAML[..at], &with, &YAML[at..]].concat();
        if let Ok(tests) = StructureTest::parse(&damaged) {
            prop_assert!(tests.evaluate(&files(), &NoRunner, &config()).len() <= 7);
        }
    }
}

/// The trait can be had for files that never fail.
#[test]
fn files_need_not_fail() {
    struct Nothing;
    impl Files for Nothing {
        type Error = Infallible;

        fn stat(&self, _: &[u8]) -> Result<Option<FileFact>, Infallible> {
            Ok(None)
        }

        fn read(&self, _: &[u8]) -> Result<Vec<u8>, Infallible> {
            Ok(Vec::new())
        }
    }
    assert_eq!(parse(YAML).evaluate(&Nothing, &NoRunner, &config()).len(), 7);
}
