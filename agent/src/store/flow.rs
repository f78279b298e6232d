//! How much is under way at the same time: so many requests, so many bytes in each, and so many in memory.

use std::{future, panic, sync::Arc};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, JoinHandle, spawn_blocking},
};

/// The most requests at the same time.
pub const REQUESTS: usize = 32;
/// The most bytes of a request, as long as a file needs no more parts than it may have.
const PART: u64 = 16 * 1024 * 1024;
/// The most parts of a file: stores take 10,000.
const MOST_PARTS: u64 = 9_000;
/// The most bytes of all of them together.
const BYTES: u64 = 128 * 1024 * 1024;
/// What bytes are counted in: a semaphore has fewer places than a file can have bytes.
const UNIT: u64 = 1024;

/// Admits requests as there is room for them. Those that ask first are admitted first.
#[derive(Clone, Debug)]
pub struct Flow {
    part: u64,
    requests: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
}

/// A place for one request and its bytes, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _request: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Default for Flow {
    fn default() -> Self {
        Self::in_parts_of(PART)
    }
}

impl Flow {
    /// With parts of that size: stores take none below 5 MiB.
    pub fn in_parts_of(part: u64) -> Self {
        let all_bytes = usize::try_from(units(BYTES)).unwrap_or(Semaphore::MAX_PERMITS);
        Self { part, requests: Arc::new(Semaphore::new(REQUESTS)), bytes: Arc::new(Semaphore::new(all_bytes)) }
    }

    /// How many bytes each request for a file of that size has, but the last one.
    pub fn part_of(&self, size: u64) -> u64 {
        self.part.max(size.div_ceil(MOST_PARTS))
    }

    /// Waits until there is a place for a request with so many bytes.
    pub async fn admit(&self, bytes: u64) -> Place {
        // One with more than all of the bytes gets them all.
        let units = units(bytes.min(BYTES));
        let of_bytes = Arc::clone(&self.bytes).acquire_many_owned(units).await;
        let of_request = Arc::clone(&self.requests).acquire_owned().await;
        match (of_bytes, of_request) {
            (Ok(of_bytes), Ok(of_request)) => Place { _request: of_request, _bytes: of_bytes },
            // Neither is ever closed.
            (Err(_), _) | (_, Err(_)) => future::pending().await,
        }
    }

    /// A place for a request with so many bytes, if there is one at once.
    pub fn admit_now(&self, bytes: u64) -> Option<Place> {
        let of_bytes = Arc::clone(&self.bytes).try_acquire_many_owned(units(bytes.min(BYTES))).ok()?;
        let of_request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        Some(Place { _request: of_request, _bytes: of_bytes })
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT).max(1)).unwrap_or(u32::MAX)
}

/// Does on a thread of its own what would hold up everything else: files, and digests of what is in them.
pub async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(spawn_blocking(work).await)
}

/// What a task has come to. One that panicked panics here as well.
pub fn joined<T>(ended: Result<T, JoinError>) -> T {
    ended.unwrap_or_else(|error| panic::resume_unwind(error.into_panic()))
}

/// A task that ends when nobody waits for it any more.
#[derive(Debug)]
pub struct Awaited<T>(JoinHandle<T>);

impl<T: Send + 'static> Awaited<T> {
    /// Begins it.
    pub fn begin(work: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(work))
    }

    /// Waits for its end.
    pub async fn end(mut self) -> T {
        joined((&mut self.0).await)
    }
}

impl<T> Drop for Awaited<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[tokio::test]
    async fn requests_and_bytes_are_limited_each_by_itself() {
        let flow = Flow::default();
        let mut small = Vec::new();
        while let Some(place) = flow.admit_now(1) {
            small.push(place);
        }
        assert_eq!(small.len(), REQUESTS);
        small.clear();
        let mut large = Vec::new();
        while let Some(place) = flow.admit_now(16 * MIB) {
            large.push(place);
        }
        assert_eq!(large.len(), 8);
        assert!(flow.admit_now(0).is_none(), "also nothing takes a place");
        large.pop();
        drop(flow.admit(16 * MIB).await);
    }

    #[test]
    fn a_file_of_any_size_has_no_more_parts_than_a_store_takes() {
        const GIB: u64 = 1024 * MIB;
        let flow = Flow::default();
        assert_eq!([0, GIB, PART * MOST_PARTS].map(|size| flow.part_of(size)), [PART; 3]);
        for size in [PART * MOST_PARTS + 1, 300 * GIB, 5 * 1024 * GIB] {
            let parts = size.div_ceil(flow.part_of(size));
            assert!((MOST_PARTS / 2..=MOST_PARTS).contains(&parts), "{size}: {parts}");
        }
    }

    #[tokio::test]
    async fn a_request_that_is_larger_than_everything_goes_alone() {
        let flow = Flow::default();
        let place = flow.admit(u64::MAX).await;
        assert!(flow.admit_now(1).is_none());
        drop(place);
        assert!(flow.admit_now(1).is_some());
    }
}
