//! The effect of the backends' health and load on a rollout.

use crate::control::report::entry::Entry;
use crate::control::service::identity;
use crate::control::service::state::ServiceState;
use crate::core::judge::Verdict;
use crate::core::plan::Step;
use crate::core::rollout::{Event, Phase};
use crate::core::table::Color;
use crate::core::time::Time;
use crate::store::NoteKind;
use crate::store::shared_state::{BackendState, Health, PublishedService};
use crate::store::window::Reading;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// The events for the state machine that follow from the checks.
pub fn events(state: &mut ServiceState, published: &PublishedService, now: Time) -> Vec<Event> {
    let well = state.green_is_well();
    let min_ready = state.settings.health.min_ready;
    let fallen = state.docker.fallen.clone();
    let mut events: Vec<Event> = state.baseline_event(published, now).into_iter().collect();
    let Some(run) = &mut state.run else {
        return vec![];
    };
    for color in Color::BOTH {
        let pool = &published.pools[color.index()];
        let count =
            |holds: fn(&BackendState) -> bool| pool.iter().filter(|backend| holds(backend)).count();
        let doubted = count(BackendState::doubted);
        let up = count(|backend| backend.health() == Health::Up && !backend.doubted());
        let down = count(|backend| backend.health() == Health::Down || backend.doubted());
        if color == Color::Green {
            let all = !pool.is_empty() && up == pool.len() && well;
            run.well_since = all.then(|| run.well_since.unwrap_or(now));
            if run
                .well_since
                .is_some_and(|since| now.since(since) >= min_ready)
            {
                run.ready = true;
                if run.trial.rollout().step() == Some(&Step::Start) {
                    events.push(Event::Ready);
                }
            }
        }
        let fallen = &fallen[color.index()];
        let gone = fallen.is_some() || (!pool.is_empty() && down == pool.len());
        let lost = &mut run.lost[color.index()];
        if gone && !*lost && (color == Color::Blue || run.ready || fallen.is_some()) {
            *lost = true;
            let what = match fallen {
                Some(what) => what.clone(),
                None if doubted > 0 => identity::words(&format!("{color}")),
                None => format!("no backend of {color} is healthy any more"),
            };
            events.push(Event::Lost { color, what });
        } else if *lost && up > 0 && fallen.is_none() {
            *lost = false;
            events.push(Event::Back(color));
        }
    }
    events
}

/// The log line where no rollout is under way: the serving pool has lost its last healthy member, or has one again.
pub fn turn(state: &mut ServiceState, published: &PublishedService) -> Option<Entry> {
    let pool = &published.pools[Color::Blue.index()];
    if state.run.is_some() || pool.is_empty() {
        return None;
    }
    let bad = |backend: &BackendState| backend.health() == Health::Down || backend.doubted();
    let lost = pool.iter().all(|backend| bad(backend));
    // A member without a first check has no known health.
    let back = pool
        .iter()
        .any(|backend| backend.health() == Health::Up && !backend.doubted());
    match (state.lost, lost, back) {
        (false, true, _) => {
            state.lost = true;
            let why = pool.iter().find_map(|backend| backend.ill());
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            let text = format!("no backend of blue is healthy any more{why}: users get 503");
            Some(Entry::new(NoteKind::Health, text))
        }
        (true, _, true) => {
            state.lost = false;
            let text = "a backend of blue is healthy again";
            Some(Entry::new(NoteKind::State, text))
        }
        _ => None,
    }
}

/// Tells the upgraded connections of a pool that is being released to end one by one; returns the number of open ones
/// when this starts.
fn farewell(
    state: &ServiceState,
    published: &PublishedService,
    now: Time,
) -> Option<(Color, i64, Duration)> {
    let run = state.run.as_ref()?;
    let (leaving, within) = (
        run.trial.rollout().leaving(now),
        run.trial.rollout().plan().drain,
    );
    let mut news = None;
    for color in Color::BOTH {
        let within = (leaving == Some(color)).then_some(within);
        for backend in &published.pools[color.index()] {
            if backend.let_go(within) && within.is_some() {
                let open = news.map_or(0, |(_, open, _)| open);
                let more = backend.in_flight.load(Relaxed);
                news = Some((color, open + more, run.trial.rollout().plan().drain));
            }
        }
    }
    // The baseline is released with either pool.
    for backend in &published.baseline {
        backend.let_go(leaving.map(|_| run.trial.rollout().plan().drain));
    }
    news
}

/// Whether the released pool has no request in flight.
pub fn drained(state: &ServiceState, published: &PublishedService) -> bool {
    let Some(run) = &state.run else { return false };
    let color = match run.trial.rollout().phase() {
        Phase::RollingBack { .. } => Color::Green,
        Phase::Promoted => Color::Blue,
        _ => return false,
    };
    let pool = &published.pools[color.index()];
    pool.iter()
        .chain(&published.baseline)
        .all(|backend| backend.in_flight.load(Relaxed) <= 0)
}

/// Ends what is still open on a pool that is being released; the line on how much that is, when it starts.
pub fn release(state: &ServiceState, published: &PublishedService, now: Time) -> Option<Entry> {
    let (color, open, within) = farewell(state, published, now)?;
    let text = format!(
        "{color} is on its way out: {open} requests are still open on it, and WebSockets are closed one by one within {} s",
        within.as_secs()
    );
    (open > 0).then(|| Entry::new(NoteKind::Drain, text))
}

impl ServiceState {
    /// What one pass has observed: lines for people, and the events for the state machine in their order.
    pub(in crate::control) fn observe(
        &mut self,
        published: &PublishedService,
        reading: &Reading,
        verdict: Option<Verdict>,
        now: Time,
    ) -> (Vec<Entry>, Vec<Event>) {
        let Some(run) = &mut self.run else {
            return (turn(self, published).into_iter().collect(), vec![]);
        };
        let mut all = std::mem::take(&mut run.pending);
        all.extend(events(self, published, now));
        let beside = self.beside(reading);
        let entries = beside.iter().filter_map(suspicion).collect();
        all.extend(beside);
        all.extend(verdict.map(Event::Judged));
        if drained(self, published) {
            all.push(Event::Drained);
        }
        all.push(Event::Tick);
        (entries, all)
    }
}

/// The line on the start or the end of a suspicion that green harms blue.
fn suspicion(event: &Event) -> Option<Entry> {
    let text = match event {
        Event::Suspected(why) => format!(
            "{why}: green's requests go to green and to blue in turn, to see whether green harms blue"
        ),
        Event::Cleared(why) => format!("it is not green: {why}; the rollout goes on"),
        _ => return None,
    };
    Some(Entry::new(NoteKind::Verdict, text))
}
