//! Expressions of nf_tables: what a [`Step`] of a rule is in bytes.
//!
//! Used by `nftables` alone. Values go from one expression to the next by registers: one of 16
//! bytes is enough for all but flows, which fill several, see `flow`.

use super::nftables::{Field, NESTED, Step, attribute, number_attribute, text};

/// Register for values of up to 16 bytes.
const REGISTER: u32 = 1;
/// The registers of four bytes; the first is where [`REGISTER`] begins.
const FIRST: u32 = 8;
const REGISTER_VERDICT: u32 = 0;
const DROP: i32 = 0;
const ACCEPT: i32 = 1;
const GOTO: i32 = -4;
/// What a rule does to a set.
const ADD: u32 = 0;
const UPDATE: u32 = 1;
const DELETE: u32 = 2;

/// The expressions that are a step.
pub(super) fn of(step: &Step<'_>) -> Vec<u8> {
    const META_PROTOCOL: u32 = 1;
    const META_INPUT: u32 = 4;
    const META_OUTPUT: u32 = 5;
    const META_INPUT_NAME: u32 = 6;
    const META_OUTPUT_NAME: u32 = 7;
    const META_L4_PROTOCOL: u32 = 16;
    const META_PACKET_TYPE: u32 = 19;
    const PACKET_HOST: u8 = 0;
    match step {
        Step::EtherType(kind) => [meta(META_PROTOCOL), equals(&kind.to_be_bytes())].concat(),
        Step::Carries(protocol) => [meta(META_L4_PROTOCOL), equals(&[*protocol])].concat(),
        Step::Is(field, value) => {
            let length = u32::try_from(value.len()).expect("values are short");
            [payload(*field, length), equals(value)].concat()
        }
        Step::CameBy(device) => [meta(META_INPUT_NAME), equals(&padded(device))].concat(),
        Step::GoesBy(device) => [meta(META_OUTPUT_NAME), equals(&padded(device))].concat(),
        Step::OneIn(some) => [random_below(*some), equals(&[0; 4])].concat(),
        Step::In(field, length, set) => [payload(*field, *length), lookup(set)].concat(),
        Step::InBy(field, set) => [on_link(*field, META_INPUT), lookup(set)].concat(),
        Step::OutBy(field, set) => [on_link(*field, META_OUTPUT), lookup(set)].concat(),
        Step::Addressed => [meta(META_PACKET_TYPE), equals(&[PACKET_HOST])].concat(),
        Step::CameIn(device) => [meta(META_INPUT), equals(&device.to_ne_bytes())].concat(),
        Step::GoesOut(device) => [meta(META_OUTPUT), equals(&device.to_ne_bytes())].concat(),
        Step::Holds(set, number) => [load(&number.to_be_bytes()), lookup(set)].concat(),
        Step::HoldFor(set, number, milliseconds) => {
            [load(&number.to_be_bytes()), learn(set, UPDATE, Some(*milliseconds))].concat()
        }
        Step::LetGo(set, number) => {
            [load(&number.to_be_bytes()), learn(set, DELETE, None)].concat()
        }
        Step::Masked(field, mask, value) => {
            [payload(*field, 1), masked(*mask), equals(&[*value])].concat()
        }
        Step::FlowIn(v6, set) => [flow(*v6), lookup(set)].concat(),
        Step::LearnFlow(v6, set) => [flow(*v6), learn(set, ADD, None)].concat(),
        Step::Write(field, value) => [load(value), write(*field, value.len(), false)].concat(),
        Step::WriteAddress(field, value) => {
            [load(*value), write(*field, value.len(), true)].concat()
        }
        Step::CopyTo(device) => [load(&device.to_ne_bytes()), numbered("dup", 2)].concat(),
        Step::SendTo(device) => [load(&device.to_ne_bytes()), numbered("fwd", 1)].concat(),
        Step::Accept => verdict(ACCEPT, None),
        Step::Drop => verdict(DROP, None),
        Step::Goto(chain) => verdict(GOTO, Some(chain)),
    }
}

fn expression(name: &str, data: &[u8]) -> Vec<u8> {
    let mut body = text(1, name);
    body.extend(attribute(2 | NESTED, data));
    attribute(1 | NESTED, &body)
}

fn meta(what: u32) -> Vec<u8> {
    meta_to(REGISTER, what)
}

fn meta_to(register: u32, what: u32) -> Vec<u8> {
    expression("meta", &[number_attribute(2, what), number_attribute(1, register)].concat())
}

fn payload(field: Field, length: u32) -> Vec<u8> {
    payload_to(REGISTER, field, length)
}

fn payload_to(register: u32, field: Field, length: u32) -> Vec<u8> {
    let (base, offset) = place(field);
    let numbers = [(1, register), (2, base), (3, offset), (4, length)];
    expression("payload", &numbers.map(|(kind, value)| number_attribute(kind, value)).concat())
}

const fn place(field: Field) -> (u32, u32) {
    match field {
        Field::Link(offset) => (0, offset),
        Field::Network(offset) => (1, offset),
        Field::Transport(offset) => (2, offset),
    }
}

/// An IPv6 address and the index of a device.
fn on_link(field: Field, device: u32) -> Vec<u8> {
    [payload_to(FIRST, field, 16), meta_to(FIRST + 4, device)].concat()
}

/// Both addresses and both ports, each from a register of its own on.
fn flow(v6: bool) -> Vec<u8> {
    let (source, length) = if v6 { (8, 16) } else { (12, 4) };
    let ports = FIRST + 2 * length / 4;
    [
        payload_to(FIRST, Field::Network(source), length),
        payload_to(FIRST + length / 4, Field::Network(source + length), length),
        payload_to(ports, Field::Transport(0), 2),
        payload_to(ports + 1, Field::Transport(2), 2),
    ]
    .concat()
}

/// Has the set hold, or not, what is in the register.
fn learn(set: &str, operation: u32, milliseconds: Option<u64>) -> Vec<u8> {
    let mut data = text(1, set);
    data.extend(number_attribute(3, operation));
    data.extend(number_attribute(4, REGISTER));
    if let Some(milliseconds) = milliseconds {
        data.extend(attribute(6, &milliseconds.to_be_bytes()));
    }
    expression("dynset", &data)
}

fn load(value: &[u8]) -> Vec<u8> {
    let mut data = number_attribute(1, REGISTER);
    data.extend(attribute(2 | NESTED, &attribute(1, value)));
    expression("immediate", &data)
}

/// Puts what was loaded there; with `addressed`, checksums over the addresses follow.
fn write(field: Field, length: usize, addressed: bool) -> Vec<u8> {
    let (base, offset) = place(field);
    let length = u32::try_from(length).expect("values are short");
    let flags = u32::from(addressed);
    let numbers = [(5, REGISTER), (2, base), (3, offset), (4, length), (6, 0), (7, 0), (8, flags)];
    expression("payload", &numbers.map(|(kind, value)| number_attribute(kind, value)).concat())
}

/// An expression that takes the number of a device from the register, by this attribute.
fn numbered(name: &str, kind: u16) -> Vec<u8> {
    expression(name, &number_attribute(kind, REGISTER))
}

fn masked(mask: u8) -> Vec<u8> {
    let numbers = [(1, REGISTER), (2, REGISTER), (3, 1)];
    let mut data = numbers.map(|(kind, value)| number_attribute(kind, value)).concat();
    for (kind, value) in [(4, mask), (5, 0)] {
        data.extend(attribute(kind | NESTED, &attribute(1, &[value])));
    }
    expression("bitwise", &data)
}

fn random_below(limit: u32) -> Vec<u8> {
    const RANDOM: u32 = 1;
    let numbers = [(1, REGISTER), (2, limit.max(1)), (3, RANDOM)];
    expression("numgen", &numbers.map(|(kind, value)| number_attribute(kind, value)).concat())
}

/// The name of a device as the kernel compares it.
fn padded(device: &str) -> [u8; 16] {
    let mut name = [0; 16];
    // The last byte stays zero (IFNAMSIZ).
    name[..15].iter_mut().zip(device.bytes()).for_each(|(to, from)| *to = from);
    name
}

fn equals(value: &[u8]) -> Vec<u8> {
    const EQUAL: u32 = 0;
    let mut data = number_attribute(1, REGISTER);
    data.extend(number_attribute(2, EQUAL));
    data.extend(attribute(3 | NESTED, &attribute(1, value)));
    expression("cmp", &data)
}

fn lookup(set: &str) -> Vec<u8> {
    expression("lookup", &[text(1, set), number_attribute(2, REGISTER)].concat())
}

fn verdict(code: i32, chain: Option<&str>) -> Vec<u8> {
    let mut verdict = attribute(1, &code.to_be_bytes());
    verdict.extend(chain.map(|chain| text(2, chain)).unwrap_or_default());
    let mut data = number_attribute(1, REGISTER_VERDICT);
    data.extend(attribute(2 | NESTED, &attribute(2 | NESTED, &verdict)));
    expression("immediate", &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_asked_by_these_bytes() {
        let rule = of(&Step::Holds("lease", 1));
        let mut expected = vec![44, 0, 1, 0x80, 14, 0, 1, 0];
        expected.extend(*b"immediate\0\0\0");
        expected.extend([24, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 1]);
        expected.extend([12, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 1]);
        expected.extend([40, 0, 1, 0x80, 11, 0, 1, 0]);
        expected.extend(*b"lookup\0\0");
        expected.extend([24, 0, 2, 0x80, 10, 0, 1, 0]);
        expected.extend(*b"lease\0\0\0");
        expected.extend([8, 0, 2, 0, 0, 0, 0, 1]);
        assert_eq!(rule, expected);
    }

    #[test]
    fn an_address_is_looked_up_with_its_link_by_these_bytes() {
        let rule = of(&Step::InBy(Field::Network(24), "set"));
        // To the first register of four bytes from 24 bytes behind the network header on, 16 bytes.
        let mut expected = vec![52, 0, 1, 0x80, 12, 0, 1, 0];
        expected.extend(*b"payload\0");
        expected.extend([36, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 8, 8, 0, 2, 0, 0, 0, 0, 1]);
        expected.extend([8, 0, 3, 0, 0, 0, 0, 24, 8, 0, 4, 0, 0, 0, 0, 16]);
        // The index of the input device to the fifth.
        expected.extend([36, 0, 1, 0x80, 9, 0, 1, 0]);
        expected.extend(*b"meta\0\0\0\0");
        expected.extend([20, 0, 2, 0x80, 8, 0, 2, 0, 0, 0, 0, 4, 8, 0, 1, 0, 0, 0, 0, 12]);
        expected.extend([36, 0, 1, 0x80, 11, 0, 1, 0]);
        expected.extend(*b"lookup\0\0");
        expected.extend([20, 0, 2, 0x80, 8, 0, 1, 0]);
        expected.extend(*b"set\0");
        expected.extend([8, 0, 2, 0, 0, 0, 0, 1]);
        assert_eq!(rule, expected);
    }

    #[test]
    fn a_lease_is_renewed_by_a_packet_with_these_bytes() {
        let rule = of(&Step::HoldFor("lease", 1, 600));
        let mut expected = vec![44, 0, 1, 0x80, 14, 0, 1, 0];
        expected.extend(*b"immediate\0\0\0");
        expected.extend([24, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 1]);
        expected.extend([12, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 1]);
        expected.extend([60, 0, 1, 0x80, 11, 0, 1, 0]);
        expected.extend(*b"dynset\0\0");
        expected.extend([44, 0, 2, 0x80, 10, 0, 1, 0]);
        expected.extend(*b"lease\0\0\0");
        expected.extend([8, 0, 3, 0, 0, 0, 0, 1, 8, 0, 4, 0, 0, 0, 0, 1]);
        expected.extend([12, 0, 6, 0, 0, 0, 0, 0, 0, 0, 2, 88]);
        assert_eq!(rule, expected);
    }
}
