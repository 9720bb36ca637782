//! `wit token exec`: a token that is the command's alone, and is gone when the command is.

#![cfg(all(unix, feature = "platform"))]

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::machine::Machine;
use crate::support::platform::{PASSWORD, Server};
use crate::support::proxy::{Fate, Proxy};
use crate::support::{HELPER, Home, WIT, done, kill_within, refused, text, trpc, until};

/// Runs a shell's line with a token.
fn sh(machine: &Machine, options: &[&str], line: &str) -> Output {
    machine.home.run(WIT, &arguments(options, line), "")
}

fn arguments<'a>(options: &[&'a str], line: &'a str) -> Vec<&'a str> {
    [&["token", "exec"], options, &["--", "sh", "-c", line]].concat()
}

/// The same, while it runs.
fn start(home: &Home, line: &str) -> Child {
    let mut command = home.command(WIT);
    command
        .args(arguments(&[], line))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().expect("started")
}

fn appears(home: &Home, name: &str) {
    until(name, || home.path().join(name).exists());
}

fn touch(home: &Home, name: &str) {
    fs::write(home.path().join(name), "").expect("written");
}

fn send(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).expect("a process");
    kill_process(Pid::from_raw(id).expect("a process"), signal).expect("sent");
}

/// The names of the account's tokens, asked without `wit`, which would tidy up first.
fn names(server: &Server, session: &str) -> Vec<String> {
    let list = server.bearing("GET", "/api/tokens", session).json();
    let list = list.as_array().expect("a list").clone();
    let name = |token: &Value| token["name"].as_str().expect("a name").to_owned();
    list.iter().map(name).collect()
}

/// What is recorded of tokens that are to be revoked.
fn records(home: &Home) -> Vec<Value> {
    let files = fs::read_dir(home.path().join(".local/state/wit/execs"));
    let files = files
        .into_iter()
        .flatten()
        .flatten()
        .map(|file| file.path());
    let records = files.filter(|path| path.extension().is_some_and(|end| end == "json"));
    records
        .filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok())
        .collect()
}

fn assert_tidy(machine: &Machine, what: &str) {
    let session = machine.sessions().remove(0);
    let names = names(&machine.server, &session);
    let ours = names.iter().find(|name| name.starts_with("exec: "));
    assert_eq!(ours, None, "{what}");
    assert_eq!(records(&machine.home), Vec::<Value>::new(), "{what}");
}

/// A machine behind a proxy.
fn behind_a_proxy() -> (Machine, Proxy) {
    let server = Server::start();
    let proxy = Proxy::to(&server.address);
    let machine = Machine {
        url: proxy.url.clone(),
        server,
        home: Home::new(),
    };
    done(&machine.sign_up("ada"));
    (machine, proxy)
}

/// The session of a machine behind a proxy.
fn session(machine: &Machine, proxy: &Proxy) -> String {
    let host = proxy.url.strip_prefix("http://").expect("http");
    let site = wit::credential::Site::new(b"http", host.as_bytes()).expect("a site");
    crate::support::machine::stored_sessions(&machine.home, &site).remove(0)
}

/// Spoils each request that begins so, until told otherwise.
fn spoil(proxy: &Proxy, request: &'static str, fate: Fate) {
    proxy.set(move |first| match first.starts_with(request) {
        true => fate,
        false => Fate::Forwarded,
    });
}

#[test]
fn git_in_the_command_uses_its_token_and_nothing_that_is_stored() {
    let machine = Machine::with_a_token();
    // Another helper that answers first, and wrongly.
    let other = "!f() { touch ~/asked; echo username=ada; echo password=wrong; }; f";
    done(&machine.home.run(
        "git",
        &["config", "--global", "credential.helper", other],
        "",
    ));
    let line = format!(
        "set -e; git ls-remote {url}/ada/work.git >/dev/null
         printf 'url=%s\\n' \"$WIT_URL\"; printf 'protocol=http\\nhost={host}\\n\\n' >request
         git credential fill <request >filled; printf '%s' \"$WIT_TOKEN\" >token",
        url = machine.url,
        host = machine.server.address
    );
    let ran = sh(&machine, &[], &line);
    assert_eq!(done(&ran), format!("url={}\n", machine.url));
    assert_eq!(text(&ran.stderr), "");
    let read = |name: &str| fs::read_to_string(machine.home.path().join(name)).expect("read");
    let token = read("token");
    assert!(token.starts_with("wit_") && token.len() == 44, "{token}");
    assert!(read("filled").contains(&format!("password={token}\n")));
    let stored = done(&machine.wit(&["token", "print"]));
    assert_ne!(stored.trim(), token);
    assert!(
        !machine.home.path().join("asked").exists(),
        "another helper was asked"
    );
    let answer = machine.server.bearing("GET", "/api/v1/user", &token);
    assert_eq!(answer.status, 401, "the token lives on");
    assert_tidy(&machine, "after the command");
    machine.assert_tidy("the stored token");
}

#[test]
fn other_hosts_are_asked_of_the_usual_helpers() {
    let machine = Machine::logged_in();
    let other = "!f() { echo username=u; echo password=usual; }; f";
    done(&machine.home.run(
        "git",
        &["config", "--global", "credential.helper", other],
        "",
    ));
    let line = "printf 'protocol=https\\nhost=other.example\\n\\n' | git credential fill";
    let filled = done(&sh(&machine, &[], line));
    assert!(filled.contains("password=usual"), "{filled}");
}

#[test]
fn what_git_is_told_in_its_environment_stays() {
    let machine = Machine::logged_in();
    let line = "export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=a.b GIT_CONFIG_VALUE_0=c
        wit token exec -- sh -c 'git config a.b; git config --get-all credential.$WIT_URL.helper'";
    let shown = done(&machine.home.run("sh", &["-c", line], ""));
    assert_eq!(shown, format!("c\n\n{HELPER}\n"));
}

#[test]
fn a_token_is_as_narrow_as_asked() {
    let machine = Machine::with_a_token();
    let push = format!(
        "git init -q w && cd w && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m 1 &&
         git push -q {}/ada/work.git HEAD:refs/heads/new",
        machine.url
    );
    let denied = sh(&machine, &[], &push);
    assert!(!denied.status.success(), "it may push");
    done(&machine.home.run("rm", &["-r", "w"], ""));
    done(&sh(&machine, &["-s", "repo:read,repo:write"], &push));
    let said = refused(&sh(&machine, &["-s", "repo:reed"], "touch ran"), 2);
    assert!(said.contains("repo:read"), "{said}");
    assert!(!machine.home.path().join("ran").exists());
}

#[test]
fn a_token_ends_by_itself_at_the_time_it_is_for() {
    let machine = Machine::logged_in();
    let session = machine.sessions().remove(0);
    let list = format!(
        "curl -s -H 'Authorization: Bearer {session}' {}/api/tokens",
        machine.url
    );
    for (options, hours) in [
        (vec![], 1),
        (vec!["--for", "30m"], 1),
        (vec!["--for", "2d"], 48),
    ] {
        let ran = sh(&machine, &options, &list);
        let listed: Value = serde_json::from_str(&done(&ran)).expect("JSON");
        let time = |name: &str| {
            let format = &time::format_description::well_known::Rfc3339;
            let text = listed[0][name].as_str().expect("a time");
            time::OffsetDateTime::parse(text, format).expect("a time")
        };
        let lives = time("expiresAt") - time("createdAt");
        let (least, most) = (time::Duration::minutes(25), time::Duration::hours(hours));
        assert!(
            lives > least && lives <= most + time::Duration::minutes(1),
            "{options:?}: {lives}"
        );
        assert_eq!(text(&ran.stderr), "");
    }
}

#[test]
fn the_exit_code_is_the_commands() {
    let machine = Machine::logged_in();
    let directory = machine.home.path().join("data");
    fs::write(&directory, "no program").expect("written");
    for (command, code) in [
        (vec!["sh", "-c", "exit 0"], 0),
        (vec!["sh", "-c", "exit 7"], 7),
        (vec!["sh", "-c", "kill -TERM $$"], 143),
        (vec!["sh", "-c", "kill -KILL $$"], 137),
        (vec!["no-such-program"], 127),
        (vec!["./data"], 126),
    ] {
        let ran = machine.wit(&[&["token", "exec", "--"], &command[..]].concat());
        let said = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(code), "{command:?}: {said}");
        let explained = said.contains("can't run") && said.contains("hint: ");
        assert_eq!(explained, [126, 127].contains(&code), "{command:?}: {said}");
        assert_tidy(&machine, &format!("{command:?}"));
    }
}

#[test]
fn what_goes_in_and_comes_out_is_the_commands() {
    let machine = Machine::logged_in();
    let words = ["token", "exec", "--env", "FORGE_TOKEN", "--"];
    let script = "cat; echo err >&2; [ \"$FORGE_TOKEN\" = \"$WIT_TOKEN\" ]";
    let arguments = [&words[..], &["sh", "-c", script, "--json"]].concat();
    let ran = machine.home.run(WIT, &arguments, "in\n");
    assert_eq!(done(&ran), "in\n");
    assert_eq!(text(&ran.stderr), "err\n");
}

#[test]
fn a_secret_is_in_the_commands_environment_alone() {
    let machine = Machine::logged_in();
    // This shell's parent is `wit`.
    let line = "cat ~/.local/state/wit/execs/*.json
        if grep -q -a \"$WIT_TOKEN\" /proc/$PPID/cmdline /proc/$PPID/environ; then exit 1; fi
        if grep -r -a \"$WIT_TOKEN\" ~; then exit 2; fi";
    let record = done(&sh(&machine, &[], line));
    assert!(!record.contains("wit_"), "{record}");
    let record: Value = serde_json::from_str(&record).expect("a record");
    let name = record["name"].as_str().expect("a name");
    assert!(name.starts_with("exec: sh"), "{name}");
    assert!(record["token_id"].is_string(), "{record}");
}

#[test]
fn a_wrong_use_says_so_and_creates_nothing() {
    let machine = Machine::logged_in();
    for (arguments, says) in [
        (vec!["token", "exec"], "COMMAND"),
        (
            vec!["token", "exec", "git", "fetch"],
            "unexpected argument 'git'",
        ),
        (vec!["token", "exec", "--"], "COMMAND"),
        (vec!["token", "exec", "--json", "--", "true"], "--json"),
        (
            vec!["token", "exec", "--env", "A-B", "--", "true"],
            "variable",
        ),
        (
            vec!["token", "exec", "--env", "WIT_URL", "--", "true"],
            "variable",
        ),
        (
            vec!["token", "exec", "--env", "1A", "--", "true"],
            "variable",
        ),
        (
            vec!["token", "exec", "--for", "soon", "--", "true"],
            "duration",
        ),
    ] {
        let said = refused(&machine.wit(&arguments), 2);
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
    assert_tidy(&machine, "nothing was created");
    let said = refused(
        &Home::new().run(WIT, &["token", "exec", "--", "true"], ""),
        4,
    );
    assert!(said.contains("hint: wit login"), "{said}");
}

#[test]
fn a_variable_that_programs_act_on_holds_no_token() {
    let machine = Machine::logged_in();
    for name in [
        "PATH",
        "Path",
        "HOME",
        "LD_PRELOAD",
        "DYLD_INSERT_LIBRARIES",
        "GIT_SSH_COMMAND",
        "WIT_NEW",
    ] {
        let words = ["token", "exec", "--env", name, "--", "true"];
        let said = refused(&machine.wit(&words), 2);
        assert!(said.contains("programs act on"), "{name}: {said}");
    }
    assert_tidy(&machine, "nothing was created");
    let ran = sh(&machine, &["--env", "HOMEPAGE"], "test -n \"$HOMEPAGE\"");
    done(&ran);
}

#[test]
fn a_server_that_binds_no_tokens_is_told_of_with_what_to_leave_out() {
    let machine = Machine::logged_in();
    for words in [
        &["token", "exec", "--repo", "ada/x", "--", "true"][..],
        &["token", "create", "x", "--repo", "ada/x"],
    ] {
        let said = refused(&machine.wit(words), 1);
        assert!(said.contains("can't bind tokens to repositories"), "{said}");
        assert!(said.contains("hint: leave --repo out"), "{said}");
    }
    assert_tidy(&machine, "nothing was created");
}

#[test]
fn signals_are_passed_on_and_waited_for() {
    let machine = Machine::logged_in();
    for (name, signal) in [
        ("INT", Signal::INT),
        ("TERM", Signal::TERM),
        ("HUP", Signal::HUP),
        ("QUIT", Signal::QUIT),
    ] {
        let line = format!(
            "trap 'echo got {name}; exit 9' {name}; touch ready-{name}
             while :; do sleep 0.05; done"
        );
        let child = start(&machine.home, &line);
        appears(&machine.home, &format!("ready-{name}"));
        send(&child, signal);
        let ended = child.wait_with_output().expect("an end");
        assert_eq!(ended.status.code(), Some(9), "{name}");
        assert_eq!(text(&ended.stdout), format!("got {name}\n"));
        assert_eq!(text(&ended.stderr), "", "{name}");
        assert_tidy(&machine, name);
    }
}

#[test]
fn a_signal_that_is_ignored_stays_ignored_in_the_command() {
    let machine = Machine::logged_in();
    let line = "trap '' HUP; exec wit token exec -- sh -c 'kill -HUP $$; kill -HUP $PPID; exit 5'";
    let ran = machine.home.run("sh", &["-c", line], "");
    assert_eq!(ran.status.code(), Some(5), "{}", text(&ran.stderr));
    assert_tidy(&machine, "after a hangup");
}

#[cfg(target_os = "linux")]
mod at_a_terminal {
    use super::*;
    use crate::support::terminal::Terminal;

    #[test]
    fn ctrl_c_reaches_the_command_once() {
        let machine = Machine::logged_in();
        let script = "$SIG{INT} = sub { $n++; open F, '>got' }; open F, '>ready';
            select undef, undef, undef, 0.05 until -e 'stop'; print \"count $n.\\n\"";
        fs::write(machine.home.path().join("count.pl"), script).expect("written");
        let mut terminal = Terminal::run(&machine.home, "wit token exec -- perl count.pl");
        appears(&machine.home, "ready");
        terminal.presses(3);
        appears(&machine.home, "got");
        touch(&machine.home, "stop");
        let (code, screen) = terminal.ends();
        assert_eq!(code, Some(0), "{screen}");
        assert!(screen.contains("count 1."), "{screen}");
        assert_tidy(&machine, "after Ctrl-C");
    }

    #[test]
    fn ctrl_z_stops_both_and_fg_goes_on() {
        let machine = Machine::logged_in();
        let mut terminal = Terminal::run(&machine.home, "bash --norc --noprofile -i");
        let wait = "touch ready; until [ -e stop ]; do sleep 0.05; done; touch over";
        terminal.types(&format!("wit token exec -- sh -c '{wait}'"));
        appears(&machine.home, "ready");
        terminal.presses(26);
        terminal.shows("Stopped");
        touch(&machine.home, "stop");
        terminal.types("fg; exit $?");
        let (code, screen) = terminal.ends();
        assert_eq!(code, Some(0), "{screen}");
        assert!(machine.home.path().join("over").exists(), "{screen}");
        assert_tidy(&machine, "after Ctrl-Z");
    }
}

#[test]
fn a_running_commands_token_is_left_alone_and_a_killed_ones_is_revoked() {
    let machine = Machine::with_a_token();
    let session = machine.sessions().remove(0);
    let fetch = format!("git ls-remote {}/ada/work.git", machine.url);
    let wait = "touch ready; until [ -e stop ]; do sleep 0.05; done";
    let running = start(&machine.home, &format!("{wait}; {fetch}"));
    appears(&machine.home, "ready");
    for (number, finisher) in [
        vec!["status"],
        vec!["token", "list"],
        vec!["token", "exec", "--", "true"],
        // What `wit setup --renew daily` has done each day.
        vec!["token", "rotate", "--due", "7", "--all"],
    ]
    .into_iter()
    .enumerate()
    {
        let ready = format!("killed-{number}");
        let mut killed = start(&machine.home, &format!("touch {ready}; sleep 0.2"));
        appears(&machine.home, &ready);
        killed.kill().expect("killed");
        killed.wait().expect("an end");
        let live = names(&machine.server, &session);
        let ours = live.iter().filter(|name| name.starts_with("exec: "));
        assert_eq!(ours.count(), 2, "{live:?}");
        done(&machine.wit(&finisher));
        let live = names(&machine.server, &session);
        let ours = live.iter().filter(|name| name.starts_with("exec: "));
        assert_eq!(ours.count(), 1, "{finisher:?}: {live:?}");
        assert_eq!(records(&machine.home).len(), 1, "{finisher:?}");
    }
    touch(&machine.home, "stop");
    let ended = running.wait_with_output().expect("an end");
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    assert_tidy(&machine, "at the end");
}

#[test]
fn many_at_once_do_not_disturb_each_other() {
    let machine = Machine::with_a_token();
    let line = format!("git ls-remote {}/ada/work.git && sleep 0.1", machine.url);
    let all: Vec<Child> = (0..12).map(|_| start(&machine.home, &line)).collect();
    for child in all {
        let ended = child.wait_with_output().expect("an end");
        assert!(ended.status.success(), "{}", text(&ended.stderr));
    }
    assert_tidy(&machine, "after all");
}

#[test]
fn a_process_that_is_killed_at_any_moment_leaves_no_token() {
    const ROUNDS: u64 = 50;
    let machine = Machine::logged_in();
    let session = machine.sessions().remove(0);
    // Any sequence will do; this one repeats exactly.
    let mut random = fastrand::Rng::with_seed(16);
    let begun = Instant::now();
    done(&sh(&machine, &[], "true"));
    let usual = begun.elapsed();
    let mut killed = 0;
    for round in 0..ROUNDS {
        let mut child = start(&machine.home, "true");
        killed += u64::from(kill_within(&mut child, usual, &mut random));
        if round % 5 == 4 {
            done(&machine.wit(&["status"]));
        }
    }
    assert!(
        killed > ROUNDS / 3,
        "only {killed} were killed before their end"
    );
    // A request of the last one may still be under way.
    until("no token is left", || {
        done(&machine.wit(&["status"]));
        let live = names(&machine.server, &session);
        live.iter().all(|name| !name.starts_with("exec: "))
    });
    // Of these the request never arrived; they are forgotten once it can't any more.
    for record in records(&machine.home) {
        assert!(record["token_id"].is_null(), "{record}");
    }
    done(&sh(&machine, &[], "true"));
}

#[test]
fn a_token_whose_answer_was_lost_is_revoked_and_nothing_is_run() {
    for (fate, says) in [
        (
            Fate::CutAfter,
            "its secret was lost (the token was revoked again)",
        ),
        (Fate::CutBefore, "no token was created"),
        (Fate::Refused(500), "no token was created"),
        (Fate::Refused(403), "told to refuse"),
    ] {
        let (machine, proxy) = behind_a_proxy();
        let session = session(&machine, &proxy);
        spoil(&proxy, "POST /api/tokens ", fate);
        let said = refused(&sh(&machine, &[], "touch ran"), 1);
        assert!(said.contains(says), "{fate:?}: {said}");
        assert!(!machine.home.path().join("ran").exists(), "{fate:?}");
        assert_eq!(
            names(&machine.server, &session),
            Vec::<String>::new(),
            "{fate:?}"
        );
    }
}

#[test]
fn a_lost_token_that_cannot_be_looked_for_is_revoked_by_the_next_command() {
    let (machine, proxy) = behind_a_proxy();
    let session = session(&machine, &proxy);
    let mut created = false;
    proxy.set(move |first| {
        let is_create = first.starts_with("POST /api/tokens ");
        let fate = match (is_create, created) {
            (true, _) => Fate::CutAfter,
            (false, true) => Fate::Refused(500),
            (false, false) => Fate::Forwarded,
        };
        created |= is_create;
        fate
    });
    let said = refused(&sh(&machine, &[], "touch ran"), 5);
    assert!(said.contains("the next wit command revokes it"), "{said}");
    assert_eq!(names(&machine.server, &session).len(), 1);
    proxy.set(|_| Fate::Forwarded);
    done(&machine.wit(&["status"]));
    assert_eq!(names(&machine.server, &session), Vec::<String>::new());
    assert_eq!(records(&machine.home), Vec::<Value>::new());
}

#[test]
fn a_token_that_cannot_be_revoked_is_told_of_and_revoked_later() {
    let (machine, proxy) = behind_a_proxy();
    let session = session(&machine, &proxy);
    spoil(&proxy, "DELETE ", Fate::Refused(500));
    let ran = sh(&machine, &[], "exit 7");
    let said = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(7), "{said}");
    assert!(
        said.starts_with("warning: the token exec: sh") && said.lines().count() == 1,
        "{said}"
    );
    assert_eq!(names(&machine.server, &session).len(), 1);
    // A try that nobody asked for says nothing, and is not repeated at once.
    proxy.take_seen();
    let listed = machine.wit(&["token", "list"]);
    assert_eq!(text(&listed.stderr), "");
    done(&machine.wit(&["token", "list"]));
    let seen = proxy.take_seen();
    let tries = seen.iter().filter(|first| first.starts_with("DELETE "));
    assert_eq!(tries.count(), 1, "{seen:?}");
    proxy.set(|_| Fate::Forwarded);
    forget_the_pause(&machine.home);
    done(&machine.wit(&["status"]));
    assert_eq!(names(&machine.server, &session), Vec::<String>::new());
}

/// As if the pause after a failure were over.
fn forget_the_pause(home: &Home) {
    let dir = home.path().join(".local/state/wit/execs");
    for file in fs::read_dir(dir).expect("records").flatten() {
        let path = file.path();
        if path.extension().is_some_and(|end| end == "json") {
            let mut record: Value =
                serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
            record["retry_at"] = 1.into();
            fs::write(&path, record.to_string()).expect("written");
        }
    }
}

#[test]
fn where_a_server_keeps_no_request_ids_a_lost_token_is_known_by_its_name() {
    let server = trpc::platform();
    let proxy = Proxy::to(server.address());
    let home = Home::new();
    let login = ["login", &proxy.url, "--username", "ada", "--password-stdin"];
    done(&home.run(WIT, &login, &format!("{PASSWORD}\n")));
    let run = |line: &str| home.run(WIT, &arguments(&[], line), "");
    let mut kept = home.command(WIT);
    kept.args(["token", "create", "exec: sh", "-q", "-e", "1"]);
    assert!(kept.status().expect("run").success());
    let list = || done(&home.run(WIT, &["token", "list", "--json"], ""));
    let before = list();
    spoil(&proxy, "POST /trpc/tokens.create ", Fate::CutAfter);
    let said = refused(&run("true"), 1);
    assert!(said.contains("the token was revoked again"), "{said}");
    assert_eq!(list(), before);
    proxy.set(|_| Fate::Forwarded);
    // Whole days are all that it takes; that is said where a time was named.
    let ran = home.run(WIT, &arguments(&["--for", "1h"], "true"), "");
    assert!(
        text(&ran.stderr).contains("counts in days"),
        "{}",
        text(&ran.stderr)
    );
    assert_eq!(text(&run("true").stderr), "");
    assert_eq!(list(), before);
}

#[test]
fn a_crash_at_any_write_is_finished_by_the_next_command() {
    let machine = Machine::logged_in();
    let session = machine.sessions().remove(0);
    let mut crashed = 0;
    for number in 0..40 {
        let mut command: Command = machine.home.command(WIT);
        command
            .args(arguments(&[], "true"))
            .env("WIT_CRASH_AT", format!("write-{number}"));
        let ended = command.output().expect("run");
        if ended.status.success() {
            break;
        }
        crashed += 1;
        done(&machine.wit(&["status"]));
        assert_eq!(
            names(&machine.server, &session),
            Vec::<String>::new(),
            "write-{number}"
        );
    }
    assert!(crashed >= 8, "only {crashed} points");
}

#[cfg(target_os = "linux")]
mod at_git_hosts {
    use super::*;
    use crate::support::forge::github_app::{APP, Key};
    use crate::support::forge::{Forge, Kind, PASSWORD};
    use crate::support::terminal::Terminal;

    /// A home that is signed in to a stand-in, at that URL, by a token that may create others.
    fn signed_in(forge: &Forge, url: &str) -> Home {
        let home = Home::new();
        let scopes = ["write:repository", "write:user"];
        let token = forge.person_creates(&scopes) + "\n";
        done(&home.run(WIT, &["login", url, "--token-stdin"], &token));
        home
    }

    fn names(forge: &Forge) -> Vec<String> {
        let alive = forge.alive();
        alive.into_iter().map(|token| token.name).collect()
    }

    #[test]
    fn gitea_gives_a_token_for_one_command() {
        let forge = Forge::start(Kind::Gitea);
        let home = signed_in(&forge, &forge.url);
        let line = format!(
            "set -e; git ls-remote {}/ada/work.git >/dev/null; printf %s \"$WIT_TOKEN\" >token
             touch ready; until [ -e stop ]; do sleep 0.05; done",
            forge.url
        );
        let running = start(&home, &line);
        appears(&home, "ready");
        let ours = names(&forge)
            .into_iter()
            .find(|name| name.starts_with("exec: sh"));
        let ours = ours.expect("a token of the command");
        assert!(ours.ends_with(')'), "{ours}");
        touch(&home, "stop");
        let ended = running.wait_with_output().expect("an end");
        assert!(ended.status.success(), "{}", text(&ended.stderr));
        assert_eq!(text(&ended.stderr), "");
        assert_eq!(names(&forge), ["by hand"]);
        let scopes = forge.with(|state| {
            let token = fs::read_to_string(home.path().join("token")).expect("read");
            state.tokens[&token].scopes.clone()
        });
        assert_eq!(scopes, ["read:repository".to_owned()].into());
        let ran = home.run(WIT, &arguments(&["--for", "1h"], "true"), "");
        assert!(
            text(&ran.stderr).contains("never expire"),
            "{}",
            text(&ran.stderr)
        );
    }

    #[test]
    fn gitea_has_no_token_left_of_a_killed_one_or_of_a_lost_answer() {
        let forge = Forge::start(Kind::Gitea);
        let proxy = Proxy::to(forge.server.address());
        let home = signed_in(&forge, &proxy.url);
        let mut killed = start(&home, "touch ready; sleep 0.2");
        appears(&home, "ready");
        killed.kill().expect("killed");
        killed.wait().expect("an end");
        assert_eq!(names(&forge).len(), 2);
        done(&home.run(WIT, &["status"], ""));
        assert_eq!(names(&forge), ["by hand"]);
        spoil(&proxy, "POST /api/v1/users/ada/tokens ", Fate::CutAfter);
        let said = refused(&home.run(WIT, &arguments(&[], "touch ran"), ""), 1);
        assert!(said.contains("the token was revoked again"), "{said}");
        assert_eq!(names(&forge), ["by hand"]);
        assert!(!home.path().join("ran").exists());
        assert_eq!(records(&home), Vec::<Value>::new());
    }

    #[test]
    fn forgejo_asks_for_the_password_once_and_only_a_person() {
        let forge = Forge::start(Kind::Forgejo);
        let home = signed_in(&forge, &forge.url);
        let ran = home.run(WIT, &arguments(&[], "touch ran"), "");
        assert!(!ran.status.success() && !home.path().join("ran").exists());
        assert_eq!(names(&forge), ["by hand"]);
        let line = "wit token exec -- sh -c 'echo inside'";
        let mut terminal = Terminal::run(&home, line);
        terminal.shows("assword");
        terminal.hides();
        terminal.types(PASSWORD);
        let (code, screen) = terminal.ends();
        assert_eq!(code, Some(0), "{screen}");
        assert!(
            screen.contains("inside") && !screen.contains("warning"),
            "{screen}"
        );
        assert_eq!(names(&forge), ["by hand"]);
    }

    #[test]
    fn a_token_that_takes_a_password_to_revoke_is_told_of_by_status() {
        let forge = Forge::start(Kind::Forgejo);
        let home = signed_in(&forge, &forge.url);
        let mut command = home.command(WIT);
        let line = "touch ready; until [ -e stop ]; do sleep 0.05; done";
        command.args(arguments(&["--password-stdin"], line));
        command.stdin(Stdio::piped()).stderr(Stdio::null());
        let mut killed = command.spawn().expect("started");
        let mut stdin = killed.stdin.take().expect("piped");
        std::io::Write::write_all(&mut stdin, format!("{PASSWORD}\n").as_bytes()).expect("read");
        appears(&home, "ready");
        killed.kill().expect("killed");
        killed.wait().expect("an end");
        touch(&home, "stop");
        let status = home.run(WIT, &["status"], "");
        assert_eq!(status.status.code(), Some(3));
        let shown = text(&status.stdout);
        let line = shown
            .lines()
            .find(|line| line.contains("was not revoked after its command"));
        let line = line.unwrap_or_else(|| panic!("{shown}"));
        let (_, revoke) = line.split_once("command: ").expect("a command");
        let revoke = format!("{revoke} --password-stdin");
        done(&home.run("sh", &["-c", &revoke], &format!("{PASSWORD}\n")));
        assert_eq!(names(&forge), ["by hand"]);
    }

    #[test]
    fn a_script_answers_with_the_password_and_codes() {
        for kind in [Kind::Gitea, Kind::Forgejo] {
            let forge = Forge::start(kind);
            forge.with(|state| {
                state.second_factor = true;
                state.gitea.codes_once = true;
            });
            let home = Home::new();
            let token = forge.person_creates(&["write:repository", "read:user"]) + "\n";
            done(&home.run(WIT, &["login", &forge.url, "--token-stdin"], &token));
            let said = refused(&home.run(WIT, &arguments(&[], "touch ran"), ""), 4);
            assert!(said.contains("--password-stdin"), "{said}");
            assert!(!home.path().join("ran").exists());
            // One code to create, one to revoke; the command gets neither.
            let exec = arguments(&["--password-stdin"], "cat; echo inside");
            let ran = home.run(WIT, &exec, &format!("{PASSWORD}\n123450\n123451\n"));
            assert_eq!(done(&ran), "inside\n", "{kind:?}");
            assert_eq!(text(&ran.stderr), "", "{kind:?}");
            assert_eq!(names(&forge), ["by hand"], "{kind:?}");
        }
    }

    #[test]
    fn an_apps_token_is_narrowed_and_ends_itself() {
        let home = Home::new();
        let key = Key::new(&home, "app");
        let forge = Forge::start(Kind::Github);
        forge.with(|state| state.apps.install(&key));
        let login = [
            "login",
            &forge.url,
            "--host-type",
            "github",
            "--app-id",
            APP,
        ];
        let login = [&login[..], &["--private-key", key.path()]].concat();
        done(&home.run(WIT, &login, ""));
        let alive = || forge.with(|state| state.apps.alive());
        let before = alive();
        let line = format!(
            "git ls-remote {0}/octo/hello.git && ! git ls-remote {0}/octo/world.git 2>/dev/null",
            forge.url
        );
        let ran = home.run(WIT, &arguments(&["--repo", "octo/hello"], &line), "");
        done(&ran);
        assert_eq!(text(&ran.stderr), "");
        assert_eq!(alive(), before);
        let said = home.run(WIT, &arguments(&["--for", "3h"], "true"), "");
        let said = text(&said.stderr);
        assert!(
            said.contains("have a shorter lifetime: this one expires at"),
            "{said}"
        );
        // Where it was killed, the token that is needed for its end is in the store.
        let mut killed = start(&home, "touch ready; sleep 0.2");
        appears(&home, "ready");
        killed.kill().expect("killed");
        killed.wait().expect("an end");
        assert_eq!(alive().len(), before.len() + 1);
        home.run(WIT, &["status"], "");
        assert_eq!(alive(), before);
        assert_eq!(records(&home), Vec::<Value>::new());
        let stored = done(&home.run(WIT, &["store", "list", "--json"], ""));
        assert!(!stored.contains("pending"), "{stored}");
    }
}
