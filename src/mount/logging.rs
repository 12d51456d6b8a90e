//! Where messages go: to standard error, or to the file that `PLYFS_LOG_FILE` names.
//!
//! `PLYFS_LOG` chooses what is logged, as env_logger reads it (`debug`, `plyfs::mount=trace`); warnings
//! without it. A daemon's standard error is /dev/null.

use std::fs::OpenOptions;
use std::io::Write;

use env_logger::{Builder, Env, Target};

/// Starts logging. `default` is the level without `PLYFS_LOG`. Where the log file cannot be opened, this
/// says so and logs to standard error.
pub fn init(default: log::LevelFilter) {
    let mut builder = Builder::from_env(Env::new().filter("PLYFS_LOG"));
    if std::env::var_os("PLYFS_LOG").is_none() {
        builder.filter_level(default);
    }
    match log_file() {
        Some(file) => {
            builder.target(Target::Pipe(Box::new(file))).format_timestamp_millis();
        }
        None => {
            builder.format(|out, record| {
                let level = record.level().as_str().to_ascii_lowercase();
                writeln!(out, "plyfs: {level}: {}", record.args())
            });
        }
    }
    // Only a second call can fail, and it changes nothing.
    builder.try_init().unwrap_or_default();
}

fn log_file() -> Option<std::fs::File> {
    let path = std::env::var_os("PLYFS_LOG_FILE").filter(|path| !path.is_empty())?;
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.inspect_err(|e| eprintln!("plyfs: cannot log to {}: {e}", path.display())).ok()
}
