//! How long to wait before a retry.

use sha2::{Digest, Sha256};

use crate::api::task::{Backoff, Jitter};

/// The longest wait after an interruption, in seconds.
const LONGEST_AFTER_INTERRUPTION: i64 = 30;

/// The delay before retry `n` of a class, in whole seconds: `min(max, initial * multiplier^(n-1))`, then jitter.
///
/// The draw is a hash of the task's UID and the attempt that ended: the same state always gives the same delay.
pub(super) fn delay_before_retry(n: i64, backoff: &Backoff, uid: &str, attempt: i64) -> i64 {
    let delay = delay_before_jitter(n, backoff);
    match backoff.jitter {
        Jitter::None => delay,
        Jitter::Full => draw(uid, attempt, 1, delay),
        Jitter::Equal => draw(uid, attempt, delay - delay / 2, delay),
        Jitter::Additive => draw(uid, attempt, delay, delay.saturating_add(backoff.initial.as_secs())),
    }
}

/// The delay before the attempt after interruption `n` in a row, in seconds: 1, 2, 4, 8, 16, 30, 30, ...
pub(super) fn delay_after_interruption(n: i64) -> i64 {
    let doublings = u32::try_from(n.saturating_sub(1).clamp(0, 5)).unwrap_or(0);
    (1_i64 << doublings).min(LONGEST_AFTER_INTERRUPTION)
}

/// The delay before retry `n` of a class, in whole seconds, before jitter.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a cast of what is too large stays at the largest number"
)]
pub(super) fn delay_before_jitter(n: i64, backoff: &Backoff) -> i64 {
    let doublings = i32::try_from(n.saturating_sub(1).max(0)).unwrap_or(i32::MAX);
    let grown = backoff.initial.as_secs() as f64 * backoff.multiplier.as_f64().powi(doublings);
    (grown.ceil() as i64).min(backoff.max.as_secs())
}

/// A number from `low` to `high`, both included, drawn by the hash.
fn draw(uid: &str, attempt: i64, low: i64, high: i64) -> i64 {
    let span = u64::try_from(high.saturating_sub(low)).unwrap_or(0).saturating_add(1);
    let digest = Sha256::digest(format!("{uid}/{attempt}"));
    let bytes = digest.first_chunk().copied().unwrap_or_default();
    low.saturating_add_unsigned(u64::from_be_bytes(bytes) % span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Decimal, GoDuration};

    fn backoff(jitter: Jitter) -> Backoff {
        Backoff {
            initial: GoDuration::from_secs(10),
            multiplier: Decimal::whole(2),
            max: GoDuration::from_secs(60),
            jitter,
        }
    }

    #[test]
    fn delays_grow_by_the_multiplier_up_to_max() {
        let delays: Vec<_> = (1..=5).map(|n| delay_before_retry(n, &backoff(Jitter::None), "u", 1)).collect();
        assert_eq!(delays, [10, 20, 40, 60, 60]);
        assert_eq!(delay_before_retry(i64::MAX, &backoff(Jitter::None), "u", 1), 60);
    }

    #[test]
    fn a_fractional_delay_is_rounded_up() {
        let backoff = Backoff { multiplier: "1.25".parse().expect("a factor"), ..backoff(Jitter::None) };
        assert_eq!(delay_before_retry(2, &backoff, "u", 1), 13);
    }

    #[test]
    fn jitter_stays_within_its_bounds_and_reaches_both_ends() {
        for (jitter, low, high) in [(Jitter::Full, 1, 20), (Jitter::Equal, 10, 20), (Jitter::Additive, 20, 30)] {
            let drawn: Vec<_> = (0..2000).map(|a| delay_before_retry(2, &backoff(jitter), "uid", a)).collect();
            assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&low), Some(&high)), "{jitter:?}");
        }
    }

    #[test]
    fn the_same_attempt_always_draws_the_same_delay() {
        let draw_of = |uid, attempt| delay_before_retry(5, &backoff(Jitter::Full), uid, attempt);
        assert_eq!(draw_of("uid", 7), draw_of("uid", 7));
        assert!((0..50).any(|attempt| draw_of("uid", attempt) != draw_of("other", attempt)));
    }

    #[test]
    fn interruptions_wait_briefly() {
        let delays: Vec<_> = (1..=8).map(delay_after_interruption).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(delay_after_interruption(i64::MAX), 30);
    }
}
