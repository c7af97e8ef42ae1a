//! Orders that stand, and their end.

use super::{EventRecord, Kind, Level};
use crate::control::names::Names;
use crate::control::standing_orders;
use crate::protocol::{Lasting, StandingOrder};

pub(super) fn changed(order: &StandingOrder, names: &Names) -> EventRecord {
    let stands = order.is_in_force();
    let (begun, ended, node) = match order.what {
        Lasting::Hold => (Kind::Hold, Kind::HoldEnded, order.at),
        Lasting::Drain(node) => (Kind::DrainOrdered, Kind::DrainEnded, node),
        Lasting::Upgrade => (Kind::Upgrade, Kind::UpgradeEnded, order.at),
    };
    let (kind, message) = if stands { (begun, "order in force") } else { (ended, "order ended") };
    let sentence = standing_orders::sentence(order, names);
    let reason = Some(order.reason.as_str().to_owned()).filter(|reason| !reason.is_empty());
    EventRecord::new(kind, (Level::Info, message), sentence.clone(), names)
        .node(names.node(node))
        .from(names.node(order.at))
        .cause(reason)
        .because(sentence)
}
