//! What is compared of the contents of answers, what a difference leads to, and its wording.

use super::Report;
use super::words::{against_one, grouped};
use crate::core::answers::{Expected, Hearing};
use crate::core::contents::{SIZES, TYPES};
use serde::{Deserialize, Serialize};

/// Categories of a partition of sizes.
const PAIRS: usize = SIZES / 2 + 1;

/// Categories of types: none, the named ones, all others.
pub(super) const KINDS: usize = TYPES + 2;

/// The part of green's answers from which the text speaks of all of them, in tenths.
const ALL: u64 = 9;

/// How sizes and content types of answers are compared. The default fits recordings from before they were compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContentPolicy {
    /// Sizes of bodies.
    pub size: Hearing,
    /// Content types.
    #[serde(rename = "type")]
    pub media: Hearing,
    /// The weight of the judged comparisons in the evidence of harm; all else has the rest.
    pub share: f64,
}

impl Default for ContentPolicy {
    fn default() -> ContentPolicy {
        ContentPolicy {
            size: Hearing::Off,
            media: Hearing::Off,
            share: 0.0,
        }
    }
}

impl ContentPolicy {
    /// Both are reported.
    pub const REPORT: ContentPolicy = ContentPolicy {
        size: Hearing::Report,
        media: Hearing::Report,
        share: 0.05,
    };

    /// This policy for a release that changes these on purpose: what would be judged is only reported.
    pub(super) fn expecting(mut self, expected: &[Expected]) -> ContentPolicy {
        for (hearing, one) in [
            (&mut self.size, Expected::Size),
            (&mut self.media, Expected::Type),
        ] {
            if *hearing == Hearing::Judge && expected.contains(&one) {
                *hearing = Hearing::Report;
            }
        }
        self
    }

    /// Whether nothing is compared.
    pub fn is_off(&self) -> bool {
        self.size == Hearing::Off && self.media == Hearing::Off
    }

    fn level(&self, what: Content) -> Hearing {
        match what {
            Content::Size => self.size,
            Content::Type => self.media,
        }
    }

    pub(super) fn judges(&self, what: Content) -> bool {
        self.level(what) == Hearing::Judge
    }

    /// The number of judged comparisons of one group.
    pub(super) fn judged(&self) -> usize {
        Content::BOTH
            .iter()
            .filter(|what| self.judges(**what))
            .count()
    }

    /// The weight in the evidence of harm, where something is judged.
    pub(super) fn judged_share(&self) -> f64 {
        if self.judged() == 0 { 0.0 } else { self.share }
    }
}

/// A compared property of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Content {
    /// The size of bodies.
    Size,
    /// Their content type.
    Type,
}

impl Content {
    /// Both.
    pub const BOTH: [Content; 2] = [Content::Size, Content::Type];

    /// The category of a bucket or type in a partition.
    pub(super) fn category(self, partition: usize, at: usize) -> usize {
        match (self, partition) {
            _ if at == 0 => 0,
            (Content::Type, _) => at,
            (Content::Size, 0) => at.div_ceil(2),
            (Content::Size, _) => at / 2 + 1,
        }
    }

    pub(super) const fn categories(self) -> usize {
        match self {
            Content::Size => PAIRS,
            Content::Type => KINDS,
        }
    }

    pub(super) const fn partitions(self) -> usize {
        match self {
            Content::Size => 2,
            Content::Type => 1,
        }
    }
}

/// How the answers of one route differ.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContentFinding {
    /// Method and template of the path.
    pub route: String,
    /// What differs.
    pub what: Content,
    /// A value that green's answers have more often than blue's: `empty`, `2 to 4 kB`, `text/html`.
    pub green_is: String,
    /// Green's answers with the value of `green_is`.
    pub green_like: u64,
    /// Green's answers in all.
    pub green_answers: u64,
    /// Blue's answers with the value of `green_is`.
    pub blue_like: u64,
    /// The most frequent value of blue's answers.
    pub blue_is: String,
    /// Blue's answers with the value of `blue_is`.
    pub blue_most: u64,
    /// Blue's answers in all.
    pub blue_answers: u64,
    /// Highest evidence so far that answers differ, divided by the number of comparisons: a natural logarithm, in nats.
    pub ln_e: f64,
    /// The evidence has reached the threshold: it is reported.
    pub told: bool,
    /// It counts as evidence of harm.
    pub judged: bool,
}

impl ContentFinding {
    /// `answers of GET / are empty on green (37 of 37), 2 to 4 kB on blue (700 of 700)`.
    pub fn words(&self) -> String {
        let of = |like: u64, all: u64| format!("{} of {}", grouped(like), grouped(all));
        let green = of(self.green_like, self.green_answers);
        if 10 * self.green_like >= ALL * self.green_answers && self.green_is != self.blue_is {
            return format!(
                "answers of {} are {} on green ({green}), {} on blue ({})",
                self.route,
                self.green_is,
                self.blue_is,
                of(self.blue_most, self.blue_answers)
            );
        }
        format!(
            "answers of {} are {} more often on green: {green}, blue {}",
            self.route,
            self.green_is,
            of(self.blue_like, self.blue_answers)
        )
    }

    /// [`ContentFinding::words`] with the evidence, and whether it convicts.
    pub fn line(&self) -> String {
        let judged = match self.judged {
            true => "",
            false => ": told, and not judged in this rollout",
        };
        let evidence = against_one(self.ln_e);
        format!("{}, evidence {evidence}{judged}", self.words())
    }
}

impl Report {
    /// Describes what is reported: what is worse and not judged, and how sizes and types differ.
    pub fn found(&self) -> Vec<String> {
        let told = self.told().map(|one| self.finding_words(one));
        told.chain(self.contents.iter().map(ContentFinding::line))
            .collect()
    }
}
