//! Signals of Linux, by name or number.

/// The names of signals, without `SIG`, that are no real-time signals.
const NAMES: &[&str] = &[
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE",
    "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU",
    "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// The highest number of a signal.
const MAX: u8 = 64;

/// Whether the text is a signal's number, or its name with or without `SIG`, in any case.
pub fn is_signal(text: &str) -> bool {
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse::<u8>().is_ok_and(|number| (1..=MAX).contains(&number));
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    NAMES.contains(&name) || is_real_time(name)
}

/// `RTMIN`, `RTMIN+1` … `RTMIN+15`, `RTMAX-14` … `RTMAX`: the names that docker knows.
fn is_real_time(name: &str) -> bool {
    let offset = |text: &str, sign: char, max: u8| match text.strip_prefix(sign) {
        None => text.is_empty(),
        Some(digits) => {
            !digits.starts_with(['0', '+']) && digits.parse::<u8>().is_ok_and(|number| number <= max)
        }
    };
    name.strip_prefix("RTMIN").is_some_and(|rest| offset(rest, '+', 15))
        || name.strip_prefix("RTMAX").is_some_and(|rest| offset(rest, '-', 14))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_known() {
        for good in ["9", "64", "TERM", "SIGTERM", "sigquit", "RTMIN", "SIGRTMIN+3", "RTMAX-14"] {
            assert!(is_signal(good), "{good}");
        }
        for bad in
            ["", "0", "65", "-9", "+9", "SIG", "SIGSIGTERM", "TERMX", "RTMIN-1", "RTMIN+16", "RTMIN+", "1.5"]
        {
            assert!(!is_signal(bad), "{bad}");
        }
    }
}
