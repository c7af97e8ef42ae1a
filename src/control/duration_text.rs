//! Durations as people read them: two units at most, the smaller one dropped where it says nothing.

use std::time::Duration;

/// A span that may be long: `"312ms"`, `"4.2s"`, `"3m12s"`, `"2h05m"`, `"9d04h"`.
pub(super) fn span(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => format!("{}ms", length.as_millis()),
        1..10 => format!("{seconds}.{}s", length.subsec_millis() / 100),
        10..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86400 => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{:02}h", seconds / 86400, seconds % 86400 / 3600),
    }
}

/// A short span within a sentence, exact to the millisecond: `"312 ms"`, `"4.2 s"`.
pub(super) fn precise(length: Duration) -> String {
    if length < Duration::from_secs(10) {
        format!("{} ms", length.as_millis())
    } else {
        format!("{}.{} s", length.as_secs(), length.subsec_millis() / 100)
    }
}

/// A lateness: `"180us"`, `"2.1ms"`, `"1.2s"`.
pub(super) fn lateness(micros: u64) -> String {
    match micros {
        0..1000 => format!("{micros}us"),
        1000..1_000_000 => format!("{}.{}ms", micros / 1000, micros % 1000 / 100),
        _ => span(Duration::from_micros(micros)),
    }
}

/// Whole milliseconds, as JSON has durations.
pub(crate) fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_most() {
        let golden = [
            (0, "0ms"),
            (312, "312ms"),
            (999, "999ms"),
            (1000, "1.0s"),
            (4_260, "4.2s"),
            (59_999, "59s"),
            (192_000, "3m12s"),
            (3_599_999, "59m59s"),
            (7_500_000, "2h05m"),
            (86_400_000, "1d00h"),
            (792_000_000, "9d04h"),
        ];
        for (millis, text) in golden {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
        assert_eq!(span(Duration::MAX), "213503982334601d07h");
    }

    #[test]
    fn sentences_and_lags_keep_what_matters() {
        assert_eq!(precise(Duration::from_millis(312)), "312 ms");
        assert_eq!(precise(Duration::from_millis(12_345)), "12.3 s");
        assert_eq!(lateness(180), "180us");
        assert_eq!(lateness(2_149), "2.1ms");
        assert_eq!(lateness(1_200_000), "1.2s");
    }
}
