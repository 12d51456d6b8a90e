//! Command tests, each in a container of its own.
//!
//! `plyfs test` calls this program again for each test: the process that makes and mounts a container, and as an ordinary
//! user its namespaces, serves one test and ends. It ends the test when the one that called it ends.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use plyfs::image::structure_test::command::{CommandOutput, CommandRun};
use plyfs::image::structure_test::schema::RunOptions;
use plyfs::image::structure_test::{Runner, TestResult};
use plyfs::mount::{Attachment, Outcome, mount};
use plyfs::run::command::{self, Asked};
use plyfs::run::settings::{Afterwards, Settings, Volume};
use plyfs::run::streams::Streams;
use plyfs::run::supervise::{OnSignal, end_with_parent, supervise, take_signals};
use plyfs::run::{Instance, rootless, runtime};

use super::instance::{self, Wanted};
use super::{running, store};
use crate::cli::command_test::CommandTestArgs;

/// The most of a stream that is compared.
const MAX_OUTPUT: u64 = 64 << 20;

/// Runs the tests of an image by calling this program.
pub struct Containers<'a> {
    /// The image.
    pub image: &'a str,
    /// Where images are kept.
    pub root: &'a Path,
}

impl Runner for Containers<'_> {
    fn run(&self, run: &CommandRun) -> TestResult {
        let unsupported = run.unsupported();
        if !unsupported.is_empty() {
            return TestResult::Fail(unsupported);
        }
        self.call(run).unwrap_or_else(|e| TestResult::Fail(vec![format!("{e:#}")]))
    }
}

impl Containers<'_> {
    fn program(&self) -> anyhow::Result<Command> {
        let program = std::env::current_exe().context("cannot tell where plyfs is")?;
        let mut command = Command::new(program);
        command.arg("--root").arg(self.root);
        Ok(command)
    }

    fn call(&self, run: &CommandRun) -> anyhow::Result<TestResult> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("test-{}-{}", std::process::id(), since.as_nanos());
        let mut command = self.program()?;
        command.args(["command-test", &name, self.image]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot run plyfs")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(&serde_json::to_vec(run)?).context("cannot hand over the test")?;
        }
        let output = child.wait_with_output().context("cannot wait for the test")?;
        if let Ok(result) = serde_json::from_slice(&output.stdout) {
            return Ok(result);
        }
        // It was killed, and its container may be left.
        self.program()?
            .args(["rm", "--force", &name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        bail!("the process that ran it ended early ({})", output.status)
    }
}

/// Runs one test and prints its result as JSON.
///
/// # Errors
/// Standard input holds no test.
pub fn run(args: &CommandTestArgs, root: Option<&Path>) -> anyhow::Result<ExitCode> {
    let run: CommandRun = serde_json::from_reader(io::stdin().lock()).context("this is no command test")?;
    let result = match in_container(args, &run, root) {
        Ok(Done::Tested(result)) => result,
        Ok(Done::Served(code)) => return Ok(code),
        Err(e) => TestResult::Fail(vec![format!("{e:#}")]),
    };
    // Nobody may be there any more to read it.
    writeln!(io::stdout(), "{}", serde_json::to_string(&result)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What this process was for.
enum Done {
    /// The test.
    Tested(TestResult),
    /// Serving the mount, until it was gone.
    Served(ExitCode),
}

fn in_container(args: &CommandTestArgs, run: &CommandRun, root: Option<&Path>) -> anyhow::Result<Done> {
    let settings = settings(&run.options)?;
    let env = environment(&run.options)?;
    let root = &store::root(root)?;
    rootless::become_root()?;
    // Not before: the kernel forgets it where privileges are gained.
    end_with_parent()?;
    let root = Some(root.as_path());
    let asked = Asked {
        // As container-structure-test: the image's entrypoint is not used.
        entrypoint: Some(String::new()),
        arguments: vec![run.test.command.clone()],
        env,
        working_dir: None,
        user: run.options.user.clone(),
    };
    let wanted = Wanted { image: &args.image, name: Some(args.name.clone()), asked, settings };
    let (mut instance, options) = instance::make(wanted, root)?;
    take_signals()?;
    match mount(options, &instance.root, Attachment::Daemon) {
        Ok(Outcome::Live) => {}
        Ok(Outcome::Served) => return Ok(Done::Served(ExitCode::SUCCESS)),
        Ok(Outcome::Failed) => return Ok(Done::Served(ExitCode::FAILURE)),
        Err(e) => {
            instance::discard(&instance, root);
            return Err(e).context("cannot mount the container");
        }
    }
    let result = steps(&mut instance, run);
    instance::finish(&instance, root);
    Ok(Done::Tested(result?))
}

/// Runs setup, command and teardown, one after the other on the same root file system. How setup and teardown exit
/// decides nothing; it is told where the test fails.
fn steps(instance: &mut Instance, run: &CommandRun) -> anyhow::Result<TestResult> {
    let mut known = instance.container.config.env.clone();
    known.push(command::DEFAULT_PATH.to_owned());
    command::put_over(&mut instance.container.config.env, &run.environment(&known));
    let mut remarks = Vec::new();
    let mut beside = |instance: &mut Instance, kind: &str, commands: &[Vec<String>]| {
        for words in commands {
            let output = step(instance, words).with_context(|| format!("{kind} {words:?}"))?;
            if output.exit_code != 0 {
                let said = String::from_utf8_lossy(&output.stderr);
                remarks.push(format!("{kind} {words:?} exited with {}: {}", output.exit_code, said.trim()));
            }
        }
        anyhow::Ok(())
    };
    beside(instance, "setup", &run.test.setup)?;
    let words = run.command(&instance.container.config.env);
    let output = step(instance, &words)?;
    beside(instance, "teardown", &run.test.teardown)?;
    Ok(match run.test.judge(&output) {
        TestResult::Fail(mut wrong) => {
            wrong.append(&mut remarks);
            TestResult::Fail(wrong)
        }
        other => other,
    })
}

/// Runs one command in the mounted container.
fn step(instance: &mut Instance, words: &[String]) -> anyhow::Result<CommandOutput> {
    instance.container.config.cmd = Some(words.to_vec());
    let mut record = instance.prepare()?;
    let files = ["test.out", "test.err"].map(|name| instance.dir.join(name));
    files.iter().try_for_each(|path| fs::write(path, "")).context("cannot keep what it prints")?;
    let [output, error] = files.clone();
    let streams = Streams::Apart { output, error };
    let runtime = instance.runtime()?;
    let code = supervise(&runtime, &instance.dir, &streams, &mut record, OnSignal::End, || Ok(()))?;
    let [stdout, stderr] = files;
    Ok(CommandOutput { exit_code: code.into(), stdout: printed(&stdout)?, stderr: printed(&stderr)? })
}

fn printed(path: &PathBuf) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(MAX_OUTPUT + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_OUTPUT {
        bail!("it prints more than {} MiB, which is not compared", MAX_OUTPUT >> 20);
    }
    Ok(bytes)
}

fn settings(options: &RunOptions) -> anyhow::Result<Settings> {
    let here = std::env::current_dir().context("cannot tell the working directory")?;
    let volumes = options.bind_mounts.iter().map(|text| Volume::parse(text, &here));
    Ok(Settings {
        volumes: volumes.collect::<Result<_, _>>()?,
        afterwards: Afterwards::Remove,
        runtime: Some(runtime::choose(None)?),
        ..Settings::default()
    })
}

/// The variables that come from outside: those of the file, then those of this process. Of both, a name alone takes its
/// value from this process.
fn environment(options: &RunOptions) -> anyhow::Result<Vec<String>> {
    let text = match options.env_file.as_deref() {
        Some(path) => fs::read_to_string(path).with_context(|| format!("cannot read the envFile {path}"))?,
        None => String::new(),
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let typed: Vec<String> = lines.map(str::to_owned).chain(options.env_vars.iter().cloned()).collect();
    Ok(running::variables(&typed))
}
