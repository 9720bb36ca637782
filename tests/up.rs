//! `wit up` and `wit down`: starting and stopping the server, and its first account.

#![cfg(feature = "platform")]

use crate::support::platform::{PASSWORD, Server, try_request};
use crate::support::postgres::Postgres;
use crate::support::tls::Certificate;
use crate::support::{Home, WIT, done, refused, text};
use serde_json::{Value, json};

#[test]
fn up_names_the_one_command_to_type_next_and_down_ends_it() {
    let home = Home::new();
    let up = home.run(WIT, &["up", "--port", "0"], "");
    assert!(up.status.success(), "{}", text(&up.stderr));
    let said = text(&up.stdout);
    assert!(said.contains("wit login http://127.0.0.1:"), "{said}");
    assert!(
        said.contains("--sign-up --email you@example.com --username you"),
        "{said}"
    );

    let again = home.run(WIT, &["up"], "");
    assert!(again.status.success());
    assert!(
        text(&again.stdout).contains("already runs"),
        "{}",
        text(&again.stdout)
    );

    let down = home.run(WIT, &["down"], "");
    assert!(down.status.success(), "{}", text(&down.stderr));
    assert!(text(&down.stdout).contains("wit stopped"));
    let down = home.run(WIT, &["down"], "");
    assert!(down.status.success());
    assert!(text(&down.stdout).contains("does not run"));
}

#[test]
fn a_port_that_a_running_server_does_not_have_is_told() {
    let server = Server::start();
    let port = server.address.rsplit(':').next().expect("a port");
    let other = wit::platform::address::free_port([127, 0, 0, 1].into()).expect("a port");
    for (port, is_told) in [(port, false), (&other.to_string(), true)] {
        let again = server.home.run(WIT, &["up", "--port", port], "");
        let said = text(&again.stderr);
        assert_eq!(said.contains("options were ignored"), is_told, "{said}");
    }
}

#[test]
fn options_that_a_running_server_does_not_have_leave_the_command_unfinished() {
    let server = Server::start_with(Home::new(), &["--metrics", "--user", "ada"]);
    let repositories = server.data_dir().join("repositories");
    let repositories = repositories.display().to_string();
    for (options, code) in [
        (&[][..], 0),
        (&["--metrics"], 0),
        (&["--sign-up"], 0),
        (&["--user", "ada"], 0),
        (&["--repositories", &repositories], 0),
        (&["--no-sign-up"], 5),
        (&["--max-disk", "1G"], 5),
        (&["--user", "grace"], 5),
        (&["--defaults"], 5),
    ] {
        let up = [&["up", "--json"], options].concat();
        let again = server.home.run(WIT, &up, "");
        let said = text(&again.stderr);
        assert_eq!(again.status.code(), Some(code), "{options:?}: {said}");
        assert_eq!(said.contains("were ignored"), code == 5, "{options:?}");
        let document: Value = serde_json::from_slice(&again.stdout).expect("JSON");
        assert_eq!(document["optionsIgnored"], code == 5, "{options:?}");
    }
}

#[test]
fn only_a_start_that_names_an_account_prints_its_variables() {
    let home = Home::new();
    done(&home.run(WIT, &["up", "--port", "0", "--user", "ada"], ""));
    done(&home.run(WIT, &["down"], ""));
    let said = done(&home.run(WIT, &["up"], ""));
    assert!(said.contains("Data directory: ~/"), "{said}");
    assert!(!said.contains("WIT_USER_ID"), "{said}");
    let said = done(&home.run(WIT, &["up"], ""));
    assert!(said.contains("(data in ~/"), "{said}");
    let said = done(&home.run(WIT, &["down"], ""));
    assert!(said.contains("Data kept in ~/"), "{said}");
    let said = done(&home.run(WIT, &["up", "check"], ""));
    assert!(said.starts_with("Checked ~/"), "{said}");
    assert!(said.contains("(0 repositories)"), "{said}");
}

#[test]
fn sign_up_is_opened_again_only_by_a_word_and_told() {
    let home = Home::new();
    let up = |more: &[&str]| {
        let up = home.run(WIT, &[&["up", "--port", "0", "--json"], more].concat(), "");
        let said: Value = serde_json::from_str(&done(&up)).expect("JSON");
        let url = said["url"].as_str().expect("a URL");
        let address = url.strip_prefix("http://").expect("http");
        let sign_up = try_request(address, "GET", "/login/sign-up", &[], "");
        let is_open = sign_up.expect("an answer").status == 200;
        done(&home.run(WIT, &["down"], ""));
        (is_open, text(&up.stderr).contains("can sign up now"))
    };
    assert_eq!(up(&[]), (true, false));
    assert_eq!(up(&["--no-sign-up"]), (false, false));
    assert_eq!(up(&[]), (false, false));
    assert_eq!(up(&["--max-disk", "1G"]), (false, false));
    assert_eq!(up(&["--sign-up"]), (true, true));
    assert_eq!(up(&["--no-sign-up"]), (false, false));
    assert_eq!(up(&["--defaults"]), (true, true));
}

#[test]
fn a_server_comes_back_with_the_options_of_its_last_start() {
    let home = Home::new();
    Certificate::new(&home, "wit", "DNS:localhost,IP:127.0.0.1");
    let up = |more: &[&str]| {
        let up = home.run(WIT, &[&["up", "--port", "0"], more].concat(), "");
        let said = done(&up);
        assert!(
            !text(&up.stderr).contains("warning"),
            "{}",
            text(&up.stderr)
        );
        let again = home.run(WIT, &["up"], "");
        assert_eq!(text(&again.stderr), "");
        done(&home.run(WIT, &["down"], ""));
        let line = said
            .lines()
            .find(|line| line.starts_with("Options of the last start: "));
        let line = line.map(|line| line.replace(&home.path().display().to_string(), "~"));
        (said.contains("https://"), line)
    };
    let each = [
        "--tls-cert",
        "wit.pem",
        "--tls-key",
        "wit.key",
        "--public-url",
        "https://git.example.com",
        "--proxy",
        "127.0.0.9",
        "--proxy",
        "::1",
        "--host-name",
        "git.example.test",
        "--max-repositories",
        "7",
        "--max-disk",
        "500M",
        "--patience",
        "90",
        "--metrics",
        "--no-hsts",
        "--no-maintenance",
        "--no-sign-up",
    ];
    assert_eq!(up(&each), (true, None));
    let line = "Options of the last start: --tls-cert ~/wit.pem --tls-key ~/wit.key \
                --public-url https://git.example.com/ --proxy 127.0.0.9 --proxy ::1 \
                --host-name git.example.test --max-repositories 7 --max-disk 500M --patience 90 \
                --metrics --no-hsts --no-maintenance --no-sign-up (wit up --defaults forgets them)";
    assert_eq!(up(&[]), (true, Some(line.to_owned())));
    assert_eq!(up(&[]), (true, Some(line.to_owned())));
    // What is given takes the place of what is remembered.
    let given = ["--proxy", "127.0.0.8", "--max-disk", "10G"];
    up(&given);
    let (_, now) = up(&[]);
    let line = line.replace("--proxy 127.0.0.9 --proxy ::1", "--proxy 127.0.0.8");
    assert_eq!(now, Some(line.replace(" --max-disk 500M", "")));
    let defaults = ["--defaults", "--no-sign-up"];
    assert_eq!(up(&defaults), (false, None));
    let line = "Options of the last start: --no-sign-up (wit up --defaults forgets them)";
    assert_eq!(up(&[]), (false, Some(line.to_owned())));
}

#[test]
fn a_remembered_file_that_is_gone_is_replaced_or_given_up_alone() {
    let home = Home::new();
    for name in ["wit", "new"] {
        Certificate::new(&home, name, "IP:127.0.0.1");
    }
    let start = |more: &[&str]| home.run(WIT, &[&["up"], more].concat(), "");
    let tls = |name: &str| [format!("{name}.pem"), format!("{name}.key")];
    let [certificate, key] = tls("wit");
    let tls_options = ["--tls-cert", &certificate, "--tls-key", &key];
    let others = ["--port", "0", "--max-disk", "1G", "--no-sign-up"];
    done(&start(&[&tls_options[..], &others].concat()));
    std::fs::rename(home.path().join(&key), home.path().join("aside")).expect("moved");
    // While it runs it has no use for them.
    done(&start(&[]));
    done(&home.run(WIT, &["down"], ""));
    let said = refused(&start(&[]), 1);
    assert!(said.contains("--tls-key of the last start"), "{said}");
    assert!(said.contains("wit.key: No such file"), "{said}");
    // In the foreground too, as a service has it.
    let said = refused(&start(&["--foreground"]), 1);
    assert!(said.contains("--tls-key of the last start"), "{said}");
    let replace = "hint: wit up --tls-cert FILE --tls-key FILE; without TLS: ";
    let drop = said.lines().find_map(|line| line.strip_prefix(replace));
    let drop = drop.expect(&said).to_owned();
    assert_eq!(drop, "wit up --max-disk 1G --no-sign-up --defaults");

    let [certificate, key] = tls("new");
    let said = done(&start(&["--tls-cert", &certificate, "--tls-key", &key]));
    assert!(said.contains("https://"), "{said}");
    let kept = "--max-disk 1G --no-sign-up (wit up --defaults forgets them)";
    assert!(said.contains(&format!("start: {kept}")), "{said}");
    done(&home.run(WIT, &["down"], ""));

    std::fs::remove_file(home.path().join(&certificate)).expect("removed");
    let said = refused(&start(&[]), 1);
    assert!(said.contains("--tls-cert of the last start"), "{said}");
    done(&home.run("sh", &["-c", &drop], ""));
    done(&home.run(WIT, &["down"], ""));
    let said = done(&start(&[]));
    assert!(said.contains("http://"), "{said}");
    assert!(said.contains(&format!("start: {kept}")), "{said}");
    done(&home.run(WIT, &["down"], ""));
}

#[test]
fn what_a_server_remembers_is_put_aside_by_its_operator_alone() {
    let home = Home::new();
    done(&home.run(WIT, &["up", "--port", "0", "--no-sign-up"], ""));
    done(&home.run(WIT, &["down"], ""));
    let data = home.path().join(".local/share/wit/platform");
    for name in ["last-start.json", "address.json"] {
        std::fs::write(data.join(name), "torn").expect("written");
        for command in [&["up"][..], &["up", "--defaults"]] {
            let said = refused(&home.run(WIT, command, ""), 1);
            assert!(
                said.contains(name) && said.contains("--no-sign-up"),
                "{said}"
            );
        }
        let said = refused(&home.run(WIT, &["up"], ""), 1);
        let hint = said.lines().find_map(|line| line.strip_prefix("hint: "));
        let (aside, _) = hint
            .and_then(|hint| hint.split_once(", then"))
            .expect("a command");
        done(&home.run("sh", &["-c", aside], ""));
        done(&home.run(WIT, &["up", "--port", "0", "--no-sign-up"], ""));
        done(&home.run(WIT, &["down"], ""));
    }
}

#[test]
fn plain_http_for_others_is_remembered_once_it_was_allowed() {
    let home = Home::new();
    let open = ["up", "--port", "0", "--listen", "0.0.0.0", "--allow-http"];
    done(&home.run(WIT, &open, ""));
    let running = ["up", "--listen", "127.0.0.1"];
    let said = text(&home.run(WIT, &running, "").stderr);
    assert!(said.contains("the new options were ignored"), "{said}");
    done(&home.run(WIT, &["down"], ""));
    let said = done(&home.run(WIT, &["up"], ""));
    assert!(said.contains("--listen 0.0.0.0 --allow-http"), "{said}");
    done(&home.run(WIT, &["down"], ""));
    let forgotten = ["up", "--defaults", "--listen", "0.0.0.0"];
    let said = refused(&home.run(WIT, &forgotten, ""), 2);
    assert!(said.contains("http is not encrypted"), "{said}");
}

#[test]
fn a_server_of_a_postgresql_starts_on_no_other_database() {
    let database = Postgres::start();
    let server = Server::start_on(&database);
    done(&server.home.run(WIT, &["down"], ""));
    let without = |arguments: &str| {
        let script = format!("unset DATABASE_URL; exec wit up {arguments}");
        server.home.run("sh", &["-c", &script], "")
    };
    let said = refused(&without(""), 2);
    assert!(said.contains("DATABASE_URL is not set"), "{said}");
    done(&without("--defaults"));
    done(&server.home.run(WIT, &["down"], ""));
}

#[test]
fn up_makes_the_first_account_without_a_keyboard() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let arguments = ["up", "--port", "0", "--user", "ada", "--json"];
    let up = home.run(WIT, &arguments, "");
    assert!(up.status.success(), "{}", text(&up.stderr));
    let up: Value = serde_json::from_slice(&up.stdout).expect("JSON");
    let file = up["passwordFile"].as_str().expect("a file");
    let mode = std::fs::metadata(file).expect("it exists").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let next = up["next"].as_str().expect("a command");
    let login = home.run("sh", &["-c", next], "");
    assert!(login.status.success(), "{}", text(&login.stderr));
    let made = home.run(WIT, &["token", "create", "first", "-q", "-e", "1"], "");
    assert!(made.status.success(), "{}", text(&made.stderr));

    // What it prints is enough to work on the database itself.
    let mut direct = Home::new();
    direct.set("DATABASE_URL", up["databaseUrl"].as_str().expect("a URL"));
    direct.set("WIT_USER_ID", up["userId"].as_str().expect("an id"));
    let list = direct.run(WIT, &["token", "list"], "");
    assert!(
        text(&list.stdout).contains("first"),
        "{}",
        text(&list.stderr)
    );
    assert!(home.run(WIT, &["down"], "").status.success());

    // Asked again, it leaves the account as it is.
    let again = home.run(WIT, &arguments, "");
    let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(again["userId"], up["userId"]);
    assert!(again["passwordFile"].is_null());
    assert!(home.run(WIT, &["down"], "").status.success());
}

#[test]
fn up_takes_the_password_of_the_first_account_from_stdin() {
    let home = Home::new();
    let arguments = ["up", "--port", "0", "--user", "ada", "--password-stdin"];
    let up = home.run(WIT, &arguments, &format!("{PASSWORD}\n"));
    let said = text(&up.stdout);
    assert!(said.contains("export WIT_USER_ID="), "{said}");
    assert!(said.contains("export DATABASE_URL=sqlite:/"), "{said}");
    assert!(!said.contains(PASSWORD), "{said}");
    let login = ["login", "--username", "ada", "--password-stdin"];
    let login = home.run(WIT, &login, PASSWORD);
    assert!(login.status.success(), "{}", text(&login.stderr));
    assert!(home.run(WIT, &["down"], "").status.success());

    let refused = Home::new().run(WIT, &arguments, "short\n");
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("a password is 8 to 128 characters"), "{said}");
    assert!(!said.contains("short"), "{said}");
}

/// What is known of servers, in the configuration file.
fn config(home: &Home) -> Value {
    let file = home.path().join(".config/wit/config.json");
    let text = std::fs::read(file).expect("a config");
    serde_json::from_slice(&text).expect("JSON")
}

#[test]
fn up_at_another_port_takes_the_place_of_its_earlier_address() {
    let home = Home::new();
    let up = |more: &[&str]| {
        let up = [&["up", "--json"], more].concat();
        let up = home.run(WIT, &up, "");
        serde_json::from_slice::<Value>(&up.stdout).expect("JSON")
    };
    let down = || assert!(home.run(WIT, &["down"], "").status.success());
    let other = up(&["--port", "0", "--data-dir", "other"]);
    assert!(
        home.run(WIT, &["down", "--data-dir", "other"], "")
            .status
            .success()
    );
    let first = up(&["--port", "0", "--user", "ada"]);
    down();
    let mut known = config(&home);
    known["default_server"] = first["url"].clone();
    // A server that nobody is logged in to is forgotten once it is stopped.
    for (up, account) in [(&first, "ada"), (&other, "bob")] {
        let url = up["url"].as_str().expect("a URL");
        known["servers"][url] = json!({"account": account, "data_dir": up["dataDir"]});
    }
    let file = home.path().join(".config/wit/config.json");
    std::fs::write(file, known.to_string()).expect("written");

    let second = up(&["--port", &free_port()]);
    // Before nobody's server is forgotten again.
    let known = config(&home);
    down();
    assert_ne!(first["url"], second["url"]);
    let url = second["url"].as_str().expect("a URL");
    assert_eq!(second["next"], format!("wit login {url}"));
    assert_eq!(known["default_server"], url);
    let servers: Vec<&String> = known["servers"]
        .as_object()
        .expect("servers")
        .keys()
        .collect();
    assert_eq!(servers.len(), 2, "{servers:?}");
    assert!(
        servers
            .iter()
            .any(|known| **known == *other["url"].as_str().expect("a URL"))
    );
}

#[test]
fn up_with_an_odd_data_directory_says_what_can_be_pasted() {
    let home = Home::new();
    let data_dir = ["--data-dir", "it's a dir"];
    let up = home.run(
        WIT,
        &[&["up", "--port", "0", "--user", "ada"], &data_dir[..]].concat(),
        "",
    );
    let said = text(&up.stdout);
    let login = said.lines().find(|line| line.contains("wit login"));
    let direct: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("export "))
        .collect();
    let pasted = format!(
        "{}\n{}\nwit token list",
        login.expect("a command"),
        direct.join("\n")
    );
    let done = home.run("sh", &["-e", "-c", &pasted], "");
    assert!(done.status.success(), "{pasted}: {}", text(&done.stderr));
    assert!(
        home.run(WIT, &[&["down"], &data_dir[..]].concat(), "")
            .status
            .success()
    );
}

#[test]
fn that_nobody_reads_what_is_said_is_no_failure() {
    let home = Home::new();
    for words in [
        "up --port 0",
        "up",
        "up --json",
        "setup --dry-run",
        "setup",
        "setup",
        "setup --undo",
        "setup --undo",
        "down",
        "down --json",
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = home.command(WIT);
        command.args(words.split(' ')).stdout(writer);
        let output = command.stderr(std::process::Stdio::piped()).output();
        let output = output.expect("it ends");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{words}: {said}");
    }
}

/// A port of 127.0.0.1 that nobody listens on.
fn free_port() -> String {
    let port = wit::platform::address::free_port([127, 0, 0, 1].into());
    port.expect("a free port").to_string()
}

#[test]
fn a_server_comes_back_at_the_port_that_it_had_last() {
    let home = Home::new();
    let up = |port: &[&str]| {
        let up = home.run(WIT, &[&["up", "--json"], port].concat(), "");
        assert!(up.status.success(), "{}", text(&up.stderr));
        assert!(home.run(WIT, &["down"], "").status.success());
        let up: Value = serde_json::from_slice(&up.stdout).expect("JSON");
        up["url"].as_str().expect("a URL").to_owned()
    };
    let first = up(&["--port", "0"]);
    assert_eq!(up(&[]), first);
    assert_eq!(up(&["--port", "0"]), first);
    // Another one that is named is the last one from then on.
    let other = free_port();
    assert_eq!(up(&["--port", &other]), format!("http://127.0.0.1:{other}"));
    assert_eq!(up(&[]), format!("http://127.0.0.1:{other}"));
}

#[test]
fn up_says_that_its_last_port_is_taken_and_names_a_free_one() {
    let home = Home::new();
    let port = free_port();
    assert!(home.run(WIT, &["up", "--port", &port], "").status.success());
    assert!(home.run(WIT, &["down"], "").status.success());
    let taken = std::net::TcpListener::bind(format!("127.0.0.1:{port}")).expect("a port");
    for arguments in [
        &["up"][..],
        &["up", "--port", "0"],
        &["up", "--port", &port],
    ] {
        let up = home.run(WIT, arguments, "");
        assert_eq!(up.status.code(), Some(1));
        let said = text(&up.stderr);
        let what = format!("can't listen on 127.0.0.1:{port}, the last address of this server");
        assert!(said.contains(&what), "{said}");
        let (_, hint) = said.split_once("hint: ").expect("a hint");
        assert!(hint.starts_with("wit up --port "), "{said}");
        let hint = home.run("sh", &["-c", hint], "");
        assert!(hint.status.success(), "{}", text(&hint.stderr));
        assert!(home.run(WIT, &["down"], "").status.success());
        // Back to the one that is taken.
        let file = home.path().join(".local/share/wit/platform/address.json");
        std::fs::write(file, format!("{{\"version\":1,\"port\":{port}}}")).expect("written");
    }
    drop(taken);
    assert!(home.run(WIT, &["up"], "").status.success());
    assert!(home.run(WIT, &["down"], "").status.success());
}

#[test]
fn up_says_that_its_port_is_taken() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let home = Home::new();
    let up = home.run(WIT, &["up", "--port", &port], "");
    assert_eq!(up.status.code(), Some(1));
    let said = text(&up.stderr);
    assert!(said.contains("can't listen on 127.0.0.1:"), "{said}");
    assert!(said.contains("hint: wit up --port 0"), "{said}");
}

#[test]
fn up_listens_to_other_machines_only_when_told_that_http_is_open() {
    let home = Home::new();
    let up = home.run(WIT, &["up", "--port", "0", "--listen", "0.0.0.0"], "");
    assert_eq!(up.status.code(), Some(2));
    assert!(text(&up.stderr).contains("--allow-http"));
}

#[test]
fn down_signals_no_process_but_the_server() {
    let home = Home::new();
    let data_dir = home.path().join(".local/share/wit/platform");
    std::fs::create_dir_all(&data_dir).expect("a directory");
    let mut bystander = home.command("cat");
    bystander.stdin(std::process::Stdio::piped());
    let mut bystander = bystander.spawn().expect("cat");
    let stale = json!({ "pid": bystander.id(), "address": "127.0.0.1:3000" });
    std::fs::write(data_dir.join("server.pid"), stale.to_string()).expect("written");

    let down = home.run(WIT, &["down"], "");
    assert!(text(&down.stdout).contains("does not run"));
    assert!(bystander.try_wait().expect("a status").is_none());
    drop(bystander.stdin.take());
    assert!(bystander.wait().expect("it ends").success());
}

#[test]
fn only_the_owner_can_read_what_the_server_keeps() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    let mode = |name: &str| {
        let path = server.data_dir().join(name);
        std::fs::metadata(path)
            .expect("it exists")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(""), 0o700);
    for file in ["wit.sqlite3", "wit.sqlite3-wal", "server.log", "server.pid"] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[test]
fn a_closed_server_has_the_accounts_that_its_owner_makes() {
    let home = Home::new();
    let server = Server::start_with(home, &["--no-sign-up", "--user", "ada"]);
    let body = serde_json::json!({
        "email": "eve@example.com", "password": "correct horse", "name": "eve", "username": "eve",
    });
    let refused = server.post("/api/auth/sign-up/email", "", body);
    assert_eq!(refused.status, 403, "{}", refused.body);
    let page = server.request("GET", "/login", &[], "");
    assert!(!page.body.contains("--sign-up"), "{}", page.body);
    let again = server.home.run(WIT, &["up", "--user", "grace"], "");
    assert_eq!(again.status.code(), Some(5));
    assert!(text(&again.stderr).contains("the new options were ignored"));
    let url = server.url("");
    let arguments = ["login", &url, "--username", "ada", "--password-stdin"];
    let file = server.data_dir().join("first-password");
    let password = std::fs::read_to_string(file).expect("a password");
    let login = server.home.run(WIT, &arguments, &password);
    assert!(login.status.success(), "{}", text(&login.stderr));
}

#[test]
fn a_killed_server_is_replaced_at_once() {
    let server = Server::start();
    for _ in 0..20 {
        server.kill_and_start();
        assert_eq!(server.request("GET", "/health", &[], "").body, "ok\n");
    }
}

#[test]
fn two_that_start_a_server_at_once_have_the_same_one() {
    let home = Home::new();
    let ups: Vec<_> = (0..2)
        .map(|_| {
            let mut up = home.command(WIT);
            up.args(["up", "--port", "0", "--json"])
                .stdout(std::process::Stdio::piped());
            up.spawn().expect("it starts")
        })
        .collect();
    let urls: Vec<_> = (ups.into_iter())
        .map(|up| {
            let up = up.wait_with_output().expect("it ends");
            assert!(up.status.success());
            let up: serde_json::Value = serde_json::from_slice(&up.stdout).expect("JSON");
            up["url"].as_str().expect("a URL").to_owned()
        })
        .collect();
    assert_eq!(urls[0], urls[1]);
    assert!(home.run(WIT, &["down"], "").status.success());
}

#[test]
fn a_large_log_is_put_aside_by_the_next_server() {
    let mut server = Server::start();
    assert!(server.home.run(WIT, &["down"], "").status.success());
    let log = server.data_dir().join("server.log");
    let file = std::fs::File::create(&log).expect("a file");
    file.set_len(17 << 20).expect("a hole");
    let home = std::mem::replace(&mut server.home, Home::new());
    let server = Server::start_in(home);
    let length = |name: &str| {
        let metadata = std::fs::metadata(server.data_dir().join(name));
        metadata.expect("a file").len()
    };
    assert_eq!(length("server.log.1"), 17 << 20);
    assert!(length("server.log") < 1 << 20);
}

#[test]
fn data_outlive_the_server() {
    let mut server = Server::start();
    let session = server.sign_up("alice");
    let secret = server.secret(&session, &["repo:read"]);
    let down = server.home.run(WIT, &["down"], "");
    assert!(down.status.success(), "{}", text(&down.stderr));
    let home = std::mem::replace(&mut server.home, Home::new());
    let server = Server::start_in(home);
    assert_eq!(server.bearing("GET", "/api/v1/user", &secret).status, 200);
}
