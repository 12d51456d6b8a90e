//! Applies changes to a run configuration, as docker's builder executes the instructions.

use serde_json::Value;

use super::{Change, ChangeError, Command, Word, port, signal};
use crate::oci::config::{RunConfig, Set};

/// The shell where the configuration names none.
const SHELL: &[&str] = &["/bin/sh", "-c"];

/// Applies changes in order; each sees the variables that earlier ones set. ENTRYPOINT takes away the command that
/// the image had, as in a Dockerfile, but not one that an earlier change has set. On failure `config` is as before.
///
/// # Errors
/// The first change that cannot be applied.
pub fn apply(changes: &[Change], config: &mut RunConfig) -> Result<(), ChangeError> {
    let mut target = Target { config: config.clone(), command: CommandIs::TheImages };
    for change in changes {
        target.apply(change)?;
    }
    *config = target.config;
    Ok(())
}

/// Where the configuration's command comes from.
enum CommandIs {
    /// From before.
    TheImages,
    /// From one of the changes.
    Set,
}

struct Target {
    config: RunConfig,
    command: CommandIs,
}

impl Target {
    fn apply(&mut self, change: &Change) -> Result<(), ChangeError> {
        match change {
            Change::Cmd(command) => self.set_command(command),
            Change::Entrypoint(command) => self.set_entrypoint(command),
            Change::Env(pairs) => self.set_env(pairs)?,
            Change::Expose(ports) => self.expose(ports)?,
            Change::Label(pairs) => self.set_labels(pairs)?,
            Change::OnBuild(trigger) => self.config.on_build.push(trigger.clone()),
            Change::User(user) => self.config.user = self.set_user(user)?,
            Change::Volume(paths) => self.add_volumes(paths)?,
            Change::WorkDir(path) => self.config.working_dir = self.working_dir(path)?,
            Change::StopSignal(signal) => self.set_stop_signal(signal)?,
            Change::HealthCheck(check) => self.config.healthcheck = Some(check.to_json()),
        }
        Ok(())
    }

    fn set_command(&mut self, command: &Command) {
        let command = self.resolve(command);
        if !command.is_empty() {
            self.command = CommandIs::Set;
        }
        self.config.cmd = Some(command);
    }

    fn set_entrypoint(&mut self, command: &Command) {
        // `ENTRYPOINT []` takes the entrypoint away.
        self.config.entrypoint = Some(self.resolve(command)).filter(|command| !command.is_empty());
        if matches!(self.command, CommandIs::TheImages) {
            self.config.cmd = None;
        }
    }

    /// Program and arguments, with the shell before a line.
    fn resolve(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(arguments) => arguments.clone(),
            Command::Shell(line) => [self.shell(), vec![line.clone()]].concat(),
        }
    }

    /// The configuration's shell (`Shell` of docker's), or the usual one.
    fn shell(&self) -> Vec<String> {
        let shell: Vec<String> = match self.config.extra.get("Shell").and_then(Value::as_array) {
            Some(words) => words.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            None => Vec::new(),
        };
        if shell.is_empty() { SHELL.iter().map(|word| (*word).to_owned()).collect() } else { shell }
    }

    /// A word's meaning with the variables that are set now.
    fn expand(&self, instruction: &'static str, word: &Word) -> Result<String, ChangeError> {
        word.expand(instruction, &self.config.env)
    }

    /// The meaning of pairs. All see the variables as they were before the instruction.
    fn expand_pairs(
        &self,
        instruction: &'static str,
        pairs: &[(Word, Word)],
    ) -> Result<Vec<(String, String)>, ChangeError> {
        let expand = |(name, value): &(Word, Word)| {
            Ok((self.expand(instruction, name)?, self.expand(instruction, value)?))
        };
        let expanded: Vec<(String, String)> = pairs.iter().map(expand).collect::<Result<_, _>>()?;
        if expanded.iter().any(|(name, _)| name.is_empty()) {
            return Err(ChangeError::EmptyName(instruction));
        }
        Ok(expanded)
    }

    fn set_env(&mut self, pairs: &[(Word, Word)]) -> Result<(), ChangeError> {
        for (name, value) in self.expand_pairs("ENV", pairs)? {
            if name.contains(['=', '\0']) || value.contains('\0') {
                return Err(ChangeError::BadName { instruction: "ENV", name });
            }
            let entry = format!("{name}={value}");
            let of = |entry: &&mut String| entry.split_once('=').map_or(entry.as_str(), |(n, _)| n) == name;
            match self.config.env.iter_mut().find(of) {
                Some(old) => *old = entry,
                None => self.config.env.push(entry),
            }
        }
        Ok(())
    }

    fn set_labels(&mut self, pairs: &[(Word, Word)]) -> Result<(), ChangeError> {
        let pairs = self.expand_pairs("LABEL", pairs)?;
        self.config.labels.extend(pairs);
        Ok(())
    }

    fn expose(&mut self, ports: &[Word]) -> Result<(), ChangeError> {
        for word in ports {
            // A variable may hold several ports.
            for ports in self.expand("EXPOSE", word)?.split_whitespace() {
                add(&mut self.config.exposed_ports, port::parse(ports)?);
            }
        }
        Ok(())
    }

    fn set_user(&self, user: &Word) -> Result<String, ChangeError> {
        let user = self.expand("USER", user)?;
        match user.as_str() {
            "" => Err(ChangeError::NoArgument("USER")),
            _ if user.contains(char::is_whitespace) => {
                Err(ChangeError::OneArgument { instruction: "USER", found: user })
            }
            _ => Ok(user),
        }
    }

    fn add_volumes(&mut self, paths: &[Word]) -> Result<(), ChangeError> {
        let expand = |path| self.expand("VOLUME", path).map(|path| path.trim().to_owned());
        let paths: Vec<String> = paths.iter().map(expand).collect::<Result<_, _>>()?;
        if paths.iter().any(String::is_empty) {
            return Err(ChangeError::EmptyName("VOLUME"));
        }
        add(&mut self.config.volumes, paths);
        Ok(())
    }

    /// An absolute path as it is; a relative one from the directory before.
    fn working_dir(&self, path: &Word) -> Result<String, ChangeError> {
        let path = self.expand("WORKDIR", path)?;
        if path.is_empty() {
            return Err(ChangeError::NoArgument("WORKDIR"));
        }
        if path.starts_with('/') {
            return Ok(path);
        }
        Ok(join(&self.config.working_dir, &path))
    }

    fn set_stop_signal(&mut self, word: &Word) -> Result<(), ChangeError> {
        let text = self.expand("STOPSIGNAL", word)?;
        if !signal::is_signal(&text) {
            return Err(ChangeError::Signal(text));
        }
        self.config.stop_signal = Some(text);
        Ok(())
    }
}

/// Adds members to a set.
fn add(set: &mut Set, members: Vec<String>) {
    for member in members {
        set.entry(member).or_insert_with(|| Value::Object(serde_json::Map::new()));
    }
}

/// `path` below `base`, with `.` and `..` resolved in the text.
fn join(base: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}
