//! `[timing]`: how often and how fast addresses are announced again.

use super::model::{Host, Said};
use super::report::Findings;
use super::source::Place;
use super::text::{Table, quoted};

/// Seconds between two rounds of announcements that buoy takes.
const REFRESH: (i64, i64) = (1, 86_400);
/// Announcements a second that buoy takes.
const RATE: (u64, u64) = (10, 100_000);

/// The table, if the files say anything of it.
pub(super) fn table(hosts: &[Host], findings: &mut Findings) -> Option<Table> {
    let refresh = refresh(hosts);
    let times = hosts.iter().flat_map(|host| &host.globals.garp).filter(|it| it.value.1 > 0);
    // One rate for all interfaces: the slowest that is asked for. That of IPv4 is told.
    let slowest = times.fold(None::<&Said<(String, u64)>>, |best, it| match best {
        Some(best) if best.value.1 >= it.value.1 => Some(best),
        _ => Some(it),
    });
    if refresh.is_none() && slowest.is_none() {
        return None;
    }
    let mut table = Table::new("[timing]");
    table.explain("heartbeat", quoted("100ms"), "the default");
    let mut words = Vec::new();
    let mut places: Vec<&Place> = Vec::new();
    if let Some((keyword, refresh)) = refresh {
        let seconds = refresh.value.clamp(REFRESH.0, REFRESH.1);
        table.add("announce_refresh", quoted(&format!("{seconds}s")), &[&refresh.place]);
        words.push(format!("{keyword} {} -> announce_refresh", refresh.value));
        places.push(&refresh.place);
    }
    if let Some(slowest) = slowest {
        let rate = (1_000_000 / slowest.value.1.max(1)).clamp(RATE.0, RATE.1);
        table.add("announce_rate", rate.to_string(), &[&slowest.place]);
        words.push(format!("{} -> announce_rate {rate}", slowest.value.0));
        places.push(&slowest.place);
    }
    findings.tell(words.join(", "), &places);
    Some(table)
}

/// The shortest time between announcements of all instances, and the keyword that says it.
fn refresh(hosts: &[Host]) -> Option<(&'static str, &Said<i64>)> {
    let mut all = Vec::new();
    for host in hosts {
        for instance in &host.instances {
            let own = instance.refresh.as_ref().map(|it| ("garp_master_refresh", it));
            let global = host.globals.refresh.as_ref().map(|it| ("vrrp_garp_master_refresh", it));
            all.extend(own.or(global));
        }
    }
    all.into_iter().filter(|(_, it)| it.value > 0).min_by_key(|(_, it)| it.value)
}
