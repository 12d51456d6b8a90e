//! Writes a change as an image's history shows it. What is written is read as the same change again,
//! unless it ends with a backslash, which no line can.

use super::{Change, Command, Word, words};

impl Change {
    /// The instruction on one line: `ENV a=b`, `CMD ["x"]`. Variables are as they were written.
    pub fn describe(&self) -> String {
        match self {
            Change::Cmd(command) => format!("CMD {}", command.describe()),
            Change::Entrypoint(command) => format!("ENTRYPOINT {}", command.describe()),
            Change::Env(pairs) => format!("ENV {}", describe_pairs(pairs)),
            Change::Expose(ports) => format!("EXPOSE {}", join(ports)),
            Change::Label(pairs) => format!("LABEL {}", describe_pairs(pairs)),
            Change::OnBuild(trigger) => format!("ONBUILD {trigger}"),
            Change::User(Word(user)) => format!("USER {user}"),
            Change::Volume(paths) => {
                format!("VOLUME {}", describe_list(paths.iter().map(|Word(path)| path.as_str())))
            }
            Change::WorkDir(Word(path)) => format!("WORKDIR {path}"),
            Change::StopSignal(Word(signal)) => format!("STOPSIGNAL {signal}"),
            Change::HealthCheck(check) => format!("HEALTHCHECK {}", check.describe()),
        }
    }
}

impl Command {
    /// The JSON list, or the line.
    pub(super) fn describe(&self) -> String {
        match self {
            Command::Exec(arguments) => describe_list(arguments.iter().map(String::as_str)),
            Command::Shell(line) => line.clone(),
        }
    }
}

/// `a=b c=d`; a value that only the older form can hold is written in it.
fn describe_pairs(pairs: &[(Word, Word)]) -> String {
    if let [(Word(name), Word(value))] = pairs
        && words::split(&format!("{name}={value}")).len() != 1
    {
        return format!("{name} {value}");
    }
    let pairs: Vec<_> = pairs.iter().map(|(Word(name), Word(value))| format!("{name}={value}")).collect();
    pairs.join(" ")
}

/// A JSON list.
fn describe_list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(texts).to_string()
}

/// The words with blanks between them.
fn join(words: &[Word]) -> String {
    words.iter().map(|Word(word)| word.as_str()).collect::<Vec<_>>().join(" ")
}
