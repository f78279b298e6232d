//! Whose report it is: told by the token of the pod, which only the API server can judge.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus},
};
use kube::{Api, Client, api::PostParams};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    clock::Clock,
    contract::agent::TOKEN_AUDIENCE,
    runtime::{call::call, error::Error},
};

/// How long an answer of the API server is believed, at the most. A token that is stolen is good for that long after its pod
/// is gone, for the report of that pod only.
const BELIEVED: Duration = Duration::from_mins(10);
/// The most tokens that are reviewed in a second: each takes the API server two milliseconds.
const MOST_REVIEWS: u32 = 200;

/// The pod that a token is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// Finds out which pod a token is of.
pub(super) struct Identities {
    reviews: Api<TokenReview>,
    clock: Clock,
    known: Mutex<Known>,
    most_reviews: u32,
}

#[derive(Default)]
struct Known {
    /// By the token's digest: tokens themselves are not kept.
    identities: HashMap<[u8; 32], (PodIdentity, Instant)>,
    /// The second that is counted in, and how many reviews it has had.
    reviews: Option<(Instant, u32)>,
}

/// Why nobody knows whose report it is.
#[derive(Debug)]
pub(super) enum Unknown {
    /// The API server does not know the token, or it is not for us, or of no pod.
    Refused,
    /// Too many ask at once.
    Busy,
    /// The API server does not answer.
    NoAnswer(Error),
}

impl Identities {
    /// `api_qps` is how many requests the operator may send in a second, if that is bounded: reviews take a quarter.
    pub(super) fn new(client: Client, clock: Clock, api_qps: Option<u32>) -> Self {
        let most_reviews = api_qps.map_or(MOST_REVIEWS, |qps| (qps / 4).clamp(1, MOST_REVIEWS));
        Self { reviews: Api::all(client), clock, known: Mutex::default(), most_reviews }
    }

    /// The pod that the token is of.
    pub(super) async fn of(&self, token: &str) -> Result<PodIdentity, Unknown> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.look_up(digest)? {
            return Ok(known);
        }
        let review = TokenReview {
            spec: TokenReviewSpec { token: token.to_owned(), audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]) },
            ..TokenReview::default()
        };
        let params = PostParams::default();
        let reviewed =
            call("review a token", self.reviews.create(&params, &review)).await.map_err(Unknown::NoAnswer)?;
        let identity = reviewed.status.as_ref().and_then(identity).ok_or(Unknown::Refused)?;
        let believed = expiry(token).map_or(BELIEVED, |expiry| self.clock.until(expiry).min(BELIEVED));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.identities.insert(digest, (identity.clone(), Instant::now() + believed));
        Ok(identity)
    }

    /// What is known of a token; none if a review is due, and allowed.
    fn look_up(&self, digest: [u8; 32]) -> Result<Option<PodIdentity>, Unknown> {
        let now = Instant::now();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((identity, until)) = known.identities.get(&digest)
            && *until > now
        {
            return Ok(Some(identity.clone()));
        }
        known.identities.retain(|_, (_, until)| *until > now);
        let (since, reviews) =
            known.reviews.filter(|(since, _)| now - *since < Duration::from_secs(1)).unwrap_or((now, 0));
        if reviews >= self.most_reviews {
            return Err(Unknown::Busy);
        }
        known.reviews = Some((since, reviews + 1));
        Ok(None)
    }
}

/// The pod in an answer of the API server. The audience is checked again: a server that knows nothing of audiences
/// answers for any token.
fn identity(status: &TokenReviewStatus) -> Option<PodIdentity> {
    let is_for_us = status.audiences.iter().flatten().any(|audience| audience == TOKEN_AUDIENCE);
    let user = status.user.as_ref().filter(|_| status.authenticated == Some(true) && is_for_us)?;
    let extra =
        |name: &str| user.extra.as_ref()?.get(&format!("authentication.kubernetes.io/{name}"))?.first().cloned();
    let namespace = user.username.as_ref()?.strip_prefix("system:serviceaccount:")?.split_once(':')?.0;
    Some(PodIdentity { namespace: namespace.to_owned(), name: extra("pod-name")?, uid: extra("pod-uid")? })
}

/// What a token says of itself, as far as it is asked here.
#[derive(Deserialize)]
struct Claims {
    /// When it expires, in seconds since 1970.
    exp: i64,
}

/// When a token expires that the API server has verified; none if it is not of the usual sort, which says so itself.
fn expiry(token: &str) -> Option<Timestamp> {
    let claims = token.split('.').nth(1)?;
    // Base64 for addresses, without padding. The type of Kubernetes reads the other one.
    let padding = "=".repeat(claims.len().wrapping_neg() % 4);
    let claims = claims.replace('-', "+").replace('_', "/") + &padding;
    let ByteString(claims) = serde_json::from_value(Value::String(claims)).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    Timestamp::from_second(exp).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::VecDeque, convert::Infallible, sync::Arc};

    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use tokio::time;
    use tower::service_fn;

    use super::*;

    /// The time by the machine's clock when a test begins.
    const BEGIN: i64 = 1_800_000_000;

    fn of(status: Value) -> Option<PodIdentity> {
        identity(&serde_json::from_value(status).expect("a status"))
    }

    /// The API server's answer for the token of the pod `t-1`.
    pub(crate) fn answer() -> Value {
        json!({
            "authenticated": true, "audiences": [TOKEN_AUDIENCE],
            "user": {
                "username": "system:serviceaccount:team-a:default",
                "extra": {
                    "authentication.kubernetes.io/pod-name": ["t-1"],
                    "authentication.kubernetes.io/pod-uid": ["uid-1"],
                },
            },
        })
    }

    #[test]
    fn a_token_of_a_pod_for_us_says_which_pod() {
        let pod = PodIdentity { namespace: "team-a".into(), name: "t-1".into(), uid: "uid-1".into() };
        assert_eq!(of(answer()), Some(pod));
    }

    #[test]
    fn any_other_token_says_nothing() {
        for (field, value) in [
            ("/authenticated", json!(false)),
            ("/audiences", json!(["https://kubernetes.default.svc"])),
            ("/audiences", json!([])),
            ("/user/username", json!("system:node:n")),
            ("/user/extra", json!({ "authentication.kubernetes.io/pod-name": ["t-1"] })),
        ] {
            let mut status = answer();
            *status.pointer_mut(field).expect(field) = value;
            assert_eq!(of(status), None, "{field}");
        }
        let without_audiences = json!({ "authenticated": true, "user": answer()["user"] });
        assert_eq!(of(without_audiences), None);
    }

    /// An API server that answers reviews in this order, and notes what it is asked.
    #[derive(Clone, Default)]
    pub(crate) struct Server {
        answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
        asked: Arc<Mutex<Vec<TokenReviewSpec>>>,
    }

    impl Server {
        pub(crate) fn answering(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
            Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
        }

        /// Identities as this server tells them.
        pub(crate) fn identities(&self, api_qps: Option<u32>) -> Identities {
            let server = self.clone();
            let service = service_fn(move |request: Request<Body>| {
                let server = server.clone();
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            let begun = Instant::now();
            let clock = Clock::from_fn(move || {
                let passed = i64::try_from(begun.elapsed().as_secs()).expect("not that long");
                Timestamp::from_second(BEGIN + passed).expect("in range")
            });
            Identities::new(Client::new(service, "default"), clock, api_qps)
        }

        async fn answer(&self, request: Request<Body>) -> Response<Body> {
            assert_eq!(request.uri().path(), "/apis/authentication.k8s.io/v1/tokenreviews");
            let body = request.into_body().collect_bytes().await.expect("a body in memory");
            let review: TokenReview = serde_json::from_slice(&body).expect("a review");
            self.asked.lock().expect("no panic").push(review.spec);
            let (code, answer) = self.answers.lock().expect("no panic").pop_front().expect("one more than scripted");
            Response::builder().status(code).body(Body::from(answer.to_string().into_bytes())).expect("a response")
        }

        /// The tokens that were reviewed.
        fn asked(&self) -> Vec<String> {
            self.asked.lock().expect("no panic").iter().map(|spec| spec.token.clone()).collect()
        }
    }

    /// A review with that status, as the API server answers it.
    pub(crate) fn reviewed(status: &Value) -> (u16, Value) {
        let review = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": { "token": "" },
            "status": status,
        });
        (201, review)
    }

    fn of_pod(uid: &str) -> (u16, Value) {
        let mut status = answer();
        status["user"]["extra"]["authentication.kubernetes.io/pod-uid"] = json!([uid]);
        reviewed(&status)
    }

    pub(crate) fn not_authenticated(error: &str) -> (u16, Value) {
        reviewed(&json!({ "authenticated": false, "error": error, "user": {} }))
    }

    /// A token with these claims, as an issuer writes it.
    fn token(claims: &Value) -> String {
        let base64 = |text: &str| {
            let text = serde_json::to_value(ByteString(text.as_bytes().to_vec())).expect("a text");
            text.as_str().expect("a text").replace('+', "-").replace('/', "_").trim_end_matches('=').to_owned()
        };
        format!("{}.{}.signature", base64("{\"alg\":\"RS256\"}"), base64(&claims.to_string()))
    }

    #[test]
    fn a_token_says_when_it_expires() {
        // With and without padding, and with the two characters that differ from the usual base64.
        for filler in ["", "a", "ab", "abc", "\u{fb}\u{ff}\u{fe}>>>???"] {
            let claims = json!({ "aud": ["longtask.dev/reports"], "exp": BEGIN + 77, "sub": filler });
            assert_eq!(expiry(&token(&claims)).map(Timestamp::as_second), Some(BEGIN + 77), "{filler}");
        }
        for other in
            ["", "opaque", "a.b.c", "a.!!.c", &token(&json!({ "sub": "x" })), &token(&json!({ "exp": "soon" }))]
        {
            assert_eq!(expiry(other), None, "{other}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_believed_for_ten_minutes_and_never_beyond_the_end_of_the_token() {
        for (exp, believed) in [(Some(3600), 600), (Some(90), 90), (None, 600)] {
            let server = Server::answering([of_pod("uid-1"), of_pod("uid-1")]);
            let identities = server.identities(None);
            let token = token(&exp.map_or(json!({}), |exp| json!({ "exp": BEGIN + exp })));
            let asks = async |at: u64| {
                time::advance(Duration::from_secs(at)).await;
                identities.of(&token).await.expect("a pod");
                server.asked().len()
            };
            assert_eq!((asks(0).await, asks(believed - 1).await, asks(1).await), (1, 1, 2), "{exp:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_over_by_our_clock_is_reviewed_each_time() {
        let server = Server::answering([of_pod("uid-1"), of_pod("uid-1")]);
        let (identities, token) = (server.identities(None), token(&json!({ "exp": BEGIN - 1 })));
        for _ in 0..2 {
            assert!(identities.of(&token).await.is_ok(), "the API server's clock decides");
        }
        assert_eq!(server.asked().len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_token_of_another_pod_is_that_pods_however_often_it_is_shown() {
        let server = Server::answering([of_pod("uid-1"), of_pod("uid-2")]);
        let identities = server.identities(None);
        for _ in 0..2 {
            for (token, uid) in [("one", "uid-1"), ("another", "uid-2")] {
                assert_eq!(identities.of(token).await.expect("a pod").uid, uid);
            }
        }
        assert_eq!(server.asked(), ["one", "another"]);
        let asked = server.asked.lock().expect("no panic");
        assert!(asked.iter().all(|spec| spec.audiences == Some(vec![TOKEN_AUDIENCE.to_owned()])), "{asked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_refused_is_not_believed_and_asked_for_again() {
        // For another audience; of a pod that is deleted; of one whose name another pod has by now.
        let errors = ["token audiences [\"api\"] is invalid", "pod not found", "pod UID does not match"];
        let server = Server::answering(errors.map(not_authenticated).into_iter().chain([of_pod("uid-1")]));
        let identities = server.identities(None);
        for error in errors {
            assert!(matches!(identities.of("token").await, Err(Unknown::Refused)), "{error}");
        }
        assert!(identities.of("token").await.is_ok());
        assert_eq!(server.asked().len(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_of_a_pod_that_was_deleted_is_good_until_the_belief_ends() {
        let server = Server::answering([of_pod("uid-1"), not_authenticated("pod not found")]);
        let identities = server.identities(None);
        assert!(identities.of("token").await.is_ok());
        time::advance(Duration::from_secs(599)).await;
        assert!(identities.of("token").await.is_ok(), "only the reviews end it, and the index of pods");
        time::advance(Duration::from_secs(1)).await;
        assert!(matches!(identities.of("token").await, Err(Unknown::Refused)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_api_server_in_trouble_is_no_answer_and_nothing_is_believed() {
        for (code, reason) in [(429, "TooManyRequests"), (500, "InternalError"), (503, "ServiceUnavailable")] {
            let failure = kube::core::Status::failure("not now", reason).with_code(code);
            let failure = (code, serde_json::to_value(failure).expect("a status"));
            let server = Server::answering([failure.clone(), failure, of_pod("uid-1")]);
            let identities = server.identities(None);
            for _ in 0..2 {
                let answer = identities.of("token").await;
                assert!(matches!(&answer, Err(Unknown::NoAnswer(error)) if error.code() == Some(code)), "{answer:?}");
            }
            assert_eq!(identities.of("token").await.expect("a pod").uid, "uid-1");
            assert_eq!(server.asked().len(), 3, "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn more_reviews_than_the_api_server_is_to_bear_wait_for_the_next_second() {
        let server = Server::answering(["uid-1", "uid-2", "uid-3", "uid-4"].map(of_pod));
        let identities = server.identities(Some(8));
        let is_known = async |token: &str| match identities.of(token).await {
            Ok(_) => true,
            Err(Unknown::Busy) => false,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!([is_known("a").await, is_known("b").await, is_known("c").await], [true, true, false]);
        assert!(is_known("a").await, "what is known needs no review");
        time::advance(Duration::from_secs(1)).await;
        assert!(is_known("c").await);
        assert_eq!(server.asked(), ["a", "b", "c"]);
    }
}
