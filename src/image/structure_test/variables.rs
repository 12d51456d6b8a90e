//! Variables in the texts of tests: `$NAME` and `${NAME}`.

/// The text with `$NAME` and `${NAME}` replaced by what the image's environment has for them; others stay as they are.
pub fn with_variables(text: &str, env: &[String]) -> String {
    let value = |name: &str| env.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let (name, behind) = variable(after);
        match value(name).filter(|_| !name.is_empty()) {
            Some(value) => out.push_str(value),
            None => {
                out.push('$');
                out.push_str(&after[..after.len() - behind.len()]);
            }
        }
        rest = behind;
    }
    out + rest
}

/// The name of the variable that the text behind a dollar sign begins with, and what follows it.
fn variable(text: &str) -> (&str, &str) {
    if let Some((name, rest)) = text.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
        return (name, rest);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_of_the_environment_are_replaced() {
        let env = ["A=/a".to_owned(), "AB=/ab".to_owned()];
        for (text, expected) in [
            ("$A/x", "/a/x"),
            ("/x${AB}c$AB", "/x/abc/ab"),
            ("$C/${C}/$/${A", "$C/${C}/$/${A"),
            ("ä$A", "ä/a"),
        ] {
            assert_eq!(with_variables(text, &env), expected);
        }
    }
}
