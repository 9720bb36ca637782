//! The way to a database in direct mode, and what is said where there is none.

use crate::support::postgres::{MADE_BY_THE_PLATFORM, Postgres};
use crate::support::tls::{Certificate, LOOPBACK};
use crate::support::{Home, WIT, done, refused};

#[test]
fn a_database_is_spoken_to_by_tls_where_its_url_asks() {
    let mut home = Home::new();
    let certificate = Certificate::new(&home, "tls", LOOPBACK);
    let (postgres, url) = Postgres::start_tls(&certificate.file, &certificate.key);
    postgres.sql(MADE_BY_THE_PLATFORM);
    home.set("WIT_USER_ID", "theirs");
    let list = |home: &Home| home.run(WIT, &["token", "list"], "");
    let verified = format!(
        "{url}?sslmode=verify-full&sslrootcert={}",
        certificate.path()
    );
    for asks in [verified, format!("{url}?sslmode=require")] {
        home.set("DATABASE_URL", asks);
        assert!(done(&list(&home)).contains("wit_0123...  old"));
    }
    home.set("DATABASE_URL", format!("{url}?sslmode=verify-full"));
    let said = refused(&list(&home), 1);
    assert!(said.contains("certificate"), "{said}");
    // This server takes nothing else than TLS.
    home.set("DATABASE_URL", format!("{url}?sslmode=disable"));
    let said = refused(&list(&home), 1);
    assert!(said.contains("no encryption"), "{said}");
}

#[test]
fn a_line_break_in_the_url_leads_to_no_other_host() {
    let mut home = Home::new();
    home.set("WIT_USER_ID", "u");
    home.set(
        "DATABASE_URL",
        "postgres://u:secret@127.0.0.1\n.evil.invalid:1/x",
    );
    let said = refused(&home.run(WIT, &["token", "list"], ""), 1);
    assert!(said.contains("there is a line break in it"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn a_database_that_is_not_the_platforms_is_left_as_it_is() {
    let mut home = Home::new();
    let file = home.path().join("other.db");
    std::fs::write(&file, "").expect("written");
    home.set("WIT_USER_ID", "u");
    home.set("DATABASE_URL", format!("sqlite:{}", file.display()));
    let said = refused(&home.run(WIT, &["token", "list"], ""), 1);
    assert!(
        said.contains("is not the database of a wit server"),
        "{said}"
    );
    assert_eq!(std::fs::read(&file).expect("there"), b"", "it made tables");
    home.set("DATABASE_URL", "sqlite:missing.db");
    let said = refused(&home.run(WIT, &["token", "list"], ""), 1);
    assert!(said.contains("there is no such file"), "{said}");
    home.set("DATABASE_URL", "postgres://u:hunter2@127.0.0.1:1/wit");
    let said = refused(&home.run(WIT, &["token", "list"], ""), 1);
    assert!(said.contains("Connection refused"), "{said}");
    assert!(
        !said.contains("hunter2") && said.contains("hint: is DATABASE_URL right"),
        "{said}"
    );
}

#[test]
fn without_its_variables_a_server_worked_on_in_its_database_says_what_is_missing() {
    let home = Home::new();
    let login = ["login", "https://wit.test", "--api", "database"];
    let said = refused(&home.run(WIT, &login, ""), 4);
    assert!(said.contains("hint: DATABASE_URL=postgres://"), "{said}");
}
