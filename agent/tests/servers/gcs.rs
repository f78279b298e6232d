//! Google Cloud Storage: a stub that knows what the agent asks, in the XML interface. It is no proof that Google's own
//! answers in the same way.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{hold_every_fact, server::open_at};

/// What the stub keeps: objects by their keys, and uploads by their numbers.
#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, BTreeMap<usize, Vec<u8>>>,
}

/// A request, as far as it matters.
struct Request {
    method: String,
    key: String,
    query: BTreeMap<String, String>,
    range: Option<(usize, usize)>,
    body: Vec<u8>,
}

struct Answer {
    status: &'static str,
    headers: String,
    body: Vec<u8>,
}

#[tokio::test]
async fn every_fact_holds_with_the_stub_of_google_cloud_storage() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
    let bucket = Arc::<Mutex<Bucket>>::default();
    let serving = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(serve(connection, Arc::clone(&bucket)));
        }
    });
    let url = "gs://bucket/runs";
    hold_every_fact(&open_at(&endpoint, url), url).await;
    serving.abort();
}

async fn serve(mut connection: TcpStream, bucket: Arc<Mutex<Bucket>>) {
    let mut unread = Vec::new();
    while let Some(request) = read(&mut connection, &mut unread).await {
        let Answer { status, headers, body } = bucket.lock().expect("nobody panicked").answer(&request);
        // The answer to HEAD tells of a body that does not come.
        let length = if headers.contains("content-length") {
            String::new()
        } else {
            format!("content-length: {}\r\n", body.len())
        };
        let head = format!("HTTP/1.1 {status}\r\n{headers}{length}\r\n");
        if connection.write_all(&[head.as_bytes(), &body].concat()).await.is_err() {
            return;
        }
    }
}

async fn read(connection: &mut TcpStream, unread: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if connection.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(unread.drain(..end + 4).collect()).ok()?;
    let header = |name: &str| {
        let lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    };
    let length = header("content-length").map_or(0, |length| length.parse().expect("a number"));
    while unread.len() < length {
        if connection.read_buf(unread).await.ok()? == 0 {
            return None;
        }
    }
    let mut line = head.lines().next()?.split(' ');
    let (method, target) = (line.next()?.to_owned(), line.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let range = header("range").and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?))
    });
    Some(Request {
        method,
        key: decoded(path.trim_start_matches("/bucket").trim_start_matches('/')),
        query: query.split('&').filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.into(), decoded(v))).collect(),
        range,
        body: unread.drain(..length).collect(),
    })
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'%' => {
                let digits: String = rest.by_ref().take(2).map(char::from).collect();
                bytes.push(u8::from_str_radix(&digits, 16).expect("two digits"));
            }
            b'+' => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).expect("UTF-8")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Answer {
    fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: "200 OK", headers: "etag: \"e\"\r\n".into(), body: body.into() }
    }

    fn missing() -> Self {
        let body = "<Error><Code>NoSuchKey</Code><Message>it is not there</Message></Error>".into();
        Self { status: "404 Not Found", headers: String::new(), body }
    }
}

impl Bucket {
    fn answer(&mut self, request: &Request) -> Answer {
        let upload = request.query.get("uploadId");
        let part = request.query.get("partNumber").and_then(|number| number.parse().ok());
        match (request.method.as_str(), upload, part) {
            ("POST", None, _) => self.begin(),
            ("PUT", Some(upload), Some(part)) => {
                self.uploads.entry(upload.clone()).or_default().insert(part, request.body.clone());
                Answer::ok("")
            }
            ("POST", Some(upload), _) => {
                let parts = self.uploads.remove(upload).unwrap_or_default();
                self.objects.insert(request.key.clone(), parts.into_values().flatten().collect());
                Answer::ok("<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>")
            }
            ("DELETE", Some(upload), _) => {
                self.uploads.remove(upload);
                Answer::ok("")
            }
            ("PUT", None, _) => {
                self.objects.insert(request.key.clone(), request.body.clone());
                Answer::ok("")
            }
            ("DELETE", None, _) => self.objects.remove(&request.key).map_or_else(Answer::missing, |_| Answer::ok("")),
            ("GET", _, _) if request.key.is_empty() => Answer::ok(self.listed(request)),
            ("GET" | "HEAD", _, _) => self.get(request),
            (method, ..) => panic!("{method} is never asked"),
        }
    }

    fn begin(&mut self) -> Answer {
        let upload = (self.uploads.len() + 1).to_string();
        self.uploads.insert(upload.clone(), BTreeMap::new());
        Answer::ok(format!(
            "<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(object) = self.objects.get(&request.key) else { return Answer::missing() };
        let headers = "last-modified: Tue, 24 Nov 2026 10:20:00 GMT\r\netag: \"e\"\r\n".to_owned();
        match request.range {
            _ if request.method == "HEAD" => {
                let headers = format!("{headers}content-length: {}\r\n", object.len());
                Answer { status: "200 OK", headers, body: vec![] }
            }
            Some((first, last)) => {
                let end = object.len().min(last + 1);
                let headers = format!("{headers}content-range: bytes {first}-{}/{}\r\n", end - 1, object.len());
                Answer { status: "206 Partial Content", headers, body: object[first..end].to_vec() }
            }
            None => Answer { status: "200 OK", headers, body: object.clone() },
        }
    }

    fn listed(&self, request: &Request) -> String {
        let prefix = request.query.get("prefix").cloned().unwrap_or_default();
        let has_delimiter = request.query.contains_key("delimiter");
        let (mut directories, mut files) = (BTreeMap::new(), String::new());
        for (key, object) in self.objects.iter().filter(|(key, _)| key.starts_with(&prefix)) {
            match key[prefix.len()..].split_once('/') {
                Some((directory, _)) if has_delimiter => {
                    directories.insert(format!("{prefix}{directory}/"), ());
                }
                _ => write!(
                    files,
                    "<Contents><Key>{}</Key><Size>{}</Size><LastModified>2026-11-24T10:20:00Z</LastModified>\
                     <ETag>e</ETag></Contents>",
                    escaped(key),
                    object.len()
                )
                .expect("a string takes everything"),
            }
        }
        let directories: String = directories
            .keys()
            .map(|directory| format!("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escaped(directory)))
            .collect();
        format!("<ListBucketResult>{files}{directories}</ListBucketResult>")
    }
}
