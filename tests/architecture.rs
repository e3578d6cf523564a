//! The architecture as a test: who may import whom, and how long things may get.
//!
//! `cli` is not in the table: it may name everything, because it only wires and prints.
//!
//! A red test here is a design question, not a lint: change the table in the same commit that
//! changes the design, and say why in the commit message.

// Helpers of tests are tests too: a fault in them is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

use std::fs;
use std::path::{Path, PathBuf};

/// Module, the modules of this crate it may name, and the words it must not contain.
const ALLOWED: &[(&str, &[&str], &[&str])] = &[
    ("core", &[], IMPURE),
    ("config", &["core"], &["tokio::", "pingora"]),
    ("metrics", &["core"], &["tokio::", "pingora"]),
    ("store", &["core", "config"], &["pingora", "bollard"]),
    ("driver", &["core", "config"], &["pingora", "prometheus"]),
    ("visit", &["config"], &["pingora", "bollard"]),
    (
        "proxy",
        &["core", "config", "metrics", "store", "visit"],
        &["bollard"],
    ),
    (
        "control",
        &["core", "config", "metrics", "store", "driver", "visit"],
        &["pingora", "bollard"],
    ),
    (
        "admin",
        &["core", "config", "metrics", "store", "control", "exit"],
        &["pingora", "bollard"],
    ),
];

/// What a pure module cannot say: time, chance, files, sockets, threads, tasks, logs.
const IMPURE: &[&str] = &[
    "Instant",
    "SystemTime",
    "std::fs",
    "std::thread",
    "std::sync",
    "TcpStream",
    "tokio",
    "pingora",
    "bollard",
    "prometheus",
    "rand::",
    "tracing::",
    "println!",
    "async fn",
    "unsafe",
    "unwrap()",
];

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 60;

#[test]
fn modules_import_only_what_the_table_allows() {
    let mut errors = vec![];
    for file in rust_files(Path::new("src")) {
        let Some((module, allowed, banned)) = row_for(&file) else {
            continue;
        };
        for (number, line) in code_lines(&file) {
            for named in crate_modules_named_in(&line) {
                if named != module && !allowed.contains(&named.as_str()) {
                    errors.push(format!(
                        "{}:{number}: {module} must not import {named}",
                        file.display()
                    ));
                }
            }
            for word in banned.iter().filter(|word| line.contains(**word)) {
                errors.push(format!(
                    "{}:{number}: {module} must not mention {word}",
                    file.display()
                ));
            }
        }
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

#[test]
fn files_and_functions_stay_short() {
    let mut errors = vec![];
    for file in rust_files(Path::new("src")) {
        let lines = code_lines(&file);
        if lines.len() > FILE_LINES_MAX {
            errors.push(format!("{}: {} lines of code", file.display(), lines.len()));
        }
        for (start, length) in functions(&lines) {
            if length > FUNCTION_LINES_MAX {
                errors.push(format!(
                    "{}:{start}: function of {length} lines",
                    file.display()
                ));
            }
        }
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

fn row_for(
    file: &Path,
) -> Option<(
    &'static str,
    &'static [&'static str],
    &'static [&'static str],
)> {
    let inside = file.strip_prefix("src").ok()?;
    let first = inside.iter().next()?.to_str()?.trim_end_matches(".rs");
    ALLOWED
        .iter()
        .copied()
        .find(|(module, ..)| *module == first)
}

/// Lines before the test module, without comments and blanks.
fn code_lines(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .enumerate()
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim().is_empty() && !line.trim_start().starts_with("//"))
        .map(|(index, line)| (index + 1, line.to_owned()))
        .collect()
}

fn crate_modules_named_in(line: &str) -> Vec<String> {
    line.split("crate::")
        .skip(1)
        .map(|rest| {
            rest.chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

/// rustfmt closes a function at the indentation at which it opened it.
fn functions(lines: &[(usize, String)]) -> Vec<(usize, usize)> {
    let mut found = vec![];
    for (index, (start, line)) in lines.iter().enumerate() {
        let indent = line.len() - line.trim_start().len();
        if !line.contains("fn ") || line.trim_end().ends_with(['}', ';']) {
            continue;
        }
        let close = format!("{}}}", " ".repeat(indent));
        if let Some((end, _)) = lines[index..].iter().find(|(_, l)| *l == close) {
            found.push((*start, end - start + 1));
        }
    }
    found
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

#[test]
fn the_table_has_a_row_for_every_module() {
    let wiring = ["cli", "exit", "lib", "main"];
    for entry in fs::read_dir("src").unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        let known = ALLOWED.iter().any(|(row, ..)| *row == module);
        assert!(
            known || wiring.contains(&module.as_str()),
            "src/{module} has no row in the table"
        );
    }
}
