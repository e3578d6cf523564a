//! What is wrong with a configuration: the place, the fault, and how to fix it.

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};
use std::fmt;
use std::ops::Range;

/// A fault found by a check, before it knows its file.
#[derive(Debug)]
pub(crate) struct Problem {
    /// Where in the text; `None` is the file as a whole.
    pub(crate) span: Option<Range<usize>>,
    /// What is wrong, with the value.
    pub(crate) what: String,
    /// A short label at the place.
    pub(crate) label: String,
    /// What to do next.
    pub(crate) help: String,
    /// Whether the text at the place must not be shown.
    pub(crate) hide: bool,
}

impl Problem {
    /// A fault at a place in the text.
    pub(crate) fn at(
        span: Range<usize>,
        what: impl Into<String>,
        label: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        Problem {
            span: Some(span),
            what: what.into(),
            label: label.into(),
            help: help.into(),
            hide: false,
        }
    }

    /// A fault of the file as a whole.
    pub(crate) fn whole(what: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem {
            span: None,
            what: what.into(),
            label: String::new(),
            help: help.into(),
            hide: false,
        }
    }
}

/// One fault of a configuration file, for people: file, line, what is wrong, and how to fix it.
///
/// As a [`miette::Diagnostic`] it draws the line with a mark below it; [`ConfigError::one_line`] is
/// for logs and API answers.
#[derive(Debug)]
pub struct ConfigError(Box<Found>);

#[derive(Debug)]
struct Found {
    file: NamedSource<String>,
    /// Line and column from 1, when the fault has a place in the file.
    place: Option<(usize, usize)>,
    span: Option<SourceSpan>,
    what: String,
    label: String,
    help: String,
}

impl ConfigError {
    pub(crate) fn new(name: &str, text: &str, problem: Problem) -> ConfigError {
        let secret = problem.span.clone().filter(|_| problem.hide);
        let text = without_secrets(text, secret);
        let span = problem.span.map(|span| within(&text, span));
        let place = span.as_ref().map(|span| place(&text, span.start));
        ConfigError(Box::new(Found {
            file: NamedSource::new(name, text),
            place,
            span: span.map(|span| (span.start, span.len()).into()),
            what: problem.what,
            label: problem.label,
            help: problem.help,
        }))
    }

    /// The file's name, as it was given.
    pub fn file(&self) -> &str {
        self.0.file.name()
    }

    /// The line, from 1, when the fault is in one line.
    pub fn line(&self) -> Option<usize> {
        self.0.place.map(|(line, _)| line)
    }

    /// The fault in one line: `shifter.toml:4:9: what is wrong (how to fix it)`.
    pub fn one_line(&self) -> String {
        let how = self.0.help.replace('\n', " ");
        match self.0.place {
            Some((line, column)) => {
                format!("{}:{line}:{column}: {} ({how})", self.file(), self.0.what)
            }
            None => format!("{}: {} ({how})", self.file(), self.0.what),
        }
    }

    /// What is wrong.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// How to fix it.
    pub fn how(&self) -> &str {
        &self.0.help
    }
}

impl fmt::Display for ConfigError {
    /// What is wrong; with the file when no line of it is shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.span {
            Some(_) => f.write_str(&self.0.what),
            None => write!(f, "{}: {}", self.file(), self.0.what),
        }
    }
}

impl std::error::Error for ConfigError {}

impl Diagnostic for ConfigError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.0.help))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.span.map(|_| &self.0.file as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(Some(self.0.label.clone()), self.0.span?);
        Some(Box::new(std::iter::once(label)))
    }
}

/// The span, limited to the text, to whole characters, and to one line: what follows is noise.
fn within(text: &str, span: Range<usize>) -> Range<usize> {
    let start = floor(text, span.start.min(text.len()));
    let rest = &text[start..floor(text, span.end.clamp(start, text.len()))];
    start..start + rest.find(['\n', '\r']).unwrap_or(rest.len())
}

/// Replaces a secret by stars, byte for byte, so that positions do not change.
fn hide(text: &mut [u8], span: Range<usize>) {
    for byte in text.get_mut(span).unwrap_or_default() {
        if *byte != b'\n' {
            *byte = b'*';
        }
    }
}

/// The text as it may be shown: the report of a fault on a neighbouring line would show a token's line too.
fn without_secrets(text: &str, secret: Option<Range<usize>>) -> String {
    let mut shown = text.as_bytes().to_vec();
    let names = ["token", "cookie_secret", "password", "uthorization"];
    for (at, key) in names.iter().flat_map(|name| text.match_indices(name)) {
        let after = &text[at + key.len()..];
        let value = after
            .trim_start_matches(['"', '\'', ' ', '\t'])
            .strip_prefix('=');
        let value = value
            .map(|v| v.trim_start_matches([' ', '\t']))
            .unwrap_or("{");
        if !value.starts_with('{') {
            let start = text.len() - value.len();
            hide(
                &mut shown,
                start..start + value.find('\n').unwrap_or(value.len()),
            );
        }
    }
    if let Some(span) = secret {
        hide(&mut shown, span);
    }
    String::from_utf8_lossy(&shown).into_owned()
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_never_leave_the_text_or_cut_a_character() {
        let text = "ä = \"ö\"\nß";
        for start in 0..=text.len() + 3 {
            for end in 0..=text.len() + 3 {
                let span = within(text, start..end);
                assert!(
                    text.get(span.clone()).is_some_and(|t| !t.contains('\n')),
                    "{start}..{end}"
                );
            }
        }
        assert_eq!(place(text, text.len()), (2, 2));
    }
}
