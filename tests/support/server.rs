//! A server that answers just what a test tells it to: for what a good one never says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use super::tls::Certificate;

/// What is answered to a request, given as its head and its body. `None` closes the connection
/// without a word.
type Answers = dyn Fn(&str, &str) -> Option<String> + Send + Sync;

pub struct Server {
    pub url: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Listens on a free port until the test's process ends. `answers` gets the first line, such as
    /// `GET /x HTTP/1.1`, and the body of each request. It is recognized as a wit server, and where it
    /// does not tell whose a session is, it is `ada`'s.
    pub fn new(answers: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::start(None, Box::new(by_first_line(answers)))
    }

    /// The same, with TLS.
    pub fn tls(
        certificate: &Certificate,
        answers: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(certificate.server()), Box::new(by_first_line(answers)))
    }

    /// The same as [`Server::new`], but `answers` gets the whole head.
    pub fn reading(answers: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self::start(None, Box::new(answers))
    }

    /// [`Server::reading`] with TLS.
    pub fn reading_tls(
        certificate: &Certificate,
        answers: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self::start(Some(certificate.server()), Box::new(answers))
    }

    fn start(tls: Option<Arc<rustls::ServerConfig>>, answers: Box<Answers>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One that the client gives up on is no failure of the test.
                let _ = match &tls {
                    None => serve(stream, &answers, &record),
                    Some(tls) => {
                        let tls = rustls::ServerConnection::new(Arc::clone(tls));
                        let tls = tls.expect("a connection");
                        serve(rustls::StreamOwned::new(tls, stream), &answers, &record)
                    }
                };
            }
        });
        Server { url, seen }
    }

    /// Where it listens, such as `127.0.0.1:4711`.
    pub fn address(&self) -> &str {
        let (_, address) = self.url.split_once("://").expect("a URL");
        address
    }

    /// All requests so far, with their headers and bodies.
    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no panic in the server").clone()
    }
}

fn by_first_line(
    answers: impl Fn(&str, &str) -> Option<String>,
) -> impl Fn(&str, &str) -> Option<String> {
    move |head, body| {
        let first = head.lines().next().unwrap_or_default();
        let asks_what_it_is = first.starts_with("GET ") && first.contains("/api/v1/user ");
        if asks_what_it_is && !head.to_lowercase().contains("\nauthorization:") {
            return answer(401, r#"{"message":"Requires authentication"}"#);
        }
        let told = answers(first, body);
        let is_whose = first.starts_with("GET ") && first.contains("/api/v1/profile ");
        let tells = told.as_ref().is_some_and(|told| told.contains("username"));
        match is_whose && !tells {
            true => answer(200, r#"{"username":"ada","email":"ada@example.com"}"#),
            false => told,
        }
    }
}

fn serve(
    mut stream: impl Read + Write,
    answers: &Answers,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let Some((head, body)) = read(&mut stream)? else {
        return Ok(());
    };
    seen.lock()
        .expect("no panic in the server")
        .push(format!("{head}{body}"));
    if let Some(answer) = answers(&head, &body) {
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// The head and the body of a request; `None` where the client has nothing more to ask.
pub fn read(stream: impl Read) -> std::io::Result<Option<(String, String)>> {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    let mut length = 0;
    while !head.ends_with("\r\n\r\n") {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((head, String::from_utf8_lossy(&body).into_owned())))
}

/// A whole answer with a JSON body.
pub fn answer(status: u16, body: &str) -> Option<String> {
    with_header(status, "Content-Type: application/json", body)
}

pub fn with_header(status: u16, header: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!(
        "HTTP/1.1 {status} Told\r\nConnection: close\r\n{header}\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}
