//! What is left of a pass after so much time.

use casemate_core::Timestamp;

use super::PPM;
use crate::control::MaxAge;

const MS_PER_DAY: u64 = 86_400_000;

/// Freshness in parts per million: all until the maximum age, then falling linearly to nothing at twice that.
pub(super) fn ppm(max_age: MaxAge, finished_at: Timestamp, now: Timestamp) -> u64 {
    let MaxAge::Days { days } = max_age else { return PPM };
    let max_ms = u64::from(days) * MS_PER_DAY;
    // Evidence of the next five minutes is as fresh as can be.
    let age_ms = u64::try_from(now.ms_since(finished_at)).unwrap_or(0);
    if age_ms <= max_ms {
        return PPM;
    }
    let left_ms = (2 * max_ms).saturating_sub(age_ms);
    // `max_ms` is at most 2^32 days, so the product needs 128 bits.
    let share = u128::from(left_ms) * u128::from(PPM) / u128::from(max_ms.max(1));
    u64::try_from(share).unwrap_or(PPM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Event;
    use crate::fixture::NOW;

    #[test]
    fn freshness_is_one_until_the_maximum_age_then_falls_to_nothing_at_twice_that() {
        let thirty = MaxAge::Days { days: 30 };
        for (age_days, left) in
            [(-1, PPM), (0, PPM), (30, PPM), (31, 966_666), (45, 500_000), (59, 33_333), (60, 0), (6000, 0)]
        {
            assert_eq!(ppm(thirty, NOW().plus_days(-age_days), NOW()), left, "{age_days} days");
        }
        let a_moment_later = Timestamp::from_unix_ms(NOW().unix_ms() + 1);
        assert_eq!(ppm(thirty, NOW().plus_days(-30), a_moment_later), 999_999);
    }

    #[test]
    fn evidence_bound_to_an_event_does_not_expire_by_time() {
        assert_eq!(ppm(MaxAge::Per { per: Event::ModelDigest }, NOW().plus_days(-9_999), NOW()), PPM);
    }

    #[test]
    fn the_longest_age_does_not_overflow() {
        assert_eq!(ppm(MaxAge::Days { days: u32::MAX }, NOW().plus_days(-9_999_999), NOW()), PPM);
    }
}
