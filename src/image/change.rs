//! Changes to an image's run configuration, written as Dockerfile instructions: `docker commit --change`.
//!
//! What is read here is text; variables are replaced when a change is applied, because earlier changes may set them.

mod apply;
mod describe;
mod expand;
mod health;
mod parse;
mod port;
mod signal;
mod words;

pub use apply::apply;
pub use expand::ExpandError;
pub use parse::parse_all;

use super::time::TimeError;
pub use signal::is_signal;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// `CMD`: the arguments, or program and arguments where there is no entrypoint.
    Cmd(Command),
    /// `ENTRYPOINT`: the program. Takes away the arguments, unless an earlier change has set them.
    Entrypoint(Command),
    /// `ENV`: variables and values.
    Env(Vec<(Word, Word)>),
    /// `EXPOSE`: ports, or ranges of ports, with or without protocol.
    Expose(Vec<Word>),
    /// `LABEL`: names and values.
    Label(Vec<(Word, Word)>),
    /// `ONBUILD`: an instruction for those who build on the image, as it was written.
    OnBuild(String),
    /// `USER`: user, or user and group.
    User(Word),
    /// `VOLUME`: paths.
    Volume(Vec<Word>),
    /// `WORKDIR`: a path, from the one before where it is relative.
    WorkDir(Word),
    /// `STOPSIGNAL`: a signal's name or number.
    StopSignal(Word),
    /// `HEALTHCHECK`: how a container's health is tested.
    HealthCheck(HealthCheck),
}

/// A text as it was written: quotes, escapes and variables are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word(String);

/// A command in one of its two forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// A program and its arguments.
    Exec(Vec<String>),
    /// A line for the configuration's shell.
    Shell(String),
}

/// How a container's health is tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HealthCheck {
    /// Not at all, whatever the image below says.
    None,
    /// By a command.
    Test {
        /// The command.
        command: Command,
        /// When it is run.
        times: Times,
    },
}

/// When a container's health is tested. What is not given is docker's default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// Nanoseconds between two tests.
    pub interval: Option<u64>,
    /// Nanoseconds until a test counts as failed.
    pub timeout: Option<u64>,
    /// Nanoseconds at the start in which failures do not count.
    pub start_period: Option<u64>,
    /// Nanoseconds between two tests at the start.
    pub start_interval: Option<u64>,
    /// How many failures make a container unhealthy.
    pub retries: Option<u32>,
}

/// Why an instruction cannot be read or applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is nothing.
    #[error("a change must not be empty")]
    Empty,
    /// There is more than one instruction where one is expected.
    #[error("{0:?} is more than one instruction")]
    SeveralLines(String),
    /// It is no instruction, or one that a change may not be.
    #[error("{0} is not a valid change; valid are {valid}", valid = parse::INSTRUCTIONS.join(", "))]
    Instruction(String),
    /// Nothing follows the instruction.
    #[error("{0} needs an argument")]
    NoArgument(&'static str),
    /// More follows the instruction than it takes.
    #[error("{instruction} takes one argument; {found:?} is more")]
    OneArgument {
        /// The instruction.
        instruction: &'static str,
        /// What follows it.
        found: String,
    },
    /// The list has something else than texts in it.
    #[error("{instruction}: {found} has a member that is not a string in double quotes")]
    NotStrings {
        /// The instruction.
        instruction: &'static str,
        /// The list.
        found: String,
    },
    /// A pair has no equals sign.
    #[error("{instruction}: {word:?} is not NAME=VALUE")]
    NoEquals {
        /// The instruction.
        instruction: &'static str,
        /// The word.
        word: String,
    },
    /// A name or a value that must not be empty is.
    #[error("{0}: a name must not be empty")]
    EmptyName(&'static str),
    /// A name holds what would end it.
    #[error("{instruction}: the name {name:?} has a character that a name must not have")]
    BadName {
        /// The instruction.
        instruction: &'static str,
        /// The name.
        name: String,
    },
    /// Quotes or variables cannot be made sense of.
    #[error("{instruction}: cannot read {word:?}")]
    Expand {
        /// The instruction.
        instruction: &'static str,
        /// The word.
        word: String,
        /// What is wrong with it.
        source: ExpandError,
    },
    /// A port is not a number between 1 and 65535, or has a protocol that is not known.
    #[error("EXPOSE: {0:?} is not PORT, PORT/PROTOCOL or a range; protocols are tcp, udp and sctp")]
    Port(String),
    /// There is no such signal.
    #[error("STOPSIGNAL: {0:?} is no signal of Linux")]
    Signal(String),
    /// The instruction cannot be kept for later.
    #[error("ONBUILD: {0} is not allowed there")]
    OnBuild(String),
    /// Neither NONE nor CMD follows.
    #[error("HEALTHCHECK: {0:?} is neither NONE nor CMD with a command")]
    HealthCheck(String),
    /// An option is not known, is there twice or has no value.
    #[error("HEALTHCHECK: {0:?} is no option, has no value, or is there twice")]
    Option(String),
    /// A time is no duration.
    #[error("HEALTHCHECK: {option} cannot be read")]
    Duration {
        /// The option.
        option: String,
        /// What is wrong with it.
        source: TimeError,
    },
    /// A time is too short, or a number too small or too large.
    #[error("HEALTHCHECK: {0} is out of range; times are 0 or at least 1ms, retries a number from 0")]
    Range(String),
}

#[cfg(test)]
mod tests;
