//! Reads Dockerfile instructions as far as they may be changes.

use std::str::FromStr;

use super::{Change, ChangeError, Command, Word, health, words};

/// The instructions that docker's commit takes.
pub const INSTRUCTIONS: &[&str] = &[
    "CMD",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "ONBUILD",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// What may follow ONBUILD.
const TRIGGERS: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "HEALTHCHECK",
    "LABEL",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads changes. Each text is one or several lines with an instruction each; a backslash at the end of a line joins it
/// to the next; empty lines and lines that begin with `#` are left out.
///
/// # Errors
/// The first text that is no instruction, or has none.
pub fn parse_all<T: AsRef<str>>(texts: &[T]) -> Result<Vec<Change>, ChangeError> {
    let mut changes = Vec::new();
    for text in texts {
        let lines = logical_lines(text.as_ref());
        if lines.is_empty() {
            return Err(ChangeError::Empty);
        }
        for line in lines {
            changes.push(parse_line(&line)?);
        }
    }
    Ok(changes)
}

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Change, ChangeError> {
        match logical_lines(text).as_slice() {
            [] => Err(ChangeError::Empty),
            [line] => parse_line(line),
            _ => Err(ChangeError::SeveralLines(text.to_owned())),
        }
    }
}

/// The lines with an instruction, continuations joined.
fn logical_lines(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pending = String::new();
    for line in text.lines() {
        let start = line.trim_start();
        // A comment does not end a continued line.
        if start.starts_with('#') || start.is_empty() {
            continue;
        }
        match line.trim_end().strip_suffix('\\') {
            Some(head) => pending.push_str(head),
            None => {
                pending.push_str(line);
                lines.push(std::mem::take(&mut pending));
            }
        }
    }
    if !pending.trim().is_empty() {
        lines.push(pending);
    }
    lines
}

/// Reads one instruction.
fn parse_line(line: &str) -> Result<Change, ChangeError> {
    let (word, rest) = split_first(line);
    let upper = word.to_ascii_uppercase();
    let Some(instruction) = INSTRUCTIONS.iter().copied().find(|i| *i == upper) else {
        return Err(ChangeError::Instruction(upper));
    };
    if rest.is_empty() {
        return Err(ChangeError::NoArgument(instruction));
    }
    Ok(match instruction {
        "CMD" => Change::Cmd(command(instruction, rest)?),
        "ENTRYPOINT" => Change::Entrypoint(command(instruction, rest)?),
        "ENV" => Change::Env(words::pairs(instruction, rest)?),
        "EXPOSE" => Change::Expose(rest.split_whitespace().map(|word| Word(word.to_owned())).collect()),
        "HEALTHCHECK" => Change::HealthCheck(health::parse(rest)?),
        "LABEL" => Change::Label(words::pairs(instruction, rest)?),
        "ONBUILD" => Change::OnBuild(trigger(rest)?),
        "STOPSIGNAL" => Change::StopSignal(one_word(instruction, rest)?),
        "USER" => Change::User(one_word(instruction, rest)?),
        "VOLUME" => Change::Volume(volumes(rest)?),
        // A path may have blanks.
        _ => Change::WorkDir(Word(rest.to_owned())),
    })
}

/// The first word, and what follows it.
pub fn split_first(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (first, rest.trim_start())
}

/// A JSON list of texts, or a line for the shell. What begins like a list and is no JSON is a line, as with docker.
pub fn command(instruction: &'static str, text: &str) -> Result<Command, ChangeError> {
    Ok(match list(instruction, text)? {
        Some(arguments) => Command::Exec(arguments),
        None => Command::Shell(text.to_owned()),
    })
}

/// A JSON list of texts; `None` where it is no JSON list.
fn list(instruction: &'static str, text: &str) -> Result<Option<Vec<String>>, ChangeError> {
    let Ok(members) = serde_json::from_str::<Vec<serde_json::Value>>(text) else { return Ok(None) };
    let texts = members.into_iter().map(|member| match member {
        serde_json::Value::String(text) => Ok(text),
        _ => Err(ChangeError::NotStrings { instruction, found: text.to_owned() }),
    });
    texts.collect::<Result<_, _>>().map(Some)
}

/// An argument without unquoted blanks.
fn one_word(instruction: &'static str, text: &str) -> Result<Word, ChangeError> {
    match words::split(text).as_slice() {
        [word] => Ok(Word((*word).to_owned())),
        _ => Err(ChangeError::OneArgument { instruction, found: text.to_owned() }),
    }
}

/// Paths, as a JSON list or with blanks between them.
fn volumes(text: &str) -> Result<Vec<Word>, ChangeError> {
    let paths = match list("VOLUME", text)? {
        Some(paths) if paths.is_empty() => return Err(ChangeError::NoArgument("VOLUME")),
        Some(paths) => paths,
        None => text.split_whitespace().map(str::to_owned).collect(),
    };
    Ok(paths.into_iter().map(Word).collect())
}

/// An instruction that is kept for later.
fn trigger(text: &str) -> Result<String, ChangeError> {
    let (word, rest) = split_first(text);
    let instruction = word.to_ascii_uppercase();
    if !TRIGGERS.contains(&instruction.as_str()) {
        return Err(ChangeError::OnBuild(instruction));
    }
    if rest.is_empty() {
        return Err(ChangeError::OnBuild(format!("{instruction} without an argument")));
    }
    Ok(text.to_owned())
}
