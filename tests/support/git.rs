//! `git credential` with our helper alone.

use super::{HELPER, Home, feed, text};

/// One git, in one home.
pub struct Git<'a> {
    home: &'a Home,
    program: &'a str,
}

impl<'a> Git<'a> {
    pub fn new(home: &'a Home, program: &'a str) -> Self {
        Git { home, program }
    }

    /// Its major and minor version.
    pub fn version(&self) -> (u32, u32) {
        let shown = text(&self.home.run(self.program, &["version"], "").stdout);
        let mut numbers = shown
            .split_whitespace()
            .nth(2)
            .unwrap_or_default()
            .split('.')
            .map(|part| part.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    }

    /// What is answered, if anything is. `input` may name a path.
    pub fn fill(&self, input: &str) -> Option<String> {
        let (answer, found) = self.run("fill", input);
        found.then_some(answer)
    }

    pub fn approve(&self, input: &str) {
        assert_eq!(self.run("approve", input), (String::new(), true));
    }

    pub fn reject(&self, input: &str) {
        assert_eq!(self.run("reject", input), (String::new(), true));
    }

    fn run(&self, operation: &str, input: &str) -> (String, bool) {
        let mut command = self.home.command(self.program);
        command
            .args(["-c", "credential.helper="])
            .args(["-c", &format!("credential.helper={HELPER}")])
            .args(["-c", "credential.interactive=false"])
            .args(["-c", "credential.useHttpPath=true"])
            .args(["credential", operation]);
        let output = feed(command, input.as_bytes());
        (text(&output.stdout), output.status.success())
    }
}
