//! The identifiers of a run's trace: the same in every version of the operator, and nowhere stored.

use sha2::{Digest, Sha256};

/// The W3C trace of the run: one trace per run, one parent span per attempt.
pub fn traceparent(uid: &str, run: i64, attempt: i64) -> String {
    format!("00-{}-{}-01", trace_id(uid, run), attempt_span_id(uid, attempt))
}

/// The span of an attempt, 16 hexadecimal digits.
pub fn attempt_span_id(uid: &str, attempt: i64) -> String {
    span_id(&format!("{uid}/{attempt}/span"))
}

/// The span of a run, of which those of its attempts are parts.
pub fn run_span_id(uid: &str, run: i64) -> String {
    span_id(&format!("{uid}/{run}/run"))
}

/// The span that a text stands for.
pub fn span_id(text: &str) -> String {
    let [a, b, ..] = digest(text);
    format!("{a:08x}{b:08x}")
}

/// The trace of a run, 32 hexadecimal digits.
pub fn trace_id(uid: &str, run: i64) -> String {
    let [a, b, c, d] = digest(&format!("{uid}/{run}/trace"));
    format!("{a:08x}{b:08x}{c:08x}{d:08x}")
}

/// The first 128 bits of a hash: the same text gives the same identifiers in every version of the operator.
fn digest(text: &str) -> [u32; 4] {
    let digest = Sha256::digest(text);
    let (words, _) = digest.as_chunks::<4>();
    [0, 1, 2, 3].map(|n| words.get(n).copied().map_or(0, u32::from_be_bytes))
}
