//! What can go wrong, in words that tell what to do next.

use std::io;

use kube::config::{InferConfigError, KubeconfigError};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a kubeconfig nor a service account was found.
    #[error("find the cluster: set KUBECONFIG or give --kubeconfig")]
    NoCluster(#[source] Box<InferConfigError>),
    /// The kubeconfig, or a context in it, cannot be used.
    #[error("read the kubeconfig")]
    Kubeconfig(#[source] Box<KubeconfigError>),
    /// Certificates or credentials cannot be used.
    #[error("set up the client of the API server")]
    Client(#[source] Box<kube::Error>),
    /// The resource is not installed.
    #[error(
        "this cluster does not have the resource LongTask: install the operator, or choose another cluster with --context"
    )]
    NoResource,
    /// No object of the kind has that name.
    #[error("there is no {kind} {name} in namespace {namespace}; {others}")]
    NoSuchObject {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
        /// Where it was looked for.
        namespace: String,
        /// What there is in its place.
        others: String,
    },
    /// The API server said no, or nothing.
    #[error("{what}: {answer}")]
    Call {
        /// What was asked for.
        what: String,
        /// The answer.
        answer: String,
    },
    /// The task is in no state for this.
    #[error("{0}")]
    NotNow(String),
    /// What was asked for is wrong, whoever asks and whenever.
    #[error("{0}")]
    WrongRequest(String),
    /// A file cannot be read.
    #[error("read {file}")]
    Read {
        /// Which one.
        file: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A manifest is none.
    #[error("{0}")]
    Manifest(String),
    /// A file cannot be written.
    #[error("write into {folder}")]
    Write {
        /// Where.
        folder: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// An object could not be written as JSON.
    #[error("write as JSON")]
    Json(#[from] serde_json::Error),
    /// Standard output is broken.
    #[error("print")]
    Print(#[source] io::Error),
}

impl Error {
    /// The exit code of a program that ends with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::WrongRequest(_) => 2,
            _ => 1,
        }
    }

    /// Names the call that an error of the client comes from.
    pub(super) fn of_call(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        move |error| {
            if is_resource_missing(&error) { Self::NoResource } else { Self::Call { what, answer: answer(&error) } }
        }
    }
}

/// What the API server said, in its own words; the client's would be those of a program.
pub(super) fn answer(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        other => other.to_string(),
    }
}

/// A 404 for a path that the API server does not serve names no object.
fn is_resource_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status)
        if status.code == 404 && status.details.as_ref().is_none_or(|details| details.name.is_empty()))
}

/// A 403: the user may not.
pub(super) fn is_forbidden(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 403)
}

/// A 404 for an object.
pub(super) fn is_object_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404) && !is_resource_missing(error)
}
