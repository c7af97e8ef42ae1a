//! Wall-clock time as text: RFC 3339, UTC, milliseconds (`2026-03-01T09:07:05.042Z`).
//!
//! Written by hand because this one format is all that is needed, and a calendar crate brings time
//! zones and their files. A clock before 1970 or after 9999 is shown as the nearest it can be.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;
/// 9999-12-31T23:59:59Z, the last that RFC 3339 can say.
const LAST_SECOND: u64 = 253_402_300_799;
/// Days in 400 years, after which the calendar repeats.
const DAYS_IN_CYCLE: u64 = 146_097;

/// The time as text.
pub(crate) fn rfc3339(at: SystemTime) -> String {
    let since_1970 = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since_1970.as_secs().min(LAST_SECOND);
    let (year, month, day) = date(seconds / DAY);
    let of_day = seconds % DAY;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        of_day / 3600,
        of_day / 60 % 60,
        of_day % 60,
        since_1970.subsec_millis()
    )
}

/// Milliseconds since 1970 of a time as [`rfc3339`] writes it; `None` for any other text.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let millis = number(20, 23)?;
    let month = usize::try_from(month).ok()?.checked_sub(1).filter(|month| *month < 12)?;
    let of_months: u64 = lengths(year)[..month].iter().sum();
    // Leap days of the years before, from 1970 on.
    let leaps = |year: u64| year / 4 - year / 100 + year / 400;
    let before = year.checked_sub(1970)? * 365 + leaps(year - 1) - leaps(1969);
    let days = before + of_months + day.checked_sub(1)?;
    let millis = (((days * 24 + hour) * 60 + minute) * 60 + second) * 1000 + millis;
    // What comes out as the same text was one.
    let again = rfc3339(UNIX_EPOCH + Duration::from_millis(millis));
    (again == text).then_some(millis)
}

fn date(days_since_1970: u64) -> (u64, usize, u64) {
    let mut year = 1970 + days_since_1970 / DAYS_IN_CYCLE * 400;
    let mut day = days_since_1970 % DAYS_IN_CYCLE;
    while day >= 365 + leap(year) {
        day -= 365 + leap(year);
        year += 1;
    }
    let lengths = lengths(year);
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    (year, month + 1, day + 1)
}

fn lengths(year: u64) -> [u64; 12] {
    [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

fn leap(year: u64) -> u64 {
    u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_agree_with_date_dash_u() {
        // Seconds and text by `date -u -d @SECONDS +%FT%TZ`.
        let golden = [
            (0, "1970-01-01T00:00:00.042Z"),
            (951_782_399, "2000-02-28T23:59:59.042Z"),
            (951_782_400, "2000-02-29T00:00:00.042Z"),
            (951_868_800, "2000-03-01T00:00:00.042Z"),
            (1_709_210_096, "2024-02-29T12:34:56.042Z"),
            (1_798_761_599, "2026-12-31T23:59:59.042Z"),
            (4_107_542_400, "2100-03-01T00:00:00.042Z"),
            (16_725_225_600, "2500-01-01T00:00:00.042Z"),
            (LAST_SECOND, "9999-12-31T23:59:59.042Z"),
        ];
        for (seconds, text) in golden {
            let at = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(42);
            assert_eq!(rfc3339(at), text);
            assert_eq!(parse(text), Some(seconds * 1000 + 42), "{text}");
        }
        for wrong in ["", "2026-02-30T00:00:00.000Z", "2026-13-01T00:00:00.000Z", "1970-01-01"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn clocks_beyond_the_format_are_shown_at_its_ends() {
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(9)), "1970-01-01T00:00:00.000Z");
        let late = UNIX_EPOCH + Duration::from_secs(LAST_SECOND + 500);
        assert_eq!(rfc3339(late), "9999-12-31T23:59:59.000Z");
    }
}
