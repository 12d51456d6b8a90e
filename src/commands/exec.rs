//! `plyfs exec`: one more program in a running container.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use plyfs::oci::config::RunConfig;
use plyfs::run::RunError;
use plyfs::run::command::{Terminal, put_over};
use plyfs::run::runtime;
use plyfs::run::settings::Input;
use plyfs::run::streams::Streams;
use plyfs::run::supervise::{Ended, OnSignal, follow, take_signals};

use super::{running, store};
use crate::cli::exec::ExecArgs;

/// Runs it; ends with the program's exit code, or one of docker's.
pub fn run(args: &ExecArgs, root: Option<&Path>) -> ExitCode {
    running::end(execute(args, root))
}

fn execute(args: &ExecArgs, root: Option<&Path>) -> anyhow::Result<ExitCode> {
    let [container, command @ ..] = args.container_and_command.as_slice() else { bail!("name a container") };
    if args.process.tty && !std::io::stdin().is_terminal() {
        bail!("the input device is not a TTY: leave -t out where standard input is no terminal");
    }
    let store = store::open(root)?;
    let instance = running::enter(&store, container)?;
    let config = config(&instance.container.config, command, args);
    let terminal = if args.process.tty { Terminal::Yes } else { Terminal::No };
    // Several may run at once.
    let files = Files::new(&instance.dir);
    instance.prepare_exec(&config, terminal, &files.process)?;
    let call = instance.runtime()?.exec(&files.process, &files.pid, &files.log);
    let input = if args.process.interactive || args.process.tty { Input::Callers } else { Input::None };
    take_signals()?;
    match follow(call, &Streams::Callers(input), &files.pid, OnSignal::PassOn, |_| Ok(()))? {
        Ended::Program(code) => {
            if terminal == Terminal::Yes {
                running::show_left_over(&runtime::left_over_in(&files.log));
            }
            Ok(ExitCode::from(code))
        }
        Ended::NotStarted => {
            // The runtime has told why.
            eprintln!("plyfs: error: {} was not started", command.first().map_or("", String::as_str));
            let said = runtime::last_error_in(&files.log).unwrap_or_default();
            Ok(ExitCode::from(RunError::Runtime(said).exit_code()))
        }
    }
}

/// What the program is, its environment, where and as whom it runs.
fn config(container: &RunConfig, command: &[String], args: &ExecArgs) -> RunConfig {
    let mut config = container.clone();
    (config.entrypoint, config.cmd) = (None, Some(command.to_vec()));
    put_over(&mut config.env, &running::variables(&args.process.env));
    if let Some(dir) = &args.process.workdir {
        config.working_dir.clone_from(dir);
    }
    if let Some(user) = &args.process.user {
        config.user.clone_from(user);
    }
    config
}

/// The files by which this process and the runtime talk; gone with this.
struct Files {
    process: PathBuf,
    pid: PathBuf,
    log: PathBuf,
}

impl Files {
    fn new(dir: &Path) -> Files {
        let file = |kind: &str| dir.join(format!("exec-{}.{kind}", std::process::id()));
        Files { process: file("json"), pid: file("pid"), log: file("log") }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in [&self.process, &self.pid, &self.log] {
            if let Err(e) = std::fs::remove_file(path) {
                log::debug!("removing {}: {e}", path.display());
            }
        }
    }
}
