//! Tests of commands: what is run, in which environment, and what was expected of it.

use serde::{Deserialize, Serialize};

use super::schema::{CommandTest, RunOptions, Variable};
use super::variables::with_variables;
use super::{TestResult, pattern};

/// What a command left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// The status it exited with.
    pub exit_code: i32,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

/// A test of a command with all that belongs to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRun {
    /// The test.
    pub test: CommandTest,
    /// The variables for all commands of its file.
    pub variables: Vec<Variable>,
    /// How commands are run.
    pub options: RunOptions,
}

impl CommandRun {
    /// The variables that are set, as `NAME=VALUE`: those of the file, then the test's, each of which may refer to those
    /// before it and to the image's environment.
    pub fn environment(&self, image: &[String]) -> Vec<String> {
        let mut known = image.to_vec();
        let mut set = Vec::new();
        for Variable { key, value, .. } in self.variables.iter().chain(&self.test.env_vars) {
            let variable = format!("{key}={}", with_variables(value, &known));
            // The first that is found counts.
            known.insert(0, variable.clone());
            set.push(variable);
        }
        set
    }

    /// The program and its arguments, with the variables of `environment` that they name replaced.
    pub fn command(&self, environment: &[String]) -> Vec<String> {
        let words = std::iter::once(&self.test.command).chain(&self.test.args);
        words.map(|word| with_variables(word, environment)).collect()
    }

    /// The options that cannot be had here.
    pub fn unsupported(&self) -> Vec<String> {
        let RunOptions { privileged, allocate_tty, capabilities, .. } = &self.options;
        let asked = [
            ("privileged", *privileged),
            ("allocateTty", *allocate_tty),
            ("capabilities", !capabilities.is_empty()),
        ];
        let asked = asked.into_iter().filter(|(_, asked)| *asked);
        asked.map(|(name, _)| format!("containerRunOptions: {name} is not supported")).collect()
    }
}

impl CommandTest {
    /// Compares what a command left behind with what the test expects.
    pub fn judge(&self, output: &CommandOutput) -> TestResult {
        let mut wrong = Vec::new();
        for (stream, content, expected, excluded) in [
            ("standard output", &output.stdout, &self.expected_output, &self.excluded_output),
            ("standard error", &output.stderr, &self.expected_error, &self.excluded_error),
        ] {
            wrong.extend(pattern::unmatched(stream, content, expected, excluded));
        }
        if output.exit_code != self.exit_code {
            wrong.push(format!("exited with {}; {} was expected", output.exit_code, self.exit_code));
        }
        TestResult::of(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable(key: &str, value: &str) -> Variable {
        Variable { key: key.to_owned(), value: value.to_owned(), is_regex: false }
    }

    #[test]
    fn variables_refer_to_those_before_them() {
        let run = CommandRun {
            test: CommandTest {
                command: "$VIRTUAL_ENV/bin/x".into(),
                args: vec!["${B} $i".into()],
                env_vars: vec![variable("B", "$A-$B"), variable("PATH", "/t:$PATH")],
                ..CommandTest::default()
            },
            variables: vec![variable("VIRTUAL_ENV", "/env"), variable("PATH", "$VIRTUAL_ENV/bin:$PATH")],
            options: RunOptions::default(),
        };
        let image = ["PATH=/bin".to_owned(), "A=a".to_owned(), "B=b".to_owned()];
        let environment = run.environment(&image);
        assert_eq!(environment, ["VIRTUAL_ENV=/env", "PATH=/env/bin:/bin", "B=a-b", "PATH=/t:/env/bin:/bin"]);
        assert_eq!(run.command(&environment), ["/env/bin/x", "a-b $i"]);
    }

    #[test]
    fn what_cannot_be_had_is_named() {
        let options =
            RunOptions { privileged: true, capabilities: vec!["X".into()], ..RunOptions::default() };
        let run = CommandRun { test: CommandTest::default(), variables: Vec::new(), options };
        assert_eq!(
            run.unsupported(),
            [
                "containerRunOptions: privileged is not supported",
                "containerRunOptions: capabilities is not supported"
            ]
        );
    }
}
