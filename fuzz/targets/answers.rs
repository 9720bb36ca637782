//! What a server answers, through the whole client: a hostile one must not make `wit` fall.
#![no_main]

use std::cell::OnceCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::Mutex;

use libfuzzer_sys::fuzz_target;
use wit::api::http::Client;
use wit::api::login::{self, Login};
use wit::api::rest::Rest;
use wit::api::server::ServerUrl;
use wit::api::trpc::Trpc;
use wit::api::{NewToken, TokenApi};
use wit::secret::Secret;

static ANSWER: Mutex<(u16, Vec<u8>)> = Mutex::new((200, Vec::new()));

thread_local! {
    static CLIENT: OnceCell<Rc<Client>> = const { OnceCell::new() };
}

/// The client of a server that says what `ANSWER` holds, whatever it is asked.
fn client() -> Rc<Client> {
    let start = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // One that the client gives up on is no failure.
                let _ = answer(stream);
            }
        });
        Rc::new(Client::new(&ServerUrl::parse(&url).unwrap(), false).unwrap())
    };
    CLIENT.with(|client| Rc::clone(client.get_or_init(start)))
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    reader.take(length).read_to_end(&mut Vec::new())?;
    let (status, body) = ANSWER.lock().unwrap().clone();
    let head = format!(
        "HTTP/1.1 {status} Told\r\nConnection: close\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(&body)
}

fuzz_target!(|bytes: &[u8]| {
    let [choice, body @ ..] = bytes else { return };
    let status = [200, 201, 204, 400, 401, 404][usize::from(choice / 16) % 6];
    *ANSWER.lock().unwrap() = (status, body.to_vec());
    let client = client();
    let session = Secret::new(b"session".to_vec());
    let rest = Rest::new(Rc::clone(&client), session.clone());
    let trpc = Trpc::new(Rc::clone(&client), session);
    let api: &dyn TokenApi = if choice % 2 == 0 { &rest } else { &trpc };
    let new = NewToken {
        name: "n".to_owned(),
        scopes: vec!["repo:read".to_owned()],
        repositories: Vec::new(),
        expires_in_days: Some(1),
        request_id: None,
        replaces: None,
    };
    let secret = Secret::new(b"secret".to_vec());
    // A message about any of it is shown to a person.
    let told = match choice / 2 % 8 {
        0 => api.list().map(drop),
        1 => api.create(&new).map(drop),
        2 => api.verify(&secret).map(drop),
        3 => api.scopes().map(drop),
        4 => api.revoke("1").map(drop),
        5 => login::sign_in(&client, &Login::Username("u".to_owned()), &secret).map(drop),
        6 => wit::api::device::ask(&client, "device").map(drop),
        _ => wit::api::self_token::describe(&client, &secret).map(drop),
    };
    if let Err(error) = told {
        let told = error.to_string();
        assert!(
            !told.chars().any(|c| c.is_control() && c != '\n'),
            "{told:?}"
        );
    }
});
