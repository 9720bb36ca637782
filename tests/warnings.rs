//! What a person is told before a token runs out, and of a clock that is wrong.

#![cfg(all(unix, feature = "platform"))]

use std::process::Output;

use crate::support::machine::Machine;
use crate::support::server::{Server, with_header};
use crate::support::{HELPER, done, refused, text};

fn get(machine: &Machine) -> Output {
    let request = format!("protocol=http\nhost={}\n\n", machine.server.address);
    machine.home.run(HELPER, &["get"], &request)
}

/// What the helper keeps in mind of renewals, by the extension of the file.
fn remembered(machine: &Machine, extension: &str) -> std::path::PathBuf {
    let name = wit::store::lock::name_of(&machine.site());
    let dir = machine.home.path().join(".local/state/wit/renewals");
    dir.join(format!("{name}.{extension}"))
}

/// Moves what is kept in mind some seconds into the past.
fn seconds_later(machine: &Machine, extension: &str, seconds: i64) {
    let file = remembered(machine, extension);
    let then: i64 = (std::fs::read_to_string(&file).expect("remembered").trim())
        .parse()
        .expect("a time");
    std::fs::write(&file, format!("{}\n", then - seconds)).expect("written");
}

#[test]
fn a_token_that_can_not_be_renewed_is_announced_once_a_day() {
    let mut machine = Machine::with_a_token();
    machine.age_stored_token(85);
    // The sign-in is gone, so that renewing fails.
    done(&machine.wit(&["logout"]));
    machine.home.set("WIT_QUIET", "1");
    assert_eq!(text(&get(&machine).stderr), "");
    machine.home.set("WIT_QUIET", "");
    // Who comes after the pause has a failure of its own.
    seconds_later(&machine, "begun", 7_200);
    let answer = get(&machine);
    assert!(text(&answer.stdout).contains("password=wit_"), "{answer:?}");
    let said = text(&answer.stderr);
    let login = format!(
        "wit login {0} && wit token rotate --server {0}\n",
        machine.url
    );
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(
        said.contains("was not renewed") && said.ends_with(&login),
        "{said}"
    );
    assert_eq!(text(&get(&machine).stderr), "", "said today");
    seconds_later(&machine, "warned", 90_000);
    assert_eq!(
        text(&get(&machine).stderr),
        "",
        "it may have only just begun"
    );
    seconds_later(&machine, "begun", 120);
    assert!(text(&get(&machine).stderr).contains("was not renewed"));

    let status = machine.wit(&["status"]);
    assert_eq!(status.status.code(), Some(3));
    let told = format!("not renewed since the login is over: {login}");
    assert!(text(&status.stdout).contains(&told), "{status:?}");
}

/// A `get` of the helper in a directory of its own, beside a `wit` that this script is.
fn get_beside(machine: &Machine, script: Option<&str>) -> Output {
    use std::os::unix::fs::PermissionsExt;
    let dir = machine.home.path().join("elsewhere");
    std::fs::create_dir_all(&dir).expect("made");
    let helper = dir.join("git-credential-wit");
    std::fs::copy(HELPER, &helper).expect("copied");
    if let Some(script) = script {
        let wit = dir.join("wit");
        std::fs::write(&wit, script).expect("written");
        std::fs::set_permissions(wit, PermissionsExt::from_mode(0o755)).expect("a program");
    }
    let request = format!("protocol=http\nhost={}\n\n", machine.server.address);
    let helper = helper.to_str().expect("text");
    machine.home.run(helper, &["get"], &request)
}

#[test]
fn a_helper_without_wit_beside_it_says_so_and_pauses() {
    let machine = Machine::with_a_token();
    machine.age_stored_token(85);
    let answer = get_beside(&machine, None);
    assert!(text(&answer.stdout).contains("password=wit_"), "{answer:?}");
    let said = text(&answer.stderr);
    assert!(said.contains("was not renewed"), "{said}");
    assert!(said.ends_with("elsewhere/wit can't be run\n"), "{said}");
    assert!(remembered(&machine, "begun").exists());
    assert_eq!(text(&get_beside(&machine, None).stderr), "", "said today");
}

#[test]
fn a_renewal_that_takes_long_is_told_where_the_one_before_it_failed() {
    let machine = Machine::with_a_token();
    machine.age_stored_token(85);
    let slow = Some("#!/bin/sh\nexec sleep 5\n");
    assert_eq!(text(&get_beside(&machine, slow).stderr), "");
    let begun = remembered(&machine, "begun");
    std::fs::create_dir_all(begun.parent().expect("a directory")).expect("made");
    let earlier = wit::expiry::UnixTime::now().plus(-7_200).0;
    std::fs::write(begun, format!("{earlier}\n")).expect("written");
    let said = text(&get_beside(&machine, slow).stderr);
    assert!(said.contains("was not renewed"), "{said}");
}

#[test]
fn where_renewal_is_switched_off_that_is_said() {
    let machine = Machine::with_a_token();
    machine.age_stored_token(85);
    machine.configure("renew", "never");
    let said = text(&get(&machine).stderr);
    assert!(said.contains("type: wit token rotate --server"), "{said}");
    let status = machine.wit(&["status"]);
    assert_eq!(status.status.code(), Some(3));
    let told = text(&status.stdout);
    assert!(
        told.contains("not renewed since renewal is switched off"),
        "{told}"
    );
}

#[test]
fn what_is_renewed_in_time_is_nothing_to_say() {
    let machine = Machine::with_a_token();
    machine.age_stored_token(85);
    assert_eq!(text(&get(&machine).stderr), "");
    // The old one lives on for an hour, which is as it should be.
    let status = done(&machine.wit(&["status"]));
    let marked = "laptop: replaced, ends in ";
    assert!(status.contains(marked), "{status}");
    assert_eq!(machine.ids().len(), 2);
}

#[test]
fn status_says_how_far_the_clocks_differ() {
    for (date, told) in [
        ("Thu, 01 Jan 2099 00:00:00 GMT", Some("behind that of")),
        ("Thu, 01 Jan 2015 00:00:00 GMT", Some("ahead of that of")),
        ("not a date", None),
    ] {
        let server = Server::new(move |_, _| with_header(200, &format!("Date: {date}"), ""));
        let home = crate::support::Home::new();
        let said = home.run(
            crate::support::WIT,
            &["status", "--server", &server.url],
            "",
        );
        let clock = text(&said.stdout);
        let line = clock
            .lines()
            .find(|line| line.contains("this machine's clock"));
        assert_eq!(line.is_some(), told.is_some(), "{clock}");
        if let (Some(line), Some(told)) = (line, told) {
            assert!(line.contains(told) && line.contains("years"), "{line}");
        }
        let sent = server.seen().concat();
        assert!(!sent.to_lowercase().contains("authorization"), "{sent}");
    }
}

#[test]
fn a_server_that_is_away_does_not_keep_status_from_answering() {
    let machine = Machine::with_a_token();
    done(&machine.server.home.run(crate::support::WIT, &["down"], ""));
    let status = machine.json(&["status"]);
    assert_eq!(status["servers"][0]["clockSkew"], serde_json::Value::Null);
    // For the end of the test.
    done(
        &machine
            .server
            .home
            .run(crate::support::WIT, &["up", "--port", "0"], ""),
    );
}

#[test]
fn a_grace_that_is_over_is_ended_by_the_next_command() {
    let machine = Machine::with_a_token();
    done(&machine.rotate(&["--grace", "1h"]));
    let list = machine.list();
    assert_eq!(list.len(), 2);
    // The server knows the end as well, so that nothing is lost where no command comes.
    let expires =
        |token: &serde_json::Value| token["expiresAt"].as_str().expect("an end").to_owned();
    // Two of one second are in no order.
    let last = list.iter().map(expires).max().expect("two");
    assert_eq!(list.iter().filter(|token| expires(token) < last).count(), 1);
    let end = |at: i64| {
        let dir = machine.home.path().join(".local/state/wit/rotations");
        let file = std::fs::read_dir(dir).expect("there").next().expect("one");
        let file = file.expect("a file").path();
        let text = std::fs::read_to_string(&file).expect("a journal");
        let mut journal: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        journal["revoke_at"] = at.into();
        std::fs::write(&file, journal.to_string()).expect("written");
        file
    };
    let now = wit::expiry::UnixTime::now().0;
    let file = end(now - 10);
    // While the server is away it is put off, and nothing else suffers.
    done(&machine.server.home.run(crate::support::WIT, &["down"], ""));
    machine.wit(&["status"]);
    let journal = std::fs::read_to_string(&file).expect("a journal");
    let journal: serde_json::Value = serde_json::from_str(&journal).expect("JSON");
    assert_eq!(journal["step"], "grace");
    assert!(
        journal["revoke_at"].as_i64() > Some(now + 3_000),
        "{journal}"
    );
    let port = machine.url.rsplit(':').next().expect("a port");
    done(
        &machine
            .server
            .home
            .run(crate::support::WIT, &["up", "--port", port], ""),
    );
    end(now - 10);
    machine.wit(&["status"]);
    machine.assert_tidy("the grace is over");
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_longer_than_was_said() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", silent.local_addr().expect("an address"));
    let mut home = crate::support::Home::new();
    home.set("WIT_HTTP_TIMEOUT", "0.2");
    let begun = std::time::Instant::now();
    let said = refused(
        &home.run(
            crate::support::WIT,
            &["login", &url, "--username", "a", "--password-stdin"],
            "pw\n",
        ),
        1,
    );
    assert!(said.contains("it took too long"), "{said}");
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
}
