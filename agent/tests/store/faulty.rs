//! A store that fails, lies, truncates or falls silent at one request, or from one request on.

use std::{
    fmt,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, Error, Extensions, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, path::Path,
};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It fails, and nothing is done.
    Fails,
    /// It is done, and its answer is lost.
    AnswerIsLost,
    /// It is said to be done, or what is asked for is made up.
    Lies,
    /// Half of it is done, and all of it is said to be.
    Truncates,
    /// It is said that there is no such thing.
    IsMissing,
    /// Nobody answers, and nothing is done: whoever asked can be killed.
    FallsSilent,
    /// Nobody answers, and it is done.
    FallsSilentAfterwards,
}

/// When it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    At(usize),
    From(usize),
}

/// A store with a fault.
pub(crate) struct Faulty {
    inner: Arc<dyn ObjectStore>,
    state: Arc<State>,
}

struct State {
    fault: Fault,
    when: When,
    asked: AtomicUsize,
    /// What is done before a request, by its number.
    before: Mutex<Box<dyn FnMut(usize) + Send>>,
}

impl Faulty {
    pub(crate) fn new(inner: &Arc<dyn ObjectStore>, fault: Fault, when: When) -> Arc<Self> {
        Self::with(inner, fault, when, |_| {})
    }

    /// A store without a fault, beside which something happens before each request.
    pub(crate) fn beside(inner: &Arc<dyn ObjectStore>, before: impl FnMut(usize) + Send + 'static) -> Arc<Self> {
        Self::with(inner, Fault::Fails, When::At(usize::MAX), before)
    }

    fn with(
        inner: &Arc<dyn ObjectStore>,
        fault: Fault,
        when: When,
        before: impl FnMut(usize) + Send + 'static,
    ) -> Arc<Self> {
        let state = State { fault, when, asked: AtomicUsize::new(0), before: Mutex::new(Box::new(before)) };
        Arc::new(Self { inner: Arc::clone(inner), state: Arc::new(state) })
    }

    /// How many requests there were.
    pub(crate) fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Whether a request came that went wrong.
    pub(crate) fn was_hit(&self) -> bool {
        let (When::At(first) | When::From(first)) = self.state.when;
        self.asked() >= first
    }
}

fn failed() -> Error {
    Error::Generic { store: "faulty", source: "status code: 503".into() }
}

impl State {
    /// Counts a request, and says what goes wrong with it.
    fn next(&self) -> Option<Fault> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        (self.before.lock().expect("nobody panicked"))(number);
        let is_hit = match self.when {
            When::At(at) => number == at,
            When::From(first) => number >= first,
        };
        is_hit.then_some(self.fault)
    }

    /// A request that changes something. Of a lie, `made_up` is the answer; half of it is what `half` does.
    async fn change<T>(
        &self,
        path: &Path,
        done: impl Future<Output = Result<T>>,
        half: impl Future<Output = Result<T>>,
        made_up: impl FnOnce() -> T,
    ) -> Result<T> {
        match self.next() {
            None => done.await,
            Some(Fault::Fails) => Err(failed()),
            Some(Fault::AnswerIsLost) => done.await.and(Err(failed())),
            Some(Fault::Lies) => Ok(made_up()),
            Some(Fault::Truncates) => half.await,
            Some(Fault::IsMissing) => Err(missing(path)),
            Some(Fault::FallsSilent) => pending().await,
            Some(Fault::FallsSilentAfterwards) => {
                let _ = done.await;
                pending().await
            }
        }
    }
}

fn missing(path: &Path) -> Error {
    Error::NotFound { path: path.to_string(), source: "it is said".into() }
}

fn nothing() -> PutResult {
    PutResult { e_tag: None, version: None, extensions: Extensions::default() }
}

fn half(payload: &PutPayload) -> PutPayload {
    let bytes: bytes::Bytes = payload.clone().into();
    bytes.slice(..bytes.len() / 2).into()
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let half = half(&payload);
        let (done, half) =
            (self.inner.put_opts(path, payload, options.clone()), self.inner.put_opts(path, half, options));
        self.state.change(path, done, half, nothing).await
    }

    async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let begin = |options| async move {
            let inner = self.inner.put_multipart_opts(path, options).await?;
            Ok(Box::new(Upload { inner: Some(inner), state: Arc::clone(&self.state), path: path.clone() }) as _)
        };
        let swallow = || Box::new(Upload { inner: None, state: Arc::clone(&self.state), path: path.clone() }) as _;
        self.state.change(path, begin(options.clone()), begin(options), swallow).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        let fault = self.state.next();
        match fault {
            Some(Fault::Fails | Fault::AnswerIsLost) => return Err(failed()),
            Some(Fault::FallsSilent | Fault::FallsSilentAfterwards) => return pending().await,
            Some(Fault::IsMissing) => return Err(missing(path)),
            None | Some(Fault::Lies | Fault::Truncates) => {}
        }
        let got = self.inner.get_opts(path, options).await?;
        let (mut meta, range, attributes) = (got.meta.clone(), got.range.clone(), got.attributes.clone());
        let mut bytes = got.bytes().await?;
        match fault {
            // Of a request for the head alone, the size is made up.
            Some(Fault::Lies) if bytes.is_empty() => meta.size += 1,
            Some(Fault::Lies) => bytes = bytes.iter().map(|byte| byte ^ 0x55).collect(),
            Some(Fault::Truncates) => bytes = bytes.slice(..bytes.len() / 2),
            _ => {}
        }
        let payload = GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed());
        Ok(GetResult { payload, meta, range, attributes, extensions: Extensions::default() })
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (inner, state) = (Arc::clone(&self.inner), Arc::clone(&self.state));
        let delete = move |path: Result<Path>| {
            let (inner, state) = (Arc::clone(&inner), Arc::clone(&state));
            async move {
                let path = path?;
                let one = || inner.delete_stream(stream::once(std::future::ready(Ok(path.clone()))).boxed());
                let (done, half) = (one().try_collect::<Vec<_>>(), std::future::ready(Ok(vec![])));
                state.change(&path, done, half, Vec::new).await.map(|_| path.clone())
            }
        };
        paths.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (state, listed) = (Arc::clone(&self.state), self.inner.list(prefix));
        let answer = async move {
            let mut found: Vec<ObjectMeta> = listed.try_collect().await?;
            match state.next() {
                None => {}
                Some(Fault::Fails | Fault::AnswerIsLost | Fault::IsMissing) => return Err(failed()),
                Some(Fault::Lies) => found.clear(),
                Some(Fault::Truncates) => found.truncate(found.len() / 2),
                Some(Fault::FallsSilent | Fault::FallsSilentAfterwards) => pending().await,
            }
            Ok(stream::iter(found).map(Ok))
        };
        stream::once(answer).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let mut listed = self.inner.list_with_delimiter(prefix).await?;
        match self.state.next() {
            None => {}
            Some(Fault::Fails | Fault::AnswerIsLost | Fault::IsMissing) => return Err(failed()),
            Some(Fault::Lies) => listed.common_prefixes.clear(),
            Some(Fault::Truncates) => listed.common_prefixes.truncate(listed.common_prefixes.len() / 2),
            Some(Fault::FallsSilent | Fault::FallsSilentAfterwards) => pending().await,
        }
        Ok(listed)
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// An upload in parts. One that is made up has nothing below it.
#[derive(Debug)]
struct Upload {
    inner: Option<Box<dyn MultipartUpload>>,
    state: Arc<State>,
    path: Path,
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let (state, path) = (Arc::clone(&self.state), self.path.clone());
        let Some(inner) = &mut self.inner else {
            return Box::pin(async move { state.next().map_or(Ok(()), |_| Err(failed())) });
        };
        // The store gives a part its place when it is asked, and not when it answers. So what goes wrong is known before.
        match state.next() {
            None => inner.put_part(payload),
            Some(Fault::Fails) => Box::pin(async { Err(failed()) }),
            Some(Fault::AnswerIsLost) => {
                let part = inner.put_part(payload);
                Box::pin(async { part.await.and(Err(failed())) })
            }
            Some(Fault::Lies) => Box::pin(async { Ok(()) }),
            Some(Fault::Truncates) => inner.put_part(half(&payload)),
            Some(Fault::IsMissing) => Box::pin(async move { Err(missing(&path)) }),
            Some(Fault::FallsSilent) => Box::pin(pending()),
            Some(Fault::FallsSilentAfterwards) => {
                let part = inner.put_part(payload);
                Box::pin(async {
                    let _ = part.await;
                    pending().await
                })
            }
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let (state, path) = (Arc::clone(&self.state), self.path.clone());
        let Some(inner) = &mut self.inner else { return state.next().map_or(Ok(nothing()), |_| Err(failed())) };
        state.change(&path, inner.complete(), async { Ok(nothing()) }, nothing).await
    }

    async fn abort(&mut self) -> Result<()> {
        match &mut self.inner {
            Some(inner) => inner.abort().await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.fault, self.when)
    }
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
