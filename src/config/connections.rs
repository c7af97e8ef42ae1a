//! What the file says of connections: how many are shared, so that clients of a dead owner are
//! told, how long a drain waits for their end, and whether planned moves preserve them.

use std::time::Duration;

use super::fault::{At, Findings};
use super::timing;
use crate::protocol::Preserve;

/// Default of `[cluster] tickle_connections_max`: 2.3 s of telling at the pace of the kernel side.
pub(super) const TICKLED: usize = 20_000;
/// More would take longer to tell (of IPv6) than a peer remembers it.
const TICKLED_MAX: usize = 50_000;

/// Reads `[cluster] tickle_connections_max`; the default if it is missing or refused.
pub(super) fn tickled(number: Option<&At<i64>>, findings: &mut Findings) -> usize {
    let Some(number) = number else { return TICKLED };
    match usize::try_from(number.value).ok().filter(|wanted| *wanted <= TICKLED_MAX) {
        Some(wanted) => wanted,
        None => {
            let remedy = format!("write a whole number from 0 (off) to {TICKLED_MAX}");
            findings.refuse(&number.place, "is not a number of connections", remedy);
            TICKLED
        }
    }
}

/// A drain that has waited for a day was forgotten.
const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Reads `[cluster] drain_timeout`; no time if it is missing or refused.
pub(super) fn drain_timeout(text: Option<&At<String>>, findings: &mut Findings) -> Duration {
    let Some(text) = text else { return Duration::ZERO };
    let length = timing::duration(text, findings).unwrap_or_default();
    if length > DRAIN_TIMEOUT_MAX {
        findings.refuse(&text.place, "is out of range", "write \"0s\" to \"24h\"");
    }
    length
}

/// Default of `[cluster] preserve_timeout` with `preserve_connections = true`.
const PRESERVED: Duration = Duration::from_secs(600);
/// Its default without that key: most requests end within it, and an operator who drains or stops a
/// node hardly notices it.
pub(super) const BRIEF: Duration = Duration::from_secs(2);
/// While connections are preserved their group is not moved again.
const PRESERVED_RANGE: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_secs(24 * 3600));

/// Reads `[cluster] preserve_connections` and `preserve_timeout`: how connections are preserved, if
/// they are.
pub(super) fn preserve(
    on: Option<bool>,
    text: Option<&At<String>>,
    findings: &mut Findings,
) -> Option<Preserve> {
    let brief = on.is_none();
    let default = if brief { BRIEF } else { PRESERVED };
    let limit = match text {
        Some(text) => timing::duration(text, findings).unwrap_or(default),
        None => default,
    };
    let (least, most) = PRESERVED_RANGE;
    if let Some(text) = text.filter(|_| limit < least || limit > most) {
        findings.refuse(&text.place, "is out of range", "write \"1s\" to \"24h\"");
    }
    on.unwrap_or(true).then_some(Preserve { limit, brief })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_end_where_nothing_is_written_and_connections_where_it_is() {
        let mut findings = Findings::default();
        for (on, due) in [
            (None, Some(Preserve { limit: Duration::from_secs(2), brief: true })),
            (Some(true), Some(Preserve { limit: Duration::from_secs(600), brief: false })),
            (Some(false), None),
        ] {
            assert_eq!(preserve(on, None, &mut findings), due, "{on:?}");
        }
    }
}
