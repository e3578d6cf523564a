//! The architecture as a test: who may import whom, and how long things may get.
//!
//! Its tables are those of `ARCHITECTURE.md`, so that the map cannot say anything else than the code.
//!
//! A red test here is a design question, not a lint: change the table in the commit that changes the design, and say why
//! in the commit message.

// Helpers of tests are tests too: a fault in them is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 60;

/// Files that may be longer: the lines that they may have, and why they are one file.
const LONGER: &[(&str, usize, &str)] = &[
    (
        "src/proxy/request/gateway.rs",
        440,
        "the callbacks of one trait, in the order in which Pingora calls them",
    ),
    (
        "src/core/judge/mod.rs",
        420,
        "one judge: what it is fed, and its verdict",
    ),
];

/// A row of a table of the map: its cells, with what stands in backticks in each.
struct Row {
    cells: Vec<String>,
}

impl Row {
    /// What stands in backticks in the `n`-th cell.
    fn words(&self, n: usize) -> Vec<&str> {
        let cell = self.cells.get(n).map_or("", String::as_str);
        cell.split('`').skip(1).step_by(2).collect()
    }
}

/// The rows of the first table below a heading of `ARCHITECTURE.md`.
fn table(heading: &str) -> Vec<Row> {
    let text = fs::read_to_string("ARCHITECTURE.md").unwrap();
    let below = text.lines().skip_while(|line| *line != heading).skip(1);
    let rows: Vec<Row> = below
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            let cells = cells.map(|cell| cell.trim().to_owned()).collect();
            Row { cells }
        })
        .collect();
    assert!(!rows.is_empty(), "no table below {heading}");
    rows
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let table = table("## Who may name whom");
    let mut errors = vec![];
    for file in rust_files(Path::new("src")) {
        let module = module_of(&file, "src");
        // A folder may have a row of its own: the longest name counts.
        let inside = file.strip_prefix("src").unwrap().with_extension("");
        let rows = table
            .iter()
            .filter(|row| inside.starts_with(row.words(0)[0]));
        let Some(row) = rows.max_by_key(|row| row.words(0)[0].len()) else {
            continue;
        };
        let all = row.cells[1] == "everything";
        for (number, line) in code_lines(&file) {
            let at = format!("{}:{number}: {module}", file.display());
            for named in modules_named_in(&line, "crate::") {
                if named != module && !all && !row.words(1).contains(&named.as_str()) {
                    errors.push(format!("{at} must not import {named}"));
                }
            }
            for word in row.words(2).iter().filter(|word| line.contains(**word)) {
                errors.push(format!("{at} must not mention {word}"));
            }
        }
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

#[test]
fn folders_of_the_proxy_name_only_what_the_table_allows() {
    let table = table("### Inside `proxy`");
    let mut errors = vec![];
    for file in rust_files(Path::new("src/proxy")) {
        let folder = module_of(&file, "src/proxy");
        if folder == "mod" {
            continue;
        }
        let row = table.iter().find(|row| row.words(0) == [folder.as_str()]);
        let row = row.unwrap_or_else(|| panic!("{folder} has no row in the table"));
        errors.extend(named_outside(&file, &folder, "crate::proxy::", row));
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

#[test]
fn parts_of_the_configuration_name_only_what_the_table_allows() {
    let table = table("### Inside `config`");
    let mut errors = vec![];
    for file in rust_files(Path::new("src/config")) {
        let part = module_of(&file, "src/config");
        // What stands beside the folders is above them.
        if let Some(row) = table.iter().find(|row| row.words(0) == [part.as_str()]) {
            errors.extend(named_outside(&file, &part, "crate::config::", row));
        }
    }
    assert_eq!(table.len(), 3, "a row for each folder");
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

#[test]
fn parts_of_the_control_name_only_what_the_table_allows() {
    let table = table("### Inside `control`");
    let mut errors = vec![];
    for file in rust_files(Path::new("src/control")) {
        let part = module_of(&file, "src/control");
        if part == "mod" {
            continue;
        }
        let is_controller = code_lines(&file)
            .iter()
            .any(|(_, line)| line.starts_with("impl Controller"));
        match table.iter().find(|row| row.words(0) == [part.as_str()]) {
            Some(_) if is_controller => {
                errors.push(format!("{} extends the controller", file.display()));
            }
            Some(row) => errors.extend(named_outside(&file, &part, "crate::control::", row)),
            None if is_controller => {}
            None => errors.push(format!(
                "{part} has no row, and is no part of the controller"
            )),
        }
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

/// What a file of a folder names below `root` besides its own folder and what the row allows.
fn named_outside(file: &Path, folder: &str, root: &str, row: &Row) -> Vec<String> {
    let mut errors = vec![];
    for (number, line) in code_lines(file) {
        for named in modules_named_in(&line, root) {
            if named != folder && !row.words(1).contains(&named.as_str()) {
                let at = format!("{}:{number}", file.display());
                errors.push(format!("{at}: {folder} must not import {named}"));
            }
        }
    }
    errors
}

#[test]
fn what_the_map_names_is_there() {
    let mut errors = vec![];
    let rows = table("## Where to change what").into_iter();
    for row in rows.chain(table("## How to add")) {
        for word in row.words(0).into_iter().chain(row.words(1)) {
            let first = word.split('/').next().unwrap_or_default();
            let path = ["src", "tests", "examples", "benches", "docs", "config"].contains(&first)
                || word.ends_with(".rs");
            if path && !Path::new(word).exists() {
                errors.push(format!("{word} ({})", row.cells[0]));
            }
        }
    }
    assert!(errors.is_empty(), "\n{}", errors.join("\n"));
}

/// A module has one place, and others import it from there.
#[test]
fn no_file_is_included_by_its_path() {
    let mut errors = vec![];
    for root in ["src", "tests", "examples", "benches"] {
        for file in rust_files(Path::new(root)) {
            if file.iter().any(|folder| folder == "target") {
                continue;
            }
            let text = fs::read_to_string(&file).unwrap();
            if text.lines().any(|line| line.trim().starts_with("#[path")) {
                errors.push(file.display().to_string());
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
        let longer = LONGER.iter().find(|(name, ..)| Path::new(name) == file);
        let most = longer.map_or(FILE_LINES_MAX, |(_, most, _)| *most);
        if lines.len() > most {
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

/// The module or folder below `root` that a file is of.
fn module_of(file: &Path, root: &str) -> String {
    let inside = file.strip_prefix(root).unwrap();
    let first = inside.iter().next().unwrap().to_string_lossy();
    first.trim_end_matches(".rs").to_owned()
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

/// The names that follow `root` in a line.
fn modules_named_in(line: &str, root: &str) -> Vec<String> {
    line.split(root)
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
    let table = table("## Who may name whom");
    for entry in fs::read_dir("src").unwrap() {
        let path = entry.unwrap().path();
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        let known = table.iter().any(|row| row.words(0) == [module.as_str()]);
        let wiring = ["exit", "lib", "main"].contains(&module.as_str());
        assert!(known || wiring, "src/{module} has no row in the table");
    }
    for row in &table {
        let module = row.words(0)[0];
        let there = Path::new("src").join(module).is_dir()
            || Path::new("src").join(format!("{module}.rs")).is_file();
        assert!(
            there,
            "the table has a row for {module}, which is not there"
        );
    }
}

#[test]
fn what_may_be_longer_is_there_and_is() {
    for (name, most, why) in LONGER {
        let lines = code_lines(Path::new(name)).len();
        assert!(
            lines > FILE_LINES_MAX && lines <= *most,
            "{name}: {lines} lines ({why})"
        );
    }
}
