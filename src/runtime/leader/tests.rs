use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Mutex, MutexGuard},
};

use http::{Method, Request, Response};
use kube::client::Body;
use serde_json::json;
use tower::service_fn;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn settings(identity: &str) -> LeaseSettings {
    LeaseSettings {
        namespace: Some("ops".to_owned()),
        name: "longtask-operator".to_owned(),
        identity: identity.to_owned(),
        duration: 10 * SECOND,
        renew_deadline: 7 * SECOND,
        retry_period: 2 * SECOND,
    }
}

fn held_by(holder: Option<&str>, seconds: Option<i32>) -> Lease {
    let holder_identity = holder.map(str::to_owned);
    let record = LeaseSpec { holder_identity, lease_duration_seconds: seconds, ..LeaseSpec::default() };
    Lease { spec: Some(record), ..Lease::default() }
}

#[tokio::test(start_paused = true)]
async fn each_state_of_the_lease_has_its_step() {
    let me = settings("a");
    let seen = Instant::now();
    let at = |seconds: u64| seen + Duration::from_secs(seconds);
    let nobody = Lease::default();
    for (what, lease, now, expected) in [
        ("no lease", None, at(0), Step::Create),
        ("an empty lease", Some(nobody), at(0), Step::TakeOver),
        ("a released lease", Some(held_by(None, Some(10))), at(0), Step::TakeOver),
        ("a holder without a name", Some(held_by(Some(""), Some(10))), at(0), Step::TakeOver),
        ("our own", Some(held_by(Some("a"), Some(10))), at(0), Step::Renew),
        ("our own, long expired", Some(held_by(Some("a"), Some(10))), at(99), Step::Renew),
        ("another's", Some(held_by(Some("b"), Some(10))), at(0), Step::WaitUntil(at(10))),
        ("another's in its last second", Some(held_by(Some("b"), Some(10))), at(9), Step::WaitUntil(at(10))),
        ("another's, expired", Some(held_by(Some("b"), Some(10))), at(10), Step::TakeOver),
        ("another's that lasts longer than ours", Some(held_by(Some("b"), Some(60))), at(10), Step::WaitUntil(at(60))),
        ("another's without a promise", Some(held_by(Some("b"), None)), at(9), Step::WaitUntil(at(10))),
        ("another's with a senseless promise", Some(held_by(Some("b"), Some(-1))), at(10), Step::TakeOver),
    ] {
        assert_eq!(next_step(lease.as_ref(), &me, seen, now), expected, "{what}");
    }
}

/// An API server that keeps one Lease, with optimistic concurrency.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    lease: Option<Lease>,
    version: u64,
}

impl Server {
    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().expect("no panic")
    }

    fn holder(&self) -> Option<String> {
        self.stored().lease.as_ref().and_then(holder).map(str::to_owned)
    }

    fn record(&self) -> serde_json::Value {
        serde_json::to_value(&self.stored().lease).expect("json")["spec"].clone()
    }

    /// As somebody else would, without asking.
    fn edit(&self, change: impl FnOnce(&mut Lease)) {
        let mut stored = self.stored();
        let mut lease = stored.lease.take().unwrap_or_default();
        change(&mut lease);
        stored.store(lease, 200);
    }

    fn held_by(&self, holder: &str) {
        self.edit(|lease| lease.spec = held_by(Some(holder), Some(10)).spec);
    }
}

impl Stored {
    fn apply(&mut self, method: &Method, body: &[u8]) -> (u16, Vec<u8>) {
        let sent: Option<Lease> = serde_json::from_slice(body).ok();
        let current = self.lease.as_ref().map(|lease| lease.metadata.resource_version.clone());
        match (method, sent, current) {
            (&Method::GET, _, Some(_)) => (200, serde_json::to_vec(&self.lease).expect("json")),
            (&Method::GET | &Method::PUT, _, None) => (404, failure(404)),
            (&Method::POST, Some(sent), None) => self.store(sent, 201),
            (&Method::PUT, Some(sent), Some(current)) if sent.metadata.resource_version == current => {
                self.store(sent, 200)
            }
            (&Method::POST | &Method::PUT, Some(_), Some(_)) => (409, failure(409)),
            (method, sent, _) => panic!("unexpected {method} of {sent:?}"),
        }
    }

    fn store(&mut self, mut lease: Lease, status: u16) -> (u16, Vec<u8>) {
        self.version += 1;
        lease.metadata.resource_version = Some(self.version.to_string());
        let answer = serde_json::to_vec(&lease).expect("json");
        self.lease = Some(lease);
        (status, answer)
    }
}

fn failure(code: u16) -> Vec<u8> {
    let reason = match code {
        404 => "NotFound",
        409 => "Conflict",
        _ => "InternalError",
    };
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason,
        "message": format!("status {code}")});
    status.to_string().into_bytes()
}

/// One contender, with a connection of its own that can be disturbed.
#[derive(Clone)]
struct Replica {
    identity: &'static str,
    server: Server,
    wire: Arc<Mutex<Wire>>,
}

#[derive(Default)]
struct Wire {
    calls: Vec<String>,
    next: VecDeque<Fault>,
    lasting: Option<Fault>,
}

#[derive(Clone, Copy)]
enum Fault {
    No,
    /// The request has no effect and is answered with this status.
    Refuse(u16),
    /// The request has no effect and is never answered.
    Swallow,
    /// The request has its effect and is never answered.
    LoseAnswer,
}

impl Replica {
    fn new(identity: &'static str, server: &Server) -> Self {
        Self { identity, server: server.clone(), wire: Arc::default() }
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().expect("no panic")
    }

    fn next_calls(&self, faults: impl IntoIterator<Item = Fault>) {
        self.wire().next.extend(faults);
    }

    fn all_calls(&self, fault: Fault) {
        self.wire().lasting = Some(fault);
    }

    fn contend(&self) -> impl Future<Output = Leadership> + use<> {
        let replica = self.clone();
        let service = service_fn(move |request| replica.clone().answer(request));
        acquire(Client::new(service, "default"), settings(self.identity), Clock::wall())
    }

    async fn answer(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let (head, body) = request.into_parts();
        let body = body.collect_bytes().await.expect("a body");
        let fault = {
            let mut wire = self.wire();
            wire.calls.push(head.method.to_string());
            wire.lasting.or_else(|| wire.next.pop_front()).unwrap_or(Fault::No)
        };
        let (status, answer) = match fault {
            Fault::No => self.server.stored().apply(&head.method, &body),
            Fault::Refuse(status) => (status, failure(status)),
            Fault::Swallow => std::future::pending().await,
            Fault::LoseAnswer => {
                self.server.stored().apply(&head.method, &body);
                std::future::pending().await
            }
        };
        Ok(Response::builder().status(status).body(Body::from(answer)).expect("a response"))
    }
}

/// Fails unless it leads within the limit; tells how long it took.
async fn leads_within(limit: Duration, contending: impl Future<Output = Leadership>) -> (Leadership, Duration) {
    let start = Instant::now();
    let leadership = time::timeout(limit, contending).await.expect("leads in time");
    (leadership, start.elapsed())
}

async fn lost_within(limit: Duration, leadership: &Leadership) -> (Loss, Duration) {
    let start = Instant::now();
    let loss = time::timeout(limit, leadership.lost()).await.expect("lost in time");
    (loss, start.elapsed())
}

async fn is_never_lost(leadership: &Leadership) {
    time::timeout(600 * SECOND, leadership.lost()).await.expect_err("still leads");
    assert!(leadership.remaining() > Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_there_is_created_and_then_renewed() {
    let server = Server::default();
    let a = Replica::new("a", &server);
    let (leader, _) = leads_within(SECOND, a.contend()).await;
    let record = server.record();
    assert_eq!(record["holderIdentity"], "a");
    assert_eq!(record["leaseDurationSeconds"], 10);
    assert_eq!(record["leaseTransitions"], 1);
    for time in ["acquireTime", "renewTime"] {
        let fraction = record[time].as_str().and_then(|time| time.split_once('.')).expect("a fraction").1;
        assert_eq!(fraction.len(), "123456Z".len(), "MicroTime wants six digits: {record}");
    }

    for _ in 0..60 {
        time::sleep(SECOND).await;
        assert!(leader.remaining() >= 7 * SECOND, "{:?}", leader.remaining());
    }
    assert_eq!(server.record()["leaseTransitions"], 1);
    let calls = a.wire().calls.clone();
    assert_eq!(calls[..2], ["GET", "POST"]);
    assert!((28..=30).contains(&calls[2..].len()), "one call every 2s: {calls:?}");
    assert!(calls[2..].iter().all(|call| call == "PUT"), "renewing reads nothing: {calls:?}");
}

/// The wall clock stands still in these tests, as paused time does not move it.
#[tokio::test(start_paused = true)]
async fn every_renewal_changes_the_record_even_if_the_clock_stands_still() {
    let server = Server::default();
    let (_leader, _) = leads_within(SECOND, Replica::new("a", &server).contend()).await;
    for _ in 0..5 {
        let before = server.record();
        time::sleep(3 * SECOND).await;
        assert_ne!(server.record(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_that_start_together_one_leads() {
    let server = Server::default();
    let (a, b) = (Replica::new("a", &server), Replica::new("b", &server));
    let (first, second) = (tokio::spawn(a.contend()), tokio::spawn(b.contend()));
    time::sleep(600 * SECOND).await;
    assert_ne!(first.is_finished(), second.is_finished());
}

/// The promise of this module, at every moment that a connection can break.
#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_the_next_one_starts_within_15s() {
    for fault in [Fault::Swallow, Fault::LoseAnswer, Fault::Refuse(500), Fault::Refuse(409)] {
        for moment in 0..20 {
            let server = Server::default();
            let (a, b) = (Replica::new("a", &server), Replica::new("b", &server));
            let (first, _) = leads_within(SECOND, a.contend()).await;
            time::sleep(Duration::from_millis(moment * 137)).await;
            let second = tokio::spawn(b.contend());
            time::sleep(30 * SECOND + Duration::from_millis(moment * 100)).await;
            assert!(!second.is_finished(), "the first one leads");

            a.all_calls(fault);
            let (loss, stopped_after) = lost_within(8 * SECOND, &first).await;
            assert!(matches!(loss, Loss::NotRenewed { .. }), "{loss}");
            assert_eq!(first.remaining(), Duration::ZERO);
            assert!(!second.is_finished(), "the second one waits for the expiry");
            let (_leader, took) = leads_within(15 * SECOND, async { second.await.expect("no panic") }).await;
            assert!(stopped_after + took <= 15 * SECOND, "{stopped_after:?} + {took:?}");
            assert_eq!(server.record()["leaseTransitions"], 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_remains_falls_to_zero_by_itself() {
    let server = Server::default();
    let a = Replica::new("a", &server);
    let (leader, _) = leads_within(SECOND, a.contend()).await;
    let Leadership { claim, resign } = leader.clone();
    let Claim::HeldUntil(expiry) = claim.borrow().clone() else { panic!("held") };
    // Not even the task that renews is needed for this: a claim that nobody updates just ends.
    let (_stuck, frozen) = watch::channel(Claim::HeldUntil(expiry));
    let frozen = Leadership { claim: frozen, resign };
    time::sleep_until(expiry - SECOND).await;
    assert_eq!(frozen.remaining(), SECOND);
    time::sleep_until(expiry).await;
    assert_eq!(frozen.remaining(), Duration::ZERO);
    assert!(leader.remaining() > Duration::ZERO, "the one that is renewed goes on");
}

#[tokio::test(start_paused = true)]
async fn a_claim_counts_from_before_the_answer() {
    let server = Server::default();
    let a = Replica::new("a", &server);
    let slow = async {
        let start = Instant::now();
        let leader = a.contend().await;
        (leader, start)
    };
    // The create is answered late, as its effect is seen only by the look after it.
    a.next_calls([Fault::No, Fault::LoseAnswer]);
    let (leader, start) = slow.await;
    assert!(start.elapsed() > 2 * SECOND);
    assert!(leader.remaining() <= 10 * SECOND);
    assert_eq!(server.record()["leaseTransitions"], 1, "recognised as our own, not taken over");
}

#[tokio::test(start_paused = true)]
async fn a_released_lease_is_taken_at_the_next_look() {
    let server = Server::default();
    let (a, b) = (Replica::new("a", &server), Replica::new("b", &server));
    let (first, _) = leads_within(SECOND, a.contend()).await;
    let second = tokio::spawn(b.contend());
    time::sleep(30 * SECOND).await;
    let clone = first.clone();
    first.release().await;
    assert_eq!(server.holder(), None);
    assert_eq!(clone.remaining(), Duration::ZERO);
    time::timeout(600 * SECOND, clone.lost()).await.expect_err("released is not lost");
    leads_within(2 * SECOND, async { second.await.expect("no panic") }).await;
}

#[tokio::test(start_paused = true)]
async fn a_release_during_a_renewal_without_answer_still_clears_the_lease() {
    let server = Server::default();
    let a = Replica::new("a", &server);
    let (leader, _) = leads_within(SECOND, a.contend()).await;
    a.next_calls([Fault::LoseAnswer]);
    time::sleep(3 * SECOND).await;
    leader.release().await;
    assert_eq!(server.holder(), None);
}

#[tokio::test(start_paused = true)]
async fn a_release_does_not_wait_for_a_dead_api_server() {
    let a = Replica::new("a", &Server::default());
    let (leader, _) = leads_within(SECOND, a.contend()).await;
    a.all_calls(Fault::Swallow);
    time::timeout(3 * SECOND, leader.release()).await.expect("gives up");
}

#[tokio::test(start_paused = true)]
async fn leadership_that_nobody_holds_any_more_is_released() {
    let server = Server::default();
    let (leader, _) = leads_within(SECOND, Replica::new("a", &server).contend()).await;
    drop(leader);
    time::sleep(SECOND).await;
    assert_eq!(server.holder(), None);
}

#[tokio::test(start_paused = true)]
async fn an_edit_by_others_or_a_short_outage_does_not_end_leadership() {
    let server = Server::default();
    let a = Replica::new("a", &server);
    let (leader, _) = leads_within(SECOND, a.contend()).await;
    server.edit(|lease| lease.metadata.labels = Some([("edited".to_owned(), "yes".to_owned())].into()));
    time::sleep(20 * SECOND).await;
    a.next_calls([Fault::Swallow, Fault::Refuse(500)]);
    time::sleep(20 * SECOND).await;
    a.next_calls([Fault::LoseAnswer]);
    is_never_lost(&leader).await;
    assert_eq!(
        server.stored().lease.as_ref().and_then(|lease| lease.metadata.labels.clone()).map(|l| l.len()),
        Some(1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_lease_taken_or_removed_by_others_is_lost_at_the_next_renewal() {
    let server = Server::default();
    let a = Replica::new("a", &server);
    let (leader, _) = leads_within(SECOND, a.contend()).await;
    server.held_by("b");
    let (loss, _) = lost_within(3 * SECOND, &leader).await;
    assert_eq!(loss, Loss::TakenOver { holder: "b".to_owned() });
    let calls = a.wire().calls.len();
    time::sleep(60 * SECOND).await;
    assert_eq!(a.wire().calls.len(), calls, "a loser writes no more");
    assert_eq!(server.holder().as_deref(), Some("b"));

    let (leader, _) = leads_within(15 * SECOND, a.contend()).await;
    server.stored().lease = None;
    assert_eq!(lost_within(5 * SECOND, &leader).await.0, Loss::Removed);
}

#[tokio::test(start_paused = true)]
async fn the_last_trouble_is_told_with_the_loss() {
    let a = Replica::new("a", &Server::default());
    let (leader, _) = leads_within(SECOND, a.contend()).await;
    a.all_calls(Fault::Refuse(503));
    let (loss, _) = lost_within(8 * SECOND, &leader).await;
    assert_eq!(
        loss.to_string(),
        "the lease could not be renewed for 7s: write the lease: 503 InternalError: status 503"
    );
}

#[tokio::test(start_paused = true)]
async fn errors_do_not_end_the_wait_for_the_lease() {
    let a = Replica::new("a", &Server::default());
    a.next_calls([Fault::Refuse(403), Fault::Refuse(500), Fault::Swallow, Fault::No, Fault::Refuse(409)]);
    leads_within(15 * SECOND, a.contend()).await;
}

#[tokio::test(start_paused = true)]
async fn a_holder_whose_clock_is_wrong_is_judged_by_its_renewals() {
    let server = Server::default();
    server.held_by("b");
    let renew = |time: &str| {
        let time = MicroTime(time.parse().expect("a timestamp"));
        server.edit(|lease| lease.spec.as_mut().expect("a record").renew_time = Some(time));
    };
    let waiting = tokio::spawn(Replica::new("a", &server).contend());
    for minute in 10..20 {
        renew(&format!("1999-01-01T00:{minute}:00Z"));
        time::sleep(9 * SECOND).await;
        assert!(!waiting.is_finished(), "a past time does not make it expire");
    }
    renew("2199-01-01T00:00:00Z");
    leads_within(13 * SECOND, async { waiting.await.expect("no panic") }).await;
}

#[tokio::test(start_paused = true)]
async fn without_election_there_is_no_end() {
    is_never_lost(&Leadership::sole()).await;
    Leadership::sole().release().await;
}
