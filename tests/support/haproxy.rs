//! Debian's HAProxy before servers of a test.

use std::net::TcpStream;
use std::process::Child;

use super::{Home, until};

/// A HAProxy, ended when dropped.
pub struct HaProxy {
    child: Child,
    pub address: String,
    _dir: tempfile::TempDir,
}

impl HaProxy {
    /// Passes requests on to the servers in turn, from an address of this machine's own, and tells them
    /// of the client. One that does not answer is passed over.
    pub fn start(home: &Home, source: &str, servers: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let port = wit::platform::address::free_port([127, 0, 0, 1].into()).expect("a port");
        let address = format!("127.0.0.1:{port}");
        let mut config = format!(
            "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n \
             option forwardfor\n retries 3\n option redispatch 1\n\
             frontend all\n bind {address}\n default_backend wit\n\
             backend wit\n source {source}\n option httpchk GET /health\n \
             http-check send hdr Host localhost\n default-server check inter 200 fall 2 rise 1\n"
        );
        for (number, server) in servers.iter().enumerate() {
            config += &format!(" server s{number} {server}\n");
        }
        let file = dir.path().join("haproxy.cfg");
        std::fs::write(&file, config).expect("written");
        let mut command = home.command("haproxy");
        // Debian has it where only root looks.
        command.env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/bin");
        command.arg("-db").arg("-f").arg(&file);
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null());
        let child = command.spawn().expect("haproxy; apt-get install haproxy");
        until("the proxy listens", || TcpStream::connect(&address).is_ok());
        HaProxy {
            child,
            address,
            _dir: dir,
        }
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
