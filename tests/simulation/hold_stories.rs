//! Stories of standing orders: a hold and its end, a split of two that hold, a drain with a time.

use std::time::Duration;

use buoy::protocol::{Lasting, Order, Rule, StandingChange, Text};

use crate::cluster::Cluster;
use crate::draw::{MILLISECOND, SECOND};
use crate::story::{Outcome, calm};

fn give(what: Lasting, seconds: u64) -> StandingChange {
    let (by, reason) = (Text::cut("alice"), Text::cut("maintenance"));
    let (persists, lasts) = (true, Some(Duration::from_secs(seconds)));
    StandingChange::Give { what, by, reason, persists, lasts }
}

/// A hold of so many seconds.
pub(crate) fn hold_for(seconds: u64) -> StandingChange {
    give(Lasting::Hold, seconds)
}

const RELEASE: StandingChange = StandingChange::End(Lasting::Hold);

impl Cluster {
    /// Running daemons that do not know of a standing order for this.
    fn unaware(&self, what: Lasting) -> Option<String> {
        let knows = |host: usize| {
            let node = self.hosts[host].node.as_ref()?;
            let orders = node.standing_orders(self.hosts[host].clock.read(self.now));
            (!orders.iter().any(|order| order.what == what)).then_some(host)
        };
        let unaware: Vec<usize> = (0..self.hosts.len()).filter_map(knows).collect();
        (!unaware.is_empty()).then(|| format!("{unaware:?} know nothing of {what:?}"))
    }

    fn drain_and_undrain(&mut self, host: usize) -> Result<(), crate::trace::Violation> {
        let id = self.hosts[host].id;
        self.order(host, Order::Drain(id));
        self.wait_until("hold", 5 * SECOND, |this| this.not_empty(host))?;
        self.order(host, Order::Undrain(id));
        self.run_for(SECOND)
    }
}

/// A hold of two minutes. A node that was drained and is undrained gets nothing. The node at which
/// it was ordered dies: failover is as always, the hold stands, and when the node is back nothing
/// moves either. Then the time is up, and every node has its share again.
pub(crate) fn hold(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 9, broken))?;
    cluster.stand(0, give(Lasting::Hold, 120));
    cluster.wait_until("hold", 50 * MILLISECOND, |this| this.unaware(Lasting::Hold))?;
    let ends = cluster.now + 120 * SECOND;
    cluster.drain_and_undrain(1)?;
    cluster.mark();
    cluster.watch("hold", 30 * SECOND, |this| this.not_empty(1))?;
    cluster.expect_moves("hold", 0)?;
    cluster.crash(0, None);
    cluster.wait_until("hold", 2 * SECOND, Cluster::uncovered)?;
    cluster.run_for(5 * SECOND)?;
    cluster.power_on(0);
    cluster.run_for(5 * SECOND)?;
    cluster.expect("hold", cluster.unaware(Lasting::Hold).is_none(), "a restart has lost it")?;
    cluster.mark();
    cluster.run_for(ends - cluster.now - SECOND)?;
    cluster.expect_moves("hold", 0)?;
    cluster.expect("hold", cluster.not_empty(0).is_none(), "n0 has got something")?;
    cluster.run_for(2 * SECOND)?;
    let over = cluster.unaware(Lasting::Hold).is_some();
    cluster.expect("hold", over, "the time is up and it stands")?;
    cluster.settle()?;
    Ok(())
}

/// One half of a split holds; in the other a hold is ordered and ended. After the merge all hold:
/// what was ended is not what stands. Ended then, it is so everywhere.
pub(crate) fn hold_and_merge(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 9, broken))?;
    cluster.split(&[0], &[0]);
    cluster.stand(0, give(Lasting::Hold, 600));
    cluster.run_for(SECOND)?;
    cluster.stand(1, give(Lasting::Hold, 600));
    cluster.run_for(SECOND)?;
    cluster.stand(2, RELEASE);
    cluster.run_for(SECOND)?;
    cluster.heal();
    cluster.wait_until("hold", 5 * SECOND, |this| this.unaware(Lasting::Hold))?;
    cluster.wait_until("hold", 5 * SECOND, Cluster::uncovered)?;
    cluster.run_for(10 * SECOND)?;
    cluster.drain_and_undrain(1)?;
    cluster.mark();
    cluster.watch("hold", 30 * SECOND, |this| this.not_empty(1))?;
    cluster.expect_moves("hold", 0)?;
    cluster.stand(2, RELEASE);
    cluster.settle()?;
    let all = (0..3).all(|host| {
        let node = cluster.hosts[host].node.as_ref().expect("it runs");
        node.standing_orders(cluster.hosts[host].clock.read(cluster.now)).is_empty()
    });
    cluster.expect("hold", all, "it stands somewhere")?;
    Ok(())
}

/// A node is drained for a minute, by way of another that dies. It stays empty for that minute, and
/// then has its share again.
pub(crate) fn drained_for_a_while(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 9, broken))?;
    let id = cluster.hosts[1].id;
    cluster.order(0, Order::Drain(id));
    cluster.stand(0, give(Lasting::Drain(id), 60));
    cluster.wait_until("L5", 5 * SECOND, |this| this.not_empty(1))?;
    cluster.crash(0, None);
    cluster.watch("L5", 20 * SECOND, |this| this.not_empty(1))?;
    cluster.power_on(0);
    cluster.watch("L5", 20 * SECOND, |this| this.not_empty(1))?;
    cluster.settle()?;
    cluster.expect("L5", cluster.not_empty(1).is_some(), "n1 is empty")?;
    Ok(())
}

/// A node is drained, its host restarted, and what it had on its own of that is gone: it learns from
/// the others that it is to be drained. Undrained, it has its share again.
pub(crate) fn drain_outlasts_a_reboot(broken: Option<Rule>) -> Outcome {
    let mut cluster = Cluster::settled(calm(3, 9, broken))?;
    let id = cluster.hosts[1].id;
    cluster.order(0, Order::Drain(id));
    cluster.stand(0, give(Lasting::Drain(id), 3600));
    cluster.wait_until("L5", 5 * SECOND, |this| this.not_empty(1))?;
    cluster.crash(1, None);
    cluster.hosts[1].draining = false;
    cluster.run_for(5 * SECOND)?;
    cluster.power_on(1);
    cluster.watch("L5", 20 * SECOND, |this| this.not_empty(1))?;
    cluster.expect("L5", cluster.hosts[1].draining, "n1 has forgotten it")?;
    cluster.order(0, Order::Undrain(id));
    cluster.stand(0, StandingChange::End(Lasting::Drain(id)));
    cluster.settle()?;
    Ok(())
}
