//! A netrc(5) file.
//!
//! Words, quotes and comments are those of Python's `netrc` and git-credential-netrc; `\n`, `\r` and
//! `\t` in quotes, keys in either case and a macro's end are curl's, by which git itself reads the file.
//! `port` and `protocol` are those of git-credential-netrc. Where the readers disagree about a value,
//! its entry is skipped.

use zeroize::Zeroizing;

use super::{Findings, Skipped};
use crate::credential::Description;
use crate::secret::Secret;

const UNCLOSED: &str = "a quote is not closed on its line";
const AFTER_QUOTE: &str = "there is text directly after a closing quote";
const BACKSLASH: &str = "a backslash at the end of a line";
const NO_VALUE: &str = "a keyword without a value";
const REPEATED: &str = "more than one value for the same keyword";
const TWO_PORTS: &str = "more than one port or protocol";
const UNKNOWN: &str = "a word that is no keyword";
const DEFAULT: &str = "a default for every host";
const MACRO: &str = "a macro";
const ENDLESS_MACRO: &str = "a macro that no empty line ends; the rest of the file was not read";

/// Reads the file's content. A machine without a protocol is taken for https.
pub fn read(name: &str, text: &[u8], findings: &mut Findings) {
    let mut words = Words {
        text,
        at: 0,
        line: 1,
    };
    let mut reader = Reader {
        name,
        findings,
        entry: None,
    };
    while let Some(word) = words.keyword() {
        match Keyword::of(&word) {
            Some(Keyword::Machine) => {
                reader.finish();
                let mut entry = Entry::new(word.line);
                entry.set(Keyword::Machine, words.value(word.line));
                reader.entry = Some(entry);
            }
            Some(Keyword::Default) => {
                reader.finish();
                let mut entry = Entry::new(word.line);
                entry.fail(DEFAULT);
                reader.entry = Some(entry);
            }
            Some(Keyword::Macro) => {
                reader.finish();
                let why = match words.skip_macro() {
                    true => MACRO,
                    false => ENDLESS_MACRO,
                };
                reader.skip(word.line, why);
            }
            Some(keyword) => {
                let value = words.value(word.line);
                match &mut reader.entry {
                    Some(entry) => entry.set(keyword, value),
                    None => reader.skip(word.line, "a keyword outside of an entry"),
                }
            }
            None => reader.skip(word.line, UNKNOWN),
        }
    }
    reader.finish();
}

struct Reader<'a> {
    name: &'a str,
    findings: &'a mut Findings,
    entry: Option<Entry>,
}

impl Reader<'_> {
    fn place(&self, line: usize) -> String {
        format!("{}, line {line}", self.name)
    }

    /// Names a line once for each reason.
    fn skip(&mut self, line: usize, why: &'static str) {
        let place = self.place(line);
        let new = Skipped::new(place, why);
        if self.findings.skipped.last() != Some(&new) {
            self.findings.skipped.push(new);
        }
    }

    fn finish(&mut self) {
        let Some(entry) = self.entry.take() else {
            return;
        };
        let line = entry.line;
        match entry.description() {
            Ok(said) => self.findings.add(self.place(line), &said),
            Err(why) => self.skip(line, why),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keyword {
    Machine,
    Default,
    Macro,
    Login,
    Password,
    Account,
    Protocol,
    Port,
}

impl Keyword {
    fn of(word: &Word) -> Option<Self> {
        if word.is_quoted {
            return None;
        }
        let keywords: [(&str, Keyword); 10] = [
            ("machine", Keyword::Machine),
            ("default", Keyword::Default),
            ("macdef", Keyword::Macro),
            ("login", Keyword::Login),
            ("user", Keyword::Login),
            ("username", Keyword::Login),
            ("password", Keyword::Password),
            ("account", Keyword::Account),
            ("protocol", Keyword::Protocol),
            ("port", Keyword::Port),
        ];
        let said = |(name, _): &&(&str, Keyword)| word.text.eq_ignore_ascii_case(name.as_bytes());
        keywords.iter().find(said).map(|&(_, keyword)| keyword)
    }

    fn begins_entry(self) -> bool {
        matches!(self, Keyword::Machine | Keyword::Default | Keyword::Macro)
    }
}

struct Entry {
    line: usize,
    host: Option<Vec<u8>>,
    login: Option<Vec<u8>>,
    password: Option<Secret>,
    protocol: Option<Vec<u8>>,
    port: Option<Vec<u8>>,
    /// The first reason why it can't be taken.
    fault: Option<&'static str>,
}

impl Entry {
    fn new(line: usize) -> Self {
        Entry {
            line,
            host: None,
            login: None,
            password: None,
            protocol: None,
            port: None,
            fault: None,
        }
    }

    fn fail(&mut self, why: &'static str) {
        self.fault.get_or_insert(why);
    }

    fn set(&mut self, keyword: Keyword, value: Option<Word>) {
        let Some(value) = value else {
            return self.fail(NO_VALUE);
        };
        if let Some(why) = value.fault {
            self.fail(why);
        }
        let place = match keyword {
            Keyword::Password => {
                if self.password.replace(Secret::from(value.text)).is_some() {
                    self.fail(REPEATED);
                }
                return;
            }
            Keyword::Machine => &mut self.host,
            Keyword::Login => &mut self.login,
            Keyword::Protocol => &mut self.protocol,
            Keyword::Port => &mut self.port,
            // Git has no use for it.
            Keyword::Account | Keyword::Default | Keyword::Macro => return,
        };
        if place.replace(value.text.to_vec()).is_some() {
            self.fail(REPEATED);
        }
    }

    /// Request and answer of git for this entry, or the reason why there is none.
    fn description(self) -> Result<Description, &'static str> {
        if let Some(why) = self.fault {
            return Err(why);
        }
        let mut host = self.host.ok_or(NO_VALUE)?;
        let mut protocol = self.protocol;
        match self.port {
            Some(port) if port.iter().all(u8::is_ascii_digit) => {
                let number = std::str::from_utf8(&port).ok();
                let number = number.and_then(|digits| digits.parse::<u16>().ok());
                let number = number.ok_or("a port that is no number up to 65535")?;
                let end = format!(":{number}").into_bytes();
                if !host.ends_with(&end) {
                    if has_port(&host) {
                        return Err(TWO_PORTS);
                    }
                    host.extend(end);
                }
            }
            // Emacs's form, which git-credential-netrc takes over: `port https`.
            Some(named) => {
                if protocol.is_some_and(|protocol| !protocol.eq_ignore_ascii_case(&named)) {
                    return Err(TWO_PORTS);
                }
                protocol = Some(named);
            }
            None => {}
        }
        Ok(Description {
            protocol: Some(protocol.unwrap_or_else(|| b"https".to_vec())),
            host: Some(host),
            username: self.login,
            password: self.password,
            ..Description::default()
        })
    }
}

/// True for a host that ends in a port; the colons of an IPv6 address stand within brackets.
fn has_port(host: &[u8]) -> bool {
    let end = host.iter().rposition(|byte| !byte.is_ascii_digit());
    end.is_some_and(|at| host[at] == b':')
}

struct Word {
    line: usize,
    text: Zeroizing<Vec<u8>>,
    is_quoted: bool,
    /// Why it can't be taken for a value.
    fault: Option<&'static str>,
}

/// The words between white space. None goes on on another line.
#[derive(Clone, Copy)]
struct Words<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

impl Words<'_> {
    /// The next word that is no comment: one begins with a `#` where a keyword may stand.
    fn keyword(&mut self) -> Option<Word> {
        loop {
            self.skip_space();
            match self.text.get(self.at)? {
                b'#' => {
                    self.skip_line();
                }
                _ => return self.word(),
            }
        }
    }

    /// The value of a keyword; none where the file ends, or where another entry begins on a later
    /// line.
    fn value(&mut self, line: usize) -> Option<Word> {
        let mut ahead = *self;
        ahead.skip_space();
        let word = ahead.word()?;
        let begins_entry = Keyword::of(&word).is_some_and(Keyword::begins_entry);
        if begins_entry && word.line != line {
            return None;
        }
        *self = ahead;
        Some(word)
    }

    fn skip_space(&mut self) {
        while let Some(&byte) = self.text.get(self.at).filter(|&&byte| is_space(byte)) {
            self.line += usize::from(byte == b'\n');
            self.at += 1;
        }
    }

    /// Goes to the end of this line, and returns whether there is white space alone up to it.
    fn skip_line(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n');
        self.at += length.unwrap_or(rest.len());
        rest[..length.unwrap_or(rest.len())]
            .iter()
            .all(|&byte| is_space(byte))
    }

    /// True where an empty line ended the macro; one of white space alone is empty, as for curl.
    fn skip_macro(&mut self) -> bool {
        self.skip_line();
        while self.at < self.text.len() {
            // Past the end of the line before.
            self.at += 1;
            self.line += 1;
            let is_whole = self.text[self.at..].contains(&b'\n');
            if self.skip_line() {
                return is_whole;
            }
        }
        false
    }

    /// The word that begins here.
    fn word(&mut self) -> Option<Word> {
        let rest = self.text.get(self.at..).filter(|rest| !rest.is_empty())?;
        let (text, length, fault) = match rest.strip_prefix(b"\"") {
            Some(quoted) => {
                let (text, length, fault) = unquote(quoted);
                (text, length + 1, fault)
            }
            None => unescape(rest),
        };
        self.at += length;
        Some(Word {
            line: self.line,
            text,
            is_quoted: rest.starts_with(b"\""),
            fault,
        })
    }
}

type Taken = (Zeroizing<Vec<u8>>, usize, Option<&'static str>);

/// The text before the closing quote, and the length with that.
fn unquote(text: &[u8]) -> Taken {
    let mut length = 0;
    let closed = loop {
        match text.get(length) {
            None | Some(b'\n') => break false,
            Some(b'"') => break true,
            Some(b'\\') if text.get(length + 1).is_some_and(|&byte| byte != b'\n') => length += 2,
            Some(_) => length += 1,
        }
    };
    // A word never outgrows its text: growing would leave unwiped copies behind.
    let mut word = Zeroizing::new(Vec::with_capacity(length));
    let mut bytes = text[..length].iter();
    while let Some(&byte) = bytes.next() {
        let escaped = (byte == b'\\').then(|| bytes.next()).flatten();
        word.push(match escaped {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(&other) => other,
            None => byte,
        });
    }
    if !closed {
        return (word, length, Some(UNCLOSED));
    }
    let more = text.get(length + 1).is_some_and(|&byte| !is_space(byte));
    (word, length + 1, more.then_some(AFTER_QUOTE))
}

/// The word up to the next white space that no backslash stands before.
fn unescape(text: &[u8]) -> Taken {
    let mut length = 0;
    let mut fault = None;
    while let Some(&byte) = text.get(length).filter(|&&byte| !is_space(byte)) {
        length += 1;
        if byte == b'\\' {
            match text.get(length) {
                None | Some(b'\r' | b'\n') => fault = Some(BACKSLASH),
                Some(_) => length += 1,
            }
        }
    }
    let mut word = Zeroizing::new(Vec::with_capacity(length));
    let mut bytes = text[..length].iter();
    while let Some(&byte) = bytes.next() {
        let escaped = (byte == b'\\').then(|| bytes.next()).flatten();
        word.push(*escaped.unwrap_or(&byte));
    }
    (word, length, fault)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::credential::AuthData;

    /// `site username password` of each entry, and the lines that were skipped.
    fn outcome(text: &[u8]) -> (Vec<String>, Vec<usize>) {
        let mut findings = Findings::default();
        read("netrc", text, &mut findings);
        let found = findings.found.iter().map(|found| {
            let AuthData::Password(password) = &found.credential.auth else {
                panic!("a netrc has passwords alone");
            };
            let username = found.credential.username.clone().expect("a username");
            let words = [&username, password.expose()].map(String::from_utf8_lossy);
            format!("{} {}", found.site, words.join(" "))
        });
        let line = |skipped: &Skipped| {
            let number = skipped.place.rsplit(' ').next().expect("a number");
            number.parse().expect("a number")
        };
        (found.collect(), findings.skipped.iter().map(line).collect())
    }

    #[track_caller]
    fn assert_reads(text: &str, found: &[&str], skipped: &[usize]) {
        let (all, lines) = outcome(text.as_bytes());
        assert_eq!(all, found, "{text:?}");
        assert_eq!(lines, skipped, "{text:?}");
    }

    /// The cases of CPython's test_netrc.py that have a login and a password.
    #[test]
    fn pythons_own_cases_are_read_as_python_reads_them() {
        let host = |login: &str, account: &str, password: &str| {
            format!("machine h.example login {login} password {password} account {account}\n")
        };
        for (login, account, password, read) in [
            (r#""log""#, "acct", "pass", "log pass"),
            ("log", r#""acct""#, "pass", "log pass"),
            ("log", "acct", r#""pass""#, "log pass"),
            (r#"\"log"#, "acct", "pass", "\"log pass"),
            (r#""\"log""#, "acct", "pass", "\"log pass"),
            ("log", r#"\"acct"#, "pass", "log pass"),
            ("log", r#""\"acct""#, "pass", "log pass"),
            ("log", "acct", r#"\"pass"#, "log \"pass"),
            ("log", "acct", r#""\"pass""#, "log \"pass"),
            (r#""lo g""#, "acct", "pass", "lo g pass"),
            ("log", r#""acc t""#, "pass", "log pass"),
            ("log", "acct", r#""pas s""#, "log pas s"),
            ("\u{a1}\u{a2}", "acct", "pass", "\u{a1}\u{a2} pass"),
            ("log", "acct", "\u{a1}\u{a2}", "log \u{a1}\u{a2}"),
            ("#log", "acct", "pass", "#log pass"),
            ("log", "#acct", "pass", "log pass"),
            ("log", "acct", "#pass", "log #pass"),
            ("log#", "acct#", "pass#", "log# pass#"),
            ("lo#g", "ac#ct", "pa#ss", "lo#g pa#ss"),
        ] {
            let read = format!("https://h.example {read}");
            assert_reads(&host(login, account, password), &[&read], &[]);
        }
        let both = [
            "https://foo.example bar pass",
            "https://bar.example foo pass",
        ];
        let (foo, bar) = (
            "machine foo.example login bar password pass",
            "machine bar.example login foo password pass\n",
        );
        for comment in ["# comment", "#comment", "#"] {
            assert_reads(&format!("{comment}\n{foo}\n{bar}"), &both, &[]);
            assert_reads(&format!("{foo}\n{comment}\n{bar}"), &both, &[]);
            assert_reads(&format!("{foo}\n{bar}{comment}\n"), &both, &[]);
            assert_reads(&format!("{foo} {comment}\n{bar}"), &both, &[]);
        }
        let hashes = "machine foo.example login bar password #pass #comment\n";
        assert_reads(
            &format!("{hashes}{bar}"),
            &["https://foo.example bar #pass", both[1]],
            &[],
        );
        let turned = "machine h.example password pass login log account acct\n";
        assert_reads(
            &format!("{turned}default login log2 password pass2 account acct2\n"),
            &["https://h.example log pass"],
            &[2],
        );
        assert_reads("macdef one\nl1\nl2\n\nmacdef two\nl3\nl4\n\n", &[], &[1, 5]);
        assert_reads("macdef one\nl1\nl2\n\nmacdef two\nl3\nl4\n", &[], &[1, 5]);
        for incomplete in [
            "machine h.example",
            "machine h.example login",
            "machine h.example account",
            "machine h.example password",
            "machine h.example login \"\" password",
            "default login \"\" account",
        ] {
            assert_reads(incomplete, &[], &[1]);
        }
        for odd in [
            "invalid h.example",
            "machine h.example invalid",
            "default h.example invalid",
        ] {
            let (found, skipped) = outcome(odd.as_bytes());
            assert!(found.is_empty() && !skipped.is_empty(), "{odd}");
        }
    }

    #[test]
    fn a_word_that_is_no_keyword_is_skipped_alone() {
        assert_reads(
            "machine a.example nonsense login ada password one trailing\n",
            &["https://a.example ada one"],
            &[1],
        );
        assert_reads(
            "ada one\nmachine a.example login ada password two words\n",
            &["https://a.example ada two"],
            &[1, 2],
        );
        assert_reads("login ada password one\n", &[], &[1]);
    }

    #[test]
    fn a_macro_ends_with_an_empty_line_of_any_kind() {
        let after = ["https://a.example ada one"];
        for blank in ["\n", "\r\n", " \t\n"] {
            for macro_text in [
                "macdef init\nmachine x login y password z\n",
                "macdef init\n",
            ] {
                let entry = "machine a.example login ada password one\n";
                assert_reads(&format!("{macro_text}{blank}{entry}"), &after, &[1]);
            }
        }
    }

    #[test]
    fn a_port_is_a_number_or_the_protocol() {
        for (port, site) in [
            ("port 8443", "https://a.example:8443"),
            ("port 0443 protocol http", "http://a.example:443"),
            ("port https", "https://a.example"),
            ("port HTTP", "http://a.example"),
            ("port https protocol https", "https://a.example"),
            ("protocol smtp port 25", "smtp://a.example:25"),
        ] {
            let text = format!("machine a.example {port} login ada password one");
            assert_reads(&text, &[&format!("{site} ada one")], &[]);
        }
        for port in [
            "port 65536",
            "port https protocol http",
            "port a/b",
            "port \"\"",
        ] {
            let text = format!("machine a.example {port} login ada password one");
            assert_reads(&text, &[], &[1]);
        }
        let named = "machine [::1]:8443 port 8443 login ada password one";
        assert_reads(named, &["https://[::1]:8443 ada one"], &[]);
        assert_reads("machine a:1 port 2 login ada password one", &[], &[1]);
    }

    #[test]
    fn a_value_that_readers_disagree_about_or_git_can_not_be_given_is_skipped() {
        for entry in [
            r#"machine a.example login ada password "one"#,
            r#"machine a.example login ada password "one"two"#,
            r#"machine a.example login ada password "one\ntwo""#,
            r#"machine a.example login ada password "one\rtwo""#,
            r#"machine a.example login "ada\n" password one"#,
            "machine a.example login ada password one\\",
            "machine a.example login ada password one\0two",
            "machine a.example login ada password one password two",
            "machine a.example login ada login bob password one",
            "machine a.example/path login ada password one",
            "machine a.example login\n",
        ] {
            let (found, skipped) =
                outcome(format!("{entry}\nmachine b.example login b password two").as_bytes());
            assert_eq!(found, ["https://b.example b two"], "{entry}");
            assert_eq!(skipped[0], 1, "{entry}");
        }
    }

    #[test]
    fn keywords_are_known_in_either_case_and_never_in_quotes() {
        assert_reads(
            "Machine a.example LOGIN ada PassWord one",
            &["https://a.example ada one"],
            &[],
        );
        assert_reads(
            "machine a.example login ada password one \"machine\" \"password\"\n",
            &["https://a.example ada one"],
            &[1],
        );
        assert_reads(
            "machine a.example\nlogin\n  ada\npassword\n  machine\n",
            &[],
            &[1, 5],
        );
    }

    #[test]
    fn of_two_entries_for_one_name_the_second_is_told_where_it_differs() {
        let entry = "machine a.example login ada password";
        assert_reads(
            &format!("{entry} one\n{entry} two\n{entry} one\n"),
            &["https://a.example ada one"],
            &[2],
        );
    }

    /// A value as it may be written, and what it is.
    fn value() -> impl Strategy<Value = (String, String)> {
        let plain = "[!-~&&[^\"\\\\]][!-~&&[^\\\\]]{0,12}";
        let quoted = "[ -~]{0,12}".prop_map(|text| {
            let inside = text.replace('\\', "\\\\").replace('"', "\\\"");
            (format!("\"{inside}\""), text)
        });
        let escaped = "[ -~]{1,12}".prop_map(|text| {
            let all: String = text.chars().flat_map(|c| ['\\', c]).collect();
            (all, text)
        });
        prop_oneof![plain.prop_map(|text| (text.clone(), text)), quoted, escaped]
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
            outcome(&text);
        }

        #[test]
        fn no_words_make_it_panic(
            text in "(machine |default |macdef |login |password |port |[a#\"\\\\\r]|\n| ){0,60}"
        ) {
            outcome(text.as_bytes());
        }

        #[test]
        fn each_password_is_taken_with_its_own_entry(
            entries in prop::collection::vec((value(), value(), "[ \t]{1,2}|\n|\r\n  "), 0..12),
            between in "(\n# [ -~]{0,20}|\nmacdef m\nmachine x password [a-z]{1,9}\n)?",
        ) {
            let mut text = String::new();
            let mut wanted = Vec::new();
            for (number, ((login, login_is), (password, password_is), space)) in
                entries.iter().enumerate()
            {
                text += &format!(
                    "machine h{number}{space}login {login}{space}password {password}{between}\n"
                );
                wanted.push(format!("https://h{number} {login_is} {password_is}"));
            }
            let (found, skipped) = outcome(text.as_bytes());
            prop_assert_eq!(found, wanted, "{}", text);
            let macros = text.matches("macdef").count();
            prop_assert_eq!(skipped.len(), macros, "{}", text);
        }
    }
}
