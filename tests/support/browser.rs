//! A Chromium of the test's own, driven as WebDriver (W3C) says: no window, a throwaway profile.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::platform::{Reply, request};

/// How long an element or a page is waited for.
const PAGE_TIMEOUT: Duration = Duration::from_secs(30);
const INSTALL: &str = "apt-get install chromium chromium-driver";
/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub const TAB: &str = "\u{e004}";
const CONTROL: &str = "\u{e009}";
pub const ENTER: &str = "\u{e007}";
pub const SPACE: &str = " ";

pub struct Browser {
    driver: Child,
    address: String,
    session: String,
    /// Kept open, because the driver goes on writing to it.
    _said: BufReader<ChildStdout>,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub fn start() -> Self {
        Self::with(json!({}))
    }

    /// One in which the pages' own scripts do not run.
    pub fn without_script() -> Self {
        Self::with(json!({ "profile.managed_default_content_settings.javascript": 2 }))
    }

    fn with(preferences: Value) -> Self {
        let profile = tempfile::tempdir().expect("a temporary directory");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            // Its browser stays in its group, so that one signal ends both.
            .process_group(0)
            .env("HOME", profile.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver: {error}: {INSTALL}"));
        let mut said = BufReader::new(driver.stdout.take().expect("piped"));
        let port = (said.by_ref().lines().map_while(Result::ok))
            .find_map(|line| Some(line.split_once("successfully on port ")?.1.to_owned()))
            .expect("chromedriver says its port");
        let mut browser = Browser {
            driver,
            address: format!("127.0.0.1:{}", port.trim_end_matches('.')),
            session: String::new(),
            _said: said,
            _profile: profile,
        };
        let profile = format!("--user-data-dir={}", browser._profile.path().display());
        let timeout = PAGE_TIMEOUT.as_millis();
        let capabilities = json!({
            // A test's own certificate is signed by nobody.
            "acceptInsecureCerts": true,
            "goog:chromeOptions": {
                "args": [
                    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                    "--no-first-run", "--disable-background-networking",
                    "--disable-component-update", "--disable-sync", "--hide-scrollbars",
                    "--disable-dev-shm-usage", profile,
                ],
                "prefs": preferences,
            },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
            "timeouts": { "implicit": timeout, "pageLoad": timeout, "script": timeout },
        });
        let begun = browser.ask(
            "POST",
            "/session",
            json!({ "capabilities": { "alwaysMatch": capabilities } }),
        );
        let id = begun["sessionId"].as_str().expect("a session");
        browser.session = format!("/session/{id}");
        browser
    }

    fn ask(&self, method: &str, path: &str, body: Value) -> Value {
        let reply = self.tell(method, path, &body);
        assert_eq!(reply.status, 200, "{path} {body}: {}", reply.body);
        reply.json()["value"].take()
    }

    fn tell(&self, method: &str, path: &str, body: &Value) -> Reply {
        let path = format!("{}{path}", self.session);
        let body = match method {
            "GET" | "DELETE" => String::new(),
            _ => body.to_string(),
        };
        let kind = [("Content-Type", "application/json")];
        request(&self.address, method, &path, &kind, &body)
    }

    pub fn open(&self, url: &str) {
        self.ask("POST", "/url", json!({ "url": url }));
    }

    /// As the browser's own button does, which sends a form again.
    pub fn reload(&self) {
        self.ask("POST", "/refresh", json!({}));
    }

    pub fn back(&self) {
        self.ask("POST", "/back", json!({}));
    }

    pub fn url(&self) -> String {
        let url = self.ask("GET", "/url", Value::Null);
        url.as_str().expect("a URL").to_owned()
    }

    /// What a script that is given as a function's body returns.
    pub fn run(&self, script: &str) -> Value {
        let body = json!({ "script": script, "args": [] });
        self.ask("POST", "/execute/sync", body)
    }

    fn element(&self, using: &str, value: &str) -> String {
        let found = self.ask(
            "POST",
            "/element",
            json!({ "using": using, "value": value }),
        );
        let id = found[ELEMENT].as_str().expect("an element");
        format!("/element/{id}")
    }

    /// What is seen of the first element of a CSS selector.
    pub fn text(&self, selector: &str) -> String {
        let path = self.element("css selector", selector) + "/text";
        let text = self.ask("GET", &path, Value::Null);
        text.as_str().expect("text").to_owned()
    }

    /// The cookies that the browser holds for the page.
    pub fn cookies(&self) -> Value {
        self.ask("GET", "/cookie", Value::Null)
    }

    /// The page's HTML as it stands.
    pub fn source(&self) -> String {
        let source = self.ask("GET", "/source", Value::Null);
        source.as_str().expect("text").to_owned()
    }

    /// The value of a field.
    pub fn value(&self, selector: &str) -> String {
        let path = self.element("css selector", selector) + "/property/value";
        let value = self.ask("GET", &path, Value::Null);
        value.as_str().expect("a value").to_owned()
    }

    /// Types into a field, in place of what was there.
    pub fn fill(&self, selector: &str, text: &str) {
        let field = self.element("css selector", selector);
        self.ask("POST", &format!("{field}/clear"), json!({}));
        self.ask("POST", &format!("{field}/value"), json!({ "text": text }));
    }

    /// Puts what was copied into a field, by the keyboard.
    pub fn paste(&self, selector: &str) {
        let path = self.element("css selector", selector) + "/value";
        self.ask("POST", &path, json!({ "text": format!("{CONTROL}v") }));
    }

    /// Does what leads to another page, and waits until that page is there.
    pub fn leave(&self, act: impl FnOnce()) {
        let old = self.element("css selector", "html") + "/name";
        let begun = Instant::now();
        act();
        while self.tell("GET", &old, &Value::Null).status == 200 {
            assert!(begun.elapsed() < PAGE_TIMEOUT, "still at {}", self.url());
        }
    }

    /// Clicks the button or link of that name, and waits for the page that it leads to.
    pub fn follow(&self, name: &str) {
        self.leave(|| self.press(name));
    }

    /// Clicks the button or link of that name.
    pub fn press(&self, name: &str) {
        let path = format!("//*[(self::a or self::button) and normalize-space()='{name}']");
        let path = self.element("xpath", &path) + "/click";
        self.ask("POST", &path, json!({}));
    }

    /// Strikes keys, one after another, wherever the focus is.
    pub fn strike(&self, keys: &str) {
        let strokes: Vec<Value> = keys
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key })))
            .collect();
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.ask("POST", "/actions", json!({ "actions": [keyboard] }));
    }

    /// The name that a screen reader gives to what has the focus.
    pub fn focused(&self) -> String {
        let element = self.ask("GET", "/element/active", Value::Null);
        let id = element[ELEMENT].as_str().expect("an element");
        let label = self.ask("GET", &format!("/element/{id}/computedlabel"), Value::Null);
        label.as_str().unwrap_or_default().to_owned()
    }

    /// The text of what has the focus.
    pub fn focused_text(&self) -> String {
        let text = self.run("return document.activeElement.textContent");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Moves on by the tabulator until what has that name has the focus.
    pub fn tab_to(&self, name: &str) {
        let mut passed = Vec::new();
        for _ in 0..40 {
            self.strike(TAB);
            let focused = self.focused();
            if focused == name {
                return;
            }
            passed.push(focused);
        }
        panic!("the tabulator never reaches {name:?}: {passed:?}");
    }

    /// A command of the browser's own protocol.
    pub fn cdp(&self, command: &str, parameters: Value) -> Value {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask("POST", "/goog/cdp/execute", body)
    }

    pub fn look(&self, scheme: &str, width: u32, height: u32) {
        let wanted = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.cdp("Emulation.setEmulatedMedia", json!({ "features": wanted }));
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false }),
        );
    }

    /// The whole page as an image below `target`.
    pub fn picture(&self, name: &str) {
        let shot = json!({ "format": "png", "captureBeyondViewport": true });
        let taken = self.cdp("Page.captureScreenshot", shot);
        let image = STANDARD.decode(taken["data"].as_str().expect("an image"));
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join(name), image.expect("base64")).expect("written");
    }

    fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.ask("POST", "/se/log", json!({ "type": kind }));
        log.as_array().cloned().unwrap_or_default()
    }

    /// What the browser complained about since the last look.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.log("browser");
        (log.iter().filter_map(|line| line["message"].as_str()))
            .map(str::to_owned)
            .collect()
    }

    /// Every URL that a page asked for since the last look.
    pub fn requests(&self) -> Vec<String> {
        let log = self.log("performance");
        let event = |line: &Value| {
            let event: Value = serde_json::from_str(line["message"].as_str()?).ok()?;
            let event = &event["message"];
            let asked = event["method"] == "Network.requestWillBeSent";
            let url = event["params"]["request"]["url"].as_str()?;
            asked.then(|| url.to_owned())
        };
        log.iter().filter_map(event).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.ask("DELETE", "", Value::Null);
        }
        let group = format!("-{}", self.driver.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.driver.wait();
    }
}
