//! Leader election: of all replicas, one works.
//!
//! A `coordination.k8s.io/v1` Lease says who leads and until when. Every write of it carries the resourceVersion that it
//! was decided on, so of two replicas that both see a free lease, one gets 409. Clocks of different machines are never
//! compared: another's lease has expired when *we* have seen it unchanged for as long as it promises to last, by our
//! own monotonic clock, as client-go judges it.
//!
//! The leader fences itself. Its claim counts from the moment *before* the renewal was sent, so it runs out here no
//! later than anywhere else, whether or not anything still answers. See [`Leadership::remaining`].

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use tokio::{
    select,
    sync::{Notify, watch},
    time::{self, Instant},
};
use tracing::{debug, info, warn};

use super::{
    call::{CALL_LIMIT, within},
    error::Error,
};
use crate::{cli::LeaseSettings, clock::Clock};

/// How long before the end of the lease the last create may be under way.
const LEASE_MARGIN: Duration = Duration::from_secs(1);
/// The smallest step that a `MicroTime` shows.
const TICK: Duration = Duration::from_micros(1);

/// The right to work, held until it is released or lost. Clones speak of the same claim.
#[derive(Clone, Debug)]
pub struct Leadership {
    claim: watch::Receiver<Claim>,
    resign: Arc<Notify>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    /// Without election there is nobody to lose it to.
    Sole,
    HeldUntil(Instant),
    Lost(Loss),
    Released,
}

/// Why leadership ended without being released.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Loss {
    /// Another replica holds the lease.
    #[error("the lease was taken over by {holder}")]
    TakenOver {
        /// The other's identity.
        holder: String,
    },
    /// Somebody deleted the Lease object, or cleared its holder.
    #[error("the lease was removed")]
    Removed,
    /// No renewal succeeded in time.
    #[error("the lease could not be renewed for {within:?}: {last}")]
    NotRenewed {
        /// The renew deadline.
        within: Duration,
        /// What the last try ended with.
        last: String,
    },
    /// The task that renews is gone.
    #[error("the lease is no longer being renewed")]
    Abandoned,
}

impl Leadership {
    /// The leadership of an operator that runs alone; it is never lost.
    pub fn sole() -> Self {
        let (_, claim) = watch::channel(Claim::Sole);
        Self { claim, resign: Arc::default() }
    }

    #[cfg(test)]
    pub(crate) fn ended_by(loss: Loss) -> Self {
        let (_, claim) = watch::channel(Claim::Lost(loss));
        Self { claim, resign: Arc::default() }
    }

    /// Leadership that has ended.
    #[cfg(test)]
    pub(crate) fn ended() -> Self {
        let (_, claim) = watch::channel(Claim::Released);
        Self { claim, resign: Arc::default() }
    }

    /// How long from now this replica is certain to be the only one that works.
    ///
    /// Zero once leadership is lost or released. It falls to zero by itself when renewals stop, even if nothing else
    /// in this process runs any more. A write whose timeout is shorter is over before another replica can start.
    pub fn remaining(&self) -> Duration {
        match &*self.claim.borrow() {
            Claim::Sole => Duration::MAX,
            Claim::HeldUntil(expiry) => expiry.saturating_duration_since(Instant::now()),
            Claim::Lost(_) | Claim::Released => Duration::ZERO,
        }
    }

    /// Awaits a create, which must be over before another replica could be leading.
    ///
    /// # Errors
    /// As [`call`](super::call::call), and when the lease ends too soon to begin.
    pub(crate) async fn create<T>(&self, what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        let left = self.remaining().saturating_sub(LEASE_MARGIN);
        if left.is_zero() {
            return Err(Error::NotLeading { what: what.to_owned() });
        }
        within(CALL_LIMIT.min(left), what, call).await
    }

    /// Waits until leadership is lost, and tells why. Never ends while it is held, nor once it is released.
    pub async fn lost(&self) -> Loss {
        let mut claim = self.claim.clone();
        let ended =
            claim.wait_for(|claim| matches!(claim, Claim::Lost(_) | Claim::Released)).await.map(|end| end.clone());
        let last = self.claim.borrow().clone();
        match (ended, last) {
            (Ok(Claim::Lost(loss)), _) => loss,
            (Err(_), Claim::HeldUntil(_)) => Loss::Abandoned,
            (Ok(Claim::Released | Claim::Sole | Claim::HeldUntil(_)) | Err(_), _) => std::future::pending().await,
        }
    }

    /// Gives the lease up, so that another replica can take it without waiting for its expiry.
    ///
    /// Call it after the last write. Returns when the API server has confirmed, or after a short timeout.
    pub async fn release(self) {
        self.resign.notify_one();
        let mut claim = self.claim;
        // An error means that the renewing task is gone, and there is nothing left to wait for.
        let _ = claim.wait_for(|claim| !matches!(claim, Claim::HeldUntil(_))).await;
    }
}

/// Waits for the lease and takes it. From then on it is renewed in the background.
///
/// Ends only with leadership: errors of the API server are logged and tried again. Dropping the future gives up.
pub async fn acquire(client: Client, settings: LeaseSettings, clock: Clock) -> Leadership {
    let mut contender = Contender::new(client, settings, clock);
    let held = contender.take().await;
    info!(identity = contender.settings.identity, lease = contender.settings.name, "leading");
    let (sender, claim) = watch::channel(Claim::HeldUntil(contender.expiry(&held)));
    let resign = Arc::new(Notify::new());
    tokio::spawn(keep(contender, held, sender, resign.clone()));
    Leadership { claim, resign }
}

/// What to do about a lease that was looked at.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// There is none: create it.
    Create,
    /// It is free, or has expired: write our name into it.
    TakeOver,
    /// It is ours already: an earlier write got through although its answer did not.
    Renew,
    /// It is another's, at least until then.
    WaitUntil(Instant),
}

/// Decides about `lease`, whose record has looked the same since `unchanged_since`.
fn next_step(lease: Option<&Lease>, me: &LeaseSettings, unchanged_since: Instant, now: Instant) -> Step {
    let Some(lease) = lease else { return Step::Create };
    match holder(lease) {
        None => Step::TakeOver,
        Some(holder) if holder == me.identity => Step::Renew,
        Some(_) => {
            let expiry = unchanged_since + promised(lease).unwrap_or(me.duration);
            if now < expiry { Step::WaitUntil(expiry) } else { Step::TakeOver }
        }
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref().filter(|holder| !holder.is_empty())
}

/// How long the holder, who may run with other settings than ours, says that its claim lasts.
fn promised(lease: &Lease) -> Option<Duration> {
    let seconds = lease.spec.as_ref()?.lease_duration_seconds?;
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// A lease that is ours, and when the write that made it so was sent.
#[derive(Clone, Debug)]
struct Held {
    lease: Lease,
    since: Instant,
}

/// What came of asking for the lease.
enum Answer {
    Ours(Box<Held>),
    TheirsUntil(Instant),
}

impl Answer {
    fn ours(held: Held) -> Self {
        Self::Ours(Box::new(held))
    }
}

/// One replica's part in the election.
struct Contender {
    leases: Api<Lease>,
    settings: LeaseSettings,
    clock: Clock,
    /// Another's record as it was last seen to change, and when.
    seen: Option<(LeaseSpec, Instant)>,
}

impl Contender {
    fn new(client: Client, settings: LeaseSettings, clock: Clock) -> Self {
        let namespace = settings.namespace.as_deref().unwrap_or_else(|| client.default_namespace()).to_owned();
        Self { leases: Api::namespaced(client, &namespace), settings, clock, seen: None }
    }

    fn expiry(&self, held: &Held) -> Instant {
        held.since + self.settings.duration
    }

    async fn take(&mut self) -> Held {
        loop {
            let pause = match self.try_to_take().await {
                Ok(Answer::Ours(held)) => return *held,
                Ok(Answer::TheirsUntil(expiry)) => {
                    self.settings.retry_period.min(expiry.saturating_duration_since(Instant::now()))
                }
                // Another replica was faster; the next look shows its name.
                Err(error) if error.is_conflict() => Duration::ZERO,
                Err(error) => {
                    warn!(%error, lease = self.settings.name, "could not ask for the lease; trying again");
                    self.settings.retry_period
                }
            };
            time::sleep(pause).await;
        }
    }

    /// One look and, when the lease is to be had, one write.
    async fn try_to_take(&mut self) -> Result<Answer, Error> {
        let lease = self.look().await?;
        let now = Instant::now();
        let unchanged_since = self.unchanged_since(lease.as_ref(), now);
        match (next_step(lease.as_ref(), &self.settings, unchanged_since, now), lease) {
            (Step::WaitUntil(expiry), lease) => {
                debug!(holder = lease.as_ref().and_then(holder), "standing by");
                Ok(Answer::TheirsUntil(expiry))
            }
            (Step::Create, _) | (Step::TakeOver | Step::Renew, None) => self.create().await.map(Answer::ours),
            (Step::TakeOver | Step::Renew, Some(lease)) => self.write(lease).await.map(Answer::ours),
        }
    }

    /// Remembers a record, and tells since when it looks the way it does.
    fn unchanged_since(&mut self, lease: Option<&Lease>, now: Instant) -> Instant {
        let record = lease.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        match &self.seen {
            Some((seen, since)) if *seen == record => *since,
            Some(_) | None => {
                self.seen = Some((record, now));
                now
            }
        }
    }

    /// Renews until it worked, or until it is certain that the lease is not ours any more.
    ///
    /// `trouble` holds the last error, for the one who stops waiting.
    async fn renew(&self, held: &Held, trouble: &mut String) -> Result<Held, Loss> {
        let mut lease = held.lease.clone();
        loop {
            let next_try = Instant::now() + self.settings.retry_period;
            let error = match self.write(lease.clone()).await {
                Ok(held) => return Ok(held),
                Err(error) => error,
            };
            debug!(%error, "could not renew the lease; looking at it");
            *trouble = error.to_string();
            if !error.is_conflict() {
                time::sleep_until(next_try).await;
            }
            match self.look().await {
                Ok(found) => lease = self.still_ours(found)?,
                Err(error) => {
                    *trouble = error.to_string();
                    time::sleep_until(next_try).await;
                }
            }
        }
    }

    fn still_ours(&self, lease: Option<Lease>) -> Result<Lease, Loss> {
        let lease = lease.ok_or(Loss::Removed)?;
        match holder(&lease) {
            Some(holder) if holder == self.settings.identity => Ok(lease),
            Some(holder) => Err(Loss::TakenOver { holder: holder.to_owned() }),
            None => Err(Loss::Removed),
        }
    }

    async fn look(&self) -> Result<Option<Lease>, Error> {
        self.call("read the lease", self.leases.get_opt(&self.settings.name)).await
    }

    async fn create(&self) -> Result<Held, Error> {
        let metadata = ObjectMeta { name: Some(self.settings.name.clone()), ..ObjectMeta::default() };
        let lease = Lease { metadata, spec: Some(self.claim(LeaseSpec::default())) };
        let since = Instant::now();
        let lease = self.call("create the lease", self.leases.create(&PostParams::default(), &lease)).await?;
        Ok(Held { lease, since })
    }

    /// Writes our claim over the record, unless it has changed since `lease` was read.
    async fn write(&self, mut lease: Lease) -> Result<Held, Error> {
        lease.spec = Some(self.claim(lease.spec.unwrap_or_default()));
        let since = Instant::now();
        let lease = self.replace("write the lease", &lease).await?;
        Ok(Held { lease, since })
    }

    fn claim(&self, record: LeaseSpec) -> LeaseSpec {
        let is_ours = record.holder_identity.as_ref() == Some(&self.settings.identity);
        let now = self.clock.now();
        // The others live by seeing the record change, also when our clock stands still or was set back.
        let renewed = match &record.renew_time {
            Some(MicroTime(before)) if is_ours => now.max(before.saturating_add(TICK).unwrap_or(now)),
            Some(_) | None => now,
        };
        let transitions = record.lease_transitions.unwrap_or(0);
        LeaseSpec {
            acquire_time: if is_ours { record.acquire_time } else { Some(MicroTime(now)) },
            holder_identity: Some(self.settings.identity.clone()),
            lease_duration_seconds: Some(i32::try_from(self.settings.duration.as_secs()).unwrap_or(i32::MAX)),
            lease_transitions: Some(if is_ours { transitions } else { transitions.saturating_add(1) }),
            renew_time: Some(MicroTime(renewed)),
            ..record
        }
    }

    /// Clears the holder, if it is us, so that the next one need not wait.
    async fn vacate(&self) -> Result<(), Error> {
        // Read first: a renewal that was cut short may have got through.
        let Some(mut lease) = self.look().await? else { return Ok(()) };
        if holder(&lease) == Some(&self.settings.identity)
            && let Some(record) = &mut lease.spec
        {
            record.holder_identity = None;
            self.replace("release the lease", &lease).await?;
        }
        Ok(())
    }

    async fn replace(&self, what: &str, lease: &Lease) -> Result<Lease, Error> {
        self.call(what, self.leases.replace(&self.settings.name, &PostParams::default(), lease)).await
    }

    /// Short enough that, after a call that got no answer, a look and another try fit into the renew deadline.
    async fn call<T>(&self, what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        within(self.settings.renew_deadline / 3, what, call).await
    }
}

/// Renews the lease until it is released or lost, or nobody has a use for it any more.
async fn keep(contender: Contender, mut held: Held, claim: watch::Sender<Claim>, resign: Arc<Notify>) {
    let ended = loop {
        select! {
            biased;
            () = resign.notified() => break Claim::Released,
            () = claim.closed() => break Claim::Released,
            renewed = renew_in_time(&contender, &held) => match renewed {
                Ok(renewed) => {
                    held = renewed;
                    claim.send_replace(Claim::HeldUntil(contender.expiry(&held)));
                }
                Err(loss) => break Claim::Lost(loss),
            }
        }
    };
    if ended == Claim::Released
        && let Err(error) = contender.vacate().await
    {
        warn!(%error, "could not release the lease; it will expire");
    }
    claim.send_replace(ended);
}

/// Renews when the time has come, or says why that was not possible within the renew deadline.
async fn renew_in_time(contender: &Contender, held: &Held) -> Result<Held, Loss> {
    let LeaseSettings { renew_deadline, retry_period, .. } = contender.settings;
    let mut trouble = "no answer".to_owned();
    time::sleep_until(held.since + retry_period).await;
    let renewed = time::timeout_at(held.since + renew_deadline, contender.renew(held, &mut trouble)).await;
    renewed.unwrap_or(Err(Loss::NotRenewed { within: renew_deadline, last: trouble }))
}

#[cfg(test)]
mod tests;
