//! Completions: real shells are offered commands, servers and the tokens last seen.

#![cfg(all(unix, feature = "platform"))]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::support::platform::{PASSWORD, Server};
use crate::support::{HELPER, Home, WIT, text};

/// A home whose `wit` has seen two tokens, and has the script of each shell.
struct Desk {
    server: Server,
    home: Home,
}

impl Desk {
    fn new() -> Self {
        let mut home = Home::new();
        home.set("WIT_KEYCHAIN_TIMEOUT", "60");
        let desk = Desk {
            server: Server::start(),
            home,
        };
        desk.server.sign_up("ada");
        let login = [
            "login",
            &desk.url(),
            "--username",
            "ada",
            "--password-stdin",
        ];
        let login = desk.home.run(WIT, &login, PASSWORD);
        assert!(login.status.success(), "{}", text(&login.stderr));
        for name in ["laptop", "my CI $job"] {
            desk.run(WIT, &["token", "create", name, "--print"]);
        }
        desk
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.home.run(program, arguments, "");
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {out}{err}");
        out
    }

    fn script(&self, shell: &str, name: &str) -> PathBuf {
        let script = self.run(WIT, &["generate", "completions", shell]);
        let file = self.home.path().join(name);
        std::fs::write(&file, script).expect("written");
        file
    }

    /// What bash offers for the last of these words.
    fn bash(&self, words: &[&str]) -> Vec<String> {
        let file = self.script("bash", "wit.bash");
        let script = "source \"$1\"; shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1))
            function=$(complete -p wit | sed 's/.*-F \\([^ ]*\\) .*/\\1/')
            \"$function\" wit \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD-1]}\"
            printf '%s\\n' \"${COMPREPLY[@]}\"";
        let file = file.display().to_string();
        let arguments = [&["--norc", "-c", script, "bash", &file], words].concat();
        let offered = self.run("bash", &arguments);
        offered.lines().map(str::to_owned).collect()
    }
}

#[test]
fn bash_is_offered_commands_servers_and_tokens() {
    let desk = Desk::new();
    assert_eq!(desk.bash(&["wit", "tok"]), ["token"]);
    assert_eq!(desk.bash(&["wit", "token", "revoke", "lap"]), ["laptop"]);
    assert_eq!(desk.bash(&["wit", "token", "rotate", "lap"]), ["laptop"]);
    assert_eq!(desk.bash(&["wit", "token", "revoke", "wit_"]).len(), 2);
    assert_eq!(
        desk.bash(&["wit", "status", "--server", "ht"]),
        [desk.url()]
    );
    let all = desk.bash(&["wit", "token", "revoke", ""]);
    assert!(!all.iter().any(|offer| offer.contains('$')), "{all:?}");

    desk.run(WIT, &["token", "revoke", "laptop"]);
    assert_eq!(
        desk.bash(&["wit", "token", "revoke", "wit_"]).len(),
        1,
        "it is live"
    );
}

#[test]
fn zsh_is_offered_them_from_the_first_tab_on() {
    let desk = Desk::new();
    desk.script("zsh", "_wit");
    // A line that is typed at a terminal of its own; what it has become is seen when it is run.
    let script = "zmodload zsh/zpty
        zpty line 'PS1=; exec zsh -f -i'
        zpty -w line 'fpath=($HOME $fpath); autoload -Uz compinit; compinit -u -d $HOME/.dump'
        zpty -w line 'wit() { [[ -n $WIT_COMPLETE ]] && command wit \"$@\" || print -r -- \"<$*>\" }; print ready $((1+1))'
        zpty -r line out '*ready 2*'
        zpty -n -w line $'wit token revoke lap\\t\\n'
        zpty -r line out '*<*>*'
        print -r -- $out";
    let seen = desk.run("timeout", &["30", "zsh", "-f", "-c", script]);
    assert!(seen.contains("<token revoke laptop>"), "{seen}");
}

/// What each shell makes of keys that are typed at its terminal.
fn typed(desk: &Desk, shell: &str, setup: &str, keys: &str) -> String {
    let script = "zmodload zsh/zpty
        zpty line \"$1\"
        zpty -w line $2
        zpty -r line out '*ready 2*'
        zpty -n -w line ${(g::)3}
        zpty -r line out '*<(token|store)*>*'
        print -r -- $out";
    let words = ["60", "zsh", "-f", "-c", script, "zsh", shell, setup, keys];
    desk.run("timeout", &words)
}

#[test]
fn bash_and_fish_complete_what_is_typed_too() {
    let desk = Desk::new();
    desk.script("bash", "wit.bash");
    desk.script("fish", "wit.fish");
    let bash = "PS1=; source $HOME/wit.bash; wit() { if [ -n \"$WIT_COMPLETE\" ]; then command wit \"$@\"; \
                else printf '<%s>\\n' \"$*\"; fi; }; echo ready $((1+1))";
    let fish = "function fish_prompt; end; source $HOME/wit.fish; function wit; \
                if set -q WIT_COMPLETE; command wit $argv; else; echo \"<$argv>\"; end; end; \
                echo ready (math 1+1)";
    for (shell, setup) in [
        ("TERM=xterm exec bash --norc --noprofile -i", bash),
        ("TERM=xterm exec fish --no-config -i", fish),
    ] {
        let seen = typed(&desk, shell, setup, "wit token revo\\tlap\\t\\r");
        assert!(seen.contains("<token revoke laptop>"), "{shell}: {seen}");
        keep(&desk.home, "https", "typed.example");
        let seen = typed(&desk, shell, setup, "wit store erase typ\\t\\r");
        assert!(
            seen.contains("<store erase typed.example>"),
            "{shell}: {seen}"
        );
    }
}

fn keep(home: &Home, protocol: &str, host: &str) {
    let entry = format!("protocol={protocol}\nhost={host}\nusername=ada\npassword=pw\n");
    let stored = home.run(HELPER, &["store"], &entry);
    assert!(stored.status.success(), "{stored:?}");
}

#[test]
fn the_sites_that_something_is_stored_for_are_offered() {
    let desk = Desk::new();
    for (protocol, host) in [
        ("https", "typed.example"),
        ("https", "typed.example:8443"),
        ("http", "plain.example"),
    ] {
        keep(&desk.home, protocol, host);
    }
    let url = desk.url();
    assert_eq!(
        desk.bash(&["wit", "store", "erase", "typ"]),
        ["typed.example"]
    );
    let all = desk.bash(&["wit", "store", "erase", ""]);
    for offer in [
        "typed.example",
        "https://typed.example:8443",
        "http://plain.example",
        &url,
    ] {
        assert!(all.contains(&offer.to_owned()), "{offer}: {all:?}");
    }
    let typed = desk.bash(&["wit", "token", "print", "https://ty"]);
    assert_eq!(
        typed,
        ["https://typed.example", "https://typed.example:8443"]
    );
    assert_eq!(
        desk.bash(&["wit", "setup", "--host", "typ"]),
        ["typed.example"]
    );
    // There is no login to any other.
    let logins: Vec<String> = desk.bash(&["wit", "logout", ""]);
    assert!(
        logins.contains(&url) && !logins.contains(&"typed.example".to_owned()),
        "{logins:?}"
    );
}

#[test]
fn values_are_offered_for_scopes_stores_accounts_and_repositories() {
    let desk = Desk::new();
    desk.run(WIT, &["repo", "create", "hello"]);
    let offered = |words: &[&str]| desk.bash(words);
    assert_eq!(offered(&["wit", "token", "rev"]), ["revoke"], "no aliases");
    assert_eq!(
        offered(&["wit", "token", "rm", "lap"]),
        ["laptop"],
        "which are known"
    );
    assert!(!offered(&["wit", "token", ""]).contains(&"rm".to_owned()));
    assert_eq!(
        offered(&["wit", "token", "create", "--scopes", "repo:read,user:r"]),
        ["repo:read,user:read"]
    );
    assert_eq!(offered(&["wit", "store", "move", "fi"]), ["file"]);
    assert_eq!(
        offered(&["wit", "setup", "--store", "key"]),
        ["keychain", "keyutils"]
    );
    assert_eq!(offered(&["wit", "setup", "--host", "ht"]), [desk.url()]);
    assert_eq!(offered(&["wit", "logout", "--account", "a"]), ["ada"]);
    assert_eq!(offered(&["wit", "repo", "delete", "he"]), ["hello"]);
    assert_eq!(offered(&["wit", "help", "tok"]), ["token"]);
    assert!(
        offered(&["wit", "repo", "create", "he"])
            .iter()
            .all(|name| name != "hello")
    );
}

#[test]
fn fish_is_offered_them_with_what_they_are() {
    let desk = Desk::new();
    desk.script("fish", "wit.fish");
    let offered = |line: &str| {
        let script = format!("source $HOME/wit.fish; complete -C '{line}'");
        desk.run("fish", &["--no-config", "-c", &script])
    };
    assert!(offered("wit do").contains("doctor\tDiagnose problems"));
    assert!(offered("wit token revoke lap").starts_with("laptop\twit_"));
    assert!(offered("wit token revoke wit_").contains("\tmy CI $job"));
}

#[test]
fn powershell_is_answered_in_its_form() {
    let mut desk = Desk::new();
    let script = std::fs::read_to_string(desk.script("powershell", "wit.ps1")).expect("read");
    for part in [
        "Register-ArgumentCompleter -Native -CommandName wit ",
        "$env:WIT_COMPLETE = \"powershell\"",
        "& wit -- $args",
    ] {
        assert!(script.contains(part), "{part}: {script}");
    }
    desk.home.set("WIT_COMPLETE", "powershell");
    let answer = desk.run(WIT, &["--", "wit", "token", "revoke", "lap"]);
    assert!(answer.starts_with("laptop\twit_"), "{answer}");
}

#[test]
fn what_was_seen_is_private_and_holds_no_secret() {
    let desk = Desk::new();
    let secret = desk.run(WIT, &["token", "create", "third", "--print"]);
    let file = desk.home.path().join(".local/state/wit/completions.json");
    let known = std::fs::read_to_string(&file).expect("read");
    let secret = secret
        .split_whitespace()
        .find(|word| word.len() == 44)
        .expect("a token");
    assert!(
        known.contains("third") && !known.contains(&secret[8..20]),
        "{known}"
    );
    let mode = std::fs::metadata(&file)
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}
