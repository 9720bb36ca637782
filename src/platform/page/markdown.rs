//! Markdown of strangers as HTML that can do nothing.
//!
//! The parser's events are let through one by one: HTML in the text is shown as the text that it is,
//! links lead to http, https and mailto only, and images are replaced by their description, since a
//! page loads nothing from elsewhere. So no tag or attribute is ever a stranger's.

use maud::{Markup, PreEscaped};
use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// Schemes that a link may have.
const SCHEMES: [&str; 3] = ["https://", "http://", "mailto:"];

pub fn rendered(text: &str) -> Markup {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    // Whether each link that is open is kept.
    let mut links = Vec::new();
    let events = Parser::new_ext(text, options).filter_map(|event| match event {
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        Event::Start(Tag::HtmlBlock) => Some(Event::Start(Tag::Paragraph)),
        Event::End(TagEnd::HtmlBlock) => Some(Event::End(TagEnd::Paragraph)),
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            id,
            ..
        }) => {
            let is_kept = is_safe(&dest_url);
            links.push(is_kept);
            is_kept.then(|| {
                Event::Start(Tag::Link {
                    link_type,
                    dest_url,
                    title: "".into(),
                    id,
                })
            })
        }
        Event::End(TagEnd::Link) => links
            .pop()
            .unwrap_or_default()
            .then_some(Event::End(TagEnd::Link)),
        // Below the headings of the page itself.
        Event::Start(Tag::Heading { level, .. }) => Some(Event::Start(Tag::Heading {
            level: lower(level),
            id: None,
            classes: Vec::new(),
            attrs: Vec::new(),
        })),
        Event::End(TagEnd::Heading(level)) => Some(Event::End(TagEnd::Heading(lower(level)))),
        // Alignment would be a style in the tag, which the page's policy forbids.
        Event::Start(Tag::Table(columns)) => {
            let plain = vec![pulldown_cmark::Alignment::None; columns.len()];
            Some(Event::Start(Tag::Table(plain)))
        }
        other => Some(other),
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    PreEscaped(out)
}

fn is_safe(url: &str) -> bool {
    let begins = |scheme: &&str| {
        let begin = url.get(..scheme.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    SCHEMES.iter().any(begins)
}

fn lower(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H3,
        HeadingLevel::H2 => HeadingLevel::H4,
        HeadingLevel::H3 => HeadingLevel::H5,
        _ => HeadingLevel::H6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_strangers_is_a_tag_an_attribute_or_a_script() {
        for text in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "<div\nonclick=alert(1)>\n\nx\n</div>",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](data:text/html,<script>alert(1)</script>)",
            "[x]( java\tscript:alert(1))",
            "<javascript:alert(1)>",
            "![x](https://elsewhere.example/pixel.png)",
            "[x](//elsewhere.example)",
            "[x](https://a.example/ \"\\\" onclick=\\\"alert(1)\")",
            "[x](https://a.example/\"onclick=alert(1)//)",
            "# x {#id onclick=alert(1)}",
            "```\" onclick=alert(1)\nx\n```",
            "| a |\n|:-:|\n| <b onclick=x> |",
            "<!-- x -->",
            "<a href='javascript:alert(1)'>x</a>",
        ] {
            let html = rendered(text).into_string();
            for bad in [
                "<script",
                "<img",
                "<div",
                "<b ",
                "<!--",
                "<a href='",
                "style=",
            ] {
                assert!(!html.contains(bad), "{text}: {html}");
            }
            for tag in html.split('<').skip(1) {
                let tag = tag.split('>').next().unwrap_or_default().to_lowercase();
                assert!(!tag.contains("javascript:"), "{text}: {html}");
                assert!(!tag.contains(" onclick"), "{text}: {html}");
            }
        }
    }

    #[test]
    fn what_is_harmless_is_shown() {
        let html = rendered(
            "# Title\n\n*one* `two` [three](https://a.example/)\n\n- x\n\n| a |\n|--:|\n| b |\n\n\
             ![a picture](x.png)",
        )
        .into_string();
        for part in [
            "<h3>Title</h3>",
            "<em>one</em>",
            "<code>two</code>",
            r#"<a href="https://a.example/">three</a>"#,
            "<li>x</li>",
            "<td>b</td>",
            "a picture",
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
