//! What a container runs: the image's configuration with what was asked for put over it, by docker's rules. Pure.

use serde::{Deserialize, Serialize};

use super::error::RunError;
use crate::oci::config::RunConfig;

/// The search path of a container whose image sets none.
pub const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What was asked for in place of what the image says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// The program in place of the image's entrypoint; empty for none.
    pub entrypoint: Option<String>,
    /// The arguments in place of the image's.
    pub arguments: Vec<String>,
    /// `NAME=VALUE`; a bare `NAME` takes a variable away.
    pub env: Vec<String>,
    /// The working directory.
    pub working_dir: Option<String>,
    /// The user, or the user and the group.
    pub user: Option<String>,
}

/// The configuration of a container of an image. A new entrypoint drops the image's arguments.
pub fn merge(image: &RunConfig, asked: &Asked) -> RunConfig {
    let mut config = image.clone();
    if let Some(entrypoint) = &asked.entrypoint {
        config.entrypoint = (!entrypoint.is_empty()).then(|| vec![entrypoint.clone()]);
        config.cmd = None;
    }
    if !asked.arguments.is_empty() {
        config.cmd = Some(asked.arguments.clone());
    }
    put_over(&mut config.env, &asked.env);
    if let Some(dir) = &asked.working_dir {
        config.working_dir.clone_from(dir);
    }
    if let Some(user) = &asked.user {
        config.user.clone_from(user);
    }
    config
}

/// Puts variables over others: those of the same name are replaced where they stand, others added. A bare name takes
/// one away.
pub fn put_over(env: &mut Vec<String>, over: &[String]) {
    for variable in over {
        let place = env.iter().position(|other| name_of(other) == name_of(variable));
        match (variable.contains('='), place) {
            (true, Some(at)) => env[at].clone_from(variable),
            (true, None) => env.push(variable.clone()),
            (false, Some(at)) => drop(env.remove(at)),
            (false, None) => {}
        }
    }
}

/// The name of a variable `NAME=VALUE`.
pub fn name_of(variable: &str) -> &str {
    variable.split_once('=').map_or(variable, |(name, _)| name)
}

/// The program and its arguments.
///
/// # Errors
/// [`RunError::NoCommand`], [`RunError::Nul`].
pub fn arguments(config: &RunConfig) -> Result<Vec<String>, RunError> {
    let parts = [config.entrypoint.as_deref(), config.cmd.as_deref()];
    let arguments: Vec<String> = parts.into_iter().flatten().flatten().cloned().collect();
    if arguments.first().is_none_or(String::is_empty) {
        return Err(RunError::NoCommand);
    }
    refuse_nul("an argument", &arguments)?;
    Ok(arguments)
}

/// The environment of a program in the container: the container's own, what every container has, the home directory.
///
/// # Errors
/// [`RunError::Nul`].
pub fn environment(
    config: &RunConfig,
    hostname: Option<&str>,
    terminal: Terminal,
    home: &str,
) -> Result<Vec<String>, RunError> {
    let mut env = vec![DEFAULT_PATH.to_owned()];
    env.extend(hostname.map(|hostname| format!("HOSTNAME={hostname}")));
    if terminal == Terminal::Yes {
        env.push("TERM=xterm".to_owned());
    }
    let own: Vec<String> = config.env.iter().filter(|variable| variable.contains('=')).cloned().collect();
    put_over(&mut env, &own);
    if !env.iter().any(|variable| name_of(variable) == "HOME") {
        env.push(format!("HOME={home}"));
    }
    refuse_nul("the environment", &env)?;
    Ok(env)
}

/// Whether a program has a terminal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terminal {
    /// It has one.
    Yes,
    /// It has pipes, files, or what the caller has.
    #[default]
    No,
}

fn refuse_nul(what: &'static str, texts: &[String]) -> Result<(), RunError> {
    match texts.iter().find(|text| text.contains('\0')) {
        None => Ok(()),
        Some(text) => Err(RunError::Nul { what, text: text.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    fn image(entrypoint: &str, cmd: &str) -> RunConfig {
        let some = |text: &str| (!text.is_empty()).then(|| words(text));
        RunConfig { entrypoint: some(entrypoint), cmd: some(cmd), ..RunConfig::default() }
    }

    #[test]
    fn entrypoint_and_arguments_combine_as_with_docker() {
        let table = [
            (("", "sh"), None, "", "sh"),
            (("", "sh"), None, "ls -l", "ls -l"),
            (("/start", "a b"), None, "", "/start a b"),
            (("/start", "a b"), None, "c", "/start c"),
            (("/start", "a b"), Some("env"), "", "env"),
            (("/start", "a b"), Some("env"), "-i sh", "env -i sh"),
            (("/start", "a b"), Some(""), "c", "c"),
        ];
        for ((entrypoint, cmd), asked, typed, expected) in table {
            let asked =
                Asked { entrypoint: asked.map(str::to_owned), arguments: words(typed), ..Asked::default() };
            let merged = merge(&image(entrypoint, cmd), &asked);
            assert_eq!(
                arguments(&merged).expect("a command"),
                words(expected),
                "{entrypoint} {cmd} {asked:?}"
            );
        }
        let nothing =
            merge(&image("/start", "a"), &Asked { entrypoint: Some(String::new()), ..Asked::default() });
        assert!(matches!(arguments(&nothing), Err(RunError::NoCommand)));
        assert!(matches!(arguments(&image("", "")), Err(RunError::NoCommand)));
    }

    #[test]
    fn variables_are_replaced_added_and_taken_away() {
        let config = RunConfig { env: words("A=1 PATH=/x B=2"), ..RunConfig::default() };
        let asked = Asked { env: words("B=3 A C=x=y D"), ..Asked::default() };
        let merged = merge(&config, &asked);
        assert_eq!(merged.env, words("PATH=/x B=3 C=x=y"));
        let env = environment(&merged, Some("h"), Terminal::Yes, "/root").expect("good");
        assert_eq!(env, words("PATH=/x HOSTNAME=h TERM=xterm B=3 C=x=y HOME=/root"));
        let env = environment(&RunConfig::default(), None, Terminal::No, "/").expect("good");
        assert_eq!(env, [DEFAULT_PATH, "HOME=/"]);
    }

    #[test]
    fn zero_bytes_are_refused() {
        let config = RunConfig { cmd: Some(vec!["a".into(), "b\0".into()]), ..RunConfig::default() };
        assert!(matches!(arguments(&config), Err(RunError::Nul { .. })));
    }
}
