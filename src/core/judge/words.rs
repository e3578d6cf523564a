//! Formats numbers for people.

/// A share in words, and the counts behind it.
pub(super) fn counted(bad: u64, requests: u64) -> (String, String) {
    let share = if requests == 0 {
        0.0
    } else {
        bad as f64 / requests as f64
    };
    (
        percent(share),
        format!("{} of {}", grouped(bad), grouped(requests)),
    )
}

/// Percent with two significant digits: `2.1%`, `0.10%`, `100%`.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        p if p <= 0.0 => "0%".to_owned(),
        p if p >= 9.95 => format!("{p:.0}%"),
        p if p >= 0.995 => format!("{p:.1}%"),
        p if p >= 0.0995 => format!("{p:.2}%"),
        p => format!("{p:.3}%"),
    }
}

/// An odds ratio: `21x`, `1.4x`.
pub fn times(odds: f64) -> String {
    if odds >= 9.95 {
        format!("{}x", grouped(odds.round() as u64))
    } else {
        format!("{odds:.1}x")
    }
}

/// An e-value as odds against: `3,100:1`, `0.6:1`.
pub fn against_one(ln_e: f64) -> String {
    match ln_e.exp() {
        e if e >= 1e9 => "more than 1,000,000,000:1".to_owned(),
        e if e >= 99.5 => {
            let unit = 10f64.powf(e.log10().floor() - 1.0);
            format!("{}:1", grouped(((e / unit).round() * unit).round() as u64))
        }
        e if e >= 9.95 => format!("{e:.0}:1"),
        e if e >= 0.095 => format!("{e:.1}:1"),
        _ => "less than 0.1:1".to_owned(),
    }
}

/// Microseconds as milliseconds.
pub fn milliseconds(micros: u64) -> String {
    let millis = micros as f64 / 1_000.0;
    if millis >= 9.95 {
        format!("{} ms", grouped(millis.round() as u64))
    } else {
        format!("{millis:.1} ms")
    }
}

/// A count with commas between the thousands.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut words = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            words.push(',');
        }
        words.push(digit);
    }
    words
}
