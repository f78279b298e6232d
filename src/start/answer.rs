//! What the API server's answers to a create mean.

use kube::core::{ObjectMeta, Status};

use crate::{
    api::{
        labels,
        task::{ConditionReason, Reason},
    },
    types::Cause,
};

/// What became of a request to create a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The task was created.
    Started,
    /// The same request came before: its task is there.
    StartedBefore,
    /// A request with the same key came before, for another input.
    KeyReused,
    /// Something else made a task of that name.
    NameTaken,
    /// A task of that name is being deleted: the create can be tried again when it is gone.
    BeingDeleted,
    /// A quota is used up, in the API server's words.
    QuotaExceeded(String),
    /// The API server refuses the task, in its words. The code does not tell whose fault it is.
    Refused(String),
    /// The namespace does not exist, or the resource, in the API server's words.
    NotFound(String),
    /// Nobody knows whether it was created: the same create can be sent again.
    Unknown(String),
}

/// Judges a create that did not succeed.
///
/// `status` is what the API server answered, `words` the same as a sentence, none and the client's where it gave no answer.
/// `found` is the object of that name as it was read after the create, if there is one. `digest` is that of the request.
pub fn judge(status: Option<&Status>, words: String, found: Option<&ObjectMeta>, digest: &str) -> Answer {
    let Some(status) = status else { return Answer::Unknown(words) };
    match status.code {
        409 => match found {
            None => Answer::Unknown(words),
            Some(found) if found.deletion_timestamp.is_some() => Answer::BeingDeleted,
            Some(found) => match found.annotations.iter().flatten().find(|(name, _)| *name == labels::INPUT_DIGEST) {
                Some((_, known)) if known == digest => Answer::StartedBefore,
                Some(_) => Answer::KeyReused,
                None => Answer::NameTaken,
            },
        },
        404 => Answer::NotFound(words),
        400..=499 if is_of_quota(status) => Answer::QuotaExceeded(words),
        401 | 429 => Answer::Unknown(words),
        400..=499 => Answer::Refused(words),
        _ => Answer::Unknown(words),
    }
}

/// Why a write did not succeed: in one word, for a condition and for columns, and in the API server's own sentence.
///
/// Where it gave no answer, `words` is the client's sentence, and `is_late` says that it was waited for.
pub fn cause(answer: Option<&Status>, is_late: bool, words: String) -> Cause {
    match answer {
        Some(status) => Cause::new(refusal_reason(status), status.message.clone()),
        None if is_late => Cause::new(ConditionReason::NoAnswer, words + "; a webhook may be away"),
        None => Cause::new(ConditionReason::NoConnection, words),
    }
}

fn refusal_reason(status: &Status) -> Reason {
    let message = &status.message;
    if is_of_quota(status) {
        ConditionReason::QuotaExceeded.into()
    } else if message.contains("violates PodSecurity") {
        ConditionReason::PodSecurityViolation.into()
    } else if message.contains("because it is being terminated") {
        ConditionReason::NamespaceTerminating.into()
    } else if message.contains("failed calling webhook") {
        ConditionReason::WebhookFailed.into()
    } else if is_word(&status.reason) {
        Reason::of_cluster(&status.reason)
    } else {
        ConditionReason::Refused.into()
    }
}

fn is_of_quota(status: &Status) -> bool {
    status.message.contains("exceeded quota")
}

/// Whether a text can be the reason of a condition. Webhooks may write anything there.
fn is_word(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn judged(code: u16, message: &str, found: &Value) -> Answer {
        let status = Status::failure(message, "Any").with_code(code);
        let found: Option<ObjectMeta> = serde_json::from_value(found.clone()).expect("metadata");
        judge(Some(&status), message.to_owned(), found.as_ref(), "sha256:1")
    }

    #[test]
    fn each_answer_has_one_meaning() {
        let none = Value::Null;
        let ours = |digest: &str| json!({ "annotations": { "longtask.dev/input-digest": digest } });
        let going =
            json!({ "deletionTimestamp": "2026-11-24T10:00:00Z", "annotations": ours("sha256:1")["annotations"] });
        let words = |text: &str| text.to_owned();
        for (code, message, found, expected) in [
            (409, "exists", ours("sha256:1"), Answer::StartedBefore),
            (409, "exists", ours("sha256:2"), Answer::KeyReused),
            (409, "exists", json!({}), Answer::NameTaken),
            (409, "exists", going, Answer::BeingDeleted),
            (409, "exists", none.clone(), Answer::Unknown(words("exists"))),
            (403, "exceeded quota: q", none.clone(), Answer::QuotaExceeded(words("exceeded quota: q"))),
            (403, "no", none.clone(), Answer::Refused(words("no"))),
            (400, "denied", none.clone(), Answer::Refused(words("denied"))),
            (422, "denied", none.clone(), Answer::Refused(words("denied"))),
            (404, "namespaces \"n\" not found", none.clone(), Answer::NotFound(words("namespaces \"n\" not found"))),
            (401, "who", none.clone(), Answer::Unknown(words("who"))),
            (429, "slowly", none.clone(), Answer::Unknown(words("slowly"))),
            (503, "later", none, Answer::Unknown(words("later"))),
        ] {
            assert_eq!(judged(code, message, &found), expected, "{code} {message} {found}");
        }
        assert_eq!(judge(None, words("refused"), None, "sha256:1"), Answer::Unknown(words("refused")));
    }
}
