//! Tests of an image's configuration.

use super::pattern;
use super::schema::{MetadataTest, Variable};
use crate::oci::config::{RunConfig, Set};

/// What is not as the test expects.
pub fn compare(test: &MetadataTest, config: &RunConfig) -> Vec<String> {
    let env = |name: &str| {
        config.env.iter().find_map(|entry| match entry.split_once('=') {
            Some((n, value)) => (n == name).then_some(value),
            None => (entry == name).then_some(""),
        })
    };
    let mut wrong = Vec::new();
    for variable in &test.env_vars {
        wrong.extend(compare_value("variable", variable, env(&variable.key)));
    }
    for Variable { key, .. } in &test.unbound_env_vars {
        if let Some(value) = env(key) {
            wrong.push(format!("variable {key} should not be set; it is {value:?}"));
        }
    }
    for label in &test.labels {
        wrong.extend(compare_value("label", label, config.labels.get(&label.key).map(String::as_str)));
    }
    wrong.extend(compare_set("port", "exposed", &test.exposed_ports, &test.unexposed_ports, |port| {
        is_exposed(&config.exposed_ports, port)
    }));
    wrong.extend(compare_set("volume", "there", &test.volumes, &test.unmounted_volumes, |volume| {
        config.volumes.contains_key(volume)
    }));
    wrong.extend(compare_list("entrypoint", test.entrypoint.as_deref(), config.entrypoint.as_deref()));
    wrong.extend(compare_list("cmd", test.cmd.as_deref(), config.cmd.as_deref()));
    wrong.extend(compare_text("workdir", test.workdir.as_deref(), &config.working_dir));
    wrong.extend(compare_text("user", test.user.as_deref(), &config.user));
    wrong
}

/// A variable or label against what was found.
fn compare_value(what: &str, expected: &Variable, found: Option<&str>) -> Option<String> {
    let Variable { key, value, is_regex } = expected;
    let Some(found) = found else { return Some(format!("{what} {key} is not set; {value:?} was expected")) };
    let same = if *is_regex { pattern::matches(value, found.as_bytes()) } else { value == found };
    let verb = if *is_regex { "a match of " } else { "" };
    (!same).then(|| format!("{what} {key} is {found:?}; {verb}{value:?} was expected"))
}

/// Members that should be in a set, and that should not.
fn compare_set(
    what: &str,
    state: &str,
    expected: &[String],
    excluded: &[String],
    is_there: impl Fn(&str) -> bool,
) -> Vec<String> {
    let missing = expected.iter().filter(|member| !is_there(member));
    let missing = missing.map(|member| format!("{what} {member} should be {state} and is not"));
    let found = excluded.iter().filter(|member| is_there(member));
    missing.chain(found.map(|member| format!("{what} {member} should not be {state} and is"))).collect()
}

/// Whether a port is exposed. Without a protocol, any will do: docker shows `80/tcp` as `80`.
fn is_exposed(ports: &Set, port: &str) -> bool {
    let number = |exposed: &String| exposed.split_once('/').map(|(n, _)| n == port);
    ports.contains_key(port) || ports.keys().any(|exposed| number(exposed) == Some(true))
}

/// A whole list. An empty one is expected, too, where there is none.
fn compare_list(what: &str, expected: Option<&[String]>, found: Option<&[String]>) -> Option<String> {
    let (expected, found) = (expected?, found.unwrap_or_default());
    (expected != found).then(|| format!("{what} is {found:?}; {expected:?} was expected"))
}

/// A whole text. An empty one expects nothing, as with container-structure-test.
fn compare_text(what: &str, expected: Option<&str>, found: &str) -> Option<String> {
    let expected = expected.filter(|text| !text.is_empty() && *text != found)?;
    Some(format!("{what} is {found:?}; {expected:?} was expected"))
}
