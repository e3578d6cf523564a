//! When a number of green's is bad: beyond a fixed limit, or too far from blue's.
//!
//! A number may convict, and missing data never acquits: NaN, and an infinite value that no limit
//! calls bad (a division by zero at night), are no data.

use crate::core::source::Reading;

/// A distance from blue's number.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Margin {
    /// This part of blue's number.
    pub share: f64,
    /// An absolute amount on top.
    pub plus: f64,
}

impl Margin {
    fn of(self, blue: f64) -> f64 {
        blue.abs() * self.share + self.plus
    }
}

/// When a number of green's is bad; at least one of the limits is set.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limit {
    /// Above this number.
    pub max: Option<f64>,
    /// Below this number.
    pub min: Option<f64>,
    /// Above blue's number by more than this.
    pub above: Option<Margin>,
    /// Below blue's number by more than this.
    pub below: Option<Margin>,
}

impl Limit {
    /// Whether no limit is set.
    pub fn is_empty(&self) -> bool {
        *self == Limit::default()
    }

    /// Whether green's number is compared with blue's.
    pub fn compares(&self) -> bool {
        self.above.is_some() || self.below.is_some()
    }

    /// The reading of green's number alone; `None` when blue's number is needed too.
    pub fn alone(&self, green: f64) -> Option<Reading> {
        let told = |side: &str, limit: f64| {
            let (green, limit) = (shown(green), shown(limit));
            Some(Reading::Bad(format!(
                "green has {green}, the {side} is {limit}"
            )))
        };
        match (self.max, self.min) {
            (Some(max), _) if green > max => return told("maximum", max),
            (_, Some(min)) if green < min => return told("minimum", min),
            _ => {}
        }
        (green.is_nan() || !self.compares()).then(|| finite(green))
    }

    /// The reading of green's number beside blue's.
    pub fn beside(&self, green: f64, blue: f64) -> Reading {
        if !blue.is_finite() {
            return Reading::NoData(format!("blue's number is {blue}"));
        }
        let told = |limit: f64, words: &str| {
            let (green, blue, limit) = (shown(green), shown(blue), shown(limit));
            Reading::Bad(format!("green has {green}, blue {blue}: {words} {limit}"))
        };
        let most = self.above.map_or(blue, |margin| blue + margin.of(blue));
        let least = self.below.map_or(blue, |margin| blue - margin.of(blue));
        if self.above.is_some() && green > most {
            return told(most, "allowed is at most");
        }
        if self.below.is_some() && green < least {
            return told(least, "needed is at least");
        }
        if !(most.is_finite() && least.is_finite()) {
            return Reading::NoData(format!("the margin around blue's {blue} has no number"));
        }
        finite(green)
    }
}

fn finite(green: f64) -> Reading {
    if green.is_finite() {
        return Reading::Good;
    }
    Reading::NoData(format!(
        "green's number is {green}: is something divided by zero?"
    ))
}

/// A number for people: six significant digits.
fn shown(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reading(limit: Limit, green: f64, blue: f64) -> Reading {
        let alone = limit.alone(green);
        alone.unwrap_or_else(|| limit.beside(green, blue))
    }

    fn margin(share: f64, plus: f64) -> Option<Margin> {
        Some(Margin { share, plus })
    }

    const NONE: Limit = Limit {
        max: None,
        min: None,
        above: None,
        below: None,
    };

    /// The limit, green's number, blue's, and the reason if it is bad.
    type Case = (Limit, f64, f64, Option<&'static str>);

    fn hold(cases: &[Case]) {
        for &(limit, green, blue, bad) in cases {
            let expected = bad.map_or(Reading::Good, |why| Reading::Bad(why.to_owned()));
            let found = reading(limit, green, blue);
            assert_eq!(found, expected, "{limit:?} {green} {blue}");
        }
    }

    #[test]
    fn a_fixed_limit_is_bad_on_its_side_alone() {
        let max = Limit {
            max: Some(5.0),
            ..NONE
        };
        let min = Limit {
            min: Some(0.99),
            ..NONE
        };
        let low = "green has 0.98, the minimum is 0.99";
        hold(&[
            (max, 5.0, 0.0, None),
            (max, 5.1, 0.0, Some("green has 5.1, the maximum is 5")),
            (max, -1e9, 0.0, None),
            (min, 0.99, 0.0, None),
            (min, 0.98, 0.0, Some(low)),
            (min, 1e9, 0.0, None),
        ]);
    }

    #[test]
    fn a_margin_is_bad_on_its_side_alone() {
        let above = Limit {
            above: margin(0.5, 1.0),
            ..NONE
        };
        let below = Limit {
            below: margin(0.1, 1.0),
            ..NONE
        };
        let near = Limit {
            above: margin(0.1, 0.0),
            below: margin(0.1, 0.0),
            ..NONE
        };
        let high = "green has 9, blue 3: allowed is at most 5.5";
        let low = "green has 88.9, blue 100: needed is at least 89";
        // A margin is a part of the number's size, also below zero.
        let lower = "green has -12.1, blue -10: needed is at least -12";
        let higher = "green has -3.9, blue -10: allowed is at most -4";
        let near_high = "green has 1.2, blue 1: allowed is at most 1.1";
        let near_low = "green has 0.8, blue 1: needed is at least 0.9";
        hold(&[
            (above, 5.5, 3.0, None),
            (above, 9.0, 3.0, Some(high)),
            (above, -9.0, 3.0, None),
            (below, 89.0, 100.0, None),
            (below, 88.9, 100.0, Some(low)),
            (below, 1e9, 100.0, None),
            (below, -12.0, -10.0, None),
            (below, -12.1, -10.0, Some(lower)),
            (above, -4.0, -10.0, None),
            (above, -3.9, -10.0, Some(higher)),
            (near, 1.0, 1.0, None),
            (near, 1.2, 1.0, Some(near_high)),
            (near, 0.8, 1.0, Some(near_low)),
        ]);
    }

    #[test]
    fn blue_is_asked_only_where_it_is_needed() {
        let both = Limit {
            max: Some(5.0),
            below: margin(0.1, 0.0),
            ..NONE
        };
        assert!(matches!(both.alone(6.0), Some(Reading::Bad(_))));
        assert_eq!(both.alone(4.0), None);
        assert_eq!(
            Limit {
                below: None,
                ..both
            }
            .alone(4.0),
            Some(Reading::Good)
        );
    }

    fn limit() -> impl Strategy<Value = Limit> {
        let number = || prop::option::of(-100.0..100.0);
        let margin = || {
            let both = (0.0..2.0, 0.0..10.0);
            prop::option::of(both.prop_map(|(share, plus)| Margin { share, plus }))
        };
        (number(), number(), margin(), margin())
            .prop_map(|(max, min, above, below)| Limit {
                max,
                min,
                above,
                below,
            })
            .prop_filter("a limit", |limit| !limit.is_empty())
    }

    proptest! {
        #[test]
        fn what_is_no_number_is_never_good(limit in limit(), other in any::<f64>()) {
            for strange in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                prop_assert_ne!(reading(limit, strange, other), Reading::Good);
                if limit.compares() {
                    prop_assert_ne!(reading(limit, other, strange), Reading::Good);
                }
            }
            prop_assert!(!matches!(reading(limit, f64::NAN, 1.0), Reading::Bad(_)));
        }

        /// What is good has no gaps: between two good numbers every number is good, and a number equal to blue's is
        /// good.
        #[test]
        fn what_is_good_has_no_gaps(
            limit in limit(), blue in -200.0..200.0, one in -300.0..300.0, other in -300.0..300.0, between in 0.0..1.0,
        ) {
            let good = |green: f64| reading(limit, green, blue) == Reading::Good;
            if good(one) && good(other) {
                let middle: f64 = one + (other - one) * between;
                prop_assert!(good(middle.clamp(one.min(other), one.max(other))));
            }
            let near = Limit { max: None, min: None, ..limit };
            if near.compares() {
                prop_assert_eq!(reading(near, blue, blue), Reading::Good);
            }
        }

        /// The lower limits mirror the upper ones.
        #[test]
        fn both_directions_are_alike(limit in limit(), green in -300.0..300.0, blue in -200.0..200.0) {
            let mirrored = Limit {
                max: limit.min.map(|x: f64| -x),
                min: limit.max.map(|x: f64| -x),
                above: limit.below,
                below: limit.above,
            };
            let bad = |reading: Reading| matches!(reading, Reading::Bad(_));
            prop_assert_eq!(bad(reading(limit, green, blue)), bad(reading(mirrored, -green, -blue)));
        }
    }
}
