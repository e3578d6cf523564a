//! A new configuration at run time: taken as a whole, or not at all.

use crate::config::Config;
use crate::control::api::command::{CommandError, CommandOutcome};
use crate::control::controller::Controller;
use crate::driver::static_pools;
use crate::store::Clock;
use crate::store::NoteKind;
use std::sync::Arc;

impl Controller {
    /// Takes a new configuration as a whole, or not at all.
    pub(super) fn reload(&mut self) -> Result<CommandOutcome, CommandError> {
        let result = self.try_reload();
        self.metrics.config_reloaded(result.is_ok());
        match &result {
            Ok(receipt) => self
                .timeline
                .tell("", None, NoteKind::Config, receipt.text.clone()),
            Err(refusal) => {
                self.timeline.tell(
                    "",
                    None,
                    NoteKind::Config,
                    format!("the configuration was not reloaded, the old one goes on: {refusal}"),
                );
            }
        }
        result
    }

    fn try_reload(&mut self) -> Result<CommandOutcome, CommandError> {
        let Some(path) = &self.config_file else {
            return Err(CommandError::NotNow(
                "there is no configuration file to reload".to_owned(),
            ));
        };
        let file =
            Config::load(path).map_err(|error| CommandError::Configuration(error.one_line()))?;
        let labelled = self
            .discovered
            .still(&file, |name| self.is_still_there(name));
        let (new, _) = file.with(labelled.clone());
        self.reload_fits(&new)?;
        self.discovered.keep(labelled);
        self.file = Arc::new(file);
        let changed = self.serve(new);
        Ok(CommandOutcome {
            text: format!("configuration reloaded, services changed: {changed}"),
            ..CommandOutcome::default()
        })
    }

    /// Takes over the services of a configuration; returns how many have changed.
    pub(super) fn serve(&mut self, new: Config) -> usize {
        let mut services = Vec::with_capacity(new.services.len());
        let (mut changed, mut fresh) = (0, vec![]);
        for service in &new.services {
            let old = self.service_named(&service.name);
            let state = match old {
                Some(at) => {
                    let mut state = self.services.swap_remove(at);
                    changed += usize::from(*state.settings != *service);
                    state.adopt(Arc::new(service.clone()));
                    state
                }
                None => {
                    changed += 1;
                    fresh.push(services.len());
                    self.load_service(service)
                }
            };
            services.push(state);
        }
        for gone in std::mem::replace(&mut self.services, services) {
            changed += 1;
            self.metrics.forget(&gone.route.service);
        }
        self.context.access = new.docker.access;
        self.config = Arc::new(new);
        for &i in &fresh {
            self.resume(i);
        }
        self.publish();
        self.want();
        for i in fresh {
            self.restart_where_seen(i, Clock::now());
        }
        changed
    }

    fn reload_fits(&self, new: &Config) -> Result<(), CommandError> {
        let old = &self.config;
        let fixed = [
            ("[proxy] listen", old.proxy.listen != new.proxy.listen),
            (
                "[proxy.tls] listen",
                old.proxy.all_listen() != new.proxy.all_listen(),
            ),
            ("[proxy] threads", old.proxy.threads != new.proxy.threads),
            ("[log] access", old.log.access != new.log.access),
            ("[admin]", old.admin != new.admin),
            ("[docker] host", old.docker.host != new.docker.host),
            ("state", old.state != new.state),
        ];
        if let Some((key, _)) = fixed.iter().find(|(_, differs)| *differs) {
            return Err(CommandError::Configuration(format!(
                "{key} cannot change while shifter runs; put it back, or restart shifter"
            )));
        }
        if let Some(why) = expired(old, new) {
            return Err(CommandError::Configuration(why));
        }
        for state in &self.services {
            let name = &state.route.service;
            let busy = state.run.is_some() || self.is_drilled(name);
            let same = new.service(name).is_some_and(|service| {
                let old = &state.settings;
                service.blue == old.blue
                    && service.green == old.green
                    && service.control.addresses() == old.control.addresses()
            });
            let running = &state.saved.running;
            if new
                .service(name)
                .is_some_and(|new| !static_pools::names(new, running))
            {
                return Err(CommandError::Configuration(format!(
                    "`{name}`: {} was promoted and serves; name it as `blue` or as `green` of [service.{name}], so that the next version can be told from it",
                    running.join(", ")
                )));
            }
            if busy && !same {
                return Err(CommandError::Configuration(format!(
                    "`{name}` has a rollout under way; its backends cannot change or go before it ends"
                )));
            }
        }
        Ok(())
    }
}

/// Why a new certificate cannot be used; one that is in use may stay.
fn expired(old: &Config, new: &Config) -> Option<String> {
    let now = jiff::Timestamp::now().as_second();
    let all = |config: &Config| {
        let tls = config.proxy.tls.clone();
        tls.map(|tls| tls.certificates).unwrap_or_default()
    };
    let known = all(old);
    let mut fresh = all(new).into_iter().filter(|one| !known.contains(one));
    fresh.find(|one| one.expired(now))?.worry(now)
}
