//! A file's mode in letters, as `ls -l` and as Go write it.

/// The bits of `st_mode` that tell the type, and the types (inode(7)).
const TYPE: u32 = 0o170_000;
const TYPES: &[(u32, char, &str)] = &[
    (0o140_000, 's', "S"),
    (0o120_000, 'l', "L"),
    (0o100_000, '-', ""),
    (0o060_000, 'b', "D"),
    (0o040_000, 'd', "d"),
    (0o020_000, 'c', "Dc"),
    (0o010_000, 'p', "p"),
];

const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;
const STICKY: u32 = 0o1000;

/// As `ls -l`: `drwxrwxrwt`.
pub fn as_ls(mode: u32) -> String {
    let kind = TYPES.iter().find(|(bits, ..)| *bits == mode & TYPE).map_or('?', |(_, letter, _)| *letter);
    let triple = |shift: u32, special: u32, letter: char| {
        let bits = mode >> shift;
        let execute = match (bits & 1 != 0, mode & special != 0) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        };
        [if bits & 4 != 0 { 'r' } else { '-' }, if bits & 2 != 0 { 'w' } else { '-' }, execute]
    };
    let triples = [triple(6, SET_UID, 's'), triple(3, SET_GID, 's'), triple(0, STICKY, 't')];
    std::iter::once(kind).chain(triples.into_iter().flatten()).collect()
}

/// As Go's `FileMode.String`: `dtrwxrwxrwx`.
pub fn as_go(mode: u32) -> String {
    let kind = TYPES.iter().find(|(bits, ..)| *bits == mode & TYPE).map_or("?", |(_, _, letters)| letters);
    let special: String = [(SET_UID, 'u'), (SET_GID, 'g'), (STICKY, 't')]
        .into_iter()
        .filter(|(bit, _)| mode & bit != 0)
        .map(|(_, letter)| letter)
        .collect();
    let prefix = if kind.is_empty() && special.is_empty() { "-" } else { kind };
    // Go puts pipes and sockets behind the set-ID letters and the sticky bit at the end; nobody sets these on them.
    format!("{prefix}{special}{}", as_ls(mode & 0o777).split_off(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_ls_and_go_write_them() {
        for (mode, ls, go) in [
            (0o100_644, "-rw-r--r--", "-rw-r--r--"),
            (0o104_755, "-rwsr-xr-x", "urwxr-xr-x"),
            (0o102_644, "-rw-r-Sr--", "grw-r--r--"),
            (0o041_777, "drwxrwxrwt", "dtrwxrwxrwx"),
            (0o120_777, "lrwxrwxrwx", "Lrwxrwxrwx"),
            (0o020_600, "crw-------", "Dcrw-------"),
            (0o010_600, "prw-------", "prw-------"),
        ] {
            assert_eq!((as_ls(mode), as_go(mode)), (ls.to_owned(), go.to_owned()));
        }
    }
}
