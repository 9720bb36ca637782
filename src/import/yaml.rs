//! The little of YAML that `gh` and `glab` write: mappings in blocks, with one scalar a line.

/// Value of a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A scalar, as it is in the text.
    Text(&'a str),
    /// The lines that are indented below it.
    Map(Map<'a>),
    /// Something else, such as a list or a text with escapes.
    Other,
}

/// The entries of a mapping, in their order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Map<'a>(pub Vec<(&'a str, Value<'a>)>);

impl<'a> Map<'a> {
    /// The scalar behind a key.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        match self.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The mapping behind a key.
    pub fn map(&self, key: &str) -> Option<&Map<'a>> {
        match self.get(key)? {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The value behind a key, of whatever form.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == key)?;
        Some(value)
    }
}

/// Reads a document. Lines that are none of its mappings are passed over.
pub fn parse(text: &str) -> Map<'_> {
    let mut lines: Vec<(usize, &str)> = Vec::new();
    for line in text.lines() {
        let content = line.trim_start_matches(' ');
        if !content.trim().is_empty() && !content.starts_with(['#', '-']) {
            lines.push((line.len() - content.len(), content.trim_end()));
        }
    }
    let mut rest = lines.as_slice();
    map(&mut rest, 0)
}

/// Reads the entries that are indented by `indent` at least, and leaves what follows them.
fn map<'a>(lines: &mut &[(usize, &'a str)], indent: usize) -> Map<'a> {
    let mut entries = Vec::new();
    while let Some((depth, line)) = lines.first().copied().filter(|(depth, _)| *depth >= indent) {
        *lines = &lines[1..];
        let (key, value) = match line.split_once(": ") {
            Some((key, value)) => (key, value.trim()),
            None => match line.strip_suffix(':') {
                Some(key) => (key, ""),
                None => continue,
            },
        };
        let value = match value {
            "" => Value::Map(map(lines, depth + 1)),
            value => scalar(value),
        };
        entries.push((unquoted(key).unwrap_or(key), value));
    }
    Map(entries)
}

fn scalar(text: &str) -> Value<'_> {
    // glab writes `!!null` before a token.
    let text = match text.split_once(' ') {
        Some((tag, rest)) if tag.starts_with("!!") => rest.trim_start(),
        _ => text,
    };
    match text {
        "~" | "null" | "!!null" => return Value::Text(""),
        "{}" => return Value::Map(Map::default()),
        _ => {}
    }
    if text.starts_with(['"', '\'']) {
        return unquoted(text).map_or(Value::Other, Value::Text);
    }
    match text.starts_with(['[', '{', '|', '>', '&', '*', '!', '%', '@', '`']) {
        true => Value::Other,
        false => Value::Text(text.split(" #").next().unwrap_or(text).trim_end()),
    }
}

/// Text between quotes, if nothing in it is escaped.
fn unquoted(text: &str) -> Option<&str> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    (!inner.contains([quote, '\\'])).then_some(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_both_programs_write_is_read() {
        let text = "# Comment\ngit_protocol: ssh\nhosts:\n    gitlab.com:\n        token: !!null glpat-1\n        \
                    user: ada # me\n        is_oauth2: \"true\"\n    'b.example:8443':\n        token: ''\n\
                    no_prompt: false\nlist:\n    - one\nodd: \"a\\tb\"\n";
        let map = parse(text);
        assert_eq!(map.text("git_protocol"), Some("ssh"));
        assert_eq!(map.text("no_prompt"), Some("false"));
        let hosts = map.map("hosts").expect("hosts");
        let first = hosts.map("gitlab.com").expect("a host");
        assert_eq!(first.text("token"), Some("glpat-1"));
        assert_eq!(first.text("user"), Some("ada"));
        assert_eq!(first.text("is_oauth2"), Some("true"));
        let second = hosts.map("b.example:8443").expect("a host");
        assert_eq!(second.text("token"), Some(""));
        assert_eq!(map.get("odd"), Some(&Value::Other));
        assert_eq!(map.map("list"), Some(&Map::default()));
    }
}
