//! Times in SQLite, which compares them as text: their order is that of the texts, also where an older
//! server wrote them.

#![cfg(all(unix, feature = "platform"))]

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection, Row};

use crate::support::platform::Server;
use crate::support::{WIT, done};

/// Runs a statement in the database of a server; the texts of its rows' columns.
fn sql(server: &Server, statement: &str) -> Vec<Vec<Option<String>>> {
    let file = SqliteConnectOptions::new().filename(server.data_dir().join("wit.sqlite3"));
    let file = file.busy_timeout(Duration::from_secs(60));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let mut connection = SqliteConnection::connect_with(&file).await.expect("open");
        let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
        let rows = query.fetch_all(&mut connection).await.expect(statement);
        connection.close().await.expect("closed");
        let texts = |row: sqlx::sqlite::SqliteRow| (0..row.len()).map(|at| row.get(at)).collect();
        rows.into_iter().map(texts).collect()
    })
}

/// The columns of times with a zone.
fn columns(server: &Server) -> Vec<(String, String)> {
    let columns = sql(
        server,
        "SELECT t.name, c.name FROM sqlite_master t JOIN pragma_table_info(t.name) c
         WHERE t.type = 'table' AND c.type = 'datetime'
             AND t.name NOT IN ('user', 'session', 'account')",
    );
    let pair = |row: Vec<Option<String>>| {
        let [table, column] = row.try_into().expect("two columns");
        (table.expect("a table"), column.expect("a column"))
    };
    columns.into_iter().map(pair).collect()
}

/// Has every column of times written at least once.
fn write_all(server: &Server) {
    let session = server.sign_up("alice");
    let token = server.token(&session, &["repo:read", "repo:write"]);
    let secret = token["token"].as_str().expect("a secret");
    assert_eq!(server.bearing("GET", "/api/v1/user", secret).status, 200);
    server.repository(&session, "demo", true);
    server.work("work");
    let remote = server.remote("alice", secret, "/alice/demo.git");
    done(&server.git(&["-C", "work", "push", "-q", &remote, "main"]));
    // Uses are written a little later, and pushes.
    let deadline = Instant::now() + Duration::from_secs(60);
    let written = "SELECT '' FROM personal_access_tokens, wit_push WHERE last_used_at IS NOT NULL";
    while sql(server, written).is_empty() {
        assert!(Instant::now() < deadline, "no use was written down");
        std::thread::sleep(Duration::from_millis(50));
    }
    let replaced = server.post("/api/tokens/self/rotate", secret, json!({}));
    assert_eq!(replaced.status, 201, "{}", replaced.body);
    let ask = json!({ "client_id": "wit", "device_name": "laptop" });
    let codes = server.post("/api/auth/device/code", "", ask).json();
    let poll = json!({
        "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
        "client_id": "wit",
        "device_code": codes["device_code"],
    });
    let pending = server.post("/api/auth/device/token", "", poll);
    assert!(
        pending.body.contains("authorization_pending"),
        "{}",
        pending.body
    );
    let form = "name=x&scope=repo:read&expires=30";
    let created = server.visit("alice").post("/settings/tokens/new", form);
    assert_eq!(created.status, 303, "{}", created.body);
    done(&server.home.run(WIT, &["user", "invite"], ""));
}

/// Nine digits after the point, in UTC.
const FORM: &str = "????-??-??T??:??:??.?????????Z";

fn all_have_one_form(server: &Server) {
    for (table, column) in columns(server) {
        let all = format!("SELECT {column} FROM {table} WHERE {column} IS NOT NULL");
        assert!(!sql(server, &all).is_empty(), "{table}.{column}: not shown");
        let others = sql(server, &format!("{all} AND {column} NOT GLOB '{FORM}'"));
        assert!(others.is_empty(), "{table}.{column}: {others:?}");
    }
}

fn restart(server: &Server) {
    done(&server.home.run(WIT, &["down"], ""));
    let port = server.address.rsplit(':').next().expect("a port");
    done(&server.home.run(WIT, &["up", "--port", port], ""));
}

#[test]
fn every_time_is_written_in_one_width() {
    let server = Server::start();
    write_all(&server);
    all_have_one_form(&server);
}

#[test]
fn those_of_an_older_server_are_rewritten_at_the_next_start() {
    let server = Server::start();
    write_all(&server);
    for (table, column) in columns(&server) {
        sql(
            &server,
            &format!("UPDATE {table} SET {column} = '2026-11-26T10:00:00.1Z' WHERE {column} > ''"),
        );
    }
    restart(&server);
    all_have_one_form(&server);
}

#[test]
fn tokens_are_in_the_order_of_their_times_whoever_wrote_them() {
    /// From the oldest to the newest, as servers have written them and as people would.
    const TIMES: [(&str, &str); 8] = [
        ("2026-11-26T10:00:00Z", "2026-11-26T10:00:00.000000000Z"),
        ("2026-11-26 10:00:00.05", "2026-11-26T10:00:00.050000000Z"),
        ("2026-11-26T10:00:00.1Z", "2026-11-26T10:00:00.100000000Z"),
        (
            "2026-11-26T12:00:00.11+02:00",
            "2026-11-26T10:00:00.110000000Z",
        ),
        ("2026-11-26T10:00:00.120Z", "2026-11-26T10:00:00.120000000Z"),
        (
            "2026-11-26T10:00:00.12000001Z",
            "2026-11-26T10:00:00.120000010Z",
        ),
        ("2026-11-26T10:00:00.123Z", "2026-11-26T10:00:00.123000000Z"),
        ("2026-11-26T10:00:01Z", "2026-11-26T10:00:01.000000000Z"),
    ];
    let server = Server::start();
    let session = server.sign_up("alice");
    // Created in another order, so that neither their rows' nor their ids' is the right one.
    for turn in [5, 2, 7, 0, 4, 1, 6, 3] {
        let body = json!({ "name": format!("t{turn}"), "scopes": ["repo:read"] });
        assert_eq!(server.post("/api/tokens", &session, body).status, 201);
        let (written, _) = TIMES[turn];
        sql(
            &server,
            &format!(
                "UPDATE personal_access_tokens SET created_at = '{written}' WHERE name = 't{turn}'"
            ),
        );
    }
    let newest_first: Vec<String> = (0..TIMES.len())
        .rev()
        .map(|turn| format!("t{turn}"))
        .collect();
    let listed = || -> Vec<String> {
        let list = server.bearing("GET", "/api/tokens", &session).json();
        let name = |token: &Value| token["name"].as_str().expect("a name").to_owned();
        list.as_array().expect("a list").iter().map(name).collect()
    };
    assert_eq!(listed(), newest_first);
    restart(&server);
    assert_eq!(listed(), newest_first);
    // As SQLite compares them, wherever a statement of the server's does.
    let rows = sql(
        &server,
        "SELECT created_at FROM personal_access_tokens ORDER BY created_at",
    );
    let texts: Vec<&str> = rows.iter().filter_map(|row| row[0].as_deref()).collect();
    assert_eq!(texts, TIMES.map(|(_, rewritten)| rewritten));
}
