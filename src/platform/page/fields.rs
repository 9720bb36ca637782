//! Fields of forms: each with its label, its help, and what is wrong with it.

use maud::{Markup, html};

use super::layout::{Notice, sentence};
use crate::platform::refusal::Refusal;

/// Messages of a form that comes back.
#[derive(Debug, Default)]
pub struct Said {
    notice: Option<Notice>,
    problem: Option<(&'static str, String)>,
}

impl Said {
    /// Nothing: the form is shown for the first time.
    pub fn nothing() -> Self {
        Said::default()
    }

    pub fn done(text: impl Into<String>) -> Self {
        Said {
            notice: Some(Notice::Done(text.into())),
            problem: None,
        }
    }

    pub fn failed(text: impl Into<String>) -> Self {
        Said {
            notice: Some(Notice::Failed(text.into())),
            problem: None,
        }
    }

    /// A refusal: at the field that is to blame, or else at the top of the page.
    pub fn refused(refusal: &Refusal) -> Self {
        let text = match refusal.retry_after {
            Some(seconds) => format!("Too many tries. Try again in {seconds} seconds."),
            None => sentence(&refusal.message),
        };
        match refusal.field {
            Some(field) => Said::wrong(field, text),
            None => Said::failed(text),
        }
    }

    pub fn wrong(field: &'static str, text: impl Into<String>) -> Self {
        Said {
            notice: None,
            problem: Some((field, text.into())),
        }
    }

    /// Notice at the top of the page.
    pub fn notice(&self) -> Option<Notice> {
        self.notice.clone()
    }

    /// Error of a field.
    pub fn of(&self, field: &str) -> Option<&str> {
        let (name, text) = self.problem.as_ref()?;
        (*name == field).then_some(text)
    }

    /// Returns whether a form's first field takes the focus: what is said does so before it.
    pub fn is_nothing(&self) -> bool {
        self.notice.is_none() && self.problem.is_none()
    }
}

/// Error of a field, if it has one, under the id `FIELD-error`.
pub fn error(said: &Said, field: &str) -> Markup {
    html! {
        @if let Some(text) = said.of(field) { p.error id={ (field) "-error" } { (text) } }
    }
}

/// The ids of what describes a field.
pub fn described_by(said: &Said, field: &str, has_help: bool) -> Option<String> {
    let help = has_help.then(|| format!("{field}-help"));
    let error = said.of(field).map(|_| format!("{field}-error"));
    let ids: Vec<String> = help.into_iter().chain(error).collect();
    (!ids.is_empty()).then(|| ids.join(" "))
}

/// A field of one line.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    pub name: &'a str,
    pub label: &'a str,
    pub kind: &'a str,
    pub value: &'a str,
    pub help: Option<&'a str>,
    pub is_required: bool,
    pub min: Option<u32>,
    pub max: u32,
    /// Kind of value that a browser may fill in.
    pub autocomplete: &'a str,
    /// True if it takes the focus of a page that says nothing else.
    pub is_first: bool,
    pub is_fixed: bool,
}

impl<'a> Field<'a> {
    pub fn text(name: &'a str, label: &'a str, max: u32) -> Self {
        Field {
            name,
            label,
            kind: "text",
            value: "",
            help: None,
            is_required: true,
            min: None,
            max,
            autocomplete: "off",
            is_first: false,
            is_fixed: false,
        }
    }

    pub fn password(name: &'a str, label: &'a str, is_new: bool) -> Self {
        Field {
            kind: "password",
            min: is_new.then_some(8),
            autocomplete: match is_new {
                true => "new-password",
                false => "current-password",
            },
            ..Field::text(name, label, 128)
        }
    }

    pub fn render(&self, said: &Said) -> Markup {
        let is_wrong = said.of(self.name).is_some();
        let focus = is_wrong || self.is_first && said.is_nothing();
        let described = described_by(said, self.name, self.help.is_some());
        html! {
            div.field {
                label for=(self.name) { (self.label) }
                @if let Some(help) = self.help { p.help id={ (self.name) "-help" } { (help) } }
                (error(said, self.name))
                input id=(self.name) name=(self.name) type=(self.kind) value=(self.value)
                    required[self.is_required] minlength=[self.min] maxlength=(self.max)
                    aria-describedby=[described] aria-invalid=[is_wrong.then_some("true")]
                    autocomplete=(self.autocomplete) autocapitalize="none" spellcheck="false"
                    readonly[self.is_fixed] autofocus[focus];
            }
        }
    }
}
