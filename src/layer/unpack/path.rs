//! Names in a tar: their components, and what names that begin with `.wh.` mean.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::error::Refusal;
use crate::format::whiteout;

/// The longest name of a file (`NAME_MAX`).
const NAME_MAX: usize = 255;

/// What an entry's name asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// The layer's root itself.
    Root,
    /// A file: the components of its directory, and its name.
    File(Vec<&'a [u8]>, &'a OsStr),
    /// That the lower layers' file of this name is deleted.
    Whiteout(Vec<&'a [u8]>, &'a OsStr),
    /// That nothing of the lower layers shows in this directory.
    Opaque(Vec<&'a [u8]>),
    /// Nothing: AUFS's own.
    Nothing,
}

/// The components of `path`, which begins at the root whether or not it has a leading slash. `what` names the
/// path for messages.
///
/// # Errors
/// [`Refusal`] for `..` and for components that no file can be called by.
pub fn components<'a>(path: &'a [u8], what: &'static str) -> Result<Vec<&'a [u8]>, Refusal> {
    let mut components = Vec::new();
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => return Err(Refusal::DotDot(what)),
            _ if component.len() > NAME_MAX => return Err(Refusal::LongComponent(what)),
            _ if component.contains(&0) => return Err(Refusal::Nul(what)),
            _ => components.push(component),
        }
    }
    Ok(components)
}

/// What the entry called `name` asks for.
///
/// # Errors
/// [`Refusal`] for an empty name, for those of [`components`], and for `.wh.` where it has no meaning.
pub fn meaning(name: &[u8]) -> Result<Meaning<'_>, Refusal> {
    if name.is_empty() {
        return Err(Refusal::EmptyName);
    }
    let mut dir = components(name, "name")?;
    let Some(last) = dir.pop() else { return Ok(Meaning::Root) };
    let last = OsStr::from_bytes(last);
    let is_own = |component: &[u8]| component.starts_with(b".wh..wh.");
    if dir.iter().any(|component| is_own(component)) {
        return Ok(Meaning::Nothing);
    }
    if dir.iter().any(|component| whiteout::is_reserved(OsStr::from_bytes(component))) {
        return Err(Refusal::ReservedName);
    }
    if last == whiteout::OPAQUE_FILE {
        return Ok(Meaning::Opaque(dir));
    }
    if is_own(last.as_bytes()) {
        return Ok(Meaning::Nothing);
    }
    if let Some(hidden) = whiteout::hidden_name(last) {
        return Ok(Meaning::Whiteout(dir, hidden));
    }
    if whiteout::is_reserved(last) { Err(Refusal::BadWhiteout) } else { Ok(Meaning::File(dir, last)) }
}

/// The path of `name` in the directory at `dir`, without a leading slash.
pub fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meanings() {
        let file = |dir: &[&'static [u8]], name| Ok(Meaning::File(dir.to_vec(), OsStr::new(name)));
        let whiteout = |dir: &[&'static [u8]], name| Ok(Meaning::Whiteout(dir.to_vec(), OsStr::new(name)));
        let table: [(&[u8], Result<Meaning<'_>, Refusal>); 24] = [
            (b"", Err(Refusal::EmptyName)),
            (b".", Ok(Meaning::Root)),
            (b"./", Ok(Meaning::Root)),
            (b"/", Ok(Meaning::Root)),
            (b"a", file(&[], "a")),
            (b"/a", file(&[], "a")),
            (b"./a//b/./c/", file(&[b"a", b"b"], "c")),
            (b"..", Err(Refusal::DotDot("name"))),
            (b"a/../b", Err(Refusal::DotDot("name"))),
            (b"a/..", Err(Refusal::DotDot("name"))),
            (b"a\0b", Err(Refusal::Nul("name"))),
            (b"...", file(&[], "...")),
            (b".wh.a", whiteout(&[], "a")),
            (b"d/.wh.a", whiteout(&[b"d"], "a")),
            (b".wh..a", whiteout(&[], ".a")),
            (b".wh.", Err(Refusal::BadWhiteout)),
            (b".wh..", Err(Refusal::BadWhiteout)),
            (b".wh...", Err(Refusal::BadWhiteout)),
            (b".wh..wh..opq", Ok(Meaning::Opaque(vec![]))),
            (b"d/.wh..wh..opq", Ok(Meaning::Opaque(vec![b"d"]))),
            (b".wh..wh.plnk", Ok(Meaning::Nothing)),
            (b".wh..wh.plnk/1.2", Ok(Meaning::Nothing)),
            (b".wh.d/f", Err(Refusal::ReservedName)),
            (b".wh..wh..opq/f", Ok(Meaning::Nothing)),
        ];
        for (name, expected) in table {
            assert_eq!(meaning(name), expected, "{}", name.escape_ascii());
        }
        assert_eq!(meaning(&[b'n'; 256]), Err(Refusal::LongComponent("name")));
    }
}
