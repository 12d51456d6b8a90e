//! Splits the arguments of an instruction into words, without taking quotes and escapes away.

use super::{ChangeError, Word};

/// The words of a text, split at blanks that are neither quoted nor escaped. A quote that is not closed runs to the end;
/// expanding the word tells.
pub fn split(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = word_end(rest);
        words.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    words
}

/// Where the first word ends, in bytes.
fn word_end(text: &str) -> usize {
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (c, quote) {
            // Inside single quotes a backslash is one.
            ('\\', None | Some('"')) => {
                chars.next();
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => return at,
            _ => {}
        }
    }
    text.len()
}

/// The pairs of ENV or LABEL: `a=b c="d e"`, or one pair in the older form `a b c`.
pub fn pairs(instruction: &'static str, text: &str) -> Result<Vec<(Word, Word)>, ChangeError> {
    let words = split(text);
    let first = words.first().ok_or(ChangeError::NoArgument(instruction))?;
    if !first.contains('=') {
        return older_pair(instruction, text, first);
    }
    words.into_iter().map(|word| pair(instruction, word)).collect()
}

/// `a b c`: the value is the rest of the line.
fn older_pair(instruction: &'static str, text: &str, name: &str) -> Result<Vec<(Word, Word)>, ChangeError> {
    let value = text.trim().strip_prefix(name).unwrap_or_default().trim_start();
    if value.is_empty() {
        return Err(ChangeError::NoEquals { instruction, word: name.to_owned() });
    }
    Ok(vec![(Word(name.to_owned()), Word(value.to_owned()))])
}

/// `NAME=VALUE`.
fn pair(instruction: &'static str, word: &str) -> Result<(Word, Word), ChangeError> {
    match word.split_once('=') {
        None => Err(ChangeError::NoEquals { instruction, word: word.to_owned() }),
        Some(("", _)) => Err(ChangeError::EmptyName(instruction)),
        Some((name, value)) => Ok((Word(name.to_owned()), Word(value.to_owned()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_quotes_and_behind_backslashes_split_nothing() {
        let text = r#"a  b\ c "d e\" f" 'g\' h=' i' 'j"#;
        assert_eq!(split(text), ["a", r"b\ c", r#""d e\" f""#, r"'g\'", "h=' i'", "'j"]);
        assert_eq!(split(" \t"), [""; 0]);
        assert_eq!(split("ä\u{2003}ö\\"), ["ä", "ö\\"]);
    }
}
