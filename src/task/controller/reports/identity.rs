//! Whose report it is: told by the token of the pod, which only the API server can judge.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::{
    contract::agent::TOKEN_AUDIENCE,
    runtime::{call::call, error::Error},
};

/// How long an answer of the API server is believed. A token that is stolen is good for that long after its pod is gone,
/// for the report of that pod only.
const BELIEVED: Duration = Duration::from_mins(10);
/// The most tokens that are reviewed in a second: each takes the API server two milliseconds.
const MOST_REVIEWS: u32 = 200;

/// The pod that a token is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodIdentity {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// Finds out which pod a token is of.
pub(super) struct Identities {
    reviews: Api<TokenReview>,
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
    pub(super) fn new(client: Client, api_qps: Option<u32>) -> Self {
        let most_reviews = api_qps.map_or(MOST_REVIEWS, |qps| (qps / 4).clamp(1, MOST_REVIEWS));
        Self { reviews: Api::all(client), known: Mutex::default(), most_reviews }
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
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.identities.insert(digest, (identity.clone(), Instant::now() + BELIEVED));
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(status: Value) -> Option<PodIdentity> {
        identity(&serde_json::from_value(status).expect("a status"))
    }

    fn answer() -> Value {
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
}
