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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::fixture::{ADDRESSES, CONTAINERS, Fixture, running};
    use Health::{Down, Unknown, Up};

    fn lost(color: Color) -> Event {
        let what = format!("no backend of {color} is healthy any more");
        Event::Lost { color, what }
    }

    #[test]
    fn green_is_ready_when_all_of_it_was_healthy_for_min_ready() {
        let text = format!("{ADDRESSES}health = {{ min_ready = \"5s\" }}\n");
        let mut fixture = Fixture::starting(&text);
        for (seconds, green, ready) in [
            (0, [Up, Unknown], false),
            (1, [Up, Up], false),
            (5, [Up, Up], false),
            // One check fails: the time begins anew.
            (6, [Up, Down], false),
            (7, [Up, Up], false),
            (11, [Up, Up], false),
            (12, [Up, Up], true),
        ] {
            fixture.check(Color::Green, &green);
            let published = fixture.published();
            let found = events(&mut fixture.state, &published, Time(seconds * 1_000));
            let expected = if ready { vec![Event::Ready] } else { vec![] };
            assert_eq!(found, expected, "after {seconds} s");
        }
    }

    #[test]
    fn a_green_that_was_never_ready_is_not_lost_by_its_checks() {
        let mut fixture = Fixture::starting(ADDRESSES);
        fixture.check(Color::Green, &[Down, Down]);
        let published = fixture.published();
        assert_eq!(events(&mut fixture.state, &published, Time(0)), []);
        // The engine's word counts from the start.
        let fallen = "green's container app-2 exited".to_owned();
        fixture.state.docker.fallen[1] = Some(fallen.clone());
        let color = Color::Green;
        let what = fallen;
        let found = events(&mut fixture.state, &published, Time(0));
        assert_eq!(found, [Event::Lost { color, what }]);
    }

    #[test]
    fn the_loss_of_a_pool_and_its_return_are_events_once() {
        for color in Color::BOTH {
            let mut fixture = Fixture::shifting(ADDRESSES, Time(0));
            let mut seen = |health: [Health; 2]| {
                fixture.check(color, &health);
                let published = fixture.published();
                events(&mut fixture.state, &published, Time(1))
            };
            seen([Up, Up]);
            assert_eq!(seen([Down, Up]), [], "one of two serves");
            assert_eq!(seen([Down, Down]), [lost(color)]);
            assert_eq!(seen([Down, Down]), []);
            assert_eq!(seen([Down, Unknown]), [], "not checked is not back");
            assert_eq!(seen([Up, Down]), [Event::Back(color)]);
            assert_eq!(seen([Up, Up]), []);
        }
    }

    #[test]
    fn a_pool_that_the_engine_calls_ended_is_not_back_by_a_check() {
        let mut fixture = Fixture::shifting(CONTAINERS, Time(0));
        fixture.check(Color::Green, &[Up]);
        fixture.state.docker.containers[1] = Some(vec![running("new")]);
        fixture.state.docker.fallen[1] = Some("it exited".to_owned());
        let published = fixture.published();
        let found = events(&mut fixture.state, &published, Time(1));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(events(&mut fixture.state, &published, Time(2)), []);
        fixture.state.docker.fallen[1] = None;
        let found = events(&mut fixture.state, &published, Time(3));
        assert_eq!(found, [Event::Back(Color::Green)]);
    }

    #[test]
    fn without_a_rollout_the_loss_of_blue_is_told_once() {
        let mut fixture = Fixture::at_rest(ADDRESSES);
        for (health, kind) in [
            ([Unknown, Down], None),
            ([Up, Down], None),
            ([Down, Down], Some(NoteKind::Health)),
            ([Down, Down], None),
            ([Unknown, Down], None),
            ([Up, Down], Some(NoteKind::State)),
            ([Up, Up], None),
        ] {
            fixture.check(Color::Blue, &health);
            let published = fixture.published();
            let told = turn(&mut fixture.state, &published).map(|entry| entry.kind);
            assert_eq!(told, kind, "{health:?}");
        }
    }

    #[test]
    fn a_released_pool_is_drained_when_nothing_is_in_flight() {
        let mut fixture = Fixture::shifting(ADDRESSES, Time(0));
        let green = fixture.backends(Color::Green);
        green[1]
            .in_flight
            .store(2, std::sync::atomic::Ordering::Relaxed);
        let published = fixture.published();
        assert!(!drained(&fixture.state, &published), "nothing is released");
        assert_eq!(release(&fixture.state, &published, Time(1)), None);
        fixture.drive(Event::Abort("enough".to_owned()), Time(1));
        let published = fixture.published();
        let told = release(&fixture.state, &published, Time(1)).expect("a line");
        assert!(told.text.contains("2 requests are still open"), "{told:?}");
        assert_eq!(release(&fixture.state, &published, Time(2)), None, "once");
        assert!(!drained(&fixture.state, &published));
        green[1]
            .in_flight
            .store(0, std::sync::atomic::Ordering::Relaxed);
        assert!(drained(&fixture.state, &published));
    }

    #[test]
    fn a_pass_gives_what_was_kept_first_and_the_time_last() {
        let mut fixture = Fixture::shifting(ADDRESSES, Time(0));
        fixture.check(Color::Blue, &[Down, Down]);
        let published = fixture.published();
        let run = fixture.state.run.as_mut().expect("a rollout");
        run.pending.push(Event::Pause);
        let (state, verdict) = (&mut fixture.state, Verdict::NoData);
        let reading = Reading::default();
        let (told, all) = state.observe(&published, &reading, Some(verdict.clone()), Time(1));
        assert_eq!(told, []);
        let expected = [
            Event::Pause,
            lost(Color::Blue),
            Event::Judged(verdict),
            Event::Tick,
        ];
        assert_eq!(all, expected);
        let (_, all) = state.observe(&published, &reading, None, Time(2));
        assert_eq!(all, [Event::Tick], "each event once");
    }
}
