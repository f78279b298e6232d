//! Where agents of the same process hand in their reports: past network, TLS and tokens, and by no other rules.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::{
    identity::PodIdentity,
    server::{Takes, Verdict},
};
use crate::contract::agent::Post;

/// Takes reports of agents in this process, for as long as its controller leads; clones share it.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<Weak<Takes>>>);

impl Desk {
    /// What is answered to a post of this pod; none while nobody takes any.
    pub fn post(&self, of: &PodIdentity, post: &Post) -> Option<Verdict> {
        let takes = self.0.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        Some(takes?.take_of(of, post))
    }

    /// Takes reports for as long as this is polled.
    pub(super) async fn serve(self, takes: Takes) {
        let takes = Arc::new(takes);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&takes);
        takes.begin();
        std::future::pending::<()>().await;
    }
}
