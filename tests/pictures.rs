//! The pictures of the README: each is made from a real run, and its text is what a run shows today.
//! `SNAPSHOTS=overwrite` makes them anew.

#![cfg(all(target_os = "linux", feature = "platform"))]

use std::fs;
use std::path::{Path, PathBuf};

use anstyle_svg::Term;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::WIT;
use crate::support::browser::Browser;
use crate::support::platform::{PASSWORD, Server};
use crate::support::terminal::Terminal;

/// The server's name in the pictures.
const SHOWN: &str = "https://wit.example.com";
/// Seconds until a command is typed, and until it has printed something.
const TYPING: f32 = 1.2;
const ANSWER: f32 = 0.5;

fn path(name: &str) -> PathBuf {
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures");
    fs::create_dir_all(&pictures).expect("a directory");
    pictures.join(name)
}

/// The text of a picture: what stands between its tags, in its last element that holds text.
fn text_of(svg: &str, element: &str) -> String {
    let begin = svg.find(&format!("<{element}")).expect("its text");
    let end = svg.find(&format!("</{element}>")).expect("its end");
    let mut text = String::new();
    let mut inside = false;
    for c in svg[begin..end].chars() {
        match c {
            '<' => inside = true,
            '>' => inside = false,
            c if !inside => text.push(c),
            _ => {}
        }
    }
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#x27;", "'"),
        ("&amp;", "&"),
    ];
    entities
        .iter()
        .fold(text, |text, (entity, plain)| text.replace(entity, plain))
}

/// Text without what differs from one run to the next: words with a digit, months, prefixes.
fn steady(text: &str) -> String {
    let months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    let word = |word: &str| {
        if word.starts_with("wit_") {
            "PREFIX".to_owned()
        } else if word.contains(|c: char| c.is_ascii_digit())
            || months.split(' ').any(|month| month == word)
        {
            "VALUE".to_owned()
        } else {
            word.to_owned()
        }
    };
    let lines = text.lines().map(|line| {
        let words = line.split_whitespace().map(word);
        words.collect::<Vec<_>>().join(" ")
    });
    let lines = lines.filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// Compares the texts; the picture itself may look different on another machine.
fn is_true(name: &str, element: &str, made: &str) {
    let file = path(name);
    let text = |svg: &str| steady(&text_of(svg, element));
    let kept = fs::read_to_string(&file).unwrap_or_default();
    if !kept.is_empty() && text(&kept) == text(made) {
        return;
    }
    if std::env::var_os("SNAPSHOTS").is_some_and(|value| value == "overwrite") {
        fs::write(&file, made).expect("written");
        return;
    }
    let kept = if kept.is_empty() {
        String::new()
    } else {
        text(&kept)
    };
    assert_eq!(text(made), kept, "out of date: SNAPSHOTS=overwrite");
}

/// Each command appears when it is typed, and its output when it would be there.
fn animated(screen: &str) -> String {
    let mut svg = Term::new().render_svg(screen);
    let mut at = 0.0;
    let mut lines = screen.lines();
    let mut before = true;
    let line = "<tspan x=\"";
    let mut pieces = svg.split(line);
    let mut made = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_command = lines
            .next()
            .is_some_and(|line| line.contains("\u{1b}[1;32m$"));
        at += match (is_command, before) {
            (true, _) => TYPING,
            (false, true) => ANSWER,
            (false, false) => 0.0,
        };
        before = is_command;
        made += &format!("<tspan class=\"line\" style=\"animation-delay:{at:.1}s\" x=\"{piece}");
    }
    // Its own colours on its own ground are readable on a light page and on a dark one.
    let made = made
        .replace(".fg { fill: #AAAAAA }", ".fg { fill: #d6dae0 }")
        .replace(".bg { fill: #000000 }", ".bg { fill: #16191d }")
        .replace("#00AA00", "#5fd38d");
    svg = made.replace(
        "  </style>",
        "    .line { animation: appear 1ms both }\n    \
         @keyframes appear { from { opacity: .45 } to { opacity: 1 } }\n    \
         @media (prefers-reduced-motion) { .line { animation: none } }\n  </style>",
    );
    svg
}

#[test]
fn the_recording_is_what_a_terminal_shows() {
    let server = Server::start();
    let session = server.sign_up("ada");
    server.repository(&session, "hello", true);
    server.work("hello");
    let secret = server.secret(&session, &["repo:write"]);
    let remote = server.remote("ada", &secret, "/ada/hello.git");
    for arguments in [
        &[
            "-C",
            "hello",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "second",
        ][..],
        &["-C", "hello", "push", "-q", &remote, "main"],
    ] {
        assert!(server.git(arguments).status.success());
    }
    let url = format!("http://{}", server.address);
    let mut home = crate::support::Home::new();
    let programs = Path::new(WIT).parent().expect("a directory").display();
    home.set("PATH", format!("{programs}:/usr/local/bin:/usr/bin:/bin"));
    home.set("WIT_STORE", "");
    let commands = [
        format!("wit login {url} --username ada"),
        "wit token create --expires 30".to_owned(),
        format!("git clone --quiet {url}/ada/hello.git && git -C hello log --format=%s"),
        "wit token rotate".to_owned(),
        "wit status".to_owned(),
    ];
    let mut script = String::from("wit setup >/dev/null 2>&1; stty cols 90\n");
    for command in &commands {
        // A prompt as a shell has it.
        script += &format!("printf '\\033[1;32m$\\033[0m %s\\n' '{command}'\n{command} || exit\n");
    }
    fs::write(home.path().join("session"), script).expect("written");
    let terminal = Terminal::run(&home, "sh session");
    let (code, screen) = terminal.attended(|shown| {
        let asks = shown.trim_end().ends_with(':') && shown.to_lowercase().contains("password");
        asks.then_some(PASSWORD)
    });
    assert_eq!(code, Some(0), "{screen}");
    let own = home.path().display().to_string();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let screen = screen
        .replace('\r', "")
        .replace(&url, SHOWN)
        .replace(&own, "~")
        .replace(&format!("git on {}", host.trim()), "git on vm");
    assert!(
        !screen.contains(PASSWORD) && !screen.contains(&server.address),
        "{screen}"
    );
    is_true("terminal.svg", "text", &animated(screen.trim_end()));
}

#[test]
fn the_picture_of_the_page_is_what_a_browser_shows() {
    const SIZE: (u32, u32) = (1000, 640);
    let server = Server::start();
    let session = server.sign_up("ada");
    for (name, scopes, days) in [
        ("git on laptop", &["repo:read", "repo:write"][..], 30),
        ("CI of hello", &["repo:read"][..], 7),
        ("backup", &["repo:read"][..], 90),
    ] {
        let body = serde_json::json!({ "name": name, "scopes": scopes, "expiresInDays": days });
        let made = server.post("/api/tokens", &session, body);
        assert_eq!(made.status, 201, "{}", made.body);
        // Tokens of one millisecond are in the order of their ids.
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let browser = Browser::start();
    browser.open(&server.url("/"));
    browser.fill("#name", "ada");
    browser.fill("#password", PASSWORD);
    browser.follow("Sign in");
    let text = browser
        .text("main")
        .replace(&server.address, "wit.example.com");
    let shot = |scheme: &str| {
        browser.look(scheme, SIZE.0, SIZE.1);
        let taken = browser.cdp(
            "Page.captureScreenshot",
            serde_json::json!({ "format": "png" }),
        );
        let picture = taken["data"].as_str().expect("a picture").to_owned();
        assert!(
            STANDARD
                .decode(&picture)
                .is_ok_and(|png| png.starts_with(b"\x89PNG"))
        );
        picture
    };
    let (light, dark) = (shot("light"), shot("dark"));
    let described = text.replace('&', "&amp;").replace('<', "&lt;");
    let (width, height) = SIZE;
    let image = |class: &str, picture: &str| {
        format!(
            "  <image class=\"{class}\" width=\"{width}\" height=\"{height}\" href=\"data:image/png;base64,{picture}\"/>\n"
        )
    };
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n  \
         <title>The tokens of an account, in a browser</title>\n  <desc>{described}</desc>\n  \
         <style>\n    .dark {{ display: none }}\n    \
         @media (prefers-color-scheme: dark) {{ .dark {{ display: inline }} .light {{ display: none }} }}\n  </style>\n\
         {}{}</svg>\n",
        image("light", &light),
        image("dark", &dark),
    );
    is_true("page.svg", "desc", &svg);
}
