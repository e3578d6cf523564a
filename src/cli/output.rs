//! Facts on standard output, narration on standard error.
//!
//! Colours only where they are seen (a terminal, and `NO_COLOR` unset). A closed pipe is how
//! `| head` says that it has enough: the command ends quietly.

use crate::control::view::BackendView;
use crate::exit::Exit;
use serde::Serialize;
use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;

/// The shape of facts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For tools.
    Json,
}

/// Prints facts in the requested format; returns the exit code when there is nothing else to do.
pub fn facts(format: Format, value: &impl Serialize, text: &str) -> Exit {
    match format {
        Format::Text => ended(print(text)),
        Format::Json => match serde_json::to_string_pretty(value) {
            Ok(json) => ended(print(&json)),
            Err(error) => {
                narrate(&format!("shifter: cannot write JSON: {error}"));
                Exit::Internal
            }
        },
    }
}

/// Prints text and a line end; `Break` when further output is useless.
pub fn print(text: &str) -> ControlFlow<Exit> {
    let line_end = if text.ends_with('\n') { "" } else { "\n" };
    write(
        &mut anstream::AutoStream::auto(io::stdout().lock()),
        &[text, line_end],
    )
}

/// Prints bytes unchanged.
pub fn bytes(bytes: &[u8]) -> Exit {
    let mut out = io::stdout().lock();
    ended(written(out.write_all(bytes).and_then(|()| out.flush())))
}

fn write(out: &mut impl Write, parts: &[&str]) -> ControlFlow<Exit> {
    let result = parts
        .iter()
        .try_for_each(|part| out.write_all(part.as_bytes()));
    written(result.and_then(|()| out.flush()))
}

fn written(result: io::Result<()>) -> ControlFlow<Exit> {
    match result {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => ControlFlow::Break(Exit::Ok),
        Err(error) => {
            narrate(&format!(
                "shifter: cannot write to standard output: {error}"
            ));
            ControlFlow::Break(Exit::Internal)
        }
    }
}

fn ended(flow: ControlFlow<Exit>) -> Exit {
    match flow {
        ControlFlow::Continue(()) => Exit::Ok,
        ControlFlow::Break(exit) => exit,
    }
}

/// Prints a line on standard error; if that is closed, the line is lost and the command goes on.
pub fn narrate(text: &str) {
    let mut err = anstream::AutoStream::auto(io::stderr().lock());
    let _ = writeln!(err, "{text}");
}

/// Columns of plain text with automatic widths.
pub struct Table {
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings; columns with a heading that begins with `>` are numbers, aligned right.
    pub fn new(headings: &[&str]) -> Table {
        let right = headings
            .iter()
            .map(|heading| heading.starts_with('>'))
            .collect();
        let first = headings
            .iter()
            .map(|heading| heading.trim_start_matches('>').to_owned())
            .collect();
        Table {
            right,
            rows: vec![first],
        }
    }

    /// Adds a row.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.to_vec());
    }

    /// The lines, each after `indent`.
    pub fn render(&self, indent: &str) -> String {
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.right.len()).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for ((cell, width), right) in row.iter().zip(&widths).zip(&self.right) {
                if *right {
                    line.push_str(&format!("{cell:>width$}  "));
                } else {
                    line.push_str(&format!("{cell:<width$}  "));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// Milliseconds with the significant digits; a dash where there were no requests.
pub fn millis(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(ms) if ms >= 9.95 => format!("{ms:.0} ms"),
        Some(ms) => format!("{ms:.1} ms"),
    }
}

/// Percent, to two decimals at most: `5%`, `0.25%`.
pub fn percent(value: f64) -> String {
    let text = format!("{value:.2}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    format!("{short}%")
}

/// External text, without what would move the cursor or change colours.
pub fn tame(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

/// External text of several lines, made safe as in [`tame`]: each line but the first is indented by `indent` spaces.
pub fn tame_lines(text: &str, indent: usize) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(tame).collect();
    lines.join(&format!("\n{:indent$}", ""))
}

/// The number of a pool's backends that are up, and the names of the others.
pub fn members(all: &[BackendView]) -> String {
    let count = |health: &str| {
        all.iter()
            .filter(|backend| backend.health == health)
            .count()
    };
    let mut text = format!("{} of {} up", count("up"), all.len());
    for health in ["down", "doubted"] {
        let those = all.iter().filter(|backend| backend.health == health);
        let those: Vec<String> = those.map(ill).collect();
        if !those.is_empty() {
            text.push_str(&format!(", {health}: {}", those.join(" ")));
        }
    }
    if count("unknown") > 0 {
        text.push_str(&format!(", {} not checked yet", count("unknown")));
    }
    text
}

/// An unhealthy backend, with the reason where it is known.
fn ill(backend: &BackendView) -> String {
    let address = tame(&backend.address);
    match &backend.reason {
        Some(reason) => format!("{address} ({})", tame(reason)),
        None => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_member_is_down_is_shown() {
        let one = |health: &str, reason: Option<&str>| BackendView {
            address: "10.0.0.3:80".to_owned(),
            health: health.to_owned(),
            reason: reason.map(str::to_owned),
            ..BackendView::default()
        };
        let all = [one("up", None), one("down", Some("/up answers 403"))];
        assert_eq!(
            members(&all),
            "1 of 2 up, down: 10.0.0.3:80 (/up answers 403)"
        );
        assert_eq!(
            members(&[one("down", None)]),
            "0 of 1 up, down: 10.0.0.3:80"
        );
    }

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_ends_quietly_and_a_full_disk_does_not() {
        let closed = write(&mut Fails(ErrorKind::BrokenPipe), &["x"]);
        assert_eq!(closed, ControlFlow::Break(Exit::Ok));
        let full = write(&mut Fails(ErrorKind::StorageFull), &["x"]);
        assert_eq!(full, ControlFlow::Break(Exit::Internal));
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let mut table = Table::new(&["name", ">n"]);
        table.row(["ä".into(), "1,000".into()]);
        table.row(["longer".into(), "7".into()]);
        assert_eq!(
            table.render("  "),
            "  name        n\n  ä       1,000\n  longer      7\n"
        );
    }

    #[test]
    fn numbers_are_told_as_people_say_them() {
        assert_eq!(
            [5.0, 0.25, 100.0, 0.0].map(percent),
            ["5%", "0.25%", "100%", "0%"]
        );
        assert_eq!(
            [None, Some(4.56), Some(123.4)].map(millis),
            ["-", "4.6 ms", "123 ms"]
        );
        assert_eq!(tame("a\u{1b}[31mb\n"), "a\u{fffd}[31mb\u{fffd}");
    }
}
