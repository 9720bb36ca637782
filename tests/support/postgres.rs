//! A PostgreSQL of the test's own: in a throwaway directory, on a socket in it, stopped at the end.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What the platform itself makes of an account, down to the missing index.
pub const MADE_BY_THE_PLATFORM: &str = r#"
CREATE TABLE "user" (
    id text PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE,
    email_verified boolean NOT NULL DEFAULT false, image text,
    created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL DEFAULT now(),
    username text UNIQUE, display_username text, bio text, location text, website text,
    avatar_url text, role text NOT NULL DEFAULT 'user', suspended boolean NOT NULL DEFAULT false,
    suspended_at timestamp, suspended_reason text);
CREATE TABLE personal_access_tokens (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    name text NOT NULL, token_hash text NOT NULL, token_prefix text NOT NULL, scopes text NOT NULL,
    last_used_at timestamptz, expires_at timestamptz, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE session (
    id text PRIMARY KEY, expires_at timestamp NOT NULL, token text NOT NULL UNIQUE,
    created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL,
    ip_address text, user_agent text,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE);
CREATE INDEX "session_userId_idx" ON session (user_id);
CREATE TABLE account (
    id text PRIMARY KEY, account_id text NOT NULL, provider_id text NOT NULL,
    user_id text NOT NULL REFERENCES "user"(id) ON DELETE CASCADE,
    access_token text, refresh_token text, id_token text, scope text, password text,
    access_token_expires_at timestamp, refresh_token_expires_at timestamp,
    created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL);
CREATE INDEX "account_userId_idx" ON account (user_id);
INSERT INTO "user" (id, name, email, username) VALUES ('theirs', 'T', 't@example.com', 'theirs');
INSERT INTO personal_access_tokens (user_id, name, token_hash, token_prefix, scopes)
    VALUES ('theirs', 'old', encode(sha256('wit_0123456789012345678901234567890123456789'), 'hex'),
            'wit_0123', '["repo:read","repo:write"]');
"#;

pub struct Postgres {
    dir: tempfile::TempDir,
    port: u16,
}

impl Postgres {
    pub fn start() -> Self {
        let postgres = Self::made();
        postgres.up("-c listen_addresses=");
        postgres
    }

    /// One that takes TLS only, on 127.0.0.1; and its URL there.
    pub fn start_tls(certificate: &Path, key: &Path) -> (Self, String) {
        let mut postgres = Self::made();
        let data = postgres.dir.path().join("data");
        for (file, name) in [(certificate, "server.crt"), (key, "server.key")] {
            let copy = data.join(name);
            std::fs::copy(file, &copy).expect("copied");
            give_away(&copy);
        }
        let rules = "local all all trust\nhostssl all all 127.0.0.1/32 trust\n";
        std::fs::write(data.join("pg_hba.conf"), rules).expect("written");
        postgres.port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("a free port")
            .port();
        postgres.up("-c listen_addresses=127.0.0.1 -c ssl=on");
        let url = format!("postgres://wit@127.0.0.1:{}/postgres", postgres.port);
        (postgres, url)
    }

    fn made() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let postgres = Postgres { dir, port: 5432 };
        give_away(postgres.dir.path());
        postgres.run(
            "initdb",
            &["-U", "wit", "--auth=trust", "-E", "UTF8", "--no-sync"],
        );
        postgres
    }

    fn up(&self, more: &str) {
        let dir = self.dir.path().display();
        let options = format!("-k {dir} -c port={} -c fsync=off {more}", self.port);
        self.run(
            "pg_ctl",
            &["start", "-w", "-t", "60", "-l", "log", "-o", &options],
        );
    }

    /// Stops it; [`Postgres::start_again`] undoes that.
    pub fn stop(&self) {
        self.run("pg_ctl", &["stop", "-w", "-m", "immediate"]);
    }

    pub fn start_again(&self) {
        self.up("-c listen_addresses=");
    }

    pub fn url(&self) -> String {
        format!(
            "postgres://wit@localhost/postgres?host={}",
            self.dir.path().display()
        )
    }

    /// Runs SQL as the database's own client would; what it answers.
    pub fn sql(&self, statement: &str) -> String {
        let host = self.dir.path().display().to_string();
        let done = Command::new(program("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-U",
                "wit",
                "-h",
                &host,
                "-p",
                &self.port.to_string(),
            ])
            .args(["-d", "postgres", "-c", statement])
            .output()
            .expect("psql");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    fn run(&self, name: &str, arguments: &[&str]) {
        // PostgreSQL refuses to run as root.
        let mut command = match is_root() {
            true => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
                command.arg(program(name));
                command
            }
            false => Command::new(program(name)),
        };
        let done = command
            .args(arguments)
            .env("PGDATA", self.dir.path().join("data"))
            .current_dir(self.dir.path())
            .stdin(std::process::Stdio::null())
            // A server that inherited a pipe would keep its reader waiting.
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(done.success(), "{name} failed: {done}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.dir.path().join("data/postmaster.pid").exists() {
            self.stop();
        }
    }
}

/// To the user that PostgreSQL runs as.
fn give_away(path: &Path) {
    if is_root() {
        let given = Command::new("chown").arg("nobody").arg(path).status();
        assert!(given.expect("chown").success());
    }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Debian keeps the server's programs out of the path.
fn program(name: &str) -> PathBuf {
    let mut places: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| {
            versions
                .flatten()
                .map(|version| version.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    places.extend(std::env::split_paths(&path));
    (places.iter().map(|place| place.join(name)))
        .find(|file| Path::is_file(file))
        .unwrap_or_else(|| panic!("no {name}: apt-get install postgresql"))
}
