//! What goes wrong with calls: a rule says it of each, before anything is done.

use std::sync::Mutex;
use tokio::sync::watch;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This status and these words; nothing is done.
    Refuse(u16, &'static str),
    /// The connection ends; nothing is done.
    Cut,
    /// It is done, and the connection ends instead of an answer.
    Deaf,
    /// It is done after so many milliseconds.
    Slow(u64),
    /// Nothing comes until the rule changes, and then all is as usual.
    Hang,
    /// It is done; the header comes and half of the body, and the connection ends when the rule changes.
    Stall,
    /// It is done, and the answer has the second words in place of the first.
    Twist(&'static str, &'static str),
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its shape: `POST /containers/{}/start`.
    pub shape: String,
    /// The name of the container that is meant; empty where none is.
    pub whom: String,
    /// Its query.
    pub query: String,
    /// The version of the API that its path begins with: `1.N`.
    pub api: Option<u32>,
}

impl Call {
    pub fn is(&self, shape: &str) -> bool {
        self.shape == shape
    }
}

type Rule = Box<dyn FnMut(&Call) -> Option<Fault> + Send>;

/// The rule of now, and the calls so far.
pub struct Faults {
    rule: Mutex<Rule>,
    calls: Mutex<Vec<Call>>,
    rejected: Mutex<Vec<String>>,
    rules: watch::Sender<u64>,
}

impl Faults {
    pub fn new() -> Faults {
        Faults {
            rule: Mutex::new(Box::new(|_| None)),
            calls: Mutex::default(),
            rejected: Mutex::default(),
            rules: watch::Sender::new(0),
        }
    }

    /// Another rule from now on; what hangs goes on.
    pub fn now(&self, rule: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        *self.rule.lock().unwrap() = Box::new(rule);
        self.rules.send_modify(|rules| *rules += 1);
    }

    /// The fault of these calls, as often as `times`.
    pub fn on(&self, shape: &'static str, fault: Fault, mut times: usize) {
        self.now(move |call| {
            let meant = call.is(shape) && times > 0;
            times -= usize::from(meant);
            meant.then_some(fault)
        });
    }

    pub fn none(&self) {
        self.now(|_| None);
    }

    /// A call came: what becomes of it.
    pub fn of(&self, call: Call) -> Option<Fault> {
        let fault = self.rule.lock().unwrap()(&call);
        self.calls.lock().unwrap().push(call);
        fault
    }

    /// A call came that nobody may make.
    pub fn reject(&self, call: &str) {
        self.rejected.lock().unwrap().push(call.to_owned());
    }

    pub async fn until_the_rule_changes(&self) {
        let mut rules = self.rules.subscribe();
        rules.changed().await.unwrap();
    }

    /// All calls so far, as they came.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// The calls that were made and may not be.
    pub fn rejected(&self) -> Vec<String> {
        self.rejected.lock().unwrap().clone()
    }
}
