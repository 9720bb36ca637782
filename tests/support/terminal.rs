//! A terminal of the test's own (util-linux's `script`), with a person at it.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::{Arc, Mutex};

use super::{Home, until};

/// A command that runs at a terminal.
pub struct Terminal<'a> {
    home: &'a Home,
    child: Child,
    keyboard: ChildStdin,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: std::thread::JoinHandle<()>,
}

impl<'a> Terminal<'a> {
    /// `line` is one for the shell.
    pub fn run(home: &'a Home, line: &str) -> Self {
        let line = format!("tty >terminal; exec {line}");
        let mut child = home
            .command("script")
            .args(["--quiet", "--flush", "--return", "--command", &line])
            .arg("/dev/null")
            .env("TERM", "xterm")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("script: apt-get install bsdutils");
        let mut output = child.stdout.take().expect("piped");
        let screen = Arc::new(Mutex::new(Vec::new()));
        let shown = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let mut shown = shown.lock().expect("no panic");
                shown.extend_from_slice(&bytes[..length]);
            }
        });
        Terminal {
            home,
            keyboard: child.stdin.take().expect("piped"),
            child,
            screen,
            reader,
        }
    }

    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("no panic")).into_owned()
    }

    /// Waits until something is shown.
    pub fn shows(&self, text: &str) {
        until(text, || self.screen().contains(text));
    }

    /// Waits until what is typed is not shown.
    pub fn hides(&self) {
        let name = std::fs::read_to_string(self.home.path().join("terminal"));
        let name = name.expect("the terminal's name");
        until("no echo", || {
            let settings = self.home.run("stty", &["-F", name.trim(), "-a"], "");
            String::from_utf8_lossy(&settings.stdout).contains(" -echo ")
        });
    }

    pub fn types(&mut self, line: &str) {
        let line = format!("{line}\n");
        self.keyboard.write_all(line.as_bytes()).expect("typed");
    }

    /// Presses one key, such as Ctrl-C, which is 3.
    pub fn presses(&mut self, key: u8) {
        self.keyboard.write_all(&[key]).expect("typed");
    }

    /// Types what `answer` says until the end. It is given what was shown since it last said
    /// something; where that ends with a colon, what is typed must not be shown.
    pub fn attended<'b>(
        mut self,
        mut answer: impl FnMut(&str) -> Option<&'b str>,
    ) -> (Option<i32>, String) {
        let mut seen = 0;
        until("the end", || {
            let screen = self.screen();
            let shown = screen.get(seen..).unwrap_or_default();
            if let Some(line) = answer(shown) {
                seen = screen.len();
                if screen.ends_with(": ") {
                    self.hides();
                }
                self.types(line);
            }
            self.child.try_wait().expect("a status").is_some()
        });
        self.ends()
    }

    /// Waits for the end: the exit code, and all that was shown.
    pub fn ends(mut self) -> (Option<i32>, String) {
        let ended = self.child.wait().expect("an end");
        self.reader.join().expect("no panic");
        let screen = self.screen.lock().expect("no panic");
        (ended.code(), String::from_utf8_lossy(&screen).into_owned())
    }
}
