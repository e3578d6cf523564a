//! What happens, told to whoever listens: as it happens, in another order, or not at all.

use serde_json::{Value, json};
use std::sync::Mutex;
use tokio::sync::broadcast;

/// Events that a listener may be behind.
const BACKLOG: usize = 1024;

/// How events are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telling {
    #[default]
    Straight,
    /// Each is told after the one that came after it.
    Swapped,
    /// Nobody is told.
    Lost,
}

/// The teller.
pub struct Events(Mutex<ProgressPrinter>);

struct ProgressPrinter {
    telling: Telling,
    kept_back: Option<Value>,
    out: broadcast::Sender<Value>,
}

impl Events {
    pub fn new() -> Events {
        Events(Mutex::new(ProgressPrinter {
            telling: Telling::Straight,
            kept_back: None,
            out: broadcast::Sender::new(BACKLOG),
        }))
    }

    /// How the next ones are told; one that is kept back is told or lost with that.
    pub fn tell_them(&self, telling: Telling) {
        let mut teller = self.0.lock().unwrap();
        teller.telling = telling;
        let kept = teller.kept_back.take();
        if telling != Telling::Lost {
            kept.map(|event| teller.out.send(event));
        }
    }

    pub fn listen(&self) -> broadcast::Receiver<Value> {
        self.0.lock().unwrap().out.subscribe()
    }

    /// Every stream of events ends, and nothing is wrong otherwise.
    pub fn end(&self) {
        self.0.lock().unwrap().out = broadcast::Sender::new(BACKLOG);
    }

    /// Something happened to a container.
    pub fn tell(&self, action: &str, id: &str, name: &str) {
        let now = jiff::Timestamp::now();
        let event = json!({
            "Type": "container",
            "Action": action,
            "Actor": { "ID": id, "Attributes": { "name": name } },
            "scope": "local",
            "time": now.as_second(),
            "timeNano": now.as_nanosecond() as i64,
        });
        let mut teller = self.0.lock().unwrap();
        let now = match teller.telling {
            Telling::Lost => vec![],
            Telling::Straight => vec![event],
            Telling::Swapped => match teller.kept_back.take() {
                Some(before) => vec![event, before],
                None => {
                    teller.kept_back = Some(event);
                    vec![]
                }
            },
        };
        for event in now {
            let _ = teller.out.send(event);
        }
    }
}

/// Whether `filters`, the JSON of `GET /events`, asks for this event.
pub fn wanted(event: &Value, filters: &Value) -> bool {
    let among = |filter: &str, field: &str| {
        let Some(list) = filters[filter].as_array() else {
            return true;
        };
        let said = event[field].as_str().unwrap_or_default();
        // `health_status` stands for `health_status: healthy` too.
        let kind = said.split(':').next().unwrap_or_default();
        list.iter().any(|one| one == said || one == kind)
    };
    among("type", "Type") && among("event", "Action")
}
