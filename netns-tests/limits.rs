//! The largest configuration that is allowed: 4096 groups, from nothing and taken over.

use std::net::IpAddr;
use std::time::Duration;

use buoy::lab::clock;
use buoy::lab::fault::Fault;
use buoy::lab::plan::{Configuration, Shape};

use crate::Outcome;
use crate::runner::Test;
use crate::scene::{Scene, with_plan};
use crate::until::until;

/// What there is to run here.
pub(crate) const TESTS: &[Test] = &[("four_thousand_groups", four_thousand_groups)];

const GROUPS: u64 = 4096;
/// Both waits end after a few seconds on a quiet machine; it is enough that they end.
const SLOWEST: Duration = Duration::from_secs(60);
/// Claims of one group: the first, a move for balance, the takeover, and one spare. A group that
/// is given up because the kernel side is late, and taken again, has more each time.
const EPOCHS_MAX: u64 = 4;

/// How many of the addresses are on each host.
fn held(scene: &Scene, vips: &[IpAddr]) -> Result<Vec<usize>, String> {
    let on = |node| {
        let kernel = scene.cluster.kernel(node).map_err(|error| error.to_string())?;
        Ok(vips.iter().filter(|vip| kernel.holds(**vip)).count())
    };
    (0..2).map(on).collect()
}

/// Half of them IPv4, half IPv6, one of each in turn.
fn four_thousand_groups() -> Outcome {
    let address = |at: u64| {
        let (high, low) = (u8::try_from(at / 500).ok()?, u8::try_from(at / 2 % 250).ok()?);
        let six = [0xfd77, 0, 0, 0, 0, 1, 0, u16::try_from(at).ok()?];
        let four = IpAddr::from([10, 77, 100 + high, 1 + low]);
        Some(if at.is_multiple_of(2) { four } else { six.into() })
    };
    let vips: Vec<IpAddr> = (0..GROUPS).filter_map(address).collect();
    let groups = vips.iter().map(|vip| vec![*vip]).collect();
    let shape = Shape { nodes: 2, groups, ..Shape::default() };
    let mut plan = shape.plan();
    plan.groups.clear();
    plan.configuration = Configuration::Text(shape.text());
    for host in plan.nodes.iter_mut().chain([&mut plan.client]) {
        host.interfaces[0].addresses[0].1 = 16;
    }
    with_plan(plan, |scene| {
        let begin = clock::now();
        scene.cluster.start_all()?;
        let even = [vips.len() / 2, vips.len() / 2];
        until("each has half of them", SLOWEST, || match held(scene, &vips)? {
            held if held == even => Ok(()),
            held => Err(format!("they have {held:?}")),
        })?;
        let up = clock::now().duration_since(begin);
        Fault::HostDeath.begin(&mut scene.cluster, 0)?;
        let begin = clock::now();
        until("the second has them all", SLOWEST, || match held(scene, &vips)?[1] {
            held if held == vips.len() => Ok(()),
            held => Err(format!("it has {held}")),
        })?;
        eprint!("(up after {up:?}, taken over after {:?}) ", clock::now().duration_since(begin));
        let status = scene.cluster.status(1).ok_or("no status")?;
        let groups = status["groups"].as_array().cloned().unwrap_or_default();
        assert_eq!(u64::try_from(groups.len())?, GROUPS);
        let again = |epoch: &u64| *epoch > EPOCHS_MAX;
        let epochs = groups.iter().map(|group| group["epoch"].as_u64().unwrap_or(u64::MAX));
        let again = epochs.filter(again).count();
        assert_eq!(again, 0, "groups that were given up and taken again");
        Ok(())
    })
}
