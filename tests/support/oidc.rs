//! A real authorization server (npm `oidc-provider`) of the test's own, with a git server that asks
//! it about each token.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::platform::{Reply, request};
use super::{Home, WIT, done, until};

const INSTALL: &str =
    "npm install --prefix target/tools/oidc-provider oidc-provider@8.8.1 (tests/run)";

pub struct Provider {
    process: Child,
    /// Base URL of the authorization server.
    pub issuer: String,
    /// Base URL of the git server, which has the repository `work.git`.
    pub git: String,
    repositories: Home,
}

impl Provider {
    /// `options` as JSON: see `oidc-provider.mjs`.
    pub fn start(options: &Value) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let tools = root.join("target/tools/oidc-provider");
        assert!(
            tools.join("node_modules").exists(),
            "oidc-provider: {INSTALL}"
        );
        let repositories = Home::new();
        for arguments in [
            &["init", "-q", "--bare", "work.git"][..],
            &["init", "-q", "tree"],
            &[
                "-C",
                "tree",
                "-c",
                "user.name=A",
                "-c",
                "user.email=a@example.com",
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                "first",
            ],
            &[
                "-C",
                "tree",
                "push",
                "-q",
                "../work.git",
                "HEAD:refs/heads/main",
            ],
            &["-C", "work.git", "config", "http.receivepack", "true"],
        ] {
            done(&repositories.run("git", arguments, ""));
        }
        let mut process = Command::new("node")
            .arg(root.join("tests/support/oidc-provider.mjs"))
            .arg(&tools)
            .arg(repositories.path())
            .arg(options.to_string())
            .env_remove("NODE_OPTIONS")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}: apt-get install nodejs npm"));
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let line = lines.next().expect("it starts").expect("text");
        let addresses: Value = serde_json::from_str(&line).expect("JSON");
        let url = |name: &str| addresses[name].as_str().expect("a URL").to_owned();
        Provider {
            issuer: url("issuer"),
            git: url("git"),
            process,
            repositories,
        }
    }

    fn get(&self, path: &str) -> Reply {
        let address = self.issuer.strip_prefix("http://").expect("http");
        request(address, "GET", path, &[], "")
    }

    /// A number that the server has counted, such as `refreshed`.
    pub fn seen(&self, name: &str) -> u64 {
        self.get("/test/seen").json()[name]
            .as_u64()
            .expect("a number")
    }

    /// Changes an option while it runs.
    pub fn set(&self, name: &str, value: u64) {
        let reply = self.get(&format!("/test/options?{name}={value}"));
        assert_eq!(reply.status, 200);
    }

    /// Has it answer nothing any more, while connections to it are still taken.
    pub fn hang(&self) {
        let id = i32::try_from(self.process.id()).expect("a process");
        let id = rustix::process::Pid::from_raw(id).expect("a process");
        rustix::process::kill_process(id, rustix::process::Signal::STOP).expect("stopped");
    }

    /// Confirms a device's code, as a person would on the page.
    pub fn approve(&self, user_code: &str, account: &str) {
        let path = format!("/test/approve?user_code={user_code}&account={account}");
        assert_eq!(self.get(&path).status, 200, "{user_code}");
    }

    /// Denies a device's code.
    pub fn deny(&self, user_code: &str) {
        let path = format!("/test/approve?user_code={user_code}&deny=1");
        assert_eq!(self.get(&path).status, 200, "{user_code}");
    }

    /// Whether the git server takes a token.
    pub fn takes(&self, token: &str) -> bool {
        let address = self.git.strip_prefix("http://").expect("http");
        let bearer = format!("Bearer {token}");
        let path = "/work.git/info/refs?service=git-upload-pack";
        let status = request(address, "GET", path, &[("Authorization", &bearer)], "").status;
        assert!(matches!(status, 200 | 401), "{status}");
        status == 200
    }

    /// Goes through the pages of an authorization address by hand, as ada: where the browser would
    /// be sent at last.
    pub fn person_opens(&self, address: &str) -> String {
        let mut cookies = std::collections::BTreeMap::new();
        let (mut method, mut body) = ("GET", String::new());
        let mut next = address.to_owned();
        for _ in 0..12 {
            let Some(path) = next.strip_prefix(&self.issuer) else {
                return next;
            };
            let jar: Vec<String> = cookies.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let jar = jar.join("; ");
            let headers = [
                ("Cookie", jar.as_str()),
                ("Content-Type", "application/x-www-form-urlencoded"),
            ];
            let server = self.issuer.strip_prefix("http://").expect("http");
            let reply = request(server, method, path, &headers, &body);
            for line in reply.raw_head.lines() {
                if let Some(set) = line.strip_prefix("Set-Cookie: ")
                    && let Some((name, value)) =
                        set.split(';').next().and_then(|p| p.split_once('='))
                {
                    cookies.insert(name.to_owned(), value.to_owned());
                }
            }
            let mut lines = reply.raw_head.lines();
            let sent = lines.find_map(|line| line.strip_prefix("Location: "));
            (method, body) = ("GET", String::new());
            match sent {
                Some(sent) if sent.starts_with('/') => next = format!("{}{sent}", self.issuer),
                Some(sent) => next = sent.to_owned(),
                // A page with a form: first who one is, then what one agrees to.
                None => {
                    method = "POST";
                    body = match reply.body.contains("name=\"login\"") {
                        true => "prompt=login&login=ada&password=x".to_owned(),
                        false => "prompt=consent".to_owned(),
                    };
                }
            }
        }
        panic!("still at {next}");
    }

    /// git's configuration of a home for the git server: its endpoints are the provider's.
    pub fn configure(&self, home: &Home) {
        for (key, value) in [
            ("oauthClientId", "public".to_owned()),
            ("oauthAuthURL", format!("{}/auth", self.issuer)),
            ("oauthTokenURL", format!("{}/token", self.issuer)),
            ("oauthDeviceAuthURL", format!("{}/device/auth", self.issuer)),
            ("oauthScopes", "openid offline_access".to_owned()),
        ] {
            self.git_config(home, key, &value);
        }
    }

    pub fn git_config(&self, home: &Home, key: &str, value: &str) {
        let key = format!("credential.{}.{key}", self.git);
        done(&home.run("git", &["config", "--global", &key, value], ""));
    }

    /// A home that is signed in to the git server by the device flow.
    pub fn signed_in_home(&self) -> Home {
        let home = Home::new();
        self.configure(&home);
        self.sign_in(&home, "ada");
        home
    }

    pub fn sign_in(&self, home: &Home, account: &str) {
        let url = self.git.as_str();
        let login = [
            "login",
            url,
            "--host-type",
            "oauth",
            "--device",
            "--no-browser",
        ];
        let mut login = Login::start(home, &login);
        self.approve(&login.code(), account);
        let (code, said) = login.ends();
        assert_eq!(code, Some(0), "{said}");
    }

    /// `git ls-remote` with this helper alone.
    pub fn ls_remote(&self, home: &Home) -> Command {
        let mut git = home.command("git");
        let helper = format!("credential.helper={}", super::HELPER);
        git.args(["-c", "credential.helper=", "-c", &helper, "ls-remote"])
            .arg(format!("{}/work.git", self.git))
            .stdin(Stdio::null());
        git
    }

    /// Keeps the repositories for as long as it runs.
    pub fn repositories(&self) -> &Path {
        self.repositories.path()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A `wit login` that waits for a person; what it says is read as it comes.
pub struct Login {
    process: Child,
    said: std::sync::Arc<std::sync::Mutex<String>>,
    reader: Option<std::thread::JoinHandle<()>>,
}

impl Login {
    pub fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut process = home
            .command(WIT)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("wit runs");
        let said = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let shown = std::sync::Arc::clone(&said);
        let stderr = process.stderr.take().expect("piped");
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut shown = shown.lock().expect("no panic");
                shown.push_str(&line);
                shown.push('\n');
            }
        });
        Login {
            process,
            said,
            reader: Some(reader),
        }
    }

    pub fn said(&self) -> String {
        self.said.lock().expect("no panic").clone()
    }

    /// The line that is shown alone below a line of these words.
    fn below(&mut self, words: &str) -> String {
        let mut found = None;
        let mut ended = false;
        until(words, || {
            let said = self.said();
            let mut lines = said
                .lines()
                .skip_while(|line| !line.contains(words))
                .skip(1);
            found = lines
                .find(|line| !line.trim().is_empty())
                .map(|line| line.trim().to_owned());
            ended = self.process.try_wait().expect("a status").is_some();
            found.is_some() || ended
        });
        found.unwrap_or_else(|| panic!("it ended: {}", self.said()))
    }

    /// The code that a person is to confirm.
    pub fn code(&mut self) -> String {
        self.below("enter this code")
    }

    /// The address that a browser is to open.
    pub fn address(&mut self) -> String {
        self.below("Open")
    }

    pub fn types(&mut self, line: &str) {
        use std::io::Write;
        let stdin = self.process.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("typed");
    }

    /// Has nobody type any more.
    pub fn closes_stdin(&mut self) {
        self.process.stdin = None;
    }

    /// The exit code, and all that was said on either stream.
    pub fn ends(mut self) -> (Option<i32>, String) {
        let mut status = None;
        until("the login ends", || {
            status = self.process.try_wait().expect("a status");
            status.is_some()
        });
        if let Some(reader) = self.reader.take() {
            reader.join().expect("no panic");
        }
        let mut output = String::new();
        let mut stdout = self.process.stdout.take().expect("piped");
        std::io::Read::read_to_string(&mut stdout, &mut output).expect("text");
        (
            status.and_then(|status| status.code()),
            self.said() + &output,
        )
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
