//! Progress of long work, on a terminal only.

use std::io::{self, IsTerminal, Read};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line without a known end is drawn anew.
const TICK: Duration = Duration::from_millis(120);

/// A line that says what goes on; nothing where standard error is no terminal.
pub fn spinner(what: &str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    bar.enable_steady_tick(TICK);
    bar
}

/// A line that counts the bytes read from `input`, of `total` where that is known.
pub fn reading<R: Read>(what: &str, total: Option<u64>, input: R) -> indicatif::ProgressBarIter<R> {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden().wrap_read(input);
    }
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::new_spinner(),
    };
    let template = match total {
        Some(_) => "{msg} {bar:30} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec}",
        None => "{msg} {spinner} {decimal_bytes} {decimal_bytes_per_sec}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(what.to_owned()).wrap_read(input)
}
