//! `[cluster] profile` and `[timing]`: from a profile and what the operator overrides to `Timing`.
//!
//! When `heartbeat` or `misses` change, what is not given follows in the proportion it has in the
//! profile, so that one line in the file is enough to be slower or faster. What is given is taken
//! as it is, or refused when it is out of range or contradicts another value.

use std::time::Duration;

use crate::protocol::Timing;

use super::document::nearest;
use super::duration::{NotADuration, parse_duration, show_duration};
use super::fault::{At, Findings, Place};
use super::file::TimingKeys;

/// The profiles by name. With `auto` nodes start like those with `lan`.
const PROFILES: [(&str, Timing); 4] =
    [(LAN, Timing::LAN), ("fast", Timing::FAST), ("vm", Timing::VM), (AUTO, Timing::LAN)];

/// The default where something in the file needs times that are known in advance.
const LAN: &str = "lan";
/// The profile whose times follow what the nodes measure; the default otherwise.
pub(super) const AUTO: &str = "auto";

/// The lengths that a key may have; `config/buoy.reference.toml` gives the reasons.
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub(super) least: Duration,
    pub(super) most: Duration,
}

impl Range {
    const fn millis(least: u64, most: u64) -> Self {
        Self { least: Duration::from_millis(least), most: Duration::from_millis(most) }
    }
}

const HEARTBEAT: Range = Range::millis(10, 10_000);
const OFFER_WAIT: Range = Range::millis(10, 60_000);
const RETRY: Range = Range::millis(1, 10_000);
const RANK_SKEW: Range = Range::millis(1, 10_000);
const UNCLAIMED_WAIT: Range = Range::millis(10, 60_000);
const MATURITY: Range = Range::millis(10, 600_000);
const SOLO_WAIT: Range = Range::millis(10, 600_000);
const ANNOUNCE_REFRESH: Range = Range::millis(1000, 86_400_000);
const MISSES: (u8, u8) = (2, 20);
const ANNOUNCE_RATE: (u32, u32) = (10, 100_000);

/// The profile of this name, and its times. Without a name it is `auto`, but `lan` in a file whose
/// `[timing]` sets what `auto` measures, or with a virtual router: other routers wait for a time that
/// is written in their files.
pub(super) fn profile(
    name: Option<&At<String>>,
    (keys, virtual_router): (&TimingKeys, bool),
    findings: &mut Findings,
) -> (&'static str, Timing) {
    let fixed = virtual_router || measured(keys).next().is_some();
    let Some(name) = name else { return (if fixed { LAN } else { AUTO }, Timing::LAN) };
    if let Some(profile) = PROFILES.iter().find(|(known, _)| *known == name.value) {
        return *profile;
    }
    let known = PROFILES.map(|(known, _)| known);
    let remedy = match nearest(&name.value, &known) {
        Some(known) => format!("did you mean {known:?}?"),
        None => "write \"lan\", \"fast\", \"vm\" or \"auto\"".to_owned(),
    };
    findings.refuse(&name.place, "is not a profile", remedy);
    PROFILES[0]
}

/// Refuses, with profile `auto`, values that follow from what the nodes measure.
pub(super) fn check_adaptive(profile: &str, keys: &TimingKeys, findings: &mut Findings) {
    if profile != AUTO {
        return;
    }
    for place in measured(keys) {
        let problem = "is not for profile \"auto\", which sets it by what the nodes measure";
        findings.refuse(place, problem, "remove it, or choose another profile");
    }
}

/// Where the file has values that follow, with profile `auto`, from what the nodes measure.
fn measured(keys: &TimingKeys) -> impl Iterator<Item = &Place> {
    let lengths = [
        &keys.heartbeat,
        &keys.offer_wait,
        &keys.retry,
        &keys.rank_skew,
        &keys.unclaimed_wait,
        &keys.maturity_min,
        &keys.maturity_max,
    ];
    let places = lengths.into_iter().flatten().map(|key| &key.place);
    let misses = keys.misses.as_ref().map(|misses| &misses.place);
    places.chain(misses)
}

/// Applies `[timing]` to a profile.
pub(super) fn check(profile: Timing, keys: &TimingKeys, findings: &mut Findings) -> Timing {
    let heartbeat = length(keys.heartbeat.as_ref(), HEARTBEAT, findings);
    let heartbeat = heartbeat.unwrap_or(profile.heartbeat);
    let misses = keys.misses.as_ref().and_then(|misses| count(misses, MISSES, findings));
    let misses = misses.unwrap_or(profile.misses);
    let scaled = |length: Duration| scale(length, heartbeat, profile.heartbeat);
    let mut given = |key: &Option<At<String>>, range, derived: Duration| {
        length(key.as_ref(), range, findings).unwrap_or(derived)
    };
    // A starting node must listen for longer than it takes to call a peer dead.
    let listen = scaled(profile.maturity_min).max(heartbeat * u32::from(misses) * 2);
    let maturity_min = given(&keys.maturity_min, MATURITY, listen);
    let listen_longest = scaled(profile.maturity_max).max(maturity_min);
    let timing = Timing {
        heartbeat,
        misses,
        offer_wait: given(&keys.offer_wait, OFFER_WAIT, scaled(profile.offer_wait)),
        retry: given(&keys.retry, RETRY, scaled(profile.retry)),
        rank_skew: given(&keys.rank_skew, RANK_SKEW, scaled(profile.rank_skew)),
        unclaimed_wait: given(&keys.unclaimed_wait, UNCLAIMED_WAIT, scaled(profile.unclaimed_wait)),
        maturity_min,
        maturity_max: given(&keys.maturity_max, MATURITY, listen_longest),
        solo_wait: given(&keys.solo_wait, SOLO_WAIT, profile.solo_wait.max(maturity_min)),
        announce_refresh: given(&keys.announce_refresh, ANNOUNCE_REFRESH, profile.announce_refresh),
        announce_rate: keys
            .announce_rate
            .as_ref()
            .and_then(|rate| count(rate, ANNOUNCE_RATE, findings))
            .unwrap_or(profile.announce_rate),
    };
    contradictions(&timing, keys, findings);
    timing
}

/// Refuses values that cannot all be honoured.
fn contradictions(timing: &Timing, keys: &TimingKeys, findings: &mut Findings) {
    let place = |key: &Option<At<String>>| key.as_ref().map(|at| at.place.clone());
    let detection = show_duration(timing.detection());
    let rules = [
        (
            timing.retry >= timing.offer_wait,
            place(&keys.offer_wait).or(place(&keys.retry)),
            format!(
                "leaves no time for a retry: offer_wait {}, retry {}",
                show_duration(timing.offer_wait),
                show_duration(timing.retry)
            ),
            "make offer_wait several times as long as retry".to_owned(),
        ),
        (
            timing.unclaimed_wait < timing.heartbeat,
            place(&keys.unclaimed_wait),
            "is shorter than a heartbeat, in which other nodes would claim".to_owned(),
            format!("write {:?} or more", show_duration(timing.heartbeat)),
        ),
        (
            timing.maturity_min < timing.detection(),
            place(&keys.maturity_min),
            format!("is shorter than the detection time, {detection}"),
            format!("write {detection:?} or more"),
        ),
        (
            timing.maturity_max < timing.maturity_min,
            place(&keys.maturity_max).or(place(&keys.maturity_min)),
            "is shorter than maturity_min".to_owned(),
            format!("make maturity_max {:?} or more", show_duration(timing.maturity_min)),
        ),
        (
            timing.solo_wait < timing.maturity_min,
            place(&keys.solo_wait).or(place(&keys.maturity_min)),
            format!("is shorter than maturity_min ({})", show_duration(timing.maturity_min)),
            "make solo_wait longer or maturity_min shorter".to_owned(),
        ),
    ];
    for (broken, place, problem, remedy) in rules {
        // Derived values keep the order of the profile, so that a rule is broken only by a value
        // that stands in the file.
        if let (true, Some(place)) = (broken, place) {
            findings.refuse(&place, problem, remedy);
        }
    }
}

/// Refuses a refresh that the announcement rate cannot keep up with.
pub(super) fn check_refresh(
    timing: &Timing,
    keys: &TimingKeys,
    addresses: usize,
    findings: &mut Findings,
) {
    let refresh = keys.announce_refresh.as_ref().map(|at| at.place.clone());
    let rate = keys.announce_rate.as_ref().map(|at| at.place.clone());
    let Some(place) = refresh.or(rate) else { return };
    let possible = u128::from(timing.announce_rate) * timing.announce_refresh.as_millis() / 1000;
    if (addresses as u128) > possible {
        let problem = format!(
            "cannot be kept: {addresses} addresses every {}, but only {} per second",
            show_duration(timing.announce_refresh),
            timing.announce_rate
        );
        findings.refuse(&place, problem, "make announce_refresh longer or announce_rate higher");
    }
}

/// A length in proportion: `length` belongs to `from` as the result belongs to `to`.
fn scale(length: Duration, to: Duration, from: Duration) -> Duration {
    let nanos = length.as_nanos() * to.as_nanos() / from.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Reads a duration that must lie within a range.
pub(super) fn length(
    text: Option<&At<String>>,
    range: Range,
    findings: &mut Findings,
) -> Option<Duration> {
    let text = text?;
    let length = duration(text, findings)?;
    let within = (range.least..=range.most).contains(&length);
    if !within {
        let (least, most) = (show_duration(range.least), show_duration(range.most));
        findings.refuse(&text.place, "is out of range", format!("write {least:?} to {most:?}"));
    }
    within.then_some(length)
}

/// Reads a duration that may have any length.
pub(super) fn duration(text: &At<String>, findings: &mut Findings) -> Option<Duration> {
    let fault = match parse_duration(&text.value) {
        Ok(length) => return Some(length),
        Err(fault) => fault,
    };
    let remedy = match fault {
        NotADuration::WithoutUnit => {
            let number = text.value.trim();
            format!("write \"{number}ms\" or \"{number}s\"")
        }
        NotADuration::Malformed | NotADuration::TooLong => {
            "write a whole number and one of ms, s, m, h, like \"300ms\"".to_owned()
        }
    };
    findings.refuse(&text.place, fault.to_string(), remedy);
    None
}

/// A number within a range of its type.
pub(super) fn count<T>(
    number: &At<i64>,
    (least, most): (T, T),
    findings: &mut Findings,
) -> Option<T>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display + Copy,
{
    let value = T::try_from(number.value).ok().filter(|value| (least..=most).contains(value));
    if value.is_none() {
        refuse_count(&number.place, &least.to_string(), &most.to_string(), findings);
    }
    value
}

fn refuse_count(place: &Place, least: &str, most: &str, findings: &mut Findings) {
    findings.refuse(place, "is out of range", format!("write {least} to {most}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at<T>(value: T) -> Option<At<T>> {
        Some(At { value, place: Place::default() })
    }

    fn text(value: &str) -> Option<At<String>> {
        at(value.to_owned())
    }

    fn problems(profile: Timing, keys: &TimingKeys) -> Vec<String> {
        let mut findings = Findings::default();
        let _ = check(profile, keys, &mut findings);
        findings.faults.into_iter().map(|fault| fault.problem).collect()
    }

    #[test]
    fn without_a_name_it_is_auto_unless_times_must_be_known_in_advance() {
        let table = [
            (TimingKeys::default(), false, AUTO),
            (TimingKeys { solo_wait: text("20s"), ..TimingKeys::default() }, false, AUTO),
            (TimingKeys { heartbeat: text("200ms"), ..TimingKeys::default() }, false, LAN),
            (TimingKeys { misses: at(5), ..TimingKeys::default() }, false, LAN),
            (TimingKeys::default(), true, LAN),
        ];
        for (keys, virtual_router, expected) in table {
            let mut findings = Findings::default();
            let (name, timing) = profile(None, (&keys, virtual_router), &mut findings);
            assert_eq!((name, timing), (expected, Timing::LAN), "{keys:?}, {virtual_router}");
            check_adaptive(name, &keys, &mut findings);
            assert_eq!(findings.faults, [], "a file that was valid before is valid");
        }
    }

    #[test]
    fn without_overrides_a_profile_is_itself() {
        for (name, profile) in PROFILES {
            let mut findings = Findings::default();
            assert_eq!(check(profile, &TimingKeys::default(), &mut findings), profile, "{name}");
            assert_eq!(findings.faults, []);
        }
    }

    #[test]
    fn the_rest_follows_the_heartbeat_in_the_proportion_of_the_profile() {
        let keys = TimingKeys { heartbeat: text("200ms"), ..TimingKeys::default() };
        let timing = check(Timing::LAN, &keys, &mut Findings::default());
        assert_eq!(timing.offer_wait, Duration::from_millis(500));
        assert_eq!(timing.retry, Duration::from_millis(40));
        assert_eq!(timing.rank_skew, Duration::from_millis(50));
        assert_eq!(timing.unclaimed_wait, Duration::from_millis(400));
        assert_eq!(timing.maturity_min, Duration::from_millis(2000));
        assert_eq!(timing.maturity_max, Duration::from_millis(6000));
        assert_eq!(timing.solo_wait, Timing::LAN.solo_wait);
        assert_eq!(timing.misses, 3);
    }

    #[test]
    fn derived_values_never_contradict_each_other() {
        for (_, profile) in PROFILES {
            for heartbeat in ["10ms", "11ms", "100ms", "999ms", "10s"] {
                for misses in [2, 3, 7, 20] {
                    let misses = at(misses);
                    let keys =
                        TimingKeys { heartbeat: text(heartbeat), misses, ..TimingKeys::default() };
                    assert_eq!(problems(profile, &keys), [""; 0], "{keys:?}");
                }
            }
        }
    }

    #[test]
    fn refuses_contradictions_at_the_value_that_was_given() {
        let cases = [
            (TimingKeys { retry: text("300ms"), ..TimingKeys::default() }, "no time for a retry"),
            (
                TimingKeys { unclaimed_wait: text("50ms"), ..TimingKeys::default() },
                "shorter than a",
            ),
            (
                TimingKeys { maturity_min: text("200ms"), ..TimingKeys::default() },
                "the detection time, 300ms",
            ),
            (
                TimingKeys { maturity_max: text("500ms"), ..TimingKeys::default() },
                "shorter than maturity_min",
            ),
            (
                TimingKeys { solo_wait: text("500ms"), ..TimingKeys::default() },
                "shorter than maturity_min",
            ),
            (TimingKeys { heartbeat: text("11s"), ..TimingKeys::default() }, "out of range"),
            (TimingKeys { misses: at(1), ..TimingKeys::default() }, "out of range"),
            (TimingKeys { misses: at(-1), ..TimingKeys::default() }, "out of range"),
            (TimingKeys { announce_rate: at(i64::MAX), ..TimingKeys::default() }, "out of range"),
        ];
        for (keys, expected) in cases {
            let problems = problems(Timing::LAN, &keys);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(expected), "{problems:?}");
        }
    }
}
