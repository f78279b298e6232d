//! The circuit breaker: whether tasks are called, by how the turns of others ended.
//!
//! Closed, it counts; open, nobody is called; half open, waves of 1, 2, 4 and 8 probes are. A turn counts once, in the write that
//! drops its holder.

use jiff::Timestamp;

use super::{
    holders::{Over, Run},
    verdict::{Verdict, failure_of, verdict_on},
    window::Window,
};
use crate::api::queue::{Breaker, BreakerState, BreakerStatus, Wave};

/// How many probes the last wave has, if there are as many places.
const LAST_WAVE: i64 = 8;

/// Judges where a breaker stands.
pub(super) struct Judge<'a> {
    spec: &'a Breaker,
    places: i64,
    now: Timestamp,
    status: BreakerStatus,
}

impl<'a> Judge<'a> {
    /// What judges from what is recorded.
    pub(super) fn of(spec: &'a Breaker, places: usize, recorded: Option<&BreakerStatus>, now: Timestamp) -> Self {
        let status = recorded.cloned().unwrap_or_else(|| BreakerStatus {
            state: BreakerState::Closed,
            transition_time: now,
            openings: 0,
            wave: None,
            window: Vec::new(),
            last_failure: None,
        });
        Self { spec, places: i64::try_from(places).unwrap_or(i64::MAX), now, status }
    }

    /// Where the breaker stands after these turns are over, while these attempts run.
    pub(super) fn after(mut self, over: &[Over<'_>], runs: &[Run], somebody_waits: bool) -> BreakerStatus {
        for turn in over {
            self.take(turn);
        }
        match self.status.state {
            BreakerState::Closed if self.has_failed_too_often(runs) => self.open(),
            BreakerState::Open if self.spec.open_until(&self.status) <= self.now => {
                self.turn_to(BreakerState::HalfOpen);
                self.status.wave = Some(Wave { allow: 1, healthy: 0 });
            }
            BreakerState::HalfOpen => self.widen(runs, somebody_waits),
            BreakerState::Closed | BreakerState::Open => {}
        }
        self.status
    }

    /// Counts a turn that is over.
    fn take(&mut self, over: &Over<'_>) {
        let Some(turn) = over.turn() else { return };
        let verdict = verdict_on(turn, self.spec);
        if verdict == Verdict::Failed {
            self.status.last_failure = Some(failure_of(&over.holder, turn));
        }
        match (self.status.state, verdict) {
            (_, Verdict::Neither) | (BreakerState::Open, _) => {}
            (BreakerState::Closed, verdict) => {
                let (window, has_failed) = (&mut self.status.window, verdict == Verdict::Failed);
                Window::of(self.spec, self.now).count(window, &over.holder.task, turn.finished_at, has_failed);
            }
            // Who runs on from before it opened says nothing about now.
            (BreakerState::HalfOpen, _) if !over.holder.probe => {}
            (BreakerState::HalfOpen, Verdict::Failed) => self.open(),
            (BreakerState::HalfOpen, Verdict::Healthy) => {
                if let Some(wave) = &mut self.status.wave {
                    wave.healthy = wave.healthy.saturating_add(1);
                }
            }
        }
    }

    fn has_failed_too_often(&self, runs: &[Run]) -> bool {
        let counted = Window::of(self.spec, self.now).sum(&self.status.window);
        let lasting = runs.iter().filter(|run| run.has_lasted(self.spec.probe_for, self.now)).count();
        let all = counted.failed.saturating_add(counted.healthy).saturating_add(i64::try_from(lasting).unwrap_or(0));
        counted.is_of_several
            && counted.failed >= i64::from(self.spec.failures)
            && counted.failed.saturating_mul(100) >= all.saturating_mul(i64::from(self.spec.percent))
    }

    /// Lets more probes be called when those of the wave were healthy; closes after the last wave, or when nobody is left who
    /// could be one.
    fn widen(&mut self, runs: &[Run], somebody_waits: bool) {
        let (lasting, young): (Vec<_>, Vec<_>) =
            runs.iter().filter(|run| run.is_probe).partition(|run| run.has_lasted(self.spec.probe_for, self.now));
        let lasting = i64::try_from(lasting.len()).unwrap_or(0);
        let last = self.places.clamp(1, LAST_WAVE);
        while let Some(wave) = self.status.wave {
            let healthy = wave.healthy.saturating_add(lasting);
            let nobody_is_left = !somebody_waits && young.is_empty() && healthy > 0;
            if nobody_is_left || (healthy >= wave.allow && wave.allow >= last) {
                self.turn_to(BreakerState::Closed);
                self.status.openings = 0;
            } else if healthy >= wave.allow {
                self.status.wave = Some(Wave { allow: wave.allow.saturating_mul(2).min(last), healthy: 0 });
            } else {
                break;
            }
        }
    }

    fn open(&mut self) {
        self.turn_to(BreakerState::Open);
        self.status.openings = self.status.openings.saturating_add(1);
    }

    fn turn_to(&mut self, state: BreakerState) {
        self.status.state = state;
        self.status.transition_time = self.now;
        self.status.wave = None;
        self.status.window.clear();
    }
}

/// How many may be called; none for as many as there is room for.
pub(super) fn slots(status: &BreakerStatus, probes: usize) -> Option<usize> {
    match (status.state, status.wave) {
        (BreakerState::Closed, _) => None,
        (BreakerState::HalfOpen, Some(wave)) => {
            let free =
                wave.allow.saturating_sub(wave.healthy).saturating_sub(i64::try_from(probes).unwrap_or(i64::MAX));
            Some(usize::try_from(free).unwrap_or(0))
        }
        (BreakerState::Open | BreakerState::HalfOpen, _) => Some(0),
    }
}

/// When the breaker may stand elsewhere, if no turn ends before.
pub(super) fn next_moment(spec: &Breaker, status: &BreakerStatus, runs: &[Run], now: Timestamp) -> Option<Timestamp> {
    match status.state {
        BreakerState::Closed => None,
        BreakerState::Open => Some(spec.open_until(status)),
        BreakerState::HalfOpen => {
            let probes = runs.iter().filter(|run| run.is_probe);
            probes.filter_map(|run| run.lasts_at(spec.probe_for)).filter(|at| *at > now).min()
        }
    }
}
