//! Renders the nodes of a template over a value.

use serde_json::Value;

use super::parse::{Block, BlockKind, Call, Node, Operand, Pipeline, Start};
use super::{FieldPathError, function, print};

/// How long a result may be: nested ranges multiply.
const MAX_LENGTH: usize = 64 << 20;

/// Renders the nodes.
pub fn evaluate(nodes: &[Node], root: &Value) -> Result<String, FieldPathError> {
    let mut renderer = Renderer { root, variables: Vec::new(), out: String::new() };
    renderer.nodes(nodes, root)?;
    Ok(renderer.out)
}

struct Renderer<'a> {
    root: &'a Value,
    /// Names with their dollar signs; the innermost last.
    variables: Vec<(String, Value)>,
    out: String,
}

impl Renderer<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), FieldPathError> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Print(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    self.out.push_str(&print::print(&value));
                }
                Node::Block(block) => self.block(block, dot)?,
            }
            if self.out.len() > MAX_LENGTH {
                return Err(FieldPathError::Length);
            }
        }
        Ok(())
    }

    fn block(&mut self, block: &Block, dot: &Value) -> Result<(), FieldPathError> {
        let subject = self.pipeline(&block.subject, dot)?;
        match block.kind {
            _ if !function::is_true(&subject) => self.nodes(&block.otherwise, dot),
            BlockKind::If => self.nodes(&block.body, dot),
            BlockKind::With => self.nodes(&block.body, &subject),
            BlockKind::Range => self.range(block, subject),
        }
    }

    fn range(&mut self, block: &Block, subject: Value) -> Result<(), FieldPathError> {
        let members: Vec<(Value, Value)> = match subject {
            Value::Array(members) => (0_u64..).map(Value::from).zip(members).collect(),
            Value::Object(members) => members.into_iter().map(|(k, v)| (Value::String(k), v)).collect(),
            other => {
                let why = format!("{} has no members", function::kind(&other));
                return Err(FieldPathError::Argument { function: "range".to_owned(), why });
            }
        };
        let outer = self.variables.len();
        for (key, value) in members {
            match block.variables.as_slice() {
                [name] => self.variables.push((name.clone(), value.clone())),
                [index, name] => {
                    self.variables.push((index.clone(), key));
                    self.variables.push((name.clone(), value.clone()));
                }
                _ => {}
            }
            self.nodes(&block.body, &value)?;
            self.variables.truncate(outer);
        }
        Ok(())
    }

    fn pipeline(&self, pipeline: &Pipeline, dot: &Value) -> Result<Value, FieldPathError> {
        let mut result = None;
        for call in &pipeline.0 {
            result = Some(match call {
                Call::Value(operand) => self.operand(operand, dot)?,
                Call::Function(name, operands) => {
                    let arguments = operands.iter().map(|operand| self.operand(operand, dot));
                    let arguments = arguments.chain(result.map(Ok)).collect::<Result<Vec<_>, _>>()?;
                    function::call(name, arguments)?
                }
            });
        }
        Ok(result.unwrap_or_default())
    }

    fn operand(&self, operand: &Operand, dot: &Value) -> Result<Value, FieldPathError> {
        let inner;
        let (start, name) = match &operand.start {
            Start::Dot => (dot, ""),
            Start::Variable(name) if name == "$" => (self.root, "$"),
            Start::Variable(name) => (self.variable(name)?, name.as_str()),
            Start::Literal(value) => (value, "the value"),
            Start::Brackets(pipeline) => {
                inner = self.pipeline(pipeline, dot)?;
                (&inner, "(…)")
            }
        };
        let mut value = start;
        for (depth, field) in operand.fields.iter().enumerate() {
            value = value.get(field).ok_or_else(|| no_field(value, name, &operand.fields, depth))?;
        }
        Ok(value.clone())
    }

    fn variable(&self, name: &str) -> Result<&Value, FieldPathError> {
        let found = self.variables.iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| value).ok_or_else(|| FieldPathError::Variable(name.to_owned()))
    }
}

/// Tells that `parent`, which `start` and the first fields lead to, does not have the next one.
fn no_field(parent: &Value, start: &str, fields: &[String], depth: usize) -> FieldPathError {
    let path = |count: usize| match fields.get(..count) {
        Some([]) | None => if start.is_empty() { "the whole" } else { start }.to_owned(),
        Some(fields) => format!("{start}.{}", fields.join(".")),
    };
    let (path, parent_path) = (path(depth.saturating_add(1)), path(depth));
    match parent {
        Value::Object(object) => {
            FieldPathError::NoField { path, parent: parent_path, fields: object.keys().cloned().collect() }
        }
        other => FieldPathError::NoFields { path, parent: parent_path, kind: function::kind(other) },
    }
}
