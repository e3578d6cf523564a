//! Faults: what makes green worse than blue.

/// What is wrong with green, from the first second on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fault {
    /// Its name in the tables.
    pub name: &'static str,
    /// Share of blue's requests that fail, 0 to 1, where the world adds nothing.
    pub blue_errors: f64,
    /// Share of green's requests that fail, 0 to 1, where the world adds nothing.
    pub green_errors: f64,
    /// Factor on all of green's latencies.
    pub slower: f64,
    /// Factor on green's slow 3 %.
    pub tail: f64,
    /// Share of green's requests that take `late_millis` longer, 0 to 1.
    pub late: f64,
    /// In milliseconds.
    pub late_millis: f64,
}

impl Fault {
    /// Green equals blue.
    pub const NONE: Fault = Fault {
        name: "none",
        blue_errors: 0.001,
        green_errors: 0.001,
        slower: 1.0,
        tail: 1.0,
        late: 0.0,
        late_millis: 0.0,
    };

    const fn errors(name: &'static str, blue_errors: f64, green_errors: f64) -> Fault {
        Fault {
            name,
            blue_errors,
            green_errors,
            ..Fault::NONE
        }
    }

    /// The seven regressions of the detection tables.
    pub const ALL: [Fault; 7] = [
        Fault::errors("err 0->100%", 0.0, 1.0),
        Fault::errors("err 0.1->1%", 0.001, 0.01),
        Fault::errors("err 0.1->5%", 0.001, 0.05),
        Fault::errors("err 0.5->1%", 0.005, 0.01),
        Fault {
            name: "lat 5% +1s",
            late: 0.05,
            late_millis: 1_000.0,
            ..Fault::NONE
        },
        Fault {
            name: "lat p50 +20%",
            slower: 1.2,
            ..Fault::NONE
        },
        Fault {
            name: "lat tail x2",
            tail: 2.0,
            ..Fault::NONE
        },
    ];
}
