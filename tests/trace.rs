//! `WIT_TRACE`: what is done is told, and never with a secret.

#![cfg(all(unix, feature = "platform"))]

use std::os::unix::fs::PermissionsExt;

use crate::support::platform::{PASSWORD, Server};
use crate::support::{HELPER, Home, WIT, text};

/// Runs what must succeed and returns its stdout and stderr.
fn run(home: &Home, program: &str, arguments: &[&str], input: &str) -> (String, String) {
    let output = home.run(program, arguments, input);
    let stderr = text(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    (text(&output.stdout), stderr)
}

/// The password that the helper gives git.
fn stored(home: &Home, request: &str) -> String {
    let (answer, _) = run(home, HELPER, &["get"], request);
    let password = answer
        .lines()
        .find_map(|line| line.strip_prefix("password="));
    password.expect("a token").to_owned()
}

#[test]
fn a_whole_life_of_a_token_is_told_without_a_secret() {
    let server = Server::start();
    server.sign_up("ada");
    let mut home = Home::new();
    let file = home.path().join("trace");
    home.set("WIT_TRACE", file.display().to_string());
    let url = format!("http://{}", server.address);
    let login = ["login", &url, "--username", "ada", "--password-stdin"];
    run(&home, WIT, &login, PASSWORD);
    run(&home, WIT, &["token", "create", "laptop", "--store"], "");
    let request = format!("protocol=http\nhost={}\n\n", server.address);
    let first = stored(&home, &request);
    run(&home, WIT, &["token", "rotate"], "");
    let second = stored(&home, &request);
    assert_ne!(first, second);
    // Somebody who types a token where none belongs.
    home.run(WIT, &["token", "revoke", &second], "");

    let trace = std::fs::read_to_string(&file).expect("a trace");
    let (printed, _) = run(&home, WIT, &["token", "print"], "");
    for secret in [first.as_str(), &second, printed.trim(), PASSWORD] {
        assert!(!trace.contains(secret), "{secret}: {trace}");
        assert!(
            secret.len() < 20 || !trace.contains(&secret[9..]),
            "{trace}"
        );
    }
    // A session is 32 characters long, a token 40.
    let long = |word: &str| word.len() >= 30 && word.chars().all(|c| c.is_ascii_alphanumeric());
    let odd = trace
        .split(|c: char| !c.is_ascii_alphanumeric())
        .find(|word| long(word));
    assert_eq!(odd, None, "{trace}");
    for part in [
        " wit[",
        ": wit login",
        ": wit token rotate",
        " git-credential-wit[",
        &format!("http POST {url}/api/auth/sign-in/username: 200, "),
        &format!("http POST {url}/api/tokens: 201, "),
        &format!("http GET {url}/api/v1/user: 200, "),
        &format!("lock of {url} waited for, "),
        "store file: encrypted files in ",
        &format!("store file: read {url}: ok, "),
        &format!("store file: write {url}: ok, "),
        "Verifying",
        "Revoking",
        &format!("get {url}: ok, "),
    ] {
        assert!(trace.contains(part), "{part}: {trace}");
    }
    let mode = std::fs::metadata(&file)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn it_goes_to_stderr_or_nowhere() {
    const REQUEST: &str = "protocol=https\nhost=example.org\n\n";
    let mut home = Home::new();
    for (value, told) in [("1", true), ("true", true), ("0", false), ("here", false)] {
        home.set("WIT_TRACE", value);
        let (answer, trace) = run(&home, HELPER, &["get"], REQUEST);
        assert_eq!(answer, "");
        assert_eq!(
            trace.contains("get https://example.org: ok"),
            told,
            "{value}: {trace}"
        );
        assert!(told || trace.is_empty(), "{trace}");
    }
    assert!(!home.path().join("here").exists());
}

#[test]
fn a_place_that_can_not_be_written_is_told_and_changes_nothing() {
    let mut home = Home::new();
    home.set("WIT_TRACE", "/nowhere/trace");
    let (answer, told) = run(
        &home,
        HELPER,
        &["get"],
        "protocol=https\nhost=example.org\n\n",
    );
    assert_eq!(answer, "");
    assert!(told.contains("can't write the trace"), "{told}");
}

#[test]
fn an_error_is_traced_with_each_of_its_causes() {
    let server = Server::start();
    server.sign_up("ada");
    let mut home = Home::new();
    let url = format!("http://{}", server.address);
    let login = ["login", &url, "--username", "ada", "--password-stdin"];
    run(&home, WIT, &login, PASSWORD);
    run(&home, WIT, &["token", "create", "laptop", "--store"], "");
    drop(server);

    let plain = home.run(WIT, &["token", "rotate"], "");
    assert!(!text(&plain.stderr).contains("caused by"));
    home.set("WIT_TRACE", "1");
    let traced = text(&home.run(WIT, &["token", "rotate"], "").stderr);
    let lines: Vec<&str> = traced
        .lines()
        .filter_map(|line| line.split_once("]: "))
        .map(|(_, what)| what)
        .skip_while(|what| !what.starts_with("error: "))
        .take_while(|what| what.starts_with("error: ") || what.starts_with("caused by: "))
        .collect();
    // What was being done, the server's error, and what the system said of the connection.
    assert!(lines.len() > 3, "{traced}");
    let unreachable = format!("caused by: can't reach {url}");
    assert!(
        lines.iter().any(|line| line.starts_with(&unreachable)),
        "{traced}"
    );
    let last = lines.last().expect("a cause");
    assert!(last.contains("refused"), "{traced}");
}
