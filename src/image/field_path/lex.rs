//! Cuts a template into text and actions, and an action into tokens.

use serde_json::{Number, Value};

use super::FieldPathError;

/// A piece of a template.
#[derive(Debug, PartialEq)]
pub enum Piece<'a> {
    /// Text around the actions.
    Text(String),
    /// An action, without braces and trimming marks.
    Action(&'a str),
}

/// A token of an action.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// `.`
    Dot,
    /// `.Name` behind a blank or a bracket: a field of the dot.
    Field(String),
    /// `.Name` behind something else: a field of that.
    FieldOf(String),
    /// `$` or `$name`, with the dollar sign.
    Variable(String),
    /// A function or a keyword.
    Word(String),
    /// A text, a number, `true`, `false` or `nil`.
    Literal(Value),
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `:=`
    Declare,
}

/// The pieces of a template, with blanks trimmed where `{{-` and `-}}` ask for it. Comments are left out.
pub fn pieces(template: &str) -> Result<Vec<Piece<'_>>, FieldPathError> {
    let mut pieces = Vec::new();
    let mut rest = template;
    let mut trim_start = false;
    while let Some((text, after)) = rest.split_once("{{") {
        let end = action_end(after).ok_or_else(|| {
            FieldPathError::NotClosed(format!("{{{{{}", after.chars().take(20).collect::<String>()))
        })?;
        let mut action = &after[..end];
        let text = if trim_start { text.trim_start() } else { text };
        let marked = action.strip_prefix('-').filter(|a| a.starts_with(char::is_whitespace));
        push_text(&mut pieces, if marked.is_some() { text.trim_end() } else { text });
        action = marked.unwrap_or(action);
        let marked = action.strip_suffix('-').filter(|a| a.ends_with(char::is_whitespace));
        trim_start = marked.is_some();
        action = marked.unwrap_or(action).trim();
        if !(action.starts_with("/*") && action.ends_with("*/") && action.len() >= 4) {
            pieces.push(Piece::Action(action));
        }
        rest = &after[end + 2..];
    }
    push_text(&mut pieces, if trim_start { rest.trim_start() } else { rest });
    Ok(pieces)
}

/// Adds text, `\t` and `\n` replaced.
fn push_text(pieces: &mut Vec<Piece<'_>>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Text(text.replace("\\t", "\t").replace("\\n", "\n")));
    }
}

/// Where the action ends that the text begins with. Braces in quotes do not end it.
fn action_end(text: &str) -> Option<usize> {
    if let Some(comment) = text.trim_start_matches(['-', ' ']).strip_prefix("/*") {
        let end = text.len() - comment.len() + comment.find("*/")? + 2;
        return text[end..].find("}}").map(|at| at + end);
    }
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            ('\\', Some('"')) => {
                chars.next();
            }
            ('"' | '`', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('}', None) if text[at..].starts_with("}}") => return Some(at),
            _ => {}
        }
    }
    None
}

/// The tokens of an action.
pub fn tokens(action: &str) -> Result<Vec<Token>, FieldPathError> {
    let mut lexer = Lexer { action, rest: action, tokens: Vec::new() };
    while let Some(c) = lexer.rest.chars().next() {
        lexer.token(c)?;
    }
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    action: &'a str,
    rest: &'a str,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn error(&self, why: &'static str) -> FieldPathError {
        FieldPathError::Action { action: self.action.to_owned(), why }
    }

    /// Reads the token that begins with `c`.
    fn token(&mut self, c: char) -> Result<(), FieldPathError> {
        let token = match c {
            c if c.is_whitespace() => {
                self.rest = self.rest.trim_start();
                return Ok(());
            }
            '.' => self.field(),
            '$' => {
                self.rest = &self.rest[1..];
                Token::Variable(format!("${}", self.name()))
            }
            '"' => self.quoted()?,
            '`' => self.raw()?,
            '(' => self.simple("(", Token::Open),
            ')' => self.simple(")", Token::Close),
            '|' => self.simple("|", Token::Pipe),
            ',' => self.simple(",", Token::Comma),
            ':' if self.rest.starts_with(":=") => self.simple(":=", Token::Declare),
            c if c.is_ascii_digit() || c == '-' || c == '+' => self.number()?,
            c if c.is_alphabetic() || c == '_' => match self.name() {
                "true" => Token::Literal(Value::Bool(true)),
                "false" => Token::Literal(Value::Bool(false)),
                "nil" => Token::Literal(Value::Null),
                word => Token::Word(word.to_owned()),
            },
            _ => return Err(self.error("it has a character that has no meaning there")),
        };
        self.tokens.push(token);
        Ok(())
    }

    /// Takes the text of a token that is always the same.
    fn simple(&mut self, text: &str, token: Token) -> Token {
        self.rest = self.rest.strip_prefix(text).unwrap_or_default();
        token
    }

    /// A name; empty where there is none.
    fn name(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name
    }

    /// A dot, or a field of the dot or of what stands directly before.
    fn field(&mut self) -> Token {
        let before = self.action.get(..self.action.len() - self.rest.len()).unwrap_or_default();
        let attached = before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | ')'));
        self.rest = &self.rest[1..];
        match (self.name(), attached) {
            ("", _) => Token::Dot,
            (name, true) => Token::FieldOf(name.to_owned()),
            (name, false) => Token::Field(name.to_owned()),
        }
    }

    /// A text in double quotes, with Go's escapes of single characters.
    fn quoted(&mut self) -> Result<Token, FieldPathError> {
        let mut text = String::new();
        let mut chars = self.rest[1..].chars();
        loop {
            match chars.next().ok_or_else(|| self.error("a quote is not closed"))? {
                '"' => break,
                '\\' => text.push(match chars.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some(c @ ('"' | '\\' | '\'')) => c,
                    _ => return Err(self.error("a text has an escape that is not known")),
                }),
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Ok(Token::Literal(Value::String(text)))
    }

    /// A text in back quotes.
    fn raw(&mut self) -> Result<Token, FieldPathError> {
        let closed = self.rest[1..].split_once('`');
        let (text, rest) = closed.ok_or_else(|| self.error("a quote is not closed"))?;
        self.rest = rest;
        Ok(Token::Literal(Value::String(text.to_owned())))
    }

    /// A whole number, or one with a fraction.
    fn number(&mut self) -> Result<Token, FieldPathError> {
        let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+');
        let end = self.rest.find(|c| !inner(c)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        let text = text.strip_prefix('+').unwrap_or(text);
        let number: Result<Number, _> = serde_json::from_str(text);
        self.rest = rest;
        number.map(|n| Token::Literal(Value::Number(n))).map_err(|_| self.error("it has a bad number"))
    }
}
