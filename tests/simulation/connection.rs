//! An operator's connection to the API server: requests and watches, with all that can happen on the way.

use std::{io, pin::pin, sync::Arc, time::Duration};

use axum::body::{self, Body};
use futures::{Stream, future, stream};
use http::{Method, Request, Response};
use kube::Client;
use longtask::runtime::client::ANSWER_LIMIT;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, oneshot},
    time::{self, Instant},
};
use tower::service_fn;

use crate::{
    defects,
    faults::Trouble,
    objects::{Answer, Kind, failure},
    policies::DRAWN,
    replica::name,
    world::{Shared, World},
};

/// A request, read.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) slot: usize,
    pub(crate) process: u32,
    pub(crate) verb: Verb,
    pub(crate) kind: Option<Kind>,
    pub(crate) name: String,
    pub(crate) is_status: bool,
    pub(crate) wants_metadata: bool,
    pub(crate) body: Value,
    query: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Replace,
    Patch,
    Delete,
}

impl Call {
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb, Verb::Get | Verb::List | Verb::Watch)
    }

    /// Whose changes a watch is to tell, from which version on, and when it closes if it is opened now.
    pub(crate) fn watched(&self, now: u64) -> (Kind, u64, u64) {
        let number = |parameter: &str| self.says(parameter).and_then(|number| number.parse::<u64>().ok());
        let told = number("resourceVersion").expect("the operator lists before it watches");
        (self.kind.expect("events are not watched"), told, now + number("timeoutSeconds").unwrap_or(290) * 1000)
    }

    /// The deadline that a patch of a pod asks for.
    pub(crate) fn asked_deadline(&self) -> Option<i64> {
        let mut operations = self.body.as_array()?.iter();
        operations.find(|operation| operation["path"] == "/spec/activeDeadlineSeconds")?["value"].as_i64()
    }

    fn says(&self, parameter: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(parameter)?.strip_prefix('='))
    }
}

/// A client of this process.
pub(crate) fn client(world: &Shared, slot: usize, process: u32) -> Client {
    let world = world.clone();
    let service = service_fn(move |request| {
        let world = world.clone();
        async move { answer(world, slot, process, request).await }
    });
    Client::new(service, "n")
}

async fn answer(
    world: Shared,
    slot: usize,
    process: u32,
    request: Request<kube::client::Body>,
) -> Result<Response<Body>, io::Error> {
    let call = read(slot, process, request).await;
    let (fate, is_running) = {
        let mut world = world.lock();
        (world.fate(slot, call.is_write()), world.is_running(slot, process))
    };
    if !is_running {
        return future::pending().await;
    }
    if fate.trouble == Trouble::CrashBefore {
        world.lock().crash(slot, &format!("before {}", summary(&call)));
        return future::pending().await;
    }
    if call.verb == Verb::Watch {
        time::sleep(Duration::from_millis(fate.there)).await;
        return match fate.trouble {
            Trouble::Refused(code) => Ok(response(&failure(code, "", DRAWN))),
            Trouble::Broken | Trouble::Lost => Err(io::ErrorKind::ConnectionReset.into()),
            _ => Ok(watch(world, call)),
        };
    }
    let (send, receive) = oneshot::channel();
    let network = world.clone();
    // On its own: a request that is under way arrives even when nobody waits for its answer any more.
    tokio::spawn(async move {
        time::sleep(Duration::from_millis(fate.there)).await;
        let answer = match fate.trouble {
            Trouble::Lost => None,
            Trouble::Refused(code) => Some(failure(code, "", DRAWN)),
            _ => Some(defects::serve(&network, &call)),
        };
        {
            let mut world = network.lock();
            let effect = answer.as_ref().map_or("lost".to_owned(), |(code, object)| effect(*code, object));
            let after = match fate.trouble {
                Trouble::NoAnswer => ", no answer",
                Trouble::Broken => ", connection broken",
                _ => "",
            };
            if call.kind != Some(Kind::Lease) || fate.trouble != Trouble::None {
                world.tell(&name(slot, process), format!("{} -> {effect}{after}", summary(&call)));
            }
            if fate.trouble == Trouble::CrashAfter && world.is_running(slot, process) {
                world.crash(slot, &format!("after {}", summary(&call)));
            }
        }
        time::sleep(Duration::from_millis(fate.back)).await;
        let result = match (fate.trouble, answer) {
            (Trouble::NoAnswer, _) | (_, None) => {
                time::sleep(ANSWER_LIMIT).await;
                Err(io::ErrorKind::TimedOut.into())
            }
            (Trouble::Broken, _) => Err(io::ErrorKind::ConnectionReset.into()),
            (_, Some(answer)) => Ok(response(&answer)),
        };
        // Nobody may wait any more.
        let _ = send.send(result);
    });
    match receive.await {
        Ok(result) if world.lock().is_running(slot, process) => result,
        _ => future::pending().await,
    }
}

/// Reads a request.
pub(crate) async fn read(slot: usize, process: u32, request: Request<kube::client::Body>) -> Call {
    let (head, body) = request.into_parts();
    let bytes = body::to_bytes(Body::new(body), usize::MAX).await.expect("a body in memory");
    let accept = head.headers.get(http::header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let path: Vec<_> = head.uri.path().split('/').filter(|part| !part.is_empty()).collect();
    // Behind the group and version, and the namespace if there is one.
    let rest = path
        .iter()
        .position(|part| *part == "namespaces")
        .map_or_else(|| if path[0] == "api" { &path[2..] } else { &path[3..] }, |namespaces| &path[namespaces + 2..]);
    let query = head.uri.query().unwrap_or_default().to_owned();
    let is_watch = query.split('&').any(|pair| pair == "watch=true");
    let verb = match (&head.method, rest.len()) {
        (&Method::GET, 1) if is_watch => Verb::Watch,
        (&Method::GET, 1) => Verb::List,
        (&Method::GET, _) => Verb::Get,
        (&Method::POST, _) => Verb::Create,
        (&Method::PUT, _) => Verb::Replace,
        (&Method::PATCH, _) => Verb::Patch,
        (&Method::DELETE, _) => Verb::Delete,
        other => panic!("the operator sends no such request: {other:?}"),
    };
    let body: Value = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
    let kind = match rest[0] {
        "longtasks" => Some(Kind::Task),
        "longtasksets" => Some(Kind::Set),
        "taskqueues" => Some(Kind::Queue),
        "pods" => Some(Kind::Pod),
        "leases" => Some(Kind::Lease),
        "longtasktemplates" => Some(Kind::Template),
        "events" => None,
        other => panic!("the operator asks for no {other}"),
    };
    let name = rest.get(1).map(ToString::to_string);
    let name = name.or_else(|| body["metadata"]["name"].as_str().map(ToOwned::to_owned)).unwrap_or_default();
    let is_status = rest.get(2) == Some(&"status");
    let wants_metadata = accept.contains("PartialObjectMetadata");
    Call { slot, process, verb, kind, name, is_status, wants_metadata, body, query }
}

/// A request in a few words.
pub(crate) fn summary(call: &Call) -> String {
    let Some(kind) = call.kind else {
        let (reason, note) = (&call.body["reason"], &call.body["note"]);
        return format!("event {}: {}", reason.as_str().unwrap_or_default(), note.as_str().unwrap_or_default());
    };
    let name = &call.name;
    match call.verb {
        Verb::Replace if call.is_status => {
            let version = call.body["metadata"]["resourceVersion"].as_str().unwrap_or("none");
            format!("write status of {name} read at {version}: {}", status_in_short(&call.body["status"]))
        }
        Verb::Patch => format!("patch {kind:?} {name} {}", call.body),
        verb => format!("{verb:?} {kind:?} {name}"),
    }
}

pub(crate) fn status_in_short(status: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let attempt = &status["currentAttempt"];
    let ended = &status["recentAttempts"][0];
    format!(
        "{} {} attempt {} {} stop {} next {} checkpoint {} last {} {} {} in a row {}",
        text(&status["phase"]),
        text(&status["reason"]),
        text(&attempt["number"]),
        text(&attempt["state"]),
        text(&attempt["stop"]["reason"]),
        text(&status["nextAttemptTime"]),
        text(&status["checkpoint"]["data"]),
        text(&ended["number"]),
        text(&ended["outcome"]),
        text(&ended["reason"]),
        text(&status["consecutive"]),
    )
}

fn effect(code: u16, object: &Value) -> String {
    match &object["metadata"]["resourceVersion"] {
        Value::String(version) => format!("{code} at {version}"),
        _ => format!("{code} {}", object["message"].as_str().unwrap_or_default()).trim_end().to_owned(),
    }
}

/// An answer on its way.
pub(crate) fn response((code, object): &Answer) -> Response<Body> {
    let response = Response::builder().status(*code).header(http::header::CONTENT_TYPE, "application/json");
    let response = if *code == 429 { response.header(http::header::RETRY_AFTER, "1") } else { response };
    response.body(Body::from(object.to_string())).expect("a response")
}

/// A watch under way.
struct Watch {
    world: Shared,
    call: Call,
    kind: Kind,
    /// The version up to which everything was told.
    told: u64,
    closes_at: u64,
    next_bookmark: u64,
}

/// What a watch does next.
pub(crate) enum Next {
    Tell { line: Value, at: u64, is_last: bool },
    WaitUntil(u64),
    Break,
    Close,
}

/// What a watch tells of, whatever world it is in.
pub(crate) trait Watched: Send + 'static {
    /// Tells of every change.
    fn changed(&self) -> Arc<Notify>;
    fn instant(&self, at: u64) -> Instant;
    fn next(&mut self) -> Next;
}

/// The lines of a watch, each when its time has come.
pub(crate) fn told(watched: impl Watched) -> Response<Body> {
    Response::new(Body::from_stream(lines(watched)))
}

fn lines(watched: impl Watched) -> impl Stream<Item = Result<String, io::Error>> {
    stream::unfold((watched, false), |(mut watched, is_over)| async move {
        if is_over {
            return None;
        }
        loop {
            let changed = watched.changed();
            let mut changed = pin!(changed.notified());
            // From here on, whatever happens is heard of.
            changed.as_mut().enable();
            match watched.next() {
                Next::Tell { line, at, is_last } => {
                    time::sleep_until(watched.instant(at)).await;
                    return Some((Ok(format!("{line}\n")), (watched, is_last)));
                }
                Next::WaitUntil(at) => {
                    // Either way there may be something to tell.
                    let _ = time::timeout_at(watched.instant(at), changed).await;
                }
                Next::Break => return Some((Err(io::ErrorKind::ConnectionReset.into()), (watched, true))),
                Next::Close => return None,
            }
        }
    })
}

fn watch(world: Shared, call: Call) -> Response<Body> {
    let now = world.lock().now();
    let (kind, version, closes_at) = call.watched(now);
    told(Watch { world, call, kind, told: version, closes_at, next_bookmark: now + 60_000 })
}

impl Watched for Watch {
    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.world.lock().store.changed)
    }

    fn instant(&self, at: u64) -> Instant {
        self.world.lock().instant(at)
    }

    fn next(&mut self) -> Next {
        next(self)
    }
}

fn next(watch: &mut Watch) -> Next {
    let mut guard = watch.world.lock();
    let world = &mut *guard;
    let now = world.now();
    if !world.is_running(watch.call.slot, watch.call.process) {
        return Next::WaitUntil(u64::MAX / 2_000_000);
    }
    if now >= watch.closes_at {
        return Next::Close;
    }
    let who = format!("{} watch", name(watch.call.slot, watch.call.process));
    if watch.told < world.store.oldest {
        world.tell(&who, format!("{:?}: 410 Gone", watch.kind));
        let (_, status) = failure(410, "Expired", "too old resource version");
        return Next::Tell { line: json!({ "type": "ERROR", "object": status }), at: now, is_last: true };
    }
    let cut_off_until = world.slots[watch.call.slot].cut_off_until;
    let Some(change) = world.store.change_after(watch.kind, watch.told) else {
        if now >= watch.next_bookmark {
            watch.next_bookmark = now + 60_000;
            watch.told = world.store.version;
            let metadata = json!({ "resourceVersion": watch.told.to_string() });
            let (api, kind) = watch.kind.type_meta();
            let object = json!({ "apiVersion": api, "kind": kind, "metadata": metadata });
            return Next::Tell { line: json!({ "type": "BOOKMARK", "object": object }), at: now, is_last: false };
        }
        return Next::WaitUntil(watch.closes_at.min(watch.next_bookmark));
    };
    let (version, happened_at, type_, object) = (change.version, change.at, change.type_, change.object.clone());
    if defects::hides(world, &watch.call) {
        watch.told = version;
        return Next::WaitUntil(now);
    }
    let (is_late, breaks) = if world.is_peace {
        (false, false)
    } else {
        (world.dice.happens(world.weather.watches), world.dice.happens(world.weather.watches / 5))
    };
    if breaks {
        world.disturb_until(now + 20_000);
        world.tell(&who, format!("{:?}: breaks", watch.kind));
        return if world.dice.happens(500) { Next::Break } else { Next::Close };
    }
    watch.told = version;
    let delay = if is_late { world.dice.between(100, 20_000) } else { world.dice.between(0, 20) };
    let at = now.max(happened_at + delay).max(cut_off_until);
    if is_late {
        world.disturb_until(at);
        world.tell(&who, format!("{:?}: version {version} comes {delay} ms late", watch.kind));
    }
    let object = defects::as_read(world, &watch.call, (*object).clone());
    Next::Tell { line: json!({ "type": type_, "object": object }), at, is_last: false }
}

impl World {
    /// What the API server makes of a call.
    pub(crate) fn serve(&mut self, call: &Call) -> Answer {
        let against = self.policy_against(call);
        let policy = against.as_ref().map(|(policy, _)| *policy);
        let answer = against.map_or_else(|| self.carry_out(call), |(_, answer)| answer);
        if call.is_write() && call.kind != Some(Kind::Lease) {
            let object = format!("{:?} {}", call.kind, call.name);
            self.judge_write(object, if policy.is_none() { answer.0 } else { 403 });
            self.note_answer(call, policy);
        }
        answer
    }

    fn carry_out(&mut self, call: &Call) -> Answer {
        let Some(kind) = call.kind else { return (200, call.body.clone()) };
        let answer = match call.verb {
            Verb::List => self.store.list(kind),
            Verb::Get => self.get(kind, &call.name),
            Verb::Create => self.create(kind, &call.name, call.body.clone()),
            Verb::Replace if call.is_status => self.replace_status(call),
            Verb::Replace if kind == Kind::Task => self.replace_task(call),
            Verb::Replace => self.replace(kind, &call.name, &call.body),
            Verb::Patch => self.patch_pod(call),
            Verb::Delete => match kind {
                Kind::Pod => self.delete_pod(&call.name, &call.body),
                Kind::Task | Kind::Set | Kind::Queue | Kind::Lease | Kind::Template => {
                    self.delete_task(&call.name, &call.body)
                }
            },
            Verb::Watch => unreachable!("a watch is a stream"),
        };
        // What lists and watches have more than was asked for is not read.
        if call.wants_metadata && call.verb == Verb::Get && answer.0 == 200 {
            let metadata = answer.1["metadata"].clone();
            return (
                200,
                json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata }),
            );
        }
        answer
    }
}
