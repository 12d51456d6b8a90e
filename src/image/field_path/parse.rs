//! Reads a template into nodes.

use std::iter::Peekable;
use std::vec::IntoIter;

use serde_json::Value;

use super::FieldPathError;
use super::lex::{Piece, Token, pieces, tokens};

/// How deep blocks and brackets may be nested.
const MAX_DEPTH: usize = 32;

/// A part of a template.
#[derive(Debug, PartialEq)]
pub enum Node {
    /// Text.
    Text(String),
    /// What is printed.
    Print(Pipeline),
    /// What is repeated for each member, or chosen.
    Block(Block),
}

/// `range`, `if` or `with`.
#[derive(Debug, PartialEq)]
pub struct Block {
    pub kind: BlockKind,
    /// The variables that `range` declares, with their dollar signs: the value, or key and value.
    pub variables: Vec<String>,
    pub subject: Pipeline,
    pub body: Vec<Node>,
    pub otherwise: Vec<Node>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    Range,
    If,
    With,
}

/// Calls, each with the result of the one before as its last argument.
#[derive(Debug, PartialEq)]
pub struct Pipeline(pub Vec<Call>);

/// One step of a pipeline.
#[derive(Debug, PartialEq)]
pub enum Call {
    /// A value.
    Value(Operand),
    /// A function with its arguments.
    Function(String, Vec<Operand>),
}

/// A value, and the fields that lead on from it.
#[derive(Debug, PartialEq)]
pub struct Operand {
    pub start: Start,
    pub fields: Vec<String>,
}

/// Where an operand begins.
#[derive(Debug, PartialEq)]
pub enum Start {
    Dot,
    /// With its dollar sign; `$` alone is the whole.
    Variable(String),
    Literal(Value),
    Brackets(Pipeline),
}

/// What ends a list of nodes.
enum End {
    Template,
    Close,
    /// `else`, with what follows it.
    Else(Vec<Token>),
}

/// Reads a template.
pub fn parse(template: &str) -> Result<Vec<Node>, FieldPathError> {
    let mut parser = Parser { pieces: pieces(template)?.into_iter(), depth: 0 };
    match parser.nodes()? {
        (nodes, End::Template) => Ok(nodes),
        _ => Err(FieldPathError::Block("an {{end}} or {{else}} has no {{range}}, {{if}} or {{with}}")),
    }
}

struct Parser<'a> {
    pieces: IntoIter<Piece<'a>>,
    depth: usize,
}

impl Parser<'_> {
    /// Nodes up to the end of the block, or of the template.
    fn nodes(&mut self) -> Result<(Vec<Node>, End), FieldPathError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let action = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(action) => action,
            };
            let tokens = tokens(action)?;
            match tokens.first() {
                Some(Token::Word(word)) if word == "end" && tokens.len() == 1 => {
                    return Ok((nodes, End::Close));
                }
                Some(Token::Word(word)) if word == "else" => {
                    return Ok((nodes, End::Else(tokens.into_iter().skip(1).collect())));
                }
                Some(Token::Word(word)) if block_kind(word).is_some() => {
                    nodes.push(Node::Block(self.block(action, tokens)?));
                }
                _ => nodes.push(Node::Print(ActionParser::new(action, tokens).whole()?)),
            }
        }
        Ok((nodes, End::Template))
    }

    /// A block whose head is `tokens`.
    fn block(&mut self, action: &str, tokens: Vec<Token>) -> Result<Block, FieldPathError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FieldPathError::Depth);
        }
        let mut head = ActionParser::new(action, tokens);
        let Some(kind) = head.block_kind() else { return Err(head.error("a block is expected")) };
        let variables = if kind == BlockKind::Range { head.declaration()? } else { Vec::new() };
        let subject = head.whole()?;
        let (body, end) = self.nodes()?;
        let otherwise = match end {
            End::Else(rest) if rest.is_empty() => match self.nodes()? {
                (nodes, End::Close) => nodes,
                _ => return Err(FieldPathError::Block("an {{else}} is not closed by {{end}}")),
            },
            // `{{else if}}` shares the end of its block.
            End::Else(rest) => vec![Node::Block(self.block(action, rest)?)],
            End::Close => Vec::new(),
            End::Template => {
                return Err(FieldPathError::Block(
                    "a {{range}}, {{if}} or {{with}} is not closed by {{end}}",
                ));
            }
        };
        self.depth -= 1;
        Ok(Block { kind, variables, subject, body, otherwise })
    }
}

fn block_kind(word: &str) -> Option<BlockKind> {
    match word {
        "range" => Some(BlockKind::Range),
        "if" => Some(BlockKind::If),
        "with" => Some(BlockKind::With),
        _ => None,
    }
}

/// Reads the tokens of one action.
struct ActionParser<'a> {
    action: &'a str,
    tokens: Peekable<IntoIter<Token>>,
    depth: usize,
}

impl<'a> ActionParser<'a> {
    fn new(action: &'a str, tokens: Vec<Token>) -> ActionParser<'a> {
        ActionParser { action, tokens: tokens.into_iter().peekable(), depth: 0 }
    }

    fn error(&self, why: &'static str) -> FieldPathError {
        FieldPathError::Action { action: self.action.to_owned(), why }
    }

    /// The keyword of a block.
    fn block_kind(&mut self) -> Option<BlockKind> {
        match self.tokens.next() {
            Some(Token::Word(word)) => block_kind(&word),
            _ => None,
        }
    }

    /// `$v :=` or `$k, $v :=`, if there is one.
    fn declaration(&mut self) -> Result<Vec<String>, FieldPathError> {
        if !self.tokens.clone().any(|token| token == Token::Declare) {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        loop {
            match self.tokens.next() {
                Some(Token::Variable(name)) if name.len() > 1 && names.len() < 2 => names.push(name),
                _ => return Err(self.error("before ':=' there must be one or two variables")),
            }
            match self.tokens.next() {
                Some(Token::Declare) => return Ok(names),
                Some(Token::Comma) => {}
                _ => return Err(self.error("before ':=' there must be one or two variables")),
            }
        }
    }

    /// A pipeline and nothing after it.
    fn whole(&mut self) -> Result<Pipeline, FieldPathError> {
        let pipeline = self.pipeline()?;
        match self.tokens.next() {
            None => Ok(pipeline),
            Some(Token::Close) => Err(self.error("a bracket is closed that was not opened")),
            Some(_) => Err(self.error("a value stands where a function is expected")),
        }
    }

    fn pipeline(&mut self) -> Result<Pipeline, FieldPathError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(FieldPathError::Depth);
        }
        let mut calls = vec![self.call()?];
        while self.tokens.next_if_eq(&Token::Pipe).is_some() {
            match self.call()? {
                Call::Value(_) => return Err(self.error("behind '|' there must be a function")),
                call => calls.push(call),
            }
        }
        self.depth -= 1;
        Ok(Pipeline(calls))
    }

    fn call(&mut self) -> Result<Call, FieldPathError> {
        let Some(token) = self.tokens.next() else { return Err(self.error("a value is missing")) };
        let Token::Word(function) = token else { return Ok(Call::Value(self.operand(token)?)) };
        let ends = |token: &Token| matches!(token, Token::Pipe | Token::Close);
        let mut arguments = Vec::new();
        while let Some(token) = self.tokens.next_if(|token| !ends(token)) {
            arguments.push(self.operand(token)?);
        }
        Ok(Call::Function(function, arguments))
    }

    /// The operand that begins with `token`.
    fn operand(&mut self, token: Token) -> Result<Operand, FieldPathError> {
        let mut fields = Vec::new();
        let start = match token {
            Token::Dot => Start::Dot,
            Token::Field(name) => {
                fields.push(name);
                Start::Dot
            }
            Token::Variable(name) => Start::Variable(name),
            Token::Literal(value) => Start::Literal(value),
            // A function without arguments among the arguments of another.
            Token::Word(name) => Start::Brackets(Pipeline(vec![Call::Function(name, Vec::new())])),
            Token::Open => {
                let inner = self.pipeline()?;
                if self.tokens.next() != Some(Token::Close) {
                    return Err(self.error("a bracket is not closed"));
                }
                Start::Brackets(inner)
            }
            _ => return Err(self.error("a value is missing")),
        };
        while let Some(Token::FieldOf(name)) = self.tokens.next_if(|t| matches!(t, Token::FieldOf(_))) {
            fields.push(name);
        }
        Ok(Operand { start, fields })
    }
}
