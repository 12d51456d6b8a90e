//! Patterns over names, as Go's path.Match has them: `*` and `?` for anything but a slash, `[a-z]` and `[^a-z]` for one
//! of these characters or another, a backslash to take the next character as it is.

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob(Vec<Part>);

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no pattern: a bracket is not closed or empty, or a backslash stands at the end")]
pub struct GlobError(String);

/// What a pattern is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// This character.
    Char(char),
    /// Any one.
    Any,
    /// Any number of any.
    Star,
    /// One in these ranges, or in none of them.
    Class { ranges: Vec<(char, char)>, negated: bool },
}

impl Part {
    fn takes(&self, c: char) -> bool {
        match self {
            Part::Char(own) => *own == c,
            Part::Any | Part::Star => c != '/',
            Part::Class { ranges, negated } => {
                c != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// It is not well formed.
    pub fn parse(text: &str) -> Result<Glob, GlobError> {
        let bad = || GlobError(text.to_owned());
        let mut chars = text.chars().peekable();
        let mut parts = Vec::new();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Star,
                '?' => Part::Any,
                '\\' => Part::Char(chars.next().ok_or_else(bad)?),
                '[' => class(&mut chars).ok_or_else(bad)?,
                c => Part::Char(c),
            });
        }
        Ok(Glob(parts))
    }

    /// Whether the whole text matches. Takes at most the product of both lengths in steps.
    pub fn matches(&self, text: &str) -> bool {
        let text: Vec<char> = text.chars().collect();
        let (mut part, mut at) = (0, 0);
        // Where the last star is, and how far it reaches. An earlier one need not reach further than it had to.
        let mut star: Option<(usize, usize)> = None;
        loop {
            match (self.0.get(part), text.get(at)) {
                (None, None) => return true,
                (Some(Part::Star), _) => {
                    star = Some((part, at));
                    part += 1;
                }
                (Some(own), Some(c)) if own.takes(*c) => (part, at) = (part + 1, at + 1),
                _ => {
                    let Some((begin, reach)) = star else { return false };
                    if text.get(reach).is_none_or(|c| *c == '/') {
                        return false;
                    }
                    star = Some((begin, reach + 1));
                    (part, at) = (begin + 1, reach + 1);
                }
            }
        }
    }
}

/// What stands in brackets, the first of which is read already.
fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Part> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next()? {
            ']' if ranges.is_empty() => return None,
            ']' => return Some(Part::Class { ranges, negated }),
            '\\' => chars.next()?,
            c => c,
        };
        let mut high = low;
        if chars.next_if_eq(&'-').is_some() {
            high = match chars.next()? {
                '\\' => chars.next()?,
                ']' => return None,
                c => c,
            };
        }
        ranges.push((low, high));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::parse(pattern).expect(pattern).matches(text)
    }

    #[test]
    fn patterns_match_as_in_go() {
        for (pattern, text) in [
            ("", ""),
            ("abc", "abc"),
            ("*", "abc"),
            ("*c", "abc"),
            ("a*/b", "abc/b"),
            ("a*b*c*d*e*/f", "axbxcxdxe/f"),
            ("a*b?c*x", "abxbbxdbxebxczzx"),
            ("ab[c]", "abc"),
            ("ab[b-d]", "abc"),
            ("ab[^e-g]", "abc"),
            ("a\\*b", "a*b"),
            ("a[^a][^a]b", "a☺xb"),
            ("[a-z]*:1?", "ab:12"),
            ("[\\]a]", "]"),
            ("[x\\-]", "-"),
            ("*x", "xxx"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("a*", "ab/c"),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff"),
            ("a*b?c*x", "abxbbxdbxebxczzy"),
            ("ab[^c]", "abc"),
            ("a?b", "a/b"),
            ("a[^b]c", "a/c"),
            ("abc", "ab"),
            ("", "a"),
            ("*a", "b"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn broken_patterns_are_told() {
        for pattern in ["[", "[]", "[a", "[^", "[a-]", "[a-", "a\\", "[\\"] {
            assert!(Glob::parse(pattern).is_err(), "{pattern}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_takes_long_or_panics(pattern in "[]a*?\\[/^\\\\-]{0,40}", text in "[a/]{0,400}") {
            if let Ok(glob) = Glob::parse(&pattern) {
                glob.matches(&text);
            }
        }

        #[test]
        fn a_text_matches_itself(text in "[a-z/:.]{0,20}") {
            prop_assert!(matches(&text, &text));
            let longer = format!("{text}*");
            prop_assert!(matches(&longer, &text));
        }
    }
}
