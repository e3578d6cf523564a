//! What the proxy counts of whole answers by route group: how large their bodies are, and of which content type.

use serde::{Deserialize, Serialize};

/// Buckets of body sizes: empty, below 32 bytes, then powers of two; the last one has no end.
pub const SIZES: usize = 16;

/// Content types of one route group that are counted separately.
pub const TYPES: usize = 8;

/// Bytes of a content type that are read.
pub const TYPE_MAX: usize = 64;

/// The name of answers without a content type.
pub const UNTYPED: &str = "";

/// The bucket of a body of `bytes` bytes.
pub fn size_bucket(bytes: u64) -> usize {
    match bytes {
        0 => 0,
        // 2^(bucket + 3) is the lower bound of a bucket.
        _ => (60u32.saturating_sub(bytes.leading_zeros()) as usize).clamp(1, SIZES - 1),
    }
}

/// The media type of a `Content-Type` (RFC 9110, section 8.3.1) without parameters, in lower case, in `buffer`.
///
/// Characters other than printable ASCII become `?`; what is longer than the buffer is cut.
pub fn media_type<'a>(value: &[u8], buffer: &'a mut [u8; TYPE_MAX]) -> &'a str {
    let end = value.iter().position(|byte| *byte == b';');
    let plain = value[..end.unwrap_or(value.len())].trim_ascii();
    let length = plain.len().min(TYPE_MAX);
    for (to, from) in buffer.iter_mut().zip(plain) {
        *to = if from.is_ascii_graphic() {
            from.to_ascii_lowercase()
        } else {
            b'?'
        };
    }
    std::str::from_utf8(&buffer[..length]).unwrap_or(UNTYPED)
}

/// The answers of one route group over a span, blue's first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentCounts {
    /// Method and template of the path.
    pub route: String,
    /// By bucket of [`size_bucket`].
    pub sizes: [[u64; SIZES]; 2],
    /// By content type; [`UNTYPED`] for answers without one.
    pub types: Vec<(String, [u64; 2])>,
    /// Answers with a content type that is not counted separately.
    pub others: [u64; 2],
}

/// One second of a judge's groups: only counts above 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentSecond {
    /// Groups seen for the first time: they get the next indices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new: Vec<String>,
    /// Content types seen for the first time: the index of their group, and the name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_types: Vec<(u64, String)>,
    /// Index of the group, bucket, answers of blue, of green.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sizes: Vec<[u64; 4]>,
    /// Index of the group, index of the type, answers of blue, of green.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<[u64; 4]>,
}

impl ContentSecond {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.sizes.is_empty() && self.types.is_empty()
    }
}

/// The range of sizes from one bucket to another: `empty`, `below 32 B`, `2 to 4 kB`, `256 kB and more`.
pub fn size_words(first: usize, last: usize) -> String {
    let least = |bucket: usize| match bucket {
        0 | 1 => 0,
        _ => 1u64 << (bucket + 3),
    };
    let unit = |bytes: u64| match bytes {
        small if small < 1_024 => (small, "B"),
        large => (large / 1_024, "kB"),
    };
    if last == 0 {
        return "empty".to_owned();
    }
    let (from, from_unit) = unit(least(first));
    if last + 1 >= SIZES {
        return format!("{from} {from_unit} and more");
    }
    let (to, to_unit) = unit(least(last + 1));
    match from {
        0 => format!("below {to} {to_unit}"),
        _ if from_unit == to_unit => format!("{from} to {to} {to_unit}"),
        _ => format!("{from} {from_unit} to {to} {to_unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::analysis::{Evidence, RecordedLine, replay};
    use crate::core::answers::Hearing;
    use crate::core::judge::{ContentPolicy, Control, Policy, Verdict};
    use crate::core::stats::{PoolCounts, Tick};
    use proptest::prelude::*;

    #[test]
    fn sizes_are_empty_or_powers_of_two() {
        for (bytes, bucket, words) in [
            (0, 0, "empty"),
            (1, 1, "below 32 B"),
            (31, 1, "below 32 B"),
            (32, 2, "32 to 64 B"),
            (63, 2, "32 to 64 B"),
            (64, 3, "64 to 128 B"),
            (1_000, 6, "512 B to 1 kB"),
            (2_048, 8, "2 to 4 kB"),
            (4_095, 8, "2 to 4 kB"),
            (4_096, 9, "4 to 8 kB"),
            (262_143, 14, "128 to 256 kB"),
            (262_144, 15, "256 kB and more"),
            (u64::MAX, 15, "256 kB and more"),
        ] {
            assert_eq!(size_bucket(bytes), bucket, "{bytes}");
            assert_eq!(size_words(bucket, bucket), words, "{bytes}");
        }
        assert_eq!(size_words(7, 8), "1 to 4 kB");
        assert_eq!(size_words(6, 7), "512 B to 2 kB");
        assert_eq!(size_words(1, 2), "below 64 B");
    }

    #[test]
    fn a_content_type_has_no_parameters_and_no_capitals() {
        for (value, name) in [
            (&b"text/html; charset=utf-8"[..], "text/html"),
            (b" Application/JSON ;x", "application/json"),
            (b"", ""),
            (b";", ""),
            (b"text/\xffh t", "text/?h?t"),
        ] {
            assert_eq!(media_type(value, &mut [0; TYPE_MAX]), name);
        }
    }

    /// Lines of a rollout in which green's pages are empty.
    fn recorded(policy: Policy) -> Vec<RecordedLine> {
        let mut evidence = Evidence::new(policy.clone(), false);
        let start = RecordedLine::Start {
            last: false,
            control: Control::Concurrent,
            weight: 5_000,
            terms: Default::default(),
        };
        evidence.take(&start);
        let mut lines = vec![RecordedLine::Policy(Box::new(policy)), start];
        for n in 0..60 {
            let mut sizes = [[0; SIZES]; 2];
            (sizes[0][8], sizes[1][0]) = (5, 5);
            lines.extend(evidence.contents(&[ContentCounts {
                route: format!("GET /{}", n % 3),
                sizes,
                types: vec![("text/html".to_owned(), [5, 5])],
                others: [0; 2],
            }]));
            let pool = PoolCounts {
                requests: 5,
                ..PoolCounts::default()
            };
            let tick = Tick {
                blue: pool,
                green: pool,
            };
            lines.push(evidence.second(&tick).1);
        }
        lines
    }

    #[test]
    fn what_is_recorded_of_answers_is_judged_again_byte_for_byte() {
        let mut policy = Policy::default();
        policy.contents.size = Hearing::Judge;
        let lines = recorded(policy);
        let text = lines
            .iter()
            .map(|line| serde_json::to_string(line).unwrap());
        let text: Vec<String> = text.collect();
        let read = text.iter().map(|line| serde_json::from_str(line).unwrap());
        let read: Vec<RecordedLine> = read.collect();
        let again = replay(&read, None);
        assert_eq!((again.users.seconds, again.users.differences), (60, vec![]));
        let Some((_, Verdict::Fail { reason })) = again.users.replayed else {
            panic!("{:?}", again.users.replayed)
        };
        assert!(reason.contains("are empty on green"), "{reason}");
        let counted = text.iter().filter(|line| line.starts_with("{\"contents\""));
        let longest = counted.map(String::len).max();
        assert!(
            longest < Some(130),
            "a line a second stays short: {longest:?}"
        );
    }

    #[test]
    fn a_recording_from_before_answers_were_compared_has_no_share_for_them() {
        let mut policy = serde_json::to_value(Policy::default()).unwrap();
        policy.as_object_mut().unwrap().remove("contents");
        let old: Policy = serde_json::from_value(policy).unwrap();
        assert_eq!(old.contents, ContentPolicy::default());
        let lines = recorded(old);
        let compared = lines
            .iter()
            .filter(|line| matches!(line, RecordedLine::Contents(_)));
        assert_eq!(compared.count(), 0, "nothing is looked at");
        assert_eq!(replay(&lines, None).users.differences, []);
    }

    proptest! {
        #[test]
        fn any_header_becomes_a_short_plain_name(value in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = [0; TYPE_MAX];
            let name = media_type(&value, &mut buffer);
            prop_assert!(name.len() <= TYPE_MAX && name.bytes().all(|byte| byte.is_ascii_graphic()));
        }

        #[test]
        fn larger_bodies_are_in_no_lower_bucket(a in any::<u64>(), b in 0u64..10_000_000) {
            let (less, more) = (a.min(b), a.max(b));
            prop_assert!(size_bucket(less) <= size_bucket(more));
            prop_assert!(size_bucket(more) < SIZES);
        }
    }
}
