//! What the commands print, word for word as it is documented.

use crate::support::machine::Machine;
use crate::support::server::{Server, answer};
use crate::support::{Home, WIT, done, refused, text};
use serde_json::{Value, json};
use snapbox::{assert_data_eq, str};

const SESSION: &str = "q8Zr2bXw7LkPn4VtY1sDf6GhJ3mC9aEu";
const MADE: &str = r#"{"id":"abc12345-e69e-4554-a79f-6e9a48029c82","name":"CI Token",
    "token":"wit_a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8a9b0","tokenPrefix":"wit_a1b2",
    "scopes":["repo:read","repo:write"],"expiresAt":"2999-04-15T00:00:00Z",
    "createdAt":"2024-03-16T00:00:00Z"}"#;
const LISTED: &str = r#"[
    {"id":"def67890-e69e-4554-a79f-6e9a48029c82","name":"Old Deploy Key","tokenPrefix":"wit_c3d4",
     "scopes":["repo:read"],"lastUsedAt":null,"expiresAt":"2024-03-01T00:00:00Z",
     "createdAt":"2024-01-01T00:00:00Z"},
    {"id":"abc12345-e69e-4554-a79f-6e9a48029c82","name":"CI Token","tokenPrefix":"wit_a1b2",
     "scopes":["repo:read","repo:write"],"lastUsedAt":"2999-01-01T00:00:00Z",
     "expiresAt":"2999-04-15T00:00:00Z","createdAt":"2024-03-16T00:00:00Z"}]"#;

fn logged_in() -> (Server, Home) {
    let server = Server::new(|first, _| match first.trim_end_matches(" HTTP/1.1") {
        "GET /api/tokens" => answer(200, LISTED),
        "POST /api/tokens" => answer(201, MADE),
        "DELETE /api/tokens/def67890-e69e-4554-a79f-6e9a48029c82" => answer(204, ""),
        "GET /api/tokens/scopes" => answer(
            200,
            r#"[{"name":"repo:read","description":"Clone and pull repositories"},
                {"name":"repo:write","description":"Push to repositories"}]"#,
        ),
        _ => answer(404, "{}"),
    });
    let home = Home::new();
    let login = ["login", &server.url, "--username", "ada", "--session-stdin"];
    done(&home.run(WIT, &login, &format!("{SESSION}\n")));
    (server, home)
}

#[test]
fn create_list_scopes_and_revoke_are_as_documented() {
    let (_server, home) = logged_in();
    let said = |arguments: &[&str]| done(&home.run(WIT, arguments, ""));
    assert_data_eq!(
        said(&["token", "create", "CI Token", "--expires", "30"]),
        str![[r#"
Created personal access token

Token:

  wit_a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8a9b0

Make sure to copy your token now.
You will not be able to see it again!

Name:    CI Token
Scopes:  repo:read, repo:write
Expires: 2999-04-15

Use this token in the Authorization header:
  Authorization: Bearer wit_a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8a9b0

"#]]
    );
    assert_data_eq!(
        said(&["token", "list"]),
        str![[r#"
Personal Access Tokens (2)

wit_a1b2...  CI Token
  ID: abc12345  Scopes: repo:read, repo:write
  Last used: just now  •  Expires: Apr 15, 2999

wit_c3d4...  [EXPIRED] Old Deploy Key
  ID: def67890  Scopes: repo:read
  Never used  •  Expired: Mar 1, 2024

"#]]
    );
    assert_data_eq!(
        said(&["token", "scopes"]),
        str![[r#"
Available Token Scopes

repo:read
  Clone and pull repositories

repo:write
  Push to repositories

"#]]
    );
    assert_data_eq!(
        said(&["token", "prune", "--expired", "--dry-run"]),
        str![[r#"
Would revoke wit_c3d4...  Old Deploy Key

"#]]
    );
    assert_data_eq!(
        said(&["token", "revoke", "def6"]),
        str![[r#"
Revoked wit_c3d4...  Old Deploy Key

"#]]
    );
}

#[test]
fn an_audit_names_each_finding_with_what_mends_it() {
    let (_server, home) = logged_in();
    let output = home.run(WIT, &["token", "audit"], "");
    assert_eq!(output.status.code(), Some(3));
    assert_data_eq!(
        text(&output.stdout),
        str![[r#"
wit_c3d4...  Old Deploy Key
  expired on Mar 1, 2024 and still kept: wit token revoke def67890

"#]]
    );
}

#[test]
fn status_and_an_error_in_both_forms() {
    let (_server, home) = logged_in();
    assert_data_eq!(
        done(&home.run(WIT, &["status"], "")),
        str![[r#"
Secrets are kept in encrypted files in [..]/.local/share/wit/store.

http://127.0.0.1:[..]
  Logged in as ada

"#]]
    );
    let failed = |more: &[&str]| {
        let output = home.run(WIT, &[&["token", "revoke", "nobody"], more].concat(), "");
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    assert_data_eq!(
        failed(&[]),
        str![[r#"
error: no token matches 'nobody'
hint: wit token list

"#]]
    );
    assert_data_eq!(
        failed(&["--json"]),
        str![[r#"
{"error":{"exit":1,"hint":"wit token list","message":"no token matches 'nobody'"}}

"#]]
    );
}

#[test]
fn a_token_that_could_not_be_printed_is_named_with_the_command_that_revokes_it() {
    let machine = Machine::logged_in();
    for arguments in [&["one", "--quiet"][..], &["two"], &["three", "--json"]] {
        let words = arguments.join(" ");
        let script = format!("wit token create {words} >/dev/full");
        let said = refused(&machine.home.run("sh", &["-c", &script], ""), 5);
        let said = match said.starts_with('{') {
            true => {
                serde_json::from_str::<Value>(&said).expect("JSON")["error"]["hint"].to_string()
            }
            false => said,
        };
        let command = said.split("to revoke it: ").nth(1).expect("a command");
        let command = command.trim_end().trim_end_matches('"');
        done(&machine.home.run("sh", &["-c", command], ""));
    }
    assert_eq!(machine.json(&["token", "list"]), json!([]));
}

#[test]
fn a_token_for_git_is_said_to_be_used_where_git_asks_for_it() {
    let machine = Machine::logged_in();
    let create = ["token", "create"];
    let said = done(&machine.wit(&create));
    assert!(
        said.contains("Git does not ask for it there yet: wit setup"),
        "{said}"
    );
    done(&machine.wit(&["setup"]));
    let said = done(&machine.wit(&create));
    assert!(said.contains("Git on this machine uses it for"), "{said}");
}
