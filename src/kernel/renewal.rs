//! Opens and closes the doors of the gate, looks whether it is whole, and puts it back.
//!
//! Changing rules waits for whoever else changes theirs, and that can take seconds. So a door is
//! opened by packets that this host sends to itself, which wait for nobody: rules of the gate see
//! them, know them by a secret, set the time that the lease has left, and drop them.
//!
//! ```text
//!   UDP to 127.0.0.1, dropped before it has left the process's call   --> inet: vouched, granted
//!   a frame with ARP on the loopback device, dropped when it comes in --> arp: the same
//!     after the header:  | secret 16 | door 1 | length 1, by its number; 0 closes |
//! ```
//!
//! What became of that is read back, which waits for nobody either. Where it did not work the rules
//! are changed instead.

use std::collections::BTreeSet;
use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use pnet_datalink::DataLinkSender;

use super::announce;
use super::gate::Door;
use super::ruleset::{FAMILIES, LOOPBACK, RUNS, Secret, grade};
use super::scoped::Scoped;
use super::tables::{Known, Shared, Tables, is_missing, opening, patiently, take};
use super::withdrawals::Withdrawals;
use crate::netlink::Conversation;
use crate::netlink::nftables::{self, Batch, Family, carry_out};
use crate::netlink::tables::{find, remaining};

/// The port of packets that nobody shall read (RFC 863).
const DISCARD: u16 = 9;
/// As much less than asked for is read back as the kernel's clock is coarse.
const TICKS: Duration = Duration::from_millis(20);

/// What became of a renewal.
#[derive(Debug)]
pub enum Renewal {
    /// The door is open for as long as asked, or a little less.
    Done,
    /// The gate is not whole: somebody has changed it. It does not hold until it is put back.
    Gone,
    /// The kernel refused; the lease runs out unless this passes.
    Failed(io::Error),
}

/// Opens and closes the doors of a gate, and nobody else does.
pub struct Lease {
    name: String,
    /// For reading only: that is answered at once.
    reader: Conversation,
    way: Way,
    packets: Option<Packets>,
    pub(super) withdrawals: Withdrawals,
    /// Addresses that the gate holds as withdrawn.
    pub(super) withdrawn: BTreeSet<Scoped>,
    /// Whether nobody else can change the gate, as of the last look.
    owned: bool,
}

/// How the rules are changed.
enum Way {
    /// With the thread that covers addresses.
    Shared(Shared, Known),
    /// The daemon is gone.
    Alone(Conversation),
}

/// See the module's text.
struct Packets {
    udp: UdpSocket,
    arp: Box<dyn DataLinkSender>,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Lease({})", self.name)
    }
}

impl Lease {
    /// For the gate of a daemon that is gone; whether it is there shows when it is closed.
    ///
    /// # Errors
    ///
    /// When the kernel cannot be spoken to.
    pub fn open(table: &str) -> io::Result<Self> {
        let way = Way::Alone(nftables::open()?);
        Self::by(table.to_owned(), way, None)
    }

    /// For the gate of this process.
    pub(super) fn of(tables: &Shared) -> io::Result<Self> {
        let (name, secret) = {
            let tables = take(tables);
            (tables.name().to_owned(), tables.secret())
        };
        let packets = Packets::open().inspect_err(|error| {
            tracing::debug!(%error, "leases can be renewed only by changing the rules");
        });
        let way = Way::Shared(tables.clone(), secret);
        Self::by(name, way, packets.ok())
    }

    fn by(name: String, way: Way, packets: Option<Packets>) -> io::Result<Self> {
        let reader = nftables::open()?;
        let (withdrawals, withdrawn) = (Withdrawals::default(), BTreeSet::new());
        Ok(Self { name, reader, way, packets, withdrawals, withdrawn, owned: false })
    }

    /// From now on [`Lease::withdraw`] goes by these.
    pub(super) fn follow(mut self, withdrawals: Withdrawals) -> Self {
        self.withdrawals = withdrawals;
        self
    }

    /// Changes the tables of this process.
    pub(super) fn change_tables(
        &mut self,
        change: impl FnOnce(&mut Tables) -> io::Result<()>,
    ) -> Renewal {
        match &self.way {
            Way::Shared(tables, _) => renewal(change(&mut take(tables))),
            Way::Alone(_) => renewal(Err(io::ErrorKind::Unsupported.into())),
        }
    }

    /// Opens a door for so long from now, or a little less, never more. No packet finds it closed
    /// between.
    pub fn renew(&mut self, door: Door, length: Duration) -> Renewal {
        let Some((number, graded)) = grade(length) else {
            return if length < Duration::from_millis(1) {
                self.close(door)
            } else {
                self.change(door, Some(length))
            };
        };
        if self.send(door, number) && self.left(door).is_some_and(|left| left + TICKS >= graded) {
            return Renewal::Done;
        }
        self.change(door, Some(length))
    }

    /// Closes a door now.
    pub fn close(&mut self, door: Door) -> Renewal {
        if self.send(door, 0) && self.left(door).is_some_and(|left| left.is_zero()) {
            return Renewal::Done;
        }
        self.change(door, None)
    }

    /// Whether nobody else can change the gate, as of the last [`Lease::look`].
    #[must_use]
    pub const fn is_owned(&self) -> bool {
        self.owned
    }

    /// Looks whether the gate is whole, whatever its doors are.
    pub fn look(&mut self) -> Renewal {
        match &self.way {
            Way::Alone(_) => {
                let mut there = FAMILIES.into_iter();
                renewal(there.try_for_each(|family| find(&mut self.reader, family, &self.name)))
            }
            // Whoever has them now changes them, and would find out.
            Way::Shared(tables, _) => {
                let Ok(mut tables) = tables.try_lock() else { return Renewal::Done };
                self.owned = tables.owned();
                match tables.whole() {
                    Ok(false) => Renewal::Gone,
                    Ok(true) => Renewal::Done,
                    Err(error) => Renewal::Failed(error),
                }
            }
        }
    }

    /// Puts a gate back that is not whole, with everything that it is to cover and its doors open
    /// for so long, in one step.
    ///
    /// # Errors
    ///
    /// When the kernel refuses: there is none then.
    pub fn repair(&mut self, lefts: [Option<Duration>; Door::ALL.len()]) -> io::Result<()> {
        match &self.way {
            Way::Alone(_) => Err(io::ErrorKind::Unsupported.into()),
            Way::Shared(tables, _) => take(tables).replace(lefts),
        }
    }

    /// Puts a closed gate in place of the one that is there, of tables that others can change, which
    /// they are before Linux 6.9: to see what happens then.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    #[doc(hidden)]
    pub fn disown(&mut self) -> io::Result<()> {
        match &self.way {
            Way::Alone(_) => Err(io::ErrorKind::Unsupported.into()),
            Way::Shared(tables, _) => take(tables).disown(),
        }
    }

    /// Asks for a length, by its number; tells whether anything was sent.
    fn send(&mut self, door: Door, number: u8) -> bool {
        let Way::Shared(_, known) = &self.way else { return false };
        let (Some(packets), Some(secret)) = (&mut self.packets, known.get()) else { return false };
        packets.send(&secret, [door as u8, number]);
        true
    }

    /// For how long the door is open in all families; `None` if the gate is gone or cannot be asked.
    fn left(&mut self, door: Door) -> Option<Duration> {
        let mut left = Duration::MAX;
        for family in FAMILIES {
            let set = (self.name.as_str(), door.lease());
            match remaining(&mut self.reader, family, set, &RUNS.to_be_bytes()) {
                Ok(there) => left = left.min(there),
                // One without the other is no closed door, and no open one.
                Err(error) if is_missing(&error) => {
                    let there = find(&mut self.reader, family, &self.name);
                    left = there.ok().map(|()| Duration::ZERO)?;
                }
                Err(_) => return None,
            }
        }
        Some(left)
    }

    fn change(&mut self, door: Door, left: Option<Duration>) -> Renewal {
        let outcome = match &mut self.way {
            Way::Shared(tables, _) => take(tables).change(|batch| opening(batch, door, left)),
            Way::Alone(conversation) => patiently(|| {
                let batch = opening(Batch::new(Family::Inet, &self.name), door, left);
                carry_out(conversation, batch)
            }),
        };
        renewal(outcome)
    }
}

impl Packets {
    fn open() -> io::Result<Self> {
        let udp = UdpSocket::bind(("127.0.0.1", 0))?;
        udp.set_nonblocking(true)?;
        Ok(Self { udp, arp: announce::open_on("lo", LOOPBACK)? })
    }

    fn send(&mut self, secret: &Secret, asked: [u8; 2]) {
        let text = [secret.as_slice(), &asked].concat();
        // It never arrives, which this call says; what it has brought about is read.
        drop(self.udp.send_to(&text, ("127.0.0.1", DISCARD)));
        // To and from the hardware address of the loopback device, an answer that says nothing.
        let arp = [&[0; 12][..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 2], &[0; 20], &text].concat();
        drop(self.arp.send_to(&arp, None));
    }
}

fn renewal(outcome: io::Result<()>) -> Renewal {
    match outcome {
        Ok(()) => Renewal::Done,
        Err(error) if is_missing(&error) => Renewal::Gone,
        Err(error) => Renewal::Failed(error),
    }
}
