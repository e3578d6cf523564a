//! How green's answers differ from blue's in what is not judged, in sizes and in types.

use crate::control::report::entry::Entry;
use crate::control::service::run::Run;
use crate::store::NoteKind;

/// The differences that were not reported in this rollout yet.
pub(in crate::control) fn findings(run: &mut Run) -> Vec<Entry> {
    let contents = run.content_findings();
    let all = run.findings().into_iter().chain(contents);
    all.map(|text| Entry::new(NoteKind::Finding, text))
        .collect()
}
