//! What the program knows about its own health: how far it has come, and whether its watches work.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How long failures must go on before a restart is worth trying. Long: most outages end by themselves, and a restart
/// throws the caches away.
const FAILING_TOO_LONG: Duration = Duration::from_mins(5);

/// After this long without another failure, a watch is taken to work again: it has no other way to tell while nothing
/// changes in the cluster. Well above the pauses between a watch's own retries.
const QUIET_AGAIN: Duration = Duration::from_mins(2);

/// How far the operator has come; what `/readyz` answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// No answer from the API server yet.
    Connecting,
    /// The API server does not serve one of the resources yet.
    WaitingForCrd,
    /// Another replica works; this one takes over when that one stops.
    Standby,
    /// The leader reads what there is before it acts.
    FillingCaches,
    /// The leader works.
    Working,
    /// On its way out.
    Stopping,
}

impl Stage {
    /// Whether a pod at this stage counts as available.
    ///
    /// A standby does: else a Deployment with two replicas would never be available, and no rollout would ever end.
    pub fn is_ready(self) -> bool {
        match self {
            Self::Standby | Self::Working => true,
            Self::Connecting | Self::WaitingForCrd | Self::FillingCaches | Self::Stopping => false,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connecting => "waiting for the API server",
            Self::WaitingForCrd => {
                "waiting for a CRD of longtask.dev; install all with: longtask crd | kubectl apply -f -"
            }
            Self::Standby => "standby: waiting for the lease",
            Self::FillingCaches => "waiting for the first lists of tasks and pods",
            Self::Working => "working",
            Self::Stopping => "stopping",
        })
    }
}

/// The health of one operator; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    stage: Stage,
    watches: Vec<Watch>,
}

impl Default for State {
    fn default() -> Self {
        Self { stage: Stage::Connecting, watches: Vec::new() }
    }
}

#[derive(Debug)]
struct Watch {
    name: &'static str,
    max_silence: Option<Duration>,
    last_sign: Instant,
    failures: Option<Failures>,
}

/// Failures that follow each other without a sign of life in between.
#[derive(Clone, Debug)]
struct Failures {
    first: Instant,
    last: Instant,
    words: String,
}

impl Health {
    /// The health of an operator that has just started.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells how far the operator has come.
    pub fn reached(&self, stage: Stage) {
        self.lock().stage = stage;
    }

    /// How far the operator has come.
    pub fn stage(&self) -> Stage {
        self.lock().stage
    }

    /// Starts to observe a watch, a loop or whatever else must not stand still.
    ///
    /// It counts as alive now. It makes [`Health::complaints`] when failures go on for 5 minutes, and, with
    /// `max_silence`, also when it gives no sign of life for that long. Give `None` for what may rightly be silent,
    /// such as a watch in a quiet cluster.
    pub fn observe(&self, name: &'static str, max_silence: Option<Duration>) -> Heartbeat {
        let mut state = self.lock();
        state.watches.push(Watch { name, max_silence, last_sign: Instant::now(), failures: None });
        Heartbeat { health: self.clone(), index: state.watches.len() - 1 }
    }

    /// Reasons to restart the program, one a line; none while it is well.
    pub fn complaints(&self) -> Vec<String> {
        let now = Instant::now();
        self.lock().watches.iter().filter_map(|watch| watch.complaint(now)).collect()
    }

    /// A panic elsewhere must not take the probes down with it; every value under the lock is whole at any time.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handle by which a watch or a loop shows that it lives.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    health: Health,
    index: usize,
}

impl Heartbeat {
    /// A sign of life: an event came, a round was done. It ends a row of failures.
    pub fn beat(&self) {
        let watch = &mut self.health.lock().watches[self.index];
        watch.last_sign = Instant::now();
        watch.failures = None;
    }

    /// A failure that is going to be retried. The words are shown by `/livez` if it goes on.
    pub fn failed(&self, error: &impl fmt::Display) {
        let now = Instant::now();
        let watch = &mut self.health.lock().watches[self.index];
        let first = watch.failures_at(now).map_or(now, |failures| failures.first);
        watch.failures = Some(Failures { first, last: now, words: error.to_string() });
    }
}

impl Watch {
    fn failures_at(&self, now: Instant) -> Option<&Failures> {
        self.failures.as_ref().filter(|failures| now - failures.last < QUIET_AGAIN)
    }

    fn complaint(&self, now: Instant) -> Option<String> {
        let name = self.name;
        if let Some(Failures { first, last, words }) = self.failures_at(now)
            && *last - *first >= FAILING_TOO_LONG
        {
            return Some(format!("{name}: failing for {}s: {words}", (now - *first).as_secs()));
        }
        let silence = now - self.last_sign;
        (silence >= self.max_silence?).then(|| format!("{name}: silent for {}s", silence.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    #[test]
    fn a_standby_is_ready_and_one_without_the_crd_is_not() {
        let health = Health::new();
        assert_eq!((health.stage(), health.stage().is_ready()), (Stage::Connecting, false));
        health.reached(Stage::WaitingForCrd);
        assert!(!health.stage().is_ready());
        health.reached(Stage::Standby);
        assert!(health.stage().is_ready());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_a_complaint_only_when_they_go_on() {
        let health = Health::new();
        let pods = health.observe("pods", None);
        for _ in 0..5 {
            pods.failed(&"forbidden");
            assert_eq!(health.complaints(), [""; 0]);
            advance(MINUTE).await;
        }
        pods.failed(&"forbidden");
        assert_eq!(health.complaints(), ["pods: failing for 300s: forbidden"]);
        pods.beat();
        assert_eq!(health.complaints(), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_reconnected_in_silence_is_well() {
        let health = Health::new();
        let pods = health.observe("pods", None);
        pods.failed(&"reset");
        advance(30 * MINUTE).await;
        assert_eq!(health.complaints(), [""; 0]);
        pods.failed(&"reset");
        assert_eq!(health.complaints(), [""; 0], "a new row of failures begins");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_a_complaint_where_a_limit_was_set() {
        let health = Health::new();
        let sweep = health.observe("sweep", Some(3 * MINUTE));
        let _quiet = health.observe("pods", None);
        advance(2 * MINUTE).await;
        sweep.beat();
        advance(2 * MINUTE).await;
        assert_eq!(health.complaints(), [""; 0]);
        advance(MINUTE).await;
        assert_eq!(health.complaints(), ["sweep: silent for 180s"]);
    }
}
