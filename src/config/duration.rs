//! Lengths of time as they are written in the file and on the command line: `"300ms"`, `"2s"`.
//!
//! A number and one unit of `ms`, `s`, `m`, `h`. A number alone is refused, because nobody can
//! tell seconds from milliseconds by looking at it.

use std::fmt;
use std::time::Duration;

const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotADuration {
    /// There is a number and nothing behind it.
    WithoutUnit,
    /// What stands there is no number with a unit.
    Malformed,
    /// It is longer than can be counted.
    TooLong,
}

impl fmt::Display for NotADuration {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::WithoutUnit => "is a number without its unit",
            Self::Malformed => "is not a duration",
            Self::TooLong => "is too long",
        })
    }
}

impl std::error::Error for NotADuration {}

/// Reads a duration such as `300ms`, `2s`, `10m` or `1h`.
///
/// # Errors
/// When the text is anything else than a whole number and one of these units.
pub fn parse_duration(text: &str) -> Result<Duration, NotADuration> {
    let text = text.trim();
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(NotADuration::Malformed);
    }
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Err(NotADuration::WithoutUnit);
    }
    let (_, millis) =
        UNITS.iter().find(|(name, _)| *name == unit).ok_or(NotADuration::Malformed)?;
    let number: u64 = number.parse().map_err(|_| NotADuration::TooLong)?;
    number.checked_mul(*millis).map(Duration::from_millis).ok_or(NotADuration::TooLong)
}

/// Writes a duration the way [`parse_duration`] reads it, in the largest unit that fits evenly.
#[must_use]
pub fn show_duration(length: Duration) -> String {
    let millis = length.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    for (name, unit) in UNITS {
        if millis.is_multiple_of(u128::from(unit)) {
            return format!("{}{name}", millis / u128::from(unit));
        }
    }
    format!("{millis}ms")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_each_unit() {
        let cases = [("300ms", 300), ("2s", 2000), ("10m", 600_000), ("1h", 3_600_000), ("0s", 0)];
        for (text, millis) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(parse_duration(" 5 s "), Ok(Duration::from_secs(5)));
    }

    #[test]
    fn refuses_everything_else_and_says_why() {
        let long = "9".repeat(30) + "s";
        let cases = [
            ("300", NotADuration::WithoutUnit),
            ("", NotADuration::Malformed),
            ("s", NotADuration::Malformed),
            ("-1s", NotADuration::Malformed),
            ("1.5s", NotADuration::Malformed),
            ("1h30m", NotADuration::Malformed),
            ("1d", NotADuration::Malformed),
            ("99999999999999999h", NotADuration::TooLong),
            (&long, NotADuration::TooLong),
        ];
        for (text, fault) in cases {
            assert_eq!(parse_duration(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn shows_what_it_would_read() {
        for text in ["1ms", "300ms", "1500ms", "2s", "35s", "10m", "1h", "0s"] {
            assert_eq!(show_duration(parse_duration(text).unwrap()), text);
        }
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
    }
}
