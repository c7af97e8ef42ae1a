//! The gate: the kernel answers for our addresses only while a live daemon renews a lease.
//!
//! A table of our own in nf_tables. What is sent to, or from, a *covered* address passes only while
//! the set `lease` has elements, and these end by themselves. So a daemon that is dead, stopped or
//! stuck stops answering without doing anything, and its lease is renewed for all addresses at
//! once.
//!
//! ```text
//!   table netdev buoy_CLUSTER {
//!     set covered4 { type ipv4_addr }    set covered6 { type ipv6_addr }
//!     set lease { type ether_type; flags timeout }         arp, ip, ip6
//!     chain gate { meta protocol @lease accept; drop }
//!     chain inN { hook ingress device "eth0"; arp daddr ip, ip daddr, nd target, ip6 daddr
//!                 in a covered set: goto gate }
//!     chain outN { hook egress device "eth0"; the same by source }   (Linux 5.16)
//!   }
//! ```
//!
//! `apply` covers addresses before it adds them and uncovers them when they are gone; the thread
//! that renews is in `daemon`. Other tables are never touched. Somebody may flush ours: renewing
//! fails then, and the gate is built anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::netlink::Conversation;
use super::nftables::{self, Batch, Field, Hook, Key, Step, carry_out};

/// Before other tables see the frames.
const PRIORITY: i32 = -450;
const ARP: u16 = 0x0806;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
/// All there is in `lease` while it runs.
const LEASED: [&[u8]; 3] = [&ARP.to_be_bytes(), &IPV4.to_be_bytes(), &IPV6.to_be_bytes()];
const ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const ENOENT: i32 = 2;

/// The name of the table of a cluster, another one for each: of what names of clusters are made
/// of, `nft` does not read the colon, and reads the slash, which they do not have.
#[must_use]
pub fn table_name(cluster: &str) -> String {
    format!("buoy_{}", cluster.replace(':', "/"))
}

/// The table, as the kernel thread keeps it.
#[derive(Debug)]
pub(super) struct Gate {
    table: String,
    conversation: Conversation,
    covered: BTreeSet<IpAddr>,
    /// Devices at which frames are looked at, by index, under the name they had.
    devices: BTreeMap<u32, String>,
    chains: u32,
}

impl Gate {
    /// Builds the table, closed and covering nothing; one that a predecessor left is replaced.
    ///
    /// # Errors
    ///
    /// When this kernel has no nf_tables, or not its netdev family; then nothing was changed.
    pub(super) fn open(table: String) -> io::Result<Self> {
        let conversation = nftables::open()?;
        let (covered, devices) = (BTreeSet::new(), BTreeMap::new());
        let mut gate = Self { table, conversation, covered, devices, chains: 0 };
        gate.build()?;
        Ok(gate)
    }

    fn build(&mut self) -> io::Result<()> {
        self.remove()?;
        let table = self.table.clone();
        let batch = Batch::new(&table)
            .new_table()
            .new_set("covered4", Key::Ipv4, false)
            .new_set("covered6", Key::Ipv6, false)
            .new_set("lease", Key::EtherType, true)
            .new_chain("gate", None)
            .new_rule("gate", &[Step::EtherTypeIn("lease"), Step::Accept])
            .new_rule("gate", &[Step::Drop]);
        carry_out(&mut self.conversation, batch)
    }

    /// Builds the table anew, with all that it covered, and open for what is left of the lease.
    pub(super) fn rebuild(&mut self, left: Duration) -> io::Result<()> {
        self.build()?;
        if let Some(lease) = milliseconds(left) {
            let batch = Batch::new(&self.table).add("lease", &LEASED, Some(lease));
            carry_out(&mut self.conversation, batch)?;
        }
        let covered = std::mem::take(&mut self.covered);
        for (index, name) in std::mem::take(&mut self.devices) {
            // A device that has gone meanwhile has nothing to be covered.
            let _ = self.watch(index, &name);
        }
        self.cover(covered.into_iter())
    }

    /// Looks at what comes in at a device, and goes out.
    pub(super) fn watch(&mut self, index: u32, name: &str) -> io::Result<()> {
        if self.devices.get(&index).is_some_and(|known| known == name) {
            return Ok(());
        }
        self.chains += 1;
        let (table, chain) = (self.table.clone(), format!("in{}", self.chains));
        let batch = Batch::new(&table).new_chain(&chain, Some((Hook::Ingress, name, PRIORITY)));
        carry_out(&mut self.conversation, rules(batch, &chain, Hook::Ingress))?;
        self.devices.insert(index, name.to_owned());
        let chain = format!("out{}", self.chains);
        let batch = Batch::new(&table).new_chain(&chain, Some((Hook::Egress, name, PRIORITY)));
        if let Err(error) = carry_out(&mut self.conversation, rules(batch, &chain, Hook::Egress)) {
            tracing::debug!(%error, name, "what goes out is not gated: it needs Linux 5.16");
        }
        Ok(())
    }

    /// Puts addresses under the gate.
    pub(super) fn cover(&mut self, addresses: impl Iterator<Item = IpAddr>) -> io::Result<()> {
        let new: Vec<IpAddr> =
            addresses.filter(|address| !self.covered.contains(address)).collect();
        let table = self.table.clone();
        let batch = |v6, set| {
            let keys = keys(&new, v6);
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            (!keys.is_empty()).then(|| Batch::new(&table).add(set, &keys, None))
        };
        for batch in [batch(false, "covered4"), batch(true, "covered6")].into_iter().flatten() {
            carry_out(&mut self.conversation, batch)?;
        }
        self.covered.extend(new);
        Ok(())
    }

    /// Lets addresses alone that are not here any more.
    pub(super) fn uncover(&mut self, addresses: &BTreeSet<IpAddr>) -> io::Result<()> {
        let gone: Vec<IpAddr> = self.covered.intersection(addresses).copied().collect();
        let table = self.table.clone();
        for (v6, set) in [(false, "covered4"), (true, "covered6")] {
            let keys = keys(&gone, v6);
            let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
            if !keys.is_empty() {
                carry_out(&mut self.conversation, Batch::new(&table).delete(set, &keys))?;
            }
        }
        self.covered.retain(|address| !gone.contains(address));
        Ok(())
    }

    /// Removes the table, if it is there.
    pub(super) fn remove(&mut self) -> io::Result<()> {
        remove(&mut self.conversation, &self.table)
    }
}

/// The kernel counts whole ones; none is nothing to lease.
fn milliseconds(length: Duration) -> Option<u64> {
    u64::try_from(length.as_millis()).ok().filter(|length| *length > 0)
}

/// Removes a gate whose daemon is gone, if it is there.
///
/// # Errors
///
/// What the kernel says; then it is still there.
pub fn remove_gate(table: &str) -> io::Result<()> {
    remove(&mut nftables::open()?, table)
}

fn remove(conversation: &mut Conversation, table: &str) -> io::Result<()> {
    match carry_out(conversation, Batch::new(table).delete_table()) {
        Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(()),
        removed => removed,
    }
}

fn keys(addresses: &[IpAddr], v6: bool) -> Vec<Vec<u8>> {
    let octets = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    addresses.iter().filter(|address| address.is_ipv6() == v6).map(octets).collect()
}

/// The rules of a chain: which frames concern a covered address.
fn rules<'a>(batch: Batch<'a>, chain: &str, hook: Hook) -> Batch<'a> {
    // Where the address is in ARP, IPv4 and IPv6: whom it is for, or who sent it.
    let (arp, v4, v6) = match hook {
        Hook::Ingress => (24, 16, 24),
        Hook::Egress => (14, 12, 8),
    };
    let gate = Step::Goto("gate");
    let covered4 = |offset| Step::In(Field::Network(offset), 4, "covered4");
    let covered6 = |field| Step::In(field, 16, "covered6");
    let solicits = Step::Byte(Field::Transport(0), NEIGHBOUR_SOLICITATION);
    let target = covered6(Field::Transport(8));
    let batch = batch
        .new_rule(chain, &[Step::EtherType(ARP), covered4(arp), gate])
        .new_rule(chain, &[Step::EtherType(IPV4), covered4(v4), gate])
        .new_rule(chain, &[Step::EtherType(IPV6), covered6(Field::Network(v6)), gate]);
    match hook {
        Hook::Ingress => {
            let asks = [Step::EtherType(IPV6), Step::Carries(ICMPV6), solicits, target, gate];
            batch.new_rule(chain, &asks)
        }
        Hook::Egress => batch,
    }
}

/// What became of a renewal.
#[derive(Debug)]
pub enum Renewal {
    /// The gate is open for as long as asked.
    Done,
    /// The table is gone: somebody has flushed it. The gate does not hold until it is rebuilt.
    Gone,
    /// The kernel refused; the lease runs out unless this passes.
    Failed(io::Error),
}

/// Renews the lease of a gate. Its own way to the kernel, so that it waits for nobody.
#[derive(Debug)]
pub struct Lease {
    table: String,
    conversation: Conversation,
}

impl Lease {
    /// For the gate that is this table; whether it is there shows when it is renewed.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be spoken to.
    pub fn open(table: &str) -> io::Result<Self> {
        Ok(Self { table: table.to_owned(), conversation: nftables::open()? })
    }

    /// Opens the gate for so long from now, not longer. The old elements go and the new ones come
    /// in one step, so that no frame finds the gate closed between. About 30 us.
    pub fn renew(&mut self, length: Duration) -> Renewal {
        let Some(milliseconds) = milliseconds(length) else { return Renewal::Done };
        let (table, conversation) = (self.table.as_str(), &mut self.conversation);
        let again = Batch::new(table).delete("lease", &LEASED);
        let again = again.add("lease", &LEASED, Some(milliseconds));
        let missing = |error: &io::Error| error.raw_os_error() == Some(ENOENT);
        match carry_out(conversation, again) {
            Ok(()) => Renewal::Done,
            Err(error) if missing(&error) => {
                let batch = Batch::new(table).add("lease", &LEASED, Some(milliseconds));
                match carry_out(conversation, batch) {
                    Ok(()) => Renewal::Done,
                    Err(error) if missing(&error) => Renewal::Gone,
                    Err(error) => Renewal::Failed(error),
                }
            }
            Err(error) => Renewal::Failed(error),
        }
    }

    /// Closes the gate now.
    ///
    /// # Errors
    ///
    /// What the kernel says. A gate that is closed or gone is none.
    pub fn close(&mut self) -> io::Result<()> {
        match carry_out(&mut self.conversation, Batch::new(&self.table).delete("lease", &LEASED)) {
            Err(error) if error.raw_os_error() == Some(ENOENT) => Ok(()),
            closed => closed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::table_name;

    #[test]
    fn clusters_with_similar_names_have_tables_of_their_own() {
        let clusters = ["a-b", "a_b", "a.b", "a:b", "ab", "A_b"];
        let tables: BTreeSet<String> = clusters.map(table_name).into();
        assert_eq!(tables.len(), clusters.len(), "{tables:?}");
        assert!(tables.iter().all(|table| !table.contains(':')), "{tables:?}");
    }
}
