//! Takes quotes and escapes out of a word and puts the values of variables in, as docker's builder does: `$NAME`,
//! `${NAME}`, and `${NAME:-WORD}` with `-`, `+` and `?`, with or without the colon.

use std::iter::Peekable;
use std::str::Chars;

use super::{ChangeError, Word};

/// How deep `${a:-${b:-…}}` may go.
const MAX_DEPTH: usize = 32;

/// How long the result may become: a value that is put in many times could fill the memory.
const MAX_LENGTH: usize = 1 << 20;

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A quote has no partner.
    #[error("the quote {0} is not closed")]
    Quote(char),
    /// `${` has no partner.
    #[error("'${{' is not closed")]
    Brace,
    /// `${` is not followed by a variable's name.
    #[error("'${{' is not followed by the name of a variable")]
    NoName,
    /// What follows the name is not known.
    #[error("'${{{0}' is followed by a modifier other than ':-', ':+' and ':?'")]
    Modifier(String),
    /// `${NAME:?WORD}`, and there is no value.
    #[error("the variable {name} is not set: {message}")]
    Unset {
        /// The variable.
        name: String,
        /// What the word says about it.
        message: String,
    },
    /// The word is nested too deeply.
    #[error("'${{' is nested more than {MAX_DEPTH} deep")]
    Depth,
    /// The result is too long.
    #[error("the result is longer than {MAX_LENGTH} bytes")]
    Length,
}

impl Word {
    /// The word's meaning where the variables are `env` (`NAME=VALUE`).
    pub(super) fn expand(&self, instruction: &'static str, env: &[String]) -> Result<String, ChangeError> {
        let mut reader = Reader { chars: self.0.chars().peekable(), env, depth: 0 };
        reader.word(None).map_err(|source| ChangeError::Expand { instruction, word: self.0.clone(), source })
    }
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    env: &'a [String],
    depth: usize,
}

impl Reader<'_> {
    /// Reads to the end, or to `stop`, which is taken away.
    fn word(&mut self, stop: Option<char>) -> Result<String, ExpandError> {
        let mut out = String::new();
        loop {
            match self.chars.next() {
                c if c == stop => return Ok(out),
                None => return Err(ExpandError::Brace),
                Some('\'') => self.single_quoted(&mut out)?,
                Some('"') => self.double_quoted(&mut out)?,
                Some('\\') => out.extend(self.chars.next()),
                Some('$') => out.push_str(&self.variable()?),
                Some(c) => out.push(c),
            }
            if out.len() > MAX_LENGTH {
                return Err(ExpandError::Length);
            }
        }
    }

    /// Behind the quote: everything is itself.
    fn single_quoted(&mut self, out: &mut String) -> Result<(), ExpandError> {
        loop {
            match self.chars.next().ok_or(ExpandError::Quote('\''))? {
                '\'' => return Ok(()),
                c => out.push(c),
            }
        }
    }

    /// Behind the quote: variables count, and a backslash before `"`, `$` and itself.
    fn double_quoted(&mut self, out: &mut String) -> Result<(), ExpandError> {
        loop {
            match self.chars.next().ok_or(ExpandError::Quote('"'))? {
                '"' => return Ok(()),
                '$' => out.push_str(&self.variable()?),
                '\\' => match self.chars.next().ok_or(ExpandError::Quote('"'))? {
                    c @ ('"' | '$' | '\\') => out.push(c),
                    c => out.extend(['\\', c]),
                },
                c => out.push(c),
            }
            if out.len() > MAX_LENGTH {
                return Err(ExpandError::Length);
            }
        }
    }

    /// Behind the dollar sign.
    fn variable(&mut self) -> Result<String, ExpandError> {
        if self.chars.next_if_eq(&'{').is_some() {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(ExpandError::Depth);
            }
            let value = self.braced();
            self.depth -= 1;
            return value;
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(self.value(&name).unwrap_or_default().to_owned())
    }

    /// Behind `${`.
    fn braced(&mut self) -> Result<String, ExpandError> {
        let name = self.name();
        if name.is_empty() {
            return Err(if self.chars.peek().is_none() { ExpandError::Brace } else { ExpandError::NoName });
        }
        let modifier = match self.chars.next().ok_or(ExpandError::Brace)? {
            '}' => return Ok(self.value(&name).unwrap_or_default().to_owned()),
            ':' => self.chars.next().ok_or(ExpandError::Brace)?,
            c => return self.modified(name, c, |_| true),
        };
        // The colon: what is set and empty counts as not set.
        self.modified(name, modifier, |value| !value.is_empty())
    }

    /// Behind `${NAME:-`: the word, and what comes of it. `counts` tells whether a value does.
    fn modified(
        &mut self,
        name: String,
        modifier: char,
        counts: fn(&str) -> bool,
    ) -> Result<String, ExpandError> {
        if !matches!(modifier, '-' | '+' | '?') {
            return Err(ExpandError::Modifier(name));
        }
        let word = self.word(Some('}'))?;
        let value = self.value(&name).filter(|value| counts(value)).map(str::to_owned);
        match (modifier, value) {
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, Some(value)) => Ok(value),
            ('-', None) => Ok(word),
            (_, None) => Err(ExpandError::Unset { name, message: word }),
        }
    }

    /// A variable's name, or one of the shell's parameters (which are never set here); empty where there is none.
    fn name(&mut self) -> String {
        let mut name = String::new();
        let Some(first) = self.chars.peek().copied() else { return name };
        if first.is_ascii_alphabetic() || first == '_' {
            while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                name.push(c);
            }
        } else if first.is_ascii_digit() {
            while let Some(c) = self.chars.next_if(char::is_ascii_digit) {
                name.push(c);
            }
        } else {
            name.extend(self.chars.next_if(|c| matches!(c, '@' | '*' | '#' | '?' | '-' | '!')));
        }
        name
    }

    /// The value of a variable, if it is set.
    fn value(&self, name: &str) -> Option<&str> {
        let of = |entry: &'_ String| entry.split_once('=').is_some_and(|(n, _)| n == name);
        self.env
            .iter()
            .find(|entry| of(entry))
            .and_then(|entry| entry.split_once('='))
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expand(word: &str) -> Result<String, ExpandError> {
        let env = ["A=1", "EMPTY=", "P=/x:$A", "A=2"].map(str::to_owned);
        Word(word.to_owned()).expand("ENV", &env).map_err(|e| match e {
            ChangeError::Expand { source, .. } => source,
            other => panic!("{other}"),
        })
    }

    #[test]
    fn words_mean_what_they_mean_to_docker() {
        for (word, expected) in [
            ("plain", "plain"),
            ("$A-${A}b$Ab", "1-1b"),
            ("'$A'\"$A\"", "$A1"),
            (r"\$A\\\ ", r"$A\ "),
            (r#""a\"b\n\$A\\""#, r#"a"b\n$A\"#),
            (r"'a\'", r"a\"),
            ("$", "$"),
            ("a$ $/", "a$ $/"),
            ("$P", "/x:$A"),
            ("${EMPTY:-d}${EMPTY-d}${NO:-d}${NO-d}", "ddd"),
            ("${A:+y}${EMPTY:+y}${EMPTY+z}${NO+z}", "yz"),
            ("${NO:-${NO:-'x }'$A}}", "x }1"),
            ("${A:?no}", "1"),
            ("$1$@", ""),
            ("tail\\", "tail"),
            ("\"a b\"", "a b"),
            ("ä$A", "ä1"),
        ] {
            assert_eq!(expand(word).as_deref(), Ok(expected), "{word}");
        }
    }

    #[test]
    fn words_that_mean_nothing_are_errors() {
        for (word, expected) in [
            ("'a", ExpandError::Quote('\'')),
            ("\"a", ExpandError::Quote('"')),
            ("\"a\\", ExpandError::Quote('"')),
            ("${A", ExpandError::Brace),
            ("${", ExpandError::Brace),
            ("${A:", ExpandError::Brace),
            ("${A:-b", ExpandError::Brace),
            ("${}", ExpandError::NoName),
            ("${/}", ExpandError::NoName),
            ("${A%x}", ExpandError::Modifier("A".to_owned())),
            ("${NO:?why}", ExpandError::Unset { name: "NO".to_owned(), message: "why".to_owned() }),
            (&"${A:-".repeat(40), ExpandError::Depth),
        ] {
            assert_eq!(expand(word), Err(expected), "{word}");
        }
    }

    #[test]
    fn a_result_has_an_end() {
        let env = [format!("A={}", "x".repeat(1000))];
        let word = Word("$A".repeat(2000));
        assert!(matches!(
            word.expand("ENV", &env),
            Err(ChangeError::Expand { source: ExpandError::Length, .. })
        ));
    }

    proptest! {
        #[test]
        fn no_word_makes_it_panic(word in "\\PC*|[$\\{\\}:+?A'\"\\\\ -]{0,40}") {
            // What comes of it is of no interest here.
            let _result = expand(&word);
        }
    }
}
