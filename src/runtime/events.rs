//! Events on objects, published behind the reconciles: they are for people, and nothing waits for them.

use std::{pin::pin, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{self, Event, Recorder, Reporter},
};
use tokio::{select, sync::mpsc, time};
use tracing::warn;

use super::{OperatorContext, call::call};
use crate::{
    api::labels,
    telemetry::metrics::{Fate, Fates},
    types::EventType,
};

/// How many may wait. More are dropped, as by the controllers of Kubernetes: a backlog would tell old news, and the
/// status has it all.
const QUEUE: usize = 4096;
/// How long those that still wait at a shutdown may take.
const LAST_EVENTS: Duration = Duration::from_secs(5);

impl From<EventType> for events::EventType {
    fn from(type_: EventType) -> Self {
        match type_ {
            EventType::Normal => Self::Normal,
            EventType::Warning => Self::Warning,
        }
    }
}

/// Where events are handed in.
pub(crate) struct Events {
    queue: mpsc::Sender<(Event, ObjectReference)>,
    fates: Fates,
}

/// The other end, which publishes one event after the other, so that those of an object keep their order.
pub(crate) struct Publisher {
    queue: mpsc::Receiver<(Event, ObjectReference)>,
    recorder: Recorder,
    fates: Fates,
}

/// Both ends of a queue of events.
pub(crate) fn queue(operator: &OperatorContext) -> (Events, Publisher) {
    let instance = operator.settings.lease.as_ref().map(|lease| lease.identity.clone());
    let reporter = Reporter { controller: labels::FIELD_MANAGER.into(), instance };
    queue_of(operator.client.clone(), reporter, operator.metrics.events.clone())
}

/// Likewise, for a reporter of that name.
pub(crate) fn queue_of(client: Client, reporter: Reporter, fates: Fates) -> (Events, Publisher) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let publisher = Publisher { queue: receiver, recorder: Recorder::new(client, reporter), fates: fates.clone() };
    (Events { queue: sender, fates }, publisher)
}

impl Events {
    /// Has an event on an object published soon.
    pub(crate) fn publish(&self, object: ObjectReference, event: Event) {
        if self.queue.try_send((event, object)).is_err() {
            self.fates.count(Fate::Dropped, 1);
        }
    }
}

impl Publisher {
    /// Publishes while the work goes on, and then what still waits, unless that takes too long.
    pub(crate) async fn publish_during(self, work: impl Future<Output = ()>) {
        let mut publishing = pin!(self.publish_all());
        select! {
            biased;
            // After `work` ends nothing sends events.
            () = work => {}
            () = &mut publishing => return,
        }
        if time::timeout(LAST_EVENTS, publishing).await.is_err() {
            warn!(limit = ?LAST_EVENTS, "leaving events behind that could not be published in time");
        }
    }

    async fn publish_all(mut self) {
        while let Some((event, object)) = self.queue.recv().await {
            self.publish(&event, &object).await;
        }
    }

    async fn publish(&self, event: &Event, object: &ObjectReference) {
        let published = call("publish event", self.recorder.publish(event, object)).await;
        self.fates.count(if published.is_ok() { Fate::Sent } else { Fate::Failed }, 1);
        if let Err(error) = published {
            let (task, namespace) = (object.name.as_deref(), object.namespace.as_deref());
            warn!(task, namespace, %error, reason = event.reason, "could not publish an event");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        future,
        sync::{Arc, Mutex},
    };

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::Value;
    use tower::service_fn;

    use super::*;
    use crate::telemetry::metrics::Registry;

    /// A queue before a server that answers each request with this code, and the notes of what it was sent.
    fn served(code: u16) -> (Events, Publisher, Arc<Mutex<Vec<String>>>, Registry) {
        let notes = Arc::new(Mutex::new(Vec::new()));
        let sent = Arc::clone(&notes);
        let service = service_fn(move |request: Request<Body>| {
            let sent = Arc::clone(&sent);
            async move {
                let body = request.into_body().collect_bytes().await.expect("a body in memory");
                let event: Value = serde_json::from_slice(&body).expect("JSON");
                sent.lock().expect("no panic").push(event["note"].as_str().unwrap_or_default().to_owned());
                Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(body)).expect("a response"))
            }
        });
        let mut registry = Registry::new();
        let fates = Fates::register(&mut registry, "events", "Events");
        let (events, publisher) = queue_of(Client::new(service, "default"), labels::FIELD_MANAGER.into(), fates);
        (events, publisher, notes, registry)
    }

    fn publish(events: &Events, number: usize) {
        let object = ObjectReference {
            name: Some("import".into()),
            namespace: Some("default".into()),
            uid: Some("uid".into()),
            ..ObjectReference::default()
        };
        let event = Event {
            type_: EventType::Normal.into(),
            reason: if number.is_multiple_of(2) { "Even".into() } else { "Odd".into() },
            note: Some(format!("note {number}")),
            action: "Reconcile".into(),
            secondary: None,
        };
        events.publish(object, event);
    }

    fn counted(registry: &Registry, result: &str) -> String {
        let text = registry.encode().expect("text");
        let line = text.lines().find(|line| line.starts_with(&format!("longtask_events_total{{result=\"{result}\"}}")));
        line.map_or("none", |line| line.rsplit(' ').next().expect("a number")).to_owned()
    }

    /// What a server that answers so was sent, and what was counted, when two events wait as the work ends.
    async fn two_published(code: u16) -> (Vec<String>, Registry) {
        let (events, publisher, notes, registry) = served(code);
        let work = async move { (0..2).for_each(|number| publish(&events, number)) };
        publisher.publish_during(work).await;
        let notes = notes.lock().expect("no panic").clone();
        (notes, registry)
    }

    #[tokio::test]
    async fn events_that_wait_when_the_work_ends_are_published_in_their_order() {
        let (notes, registry) = two_published(201).await;
        assert_eq!(notes, ["note 0", "note 1"]);
        assert_eq!(counted(&registry, "sent"), "2");
    }

    #[tokio::test]
    async fn an_event_that_the_server_refuses_is_counted_and_the_next_one_goes_on() {
        let (notes, registry) = two_published(403).await;
        assert_eq!(notes.len(), 2);
        assert_eq!((counted(&registry, "failed").as_str(), counted(&registry, "sent").as_str()), ("2", "none"));
    }

    #[tokio::test]
    async fn more_events_than_may_wait_are_dropped_and_hold_up_nobody() {
        let (events, _publisher, notes, registry) = served(201);
        (0..QUEUE + 3).for_each(|number| publish(&events, number));
        assert_eq!((counted(&registry, "dropped").as_str(), notes.lock().expect("no panic").len()), ("3", 0));
    }

    #[tokio::test(start_paused = true)]
    async fn events_that_nobody_takes_do_not_hold_up_the_end() {
        let service = service_fn(|_: Request<Body>| future::pending::<Result<Response<Body>, Infallible>>());
        let client = Client::new(service, "default");
        let (events, publisher) = queue_of(client, labels::FIELD_MANAGER.into(), Fates::default());
        let began = time::Instant::now();
        publisher.publish_during(async move { publish(&events, 0) }).await;
        assert_eq!(began.elapsed(), LAST_EVENTS);
    }
}
