//! The values that the journal keeps.

use crate::core::table::Pool;
use crate::store::NoteKind;
use serde::{Deserialize, Serialize};

/// The state of a service between rollouts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedService {
    /// The epoch of pins (see `Route::epoch`).
    pub epoch: u32,
    /// Ids of the promoted backends that serve now; none when the file's blue serves.
    #[serde(default)]
    pub running: Vec<String>,
    /// Ids of the containers that were replaced and are still to be stopped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired: Vec<String>,
    /// Released greens that a person wants to inspect while they run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<Kept>,
    /// Images that shifter fetched for it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fetched: Vec<Fetched>,
    /// Where blue was last seen, for a start without an answer from Docker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<Pool>,
    /// The Compose project of the containers that served last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

/// A released container that runs on for a while, without users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Its id.
    pub id: String,
    /// Wall time until which it is kept, RFC 3339.
    pub until: String,
}

/// An image that was fetched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Its id.
    pub id: String,
    /// The requested reference.
    pub image: String,
}

/// One line of narration, in the order of events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Note {
    /// Its number: strictly increasing.
    pub seq: i64,
    /// Wall time, RFC 3339.
    pub at: String,
    /// The service.
    pub service: String,
    /// The rollout; 0 for none.
    pub rollout: i64,
    /// The kind of line: `weight`, `phase`, `verdict`, `health`, `state`, ...
    pub kind: String,
    /// The line itself.
    pub text: String,
}

/// What a line means for a person: its colour on a terminal, its level in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Green was promoted.
    Good,
    /// A verdict against green.
    Bad,
    /// Something may need a person.
    Alert,
    /// Traffic or the rollout moved.
    Change,
    /// Anything else.
    Plain,
}

/// The first word of the line on a promotion. Its kind is that of every verdict, and stored lines have no field for the
/// outcome: only [`Note::tone`] looks at it.
pub const PROMOTED: &str = "promoted";

impl Note {
    /// The kind of line; `None` for one that this version does not know.
    pub fn note_kind(&self) -> Option<NoteKind> {
        self.kind.parse().ok()
    }

    /// What the line means for a person.
    pub fn tone(&self) -> Tone {
        use NoteKind::{Finding, Health, Start, Trouble, Verdict, Weight};
        match self.note_kind() {
            Some(Verdict) if self.text.starts_with(PROMOTED) => Tone::Good,
            Some(Verdict) => Tone::Bad,
            Some(Health | Trouble | Finding) => Tone::Alert,
            Some(Weight | Start) => Tone::Change,
            _ => Tone::Plain,
        }
    }
}

/// A rollout as recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedRollout {
    /// Its number.
    pub id: i64,
    /// The service.
    pub service: String,
    /// Wall time of the start, RFC 3339.
    pub started_at: String,
    /// Wall time of the end, RFC 3339, when it has ended.
    pub ended_at: Option<String>,
    /// The strategy's name.
    pub strategy: String,
    /// Blue's release.
    pub from: String,
    /// Green's release.
    pub to: String,
    /// The outcome's name, when it is known.
    pub outcome: Option<String>,
    /// The outcome's reason, when it has one.
    pub reason: Option<String>,
    /// The state to continue from after a crash, as JSON.
    pub state: String,
    /// The last evidence, as JSON.
    pub evidence: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: &str, text: &str) -> Note {
        let stored = serde_json::json!({
            "seq": 1, "at": "", "service": "app", "rollout": 7, "kind": kind, "text": text,
        });
        serde_json::from_value(stored).expect("a note")
    }

    #[test]
    fn a_kind_of_another_version_is_a_plain_line() {
        let stranger = note("telepathy", "hm");
        assert_eq!((stranger.note_kind(), stranger.tone()), (None, Tone::Plain));
        let written = serde_json::to_value(&stranger).expect("json");
        assert_eq!(written["kind"], "telepathy");
    }

    #[test]
    fn every_kind_is_read_back_from_its_name() {
        for kind in NoteKind::ALL {
            assert_eq!(note(kind.name(), "").note_kind(), Some(*kind));
        }
        for (kind, text, tone) in [
            (
                "verdict",
                "promoted: green serves every request",
                Tone::Good,
            ),
            ("verdict", "ROLLED BACK: ...", Tone::Bad),
            ("trouble", "", Tone::Alert),
            ("health", "", Tone::Alert),
            ("finding", "", Tone::Alert),
            ("weight", "", Tone::Change),
            ("start", "", Tone::Change),
            ("state", "promoted", Tone::Plain),
        ] {
            assert_eq!(note(kind, text).tone(), tone, "{kind} {text}");
        }
    }
}
