//! What the operator says of itself.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// Where the operator that is measured listens.
pub(crate) const LISTEN: &str = "127.0.0.1:18080";

fn get(path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(LISTEN)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(crate) fn is_ready() -> bool {
    get("/readyz").is_ok_and(|answer| answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"))
}

/// The sum of a metric over its labels, where the line has all these words.
pub(crate) fn sum(metric: &str, words: &[&str]) -> Result<f64> {
    Ok(samples(&get("/metrics")?, metric)
        .filter(|(labels, _)| words.iter().all(|word| labels.contains(word)))
        .map(|(_, value)| value)
        .sum())
}

/// Requests that changed something.
pub(crate) fn writes() -> Result<f64> {
    let text = get("/metrics")?;
    let is_write =
        |labels: &str| !["get", "list", "watch"].iter().any(|verb| labels.contains(&format!("verb=\"{verb}\"")));
    Ok(samples(&text, "longtask_api_requests_total")
        .filter(|(labels, _)| is_write(labels))
        .map(|(_, value)| value)
        .sum())
}

/// The upper bound of the bucket that a share of all is not above.
pub(crate) fn histogram_bound(metric: &str, share: f64) -> Result<f64> {
    let text = get("/metrics")?;
    let buckets: Vec<(f64, f64)> = samples(&text, &format!("{metric}_bucket"))
        .filter_map(|(labels, count)| {
            let (_, bound) = labels.split_once("le=\"")?;
            let bound = bound.split('"').next()?;
            Some((bound.parse().unwrap_or(f64::INFINITY), count))
        })
        .collect();
    let all = buckets.last().context("a histogram has buckets")?.1;
    Ok(buckets.iter().find(|(_, count)| *count >= share * all).map_or(f64::NAN, |(bound, _)| *bound))
}

fn samples<'a>(text: &'a str, metric: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    text.lines().filter_map(move |line| {
        let rest = line.strip_prefix(metric)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then_some((labels, value.parse().ok()?))
    })
}
