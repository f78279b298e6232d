//! A store that can be asked.

use std::{sync::Arc, time::Duration};

use longtask::contract::agent::StoreSettings;

use super::{
    failure::{Cause, Failure},
    way::Way,
};

/// A store that can be asked.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    /// The way to it.
    pub(crate) store: Arc<Way>,
}

/// An address in a network, of which there is none here: stores are opened in another way.
#[derive(Clone, Debug)]
pub(crate) struct Address(String);

impl Address {
    pub(crate) fn of(settings: &StoreSettings) -> Self {
        Self(settings.url.clone())
    }

    #[expect(clippy::unused_self, reason = "the agent's own keeps the rest of it")]
    pub(crate) fn with_url(&self, url: &str) -> Self {
        Self(url.to_owned())
    }

    pub(crate) fn open(&self, _: Duration) -> Result<Opened, Failure> {
        Err(Failure::new(Cause::Unreachable, format!("there is no network to {}", self.0)))
    }
}
