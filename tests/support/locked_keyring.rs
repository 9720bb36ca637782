//! A Secret Service whose one item is locked until a person has answered a prompt: GNOME Keyring
//! shows its prompts through the desktop's shell only. Sections are of the Secret Service API 0.2.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aes::Aes128;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockEncryptMut, KeyIvInit};
use rustbus::connection::Timeout;
use rustbus::message_builder::{MarshalledMessage, MessageBuilder};
use rustbus::wire::ObjectPath;
use rustbus::wire::unmarshal::traits::Variant;
use rustbus::{DuplexConn, MessageType, get_session_bus_path, standard_messages};

type Path = ObjectPath<String>;

const ITEM: &str = "/org/freedesktop/secrets/collection/login/1";
const COLLECTION: &str = "/org/freedesktop/secrets/collection/login";
const PROMPT: &str = "/org/freedesktop/secrets/prompt/1";

/// What the person does with the prompt.
#[derive(Clone, Copy)]
pub enum Answer {
    Unlock,
    Dismiss,
    /// Nothing is locked. Another program erases the item once it has been found.
    Erase,
}

/// Serves on this process's session bus until that ends. Each member that was called is noted.
pub fn serve(secret: &'static str, answer: Answer) -> Arc<Mutex<Vec<String>>> {
    let address = get_session_bus_path().expect("a session");
    let mut bus = DuplexConn::connect_to_bus(address, false).expect("the session's bus");
    bus.send_hello(Timeout::Infinite).expect("a name");
    let own = standard_messages::request_name("org.freedesktop.secrets", 0);
    bus.send.send_message_write_all(&own).expect("a request");
    bus.recv
        .get_next_message(Timeout::Infinite)
        .expect("the name");
    let called = Arc::new(Mutex::new(Vec::new()));
    let notes = Arc::clone(&called);
    std::thread::spawn(move || {
        let mut service = Service {
            secret,
            answer,
            locked: !matches!(answer, Answer::Erase),
            found: 0,
            key: [0; 16],
        };
        while let Ok(call) = bus.recv.get_next_message(Timeout::Infinite) {
            if call.typ != MessageType::Call {
                continue;
            }
            let member = call.dynheader.member.clone().unwrap_or_default();
            notes.lock().expect("no panic here").push(member.clone());
            if !service.serve(&mut bus, &call, &member) {
                break;
            }
        }
    });
    called
}

struct Service {
    secret: &'static str,
    answer: Answer,
    locked: bool,
    /// How often the item has been found.
    found: usize,
    key: [u8; 16],
}

impl Service {
    /// False once the bus is gone.
    fn serve(&mut self, bus: &mut DuplexConn, call: &MarshalledMessage, member: &str) -> bool {
        let mut reply = call.dynheader.make_response();
        let path = |text: &str| Path::new(text.to_owned()).expect("a path");
        let none = Vec::<Path>::new;
        let items = vec![path(ITEM)];
        let mut completed = None;
        match member {
            "OpenSession" => {
                let (_, theirs) = call.body.parser().get2::<&str, Variant>().expect("(sv)");
                self.agree(theirs.get::<&[u8]>().expect("ay"));
                // With the exponent 1 our half is the generator itself.
                reply.body.push_variant(&[2_u8][..]).expect("a variant");
                reply.body.push_param(path("/session")).expect("a path");
            }
            "SearchItems" => {
                let erased = matches!(self.answer, Answer::Erase);
                let (open, locked) = match self.locked {
                    true => (none(), items),
                    false if erased && self.found > 0 => (none(), none()),
                    false => (items, none()),
                };
                self.found += 1;
                reply.body.push_param2(open, locked).expect("two lists");
            }
            "Unlock" => reply
                .body
                .push_param2(none(), path(PROMPT))
                .expect("a prompt"),
            "Prompt" => {
                let dismissed = matches!(self.answer, Answer::Dismiss);
                self.locked = dismissed;
                let interface = "org.freedesktop.Secret.Prompt";
                let mut signal = MessageBuilder::new()
                    .signal(interface, "Completed", PROMPT)
                    .build();
                signal.body.push_param(dismissed).expect("a truth");
                signal.body.push_variant("").expect("a variant");
                completed = Some(signal);
            }
            "GetSecrets" => {
                let secret = (
                    path("/session"),
                    vec![0_u8; 16],
                    self.encrypted(),
                    String::new(),
                );
                let mut secrets = HashMap::from([(path(ITEM), secret)]);
                if matches!(self.answer, Answer::Erase) {
                    secrets.clear();
                }
                reply.body.push_param(secrets).expect("secrets");
            }
            "ReadAlias" => reply.body.push_param(path(COLLECTION)).expect("a path"),
            "Get" => reply.body.push_variant(self.locked).expect("a variant"),
            _ => {}
        }
        let mut messages = vec![reply];
        messages.extend(completed);
        (messages.iter()).all(|message| bus.send.send_message_write_all(message).is_ok())
    }

    /// Section "Transfer of Secrets": what both have is the other's half, to the power of 1.
    fn agree(&mut self, theirs: &[u8]) {
        let mut shared = [0; 128];
        shared[128 - theirs.len()..].copy_from_slice(theirs);
        hkdf::Hkdf::<sha2::Sha256>::new(None, &shared)
            .expand(&[], &mut self.key)
            .expect("16 bytes");
    }

    fn encrypted(&self) -> Vec<u8> {
        cbc::Encryptor::<Aes128>::new(&self.key.into(), &[0; 16].into())
            .encrypt_padded_vec_mut::<Pkcs7>(self.secret.as_bytes())
    }
}
