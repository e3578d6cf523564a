//! Cleanup: when containers and images that are no longer needed are removed, and what is remembered of it.

use crate::config::Access;
use crate::control::controller::Controller;
use crate::control::handle::Message;
use crate::core::table::Color;
use crate::driver::docker::cleanup::{self, Keep, Swept};
use crate::store::NoteKind;
use crate::store::saved::{Fetched, Kept};
use std::time::{Duration, Instant};

/// How often to check whether a cleanup is due.
const SWEEP: Duration = Duration::from_secs(60);

/// How long after a failed cleanup the next one starts.
const AGAIN: Duration = Duration::from_secs(5);

/// How long the end of the process waits for a last cleanup.
const LAST_SWEEP: Duration = Duration::from_secs(10);

impl Controller {
    /// Stops and removes what is no longer needed, where that is due.
    pub(super) fn sweep(&mut self) {
        if self.config.docker.access < Access::Manage || self.watcher.lost.is_some() {
            return;
        }
        for i in 0..self.services.len() {
            let (state, watcher) = (&self.services[i], &self.watcher);
            let seen = &state.docker;
            let late = seen.next_sweep.is_none_or(|next| Instant::now() >= next);
            let due = seen.sweep_due || late;
            if !state.is_docker()
                || !due
                || seen.sweeping.is_some()
                || !state.sighted(watcher)
                || seen.restart_due
            {
                continue;
            }
            let Some(own) = self.own.upgrade() else {
                return;
            };
            let keep = self.keep(i);
            let (engine, service) = (watcher.engine.clone(), state.route.service.clone());
            let task = tokio::spawn(async move {
                let result = cleanup::sweep(&engine, &keep)
                    .await
                    .map_err(|error| error.to_string());
                let retired = keep.retired;
                let swept = Message::Swept {
                    service,
                    retired,
                    result,
                };
                let _ = own.send(swept).await;
            });
            let seen = &mut self.services[i].docker;
            seen.sweeping = Some(task.abort_handle());
            (seen.sweep_due, seen.next_sweep) = (false, Some(Instant::now() + SWEEP));
        }
    }

    /// Keeps a released green running for `keep_green`: a person wants to inspect it.
    pub(super) fn keep_running(&mut self, i: usize) {
        let state = &mut self.services[i];
        let until = jiff::Timestamp::now() + state.settings.keep_green;
        let green = state.docker.containers[Color::Green.index()].iter();
        let kept = green.flatten().map(|container| Kept {
            id: container.id.clone(),
            until: until.to_string(),
        });
        state.saved.kept = kept.collect();
        let written = self
            .timeline
            .journal
            .save_service(&state.route.service, &state.saved);
        let _ = self.timeline.watch(written);
    }

    /// What the cleanup of a service must keep.
    fn keep(&self, i: usize) -> Keep {
        let state = &self.services[i];
        let rollout = state.run.as_ref().map_or(0, |run| run.saved.id);
        Keep {
            owner: self.watcher.owner(&state.route.service, rollout),
            baseline: state.has_baseline(),
            serving: state.serving(),
            promoted: state.promoted_containers(),
            retired: state.saved.retired.clone(),
            kept: still_kept(&state.saved.kept, jiff::Timestamp::now()),
            name: state.settings.fixed_name().map(str::to_owned),
            keep_green: state.settings.keep_green,
            grace: state.settings.drain,
            images: self.too_many_images(i),
            moving: state.docker.moving.clone(),
            first: !state.docker.swept,
        }
    }

    /// Ids of images that were fetched for a service and exceed the number to keep; none during its rollout.
    fn too_many_images(&self, i: usize) -> Vec<String> {
        if self.services[i].run.is_some() {
            return vec![];
        }
        let lists: Vec<&[Fetched]> = self
            .services
            .iter()
            .map(|state| state.saved.fetched.as_slice())
            .collect();
        too_many(&lists, i, self.config.docker.keep_images)
    }

    /// An image was fetched for a service.
    pub(super) fn fetched(&mut self, service: &str, fetched: Fetched) {
        let Some(i) = self.service_named(service) else {
            return;
        };
        let state = &mut self.services[i];
        state.saved.fetched.retain(|one| one.id != fetched.id);
        state.saved.fetched.push(fetched);
        let written = self.timeline.journal.save_service(service, &state.saved);
        let _ = self.timeline.watch(written);
    }

    /// Before the process ends: runs a due cleanup where that takes no longer than [`LAST_SWEEP`].
    pub(super) async fn clear_away(&mut self) {
        if self.config.docker.access < Access::Manage || self.watcher.lost.is_some() {
            return;
        }
        for i in 0..self.services.len() {
            let seen = &mut self.services[i].docker;
            seen.stop_sweeping();
            if !seen.sweep_due || !self.services[i].sighted(&self.watcher) {
                continue;
            }
            let keep = self.keep(i);
            let sweep = cleanup::sweep(&self.watcher.engine, &keep);
            let result = match tokio::time::timeout(LAST_SWEEP, sweep).await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => Err("there was no time left".to_owned()),
            };
            self.swept(&keep.owner.service, &keep.retired, result);
        }
    }

    /// Takes the result of a cleanup; containers replaced since its start wait for the next one.
    pub(super) fn swept(
        &mut self,
        service: &str,
        retired: &[String],
        result: Result<Swept, String>,
    ) {
        let Some(i) = self.service_named(service) else {
            return;
        };
        self.services[i].docker.sweeping = None;
        match result {
            Ok(swept) => {
                for line in swept.told {
                    self.timeline
                        .tell(service, None, NoteKind::Containers, line);
                }
                let seen = &mut self.services[i].docker;
                seen.swept = true;
                for trouble in seen.unswept.fresh(swept.troubles) {
                    self.timeline
                        .tell(service, None, NoteKind::Trouble, trouble);
                }
                let state = &mut self.services[i];
                state.docker.highest = state.docker.highest.max(swept.highest);
                if swept.again {
                    let again = Some(Instant::now() + AGAIN);
                    (state.docker.next_sweep, state.docker.swept) = (again, false);
                }
                let before = (state.saved.retired.len(), state.saved.fetched.len());
                state.saved.retired.retain(|id| !retired.contains(id));
                state
                    .saved
                    .fetched
                    .retain(|one| !swept.images.contains(&one.id));
                if (state.saved.retired.len(), state.saved.fetched.len()) != before {
                    let written = self.timeline.journal.save_service(service, &state.saved);
                    let _ = self.timeline.watch(written);
                }
            }
            Err(why) => {
                let seen = &mut self.services[i].docker;
                // The transfer of a name may be incomplete.
                (seen.next_sweep, seen.swept) = (Some(Instant::now() + AGAIN), false);
                let text =
                    format!("not everything could be cleared away, and is tried again: {why}");
                self.timeline.tell(service, None, NoteKind::Trouble, text);
            }
        }
    }
}

/// The ids of the images fetched for the service `own`, without the last `keep` and without those that another service
/// keeps.
fn too_many(lists: &[&[Fetched]], own: usize, keep: usize) -> Vec<String> {
    let last = |list: &[Fetched]| list[list.len().saturating_sub(keep)..].to_vec();
    let kept: Vec<Fetched> = lists.iter().flat_map(|list| last(list)).collect();
    let old = lists[own]
        .iter()
        .filter(|one| !kept.iter().any(|kept| kept.id == one.id));
    old.map(|one| one.id.clone()).collect()
}

/// Ids of containers that are still to be kept at this time.
fn still_kept(all: &[Kept], now: jiff::Timestamp) -> Vec<String> {
    let lasts = |kept: &&Kept| {
        let until = kept.until.parse::<jiff::Timestamp>();
        until.is_ok_and(|until| now < until)
    };
    let still = all.iter().filter(lasts);
    still.map(|kept| kept.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_images_of_each_service_are_kept() {
        let list = |ids: &[&str]| -> Vec<Fetched> {
            let one = |id: &&str| Fetched {
                id: (*id).to_owned(),
                image: format!("app:{id}"),
            };
            ids.iter().map(one).collect()
        };
        let (api, web) = (list(&["1", "2", "3", "4"]), list(&["2"]));
        let lists = [api.as_slice(), web.as_slice()];
        assert_eq!(too_many(&lists, 0, 2), ["1"], "the other service has 2");
        assert_eq!(too_many(&lists[..1], 0, 2), ["1", "2"]);
        assert_eq!(too_many(&lists, 1, 2), [""; 0]);
        assert_eq!(too_many(&lists, 0, 9), [""; 0]);
    }

    #[test]
    fn a_green_is_kept_for_its_time() {
        let now = "2026-01-01T12:00:00Z".parse().expect("a time");
        let cases = [
            ("2026-01-01T12:00:01Z", 1),
            ("2026-01-01T12:00:00Z", 0),
            ("soon", 0),
        ];
        for (until, kept) in cases {
            let all = [Kept {
                id: "five".to_owned(),
                until: until.to_owned(),
            }];
            assert_eq!(still_kept(&all, now).len(), kept, "{until}");
        }
    }
}
