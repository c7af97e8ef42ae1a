//! A question in, an answer out: the messages of RFC 1035 with EDNS (RFC 6891). Pure.

use std::net::IpAddr;

use domain::base::iana::{Class, Opcode, OptRcode, Rcode};
use domain::base::message_builder::{AnswerBuilder, AuthorityBuilder, PushError};
use domain::base::name::ToName;
use domain::base::{Message, MessageBuilder, Rtype, Serial, StaticCompressor, Ttl};
use domain::rdata::{A, Aaaa, Ns, Soa};

use super::view::View;
use super::zone::{Found, Name, Zone};

/// Largest datagram that is sent: what passes without fragments (RFC 9715, section 3.2).
pub(super) const DATAGRAM_MAX: u16 = 1232;
/// Largest to a client that says nothing of EDNS.
const DATAGRAM_PLAIN: u16 = 512;
/// Zone transfers are refused, so that these are read by people only.
const REFRESH: Ttl = Ttl::from_secs(3600);
const RETRY: Ttl = Ttl::from_secs(600);
const EXPIRE: Ttl = Ttl::from_secs(86_400);

type Target = StaticCompressor<Vec<u8>>;

/// How a question came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// Its answer must fit into a datagram.
    Udp,
    /// Its answer may have any length.
    Tcp,
}

/// Returns the answer to a message; `None` for what must not be answered: less than a header, and
/// answers.
pub(super) fn answer(
    query: &[u8],
    transport: Transport,
    zone: &Zone,
    view: &View,
    draw: impl Fn(usize) -> u64,
) -> Option<Vec<u8>> {
    let query = Message::from_octets(query).ok()?;
    if query.header().qr() {
        return None;
    }
    let edns = query.opt();
    let room = match (transport, &edns) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, None) => usize::from(DATAGRAM_PLAIN),
        (Transport::Udp, Some(opt)) => {
            usize::from(opt.udp_payload_size().clamp(DATAGRAM_PLAIN, DATAGRAM_MAX))
        }
    };
    let written = Reply { query, zone, view, edns: edns.as_ref().map(|opt| opt.version()) };
    written.write(room, draw).ok()
}

/// Returns an answer without records that asks to come again by TCP; `None` as for [`answer`].
pub(super) fn truncated(query: &[u8]) -> Option<Vec<u8>> {
    let query = Message::from_octets(query).ok()?;
    if query.header().qr() {
        return None;
    }
    let mut reply = builder().start_answer(&query, Rcode::NOERROR).ok()?;
    reply.header_mut().set_tc(true);
    Some(reply.finish().into_target())
}

fn builder() -> MessageBuilder<Target> {
    MessageBuilder::from_target(StaticCompressor::new(Vec::with_capacity(512)))
        .unwrap_or_else(|never| match never {})
}

struct Reply<'a> {
    query: Message<&'a [u8]>,
    zone: &'a Zone,
    view: &'a View,
    /// Version of EDNS that the client speaks, if it does.
    edns: Option<u8>,
}

impl Reply<'_> {
    fn write(&self, room: usize, draw: impl Fn(usize) -> u64) -> Result<Vec<u8>, PushError> {
        if self.query.header().opcode() != Opcode::QUERY {
            return self.refuse(Rcode::NOTIMP);
        }
        let Ok(question) = self.query.sole_question() else { return self.refuse(Rcode::FORMERR) };
        if self.edns.is_some_and(|version| version > 0) {
            return self.refuse_edns();
        }
        if question.qclass() != Class::IN
            || matches!(question.qtype(), Rtype::ANY | Rtype::AXFR | Rtype::IXFR)
        {
            return self.refuse(Rcode::REFUSED);
        }
        let name: Name = question.qname().to_vec();
        let (kind, ttl) = (question.qtype(), self.zone.ttl());
        let addresses = match self.zone.find(&name, self.view, draw) {
            Found::Elsewhere => return self.refuse(Rcode::REFUSED),
            Found::Unknown => return self.refuse(Rcode::SERVFAIL),
            Found::Nothing => return self.negative(Rcode::NXDOMAIN),
            Found::Addresses(addresses) => addresses,
        };
        let mut reply = self.begin(Rcode::NOERROR)?;
        // The mark of RFC 6891 must fit as well.
        reply.set_push_limit(room - if self.edns.is_some() { 11 } else { 0 });
        let mut records = 0;
        if name.name_eq(self.zone.apex()) && matches!(kind, Rtype::SOA | Rtype::NS) {
            if kind == Rtype::SOA {
                reply.push((&name, Class::IN, ttl, self.soa()))?;
            } else {
                for server in self.zone.servers() {
                    reply.push((&name, Class::IN, ttl, Ns::new(&server.name)))?;
                }
            }
            records += 1;
        }
        for address in of_family(&addresses, kind).take(self.zone.at_most()) {
            let pushed = match address {
                IpAddr::V4(address) => reply.push((&name, Class::IN, ttl, A::new(address))),
                IpAddr::V6(address) => reply.push((&name, Class::IN, ttl, Aaaa::new(address))),
            };
            match pushed {
                Ok(()) => records += 1,
                Err(_) => {
                    // Part of a set must not be taken for all of it.
                    reply.rewind();
                    reply.header_mut().set_tc(true);
                    break;
                }
            }
        }
        if records == 0 {
            return self.negative(Rcode::NOERROR);
        }
        self.finish(reply.authority(), room)
    }

    fn begin(&self, code: Rcode) -> Result<AnswerBuilder<Target>, PushError> {
        let mut reply = builder().start_answer(&self.query, code)?;
        reply.header_mut().set_aa(true);
        Ok(reply)
    }

    /// NXDOMAIN, or no record of this type: how long that may be kept is in the SOA (RFC 2308).
    fn negative(&self, code: Rcode) -> Result<Vec<u8>, PushError> {
        let mut reply = self.begin(code)?.authority();
        reply.push((self.zone.apex(), Class::IN, self.zone.ttl(), self.soa()))?;
        self.finish(reply, usize::from(u16::MAX))
    }

    fn refuse(&self, code: Rcode) -> Result<Vec<u8>, PushError> {
        let reply = builder().start_error(&self.query, code);
        self.finish(reply.authority(), usize::from(u16::MAX))
    }

    /// BADVERS, with the version that is understood.
    fn refuse_edns(&self) -> Result<Vec<u8>, PushError> {
        let mut reply = builder().start_answer(&self.query, Rcode::NOERROR)?.additional();
        reply.opt(|opt| {
            opt.set_udp_payload_size(DATAGRAM_MAX);
            opt.set_rcode(OptRcode::BADVERS);
            Ok(())
        })?;
        Ok(reply.finish().into_target())
    }

    fn finish(
        &self,
        mut reply: AuthorityBuilder<Target>,
        room: usize,
    ) -> Result<Vec<u8>, PushError> {
        reply.set_push_limit(room);
        let mut reply = reply.additional();
        if self.edns.is_some() {
            reply.opt(|opt| {
                opt.set_udp_payload_size(DATAGRAM_MAX);
                Ok(())
            })?;
        }
        Ok(reply.finish().into_target())
    }

    fn soa(&self) -> Soa<Name> {
        let server = self.zone.servers().first().map_or_else(Name::root_vec, |s| s.name.clone());
        let person = super::zone::name(&format!("hostmaster.{}", self.zone.apex()));
        let person = person.unwrap_or_else(|_| Name::root_vec());
        let serial = Serial::from(self.view.serial);
        Soa::new(server, person, serial, REFRESH, RETRY, EXPIRE, self.zone.ttl())
    }
}

/// The addresses for a question of this type: A has IPv4, AAAA has IPv6, others have none.
fn of_family(addresses: &[IpAddr], kind: Rtype) -> impl Iterator<Item = IpAddr> {
    let wanted = move |address: &IpAddr| match kind {
        Rtype::A => address.is_ipv4(),
        Rtype::AAAA => address.is_ipv6(),
        _ => false,
    };
    addresses.iter().copied().filter(wanted)
}
