//! Checks the judge against golden numbers: `cargo run --release --example judge -- FILE`.
//!
//! FILE has the format of `tests/vectors.json`. Prints every difference and a line for each section.
//! Exit code 0: all of it holds; 1: something differs or could not be checked; 2: FILE cannot be read.

mod blocks;
mod processes;
mod vectors;
mod verdicts;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path] = arguments.as_slice() else {
        eprintln!("usage: judge FILE\n\nFILE: golden numbers in the format of tests/vectors.json");
        return ExitCode::from(2);
    };
    let outcome = std::fs::read_to_string(path)
        .map_err(|error| error.to_string())
        .and_then(|text| vectors::check(&text));
    match outcome {
        Ok(outcome) => print(path, &outcome),
        Err(reason) => {
            eprintln!("judge: {path}: {reason}");
            ExitCode::from(2)
        }
    }
}

fn print(path: &str, outcome: &vectors::Outcome) -> ExitCode {
    for difference in outcome
        .sections
        .iter()
        .flat_map(|section| &section.differences)
    {
        println!("differs: {difference}");
    }
    println!(
        "{:<22} {:>6} {:>8} {:>8}",
        "section", "cases", "numbers", "differ"
    );
    for section in &outcome.sections {
        let (name, differ) = (&section.name, section.differences.len());
        println!(
            "{name:<22} {:>6} {:>8} {differ:>8}",
            section.cases, section.numbers
        );
    }
    for name in &outcome.missing {
        println!("{name:<22} missing: nothing to check");
    }
    for name in &outcome.unknown {
        println!("{name:<22} unknown: not checked");
    }
    if outcome.holds() {
        println!("all of {path} holds");
        ExitCode::SUCCESS
    } else {
        println!("{path} does not hold");
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../tests/vectors.json");

    #[test]
    fn golden_numbers_hold() {
        let outcome = vectors::check(FILE).unwrap();
        let differences: Vec<_> = outcome
            .sections
            .iter()
            .flat_map(|section| &section.differences)
            .collect();
        assert!(differences.is_empty(), "{differences:#?}");
        assert_eq!(outcome.missing, Vec::<&str>::new());
        assert!(outcome.holds());
    }

    #[test]
    fn a_wrong_golden_number_is_found() {
        let text = FILE.replacen("2.995732273554", "2.995735273554", 1);
        let outcome = vectors::check(&text).unwrap();
        assert!(!outcome.holds());
        assert_eq!(outcome.sections[0].differences.len(), 1);
    }
}
