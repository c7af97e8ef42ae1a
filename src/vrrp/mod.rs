//! VRRP, so that hosts without buoy and a cluster can have one address between them.
//!
//! To the outside the whole cluster is one virtual router: whoever owns a group inside speaks for
//! it, the other members listen. Everything here is pure: bytes and time in, bytes and decisions
//! out. `kernel` has the sockets, `daemon` connects both to the protocol.
//!
//! ```text
//!   packet socket --> datagram --> advertisement --> router --> what the group is told: Outside
//!   raw socket   <---------------- advertisement <--+
//! ```
//!
//! Spoken are version 2 without authentication and with a password (RFC 3768, RFC 2338) and version
//! 3 over IPv4 and IPv6 (RFC 9568). What cannot be read is counted by reason and changes nothing.
//! VRRP proves nothing: any host of the segment can say these words (RFC 9568 9).

mod advertisement;
mod checksum;
mod datagram;
mod difference;
mod members;
mod password;
mod refusal;
mod router;
mod routers;
mod settings;

pub use advertisement::{
    ADDRESSES_V4_MAX, ADDRESSES_V6_MAX, Advertisement, Authentication, Heard, Version, decode,
    encode,
};
pub use checksum::Form;
pub use datagram::{Datagram, HOP_LIMIT, MULTICAST_V4, MULTICAST_V6, PROTOCOL};
pub use difference::Difference;
pub use members::{Hosts, Members};
pub use password::{PASSWORD_MAX, Password};
pub use refusal::{Refusal, Refusals};
pub use router::{Note, Origin, Router, SPEAKERS_MAX, Speaker, Standing, Step, Whose};
pub use routers::{Action, Family, OVERHEARD_MAX, Overheard, Routers, Seat};
pub use settings::{PRIORITY_MAX, Settings};
