//! The functions of templates: those of docker's that work on what is inspected, and Go's comparisons.

use serde_json::Value;

use super::{FieldPathError, print};

/// The functions, as they are told to who names another.
pub const NAMES: &[&str] = &[
    "and", "eq", "index", "join", "json", "len", "lower", "ne", "not", "or", "print", "println", "split",
    "title", "truncate", "upper",
];

/// Calls a function.
pub fn call(name: &str, arguments: Vec<Value>) -> Result<Value, FieldPathError> {
    let call = Arguments { function: name, values: arguments };
    match name {
        "json" => Ok(Value::String(call.one()?.to_string())),
        "len" => call.len(),
        "index" => call.index(),
        "join" => call.join(),
        "split" => call.split(),
        "truncate" => call.truncate(),
        "lower" => Ok(Value::String(call.one_text()?.to_lowercase())),
        "upper" => Ok(Value::String(call.one_text()?.to_uppercase())),
        "title" => Ok(Value::String(title(call.one_text()?))),
        "print" => Ok(Value::String(call.printed(""))),
        "println" => Ok(Value::String(call.printed(" ") + "\n")),
        "not" => Ok(Value::Bool(!is_true(call.one()?))),
        "and" => call.choose(|value| !is_true(value)),
        "or" => call.choose(is_true),
        "eq" => call.two().map(|(a, b)| Value::Bool(a == b)),
        "ne" => call.two().map(|(a, b)| Value::Bool(a != b)),
        _ => Err(FieldPathError::Function(name.to_owned())),
    }
}

/// What Go takes to be true: all but false, 0, null and what is empty.
pub fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(members) => !members.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// What a value is, for people.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

/// Every word with a capital.
fn title(text: &str) -> String {
    let mut start = true;
    let mut out = String::new();
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase())
        } else {
            out.push(c)
        }
        start = c.is_whitespace();
    }
    out
}

struct Arguments<'a> {
    function: &'a str,
    values: Vec<Value>,
}

impl Arguments<'_> {
    fn error(&self, why: String) -> FieldPathError {
        FieldPathError::Argument { function: self.function.to_owned(), why }
    }

    fn wrong_number(&self, wanted: &str) -> FieldPathError {
        self.error(format!("takes {wanted}; {} given", self.values.len()))
    }

    fn one(&self) -> Result<&Value, FieldPathError> {
        match self.values.as_slice() {
            [value] => Ok(value),
            _ => Err(self.wrong_number("one value")),
        }
    }

    fn two(&self) -> Result<(&Value, &Value), FieldPathError> {
        match self.values.as_slice() {
            [first, second] => Ok((first, second)),
            _ => Err(self.wrong_number("two values")),
        }
    }

    fn text<'v>(&self, value: &'v Value) -> Result<&'v str, FieldPathError> {
        value.as_str().ok_or_else(|| self.error(format!("takes a text, not {}", kind(value))))
    }

    fn one_text(&self) -> Result<&str, FieldPathError> {
        self.text(self.one()?)
    }

    /// Bytes of a text, members of a list or map.
    fn len(&self) -> Result<Value, FieldPathError> {
        let value = self.one()?;
        Ok(Value::from(match value {
            Value::Null => 0,
            Value::String(text) => text.len(),
            Value::Array(members) => members.len(),
            Value::Object(members) => members.len(),
            _ => return Err(self.error(format!("{} has no length", kind(value)))),
        }))
    }

    /// A member of a list by its number, of a map by its key, of that a member, and so on. A key that is not there
    /// gives the empty text, as with Go's maps of texts.
    fn index(&self) -> Result<Value, FieldPathError> {
        let Some((start, keys)) = self.values.split_first() else { return Err(self.wrong_number("a value")) };
        let mut value = start;
        let empty = Value::String(String::new());
        for key in keys {
            value = match (value, key) {
                (Value::Array(members), Value::Number(number)) => {
                    let member = number.as_u64().and_then(|n| members.get(usize::try_from(n).ok()?));
                    member.ok_or_else(|| {
                        self.error(format!("there is no member {number} in a list of {}", members.len()))
                    })?
                }
                (Value::Object(members), Value::String(key)) => members.get(key).unwrap_or(&empty),
                (Value::Null, Value::String(_)) => &empty,
                (value, key) => {
                    return Err(self.error(format!(
                        "{} has no member at {}",
                        kind(value),
                        print::print(key)
                    )));
                }
            };
        }
        Ok(value.clone())
    }

    /// `join LIST SEPARATOR`; in a pipe the separator comes last, or first as podman has it.
    fn join(&self) -> Result<Value, FieldPathError> {
        let (list, separator) = match self.two()? {
            (separator @ Value::String(_), list) => (list, separator),
            (list, separator) => (list, separator),
        };
        let members = match list {
            Value::Array(members) => members.as_slice(),
            Value::Null => &[],
            other => return Err(self.error(format!("takes a list, not {}", kind(other)))),
        };
        let members: Vec<String> = members.iter().map(print::print).collect();
        Ok(Value::String(members.join(self.text(separator)?)))
    }

    fn split(&self) -> Result<Value, FieldPathError> {
        let (text, separator) = self.two()?;
        let (text, separator) = (self.text(text)?, self.text(separator)?);
        if separator.is_empty() {
            return Ok(text.chars().map(|c| c.to_string()).collect());
        }
        Ok(text.split(separator).collect())
    }

    /// The first characters of a text.
    fn truncate(&self) -> Result<Value, FieldPathError> {
        let (text, count) = self.two()?;
        let count = count.as_u64().and_then(|n| usize::try_from(n).ok());
        let count = count.ok_or_else(|| self.error("takes a text and a number from 0".to_owned()))?;
        Ok(Value::String(self.text(text)?.chars().take(count).collect()))
    }

    /// All values with `separator` between them.
    fn printed(&self, separator: &str) -> String {
        self.values.iter().map(print::print).collect::<Vec<_>>().join(separator)
    }

    /// The first value that decides, or the last.
    fn choose(&self, decides: fn(&Value) -> bool) -> Result<Value, FieldPathError> {
        let chosen = self.values.iter().find(|value| decides(value)).or(self.values.last());
        chosen.cloned().ok_or_else(|| self.wrong_number("at least one value"))
    }
}
