//! The kinds of lines in the narration.

use strum::{EnumString, IntoStaticStr, VariantArray};

/// What a line of the narration is about, as the journal and the API name it.
///
/// A journal may hold kinds of another version: [`Note::kind`](crate::store::saved::Note::kind) stays a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum NoteKind {
    /// A warm-up or the smoke checks ended.
    Check,
    /// The configuration changed, or was refused.
    Config,
    /// Containers or images were made, fetched or removed.
    Containers,
    /// A pool is being released.
    Drain,
    /// A drill ended.
    Drill,
    /// A rollout ended.
    End,
    /// Evidence on a green that went back was kept.
    Evidence,
    /// Green's answers differ in what is not judged.
    Finding,
    /// A pool or the baseline lost its health.
    Health,
    /// A hook ended.
    Hook,
    /// The last lines of a container's log.
    Log,
    /// The results of mirrored requests.
    Mirror,
    /// A person's command.
    Order,
    /// A rollout entered a phase or a step.
    Phase,
    /// A source was read.
    Source,
    /// A rollout began.
    Start,
    /// Something is as it should be again, or started anew.
    State,
    /// Something may need a person.
    Trouble,
    /// The judge's verdict, and what it led to.
    Verdict,
    /// Resource usage is worth a word.
    Warning,
    /// Green's share changed.
    Weight,
}

impl NoteKind {
    /// Every kind.
    pub const ALL: &'static [NoteKind] = NoteKind::VARIANTS;

    /// The name in the journal and the API.
    pub fn name(self) -> &'static str {
        self.into()
    }
}
