//! The instruction HEALTHCHECK, and the object that docker's configurations have for it.

use serde_json::{Map, Value};

use super::parse::{command, split_first};
use super::{ChangeError, Command, HealthCheck, Times};
use crate::image::time;

/// The shortest time that docker takes, in nanoseconds.
const MINIMUM: u64 = 1_000_000;

/// The options with a time, and their fields in a configuration.
const INTERVAL: (&str, &str) = ("--interval", "Interval");
const TIMEOUT: (&str, &str) = ("--timeout", "Timeout");
const START_PERIOD: (&str, &str) = ("--start-period", "StartPeriod");
const START_INTERVAL: (&str, &str) = ("--start-interval", "StartInterval");
const RETRIES: (&str, &str) = ("--retries", "Retries");

/// Reads what follows HEALTHCHECK.
pub fn parse(text: &str) -> Result<HealthCheck, ChangeError> {
    let mut times = Times::default();
    let mut rest = text.trim();
    while rest.starts_with("--") {
        let (option, after) = split_first(rest);
        take_option(&mut times, option)?;
        rest = after;
    }
    let (kind, argument) = split_first(rest);
    match kind.to_ascii_uppercase().as_str() {
        "NONE" if argument.is_empty() && times == Times::default() => Ok(HealthCheck::None),
        "CMD" if !argument.is_empty() => match command("HEALTHCHECK", argument)? {
            Command::Exec(arguments) if arguments.is_empty() => {
                Err(ChangeError::HealthCheck(rest.to_owned()))
            }
            command => Ok(HealthCheck::Test { command, times }),
        },
        _ => Err(ChangeError::HealthCheck(rest.to_owned())),
    }
}

/// Takes in `--NAME=VALUE`.
fn take_option(times: &mut Times, option: &str) -> Result<(), ChangeError> {
    let bad = || ChangeError::Option(option.to_owned());
    let (name, value) = option.split_once('=').ok_or_else(bad)?;
    if name == RETRIES.0 {
        let retries = value.parse().map_err(|_| ChangeError::Range(option.to_owned()))?;
        return if times.retries.replace(retries).is_some() { Err(bad()) } else { Ok(()) };
    }
    let field = [
        (INTERVAL, &mut times.interval),
        (TIMEOUT, &mut times.timeout),
        (START_PERIOD, &mut times.start_period),
        (START_INTERVAL, &mut times.start_interval),
    ];
    let (_, field) = field.into_iter().find(|((n, _), _)| *n == name).ok_or_else(bad)?;
    let nanoseconds = time::parse_duration(value)
        .map_err(|source| ChangeError::Duration { option: option.to_owned(), source })?;
    match u64::try_from(nanoseconds) {
        Ok(nanoseconds) if nanoseconds == 0 || nanoseconds >= MINIMUM => {
            if field.replace(nanoseconds).is_some() { Err(bad()) } else { Ok(()) }
        }
        _ => Err(ChangeError::Range(option.to_owned())),
    }
}

impl HealthCheck {
    /// The object of a configuration. Times are in nanoseconds; what is zero or not given is left out, as docker does.
    pub(super) fn to_json(&self) -> Value {
        let HealthCheck::Test { command, times } = self else {
            return Value::Object(Map::from_iter([("Test".to_owned(), Value::from(vec!["NONE"]))]));
        };
        let test = match command {
            Command::Exec(arguments) => [vec!["CMD".to_owned()], arguments.clone()].concat(),
            Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line.clone()],
        };
        let mut object = Map::from_iter([("Test".to_owned(), Value::from(test))]);
        for ((_, field), value) in times.fields() {
            if let Some(value) = value.filter(|value| *value != 0) {
                object.insert(field.to_owned(), Value::from(value));
            }
        }
        Value::Object(object)
    }

    /// What follows HEALTHCHECK.
    pub(super) fn describe(&self) -> String {
        let HealthCheck::Test { command, times } = self else { return "NONE".to_owned() };
        let mut text = String::new();
        for (name, value) in times.fields() {
            match value {
                Some(number) if name == RETRIES => text.push_str(&format!("{}={number} ", name.0)),
                Some(nanoseconds) => {
                    text.push_str(&format!("{}={} ", name.0, time::format_duration(nanoseconds)));
                }
                None => {}
            }
        }
        format!("{text}CMD {}", command.describe())
    }
}

impl Times {
    /// Each option and field with its value.
    fn fields(&self) -> [((&'static str, &'static str), Option<u64>); 5] {
        [
            (INTERVAL, self.interval),
            (TIMEOUT, self.timeout),
            (START_PERIOD, self.start_period),
            (START_INTERVAL, self.start_interval),
            (RETRIES, self.retries.map(u64::from)),
        ]
    }
}
