//! The judge's statistics: golden numbers, the properties that make them valid, and simulated traffic.

#[path = "support/vectors.rs"]
mod vectors;

#[test]
fn golden_numbers_hold() {
    let outcome = vectors::check(include_str!("vectors.json")).unwrap();
    let differences: Vec<_> = outcome
        .sections
        .iter()
        .flat_map(|section| &section.differences)
        .collect();
    assert!(differences.is_empty(), "{differences:#?}");
    assert_eq!(outcome.missing, Vec::<&str>::new());
    assert!(outcome.holds());
}
