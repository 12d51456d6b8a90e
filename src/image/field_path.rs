//! Templates for `--format`: the part of Go's text/template that people use with docker, over JSON.
//!
//! There are `{{.Field.Path}}`, `{{range}}`, `{{if}}` and `{{with}}` with `{{else}}` and `{{end}}`, the variables of `range`, pipes,
//! `{{- trimming -}}`, comments, and docker's functions. `\t` and `\n` in the text around are a tab and a line's end, as
//! in docker's listings.

mod evaluate;
mod function;
mod lex;
mod parse;
mod print;

use serde_json::Value;

/// Why a template cannot be read or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldPathError {
    /// An action has no end.
    #[error("the action that begins with {0:?} is not closed by '}}}}'")]
    NotClosed(String),
    /// An action is not well formed.
    #[error("cannot read the action {{{{{action}}}}}: {why}")]
    Action {
        /// The action, without its braces.
        action: String,
        /// What is wrong.
        why: &'static str,
    },
    /// A block has no end, or an end no block.
    #[error("{0}")]
    Block(&'static str),
    /// Blocks or brackets are nested too deeply.
    #[error("the template is nested too deeply")]
    Depth,
    /// The result is too long to be meant.
    #[error("the result of the template is too long")]
    Length,
    /// There is no such field.
    #[error("there is no field {path}; {parent} has {}", list(fields))]
    NoField {
        /// The field.
        path: String,
        /// What it should be a field of.
        parent: String,
        /// The fields that are there.
        fields: Vec<String>,
    },
    /// What should have a field has none.
    #[error("there is no field {path}; {parent} is {kind} and has no fields")]
    NoFields {
        /// The field.
        path: String,
        /// What it should be a field of.
        parent: String,
        /// What that is.
        kind: &'static str,
    },
    /// There is no such variable.
    #[error("the variable {0} is not defined")]
    Variable(String),
    /// There is no such function.
    #[error("there is no function {0:?}; there are {known}", known = function::NAMES.join(", "))]
    Function(String),
    /// A function cannot work on what it is given.
    #[error("{function}: {why}")]
    Argument {
        /// The function.
        function: String,
        /// What is wrong.
        why: String,
    },
}

/// The names, or a word for none.
fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Renders `template` over `value`. Values are printed as Go prints them: `[a b]`, `map[k:v]`, and `<no value>` for null.
///
/// # Errors
/// The template is not well formed, or names a field that is not there.
pub fn render(template: &str, value: &Value) -> Result<String, FieldPathError> {
    let nodes = parse::parse(template)?;
    evaluate::evaluate(&nodes, value)
}

#[cfg(test)]
mod tests;
