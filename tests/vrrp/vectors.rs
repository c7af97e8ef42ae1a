//! VRRP as keepalived and FRR put it on the wire, byte for byte and both ways.
//!
//! `tests/vrrp/frames.txt` was captured from keepalived 2.2.7 and FRR 8.4.4; each checksum
//! in it was recomputed by an implementation that shares no code with ours.

use std::net::IpAddr;
use std::time::Duration;

use buoy::protocol::Random;
use buoy::vrrp::{
    Advertisement, Authentication, Datagram, Form, Heard, MULTICAST_V4, MULTICAST_V6, Password,
    Refusal, Version, decode, encode,
};

const ETHERNET: usize = 14;

/// One line of the file.
struct Golden {
    name: String,
    form: Form,
    priority: u8,
    interval: u64,
    packet: Vec<u8>,
}

fn golden() -> Vec<Golden> {
    let lines = include_str!("frames.txt").lines();
    let frames: Vec<Golden> = lines.filter(|line| !line.starts_with('#')).map(parse).collect();
    assert_eq!(frames.len(), 46);
    frames
}

fn parse(line: &str) -> Golden {
    let words: Vec<&str> = line.split(' ').collect();
    let [name, what, form, priority, interval, frame] = words[..] else { panic!("{line}") };
    let form = match form {
        "plain" => Form::Plain,
        "pseudo" => Form::Pseudo,
        "multicast" => Form::Multicast,
        other => panic!("{other} is no form"),
    };
    Golden {
        name: format!("{name} {what}"),
        form,
        priority: priority.parse().unwrap(),
        interval: interval.parse().unwrap(),
        packet: unhex(frame)[ETHERNET..].to_vec(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn frames_are_read_and_written_again() {
    let mut read = 0;
    for golden in golden() {
        let datagram = Datagram::read(&golden.packet);
        if golden.name.starts_with("ka-v2-ah") {
            assert_eq!(datagram, Err(Refusal::NotWhole), "protocol 51");
            continue;
        }
        let datagram = datagram.unwrap();
        let Heard { advertisement, form } = decode(&datagram).unwrap();
        assert_eq!(form, golden.form, "{}", golden.name);
        let Advertisement { version, id, priority, interval, .. } = &advertisement;
        assert_eq!((*id, *priority), (51, golden.priority), "{}", golden.name);
        let unit = match version {
            Version::V2 => 1000,
            Version::V3 => 10,
        };
        assert_eq!(*interval, Duration::from_millis(golden.interval * unit), "{}", golden.name);
        let written = encode(&advertisement, form, datagram.source, datagram.destination);
        assert_eq!(written, datagram.payload, "{}", golden.name);
        read += 1;
    }
    assert_eq!(read, 44);
}

/// The bytes from what they mean, which the other test takes from the bytes.
#[test]
fn what_is_meant_is_what_they_send() {
    let of = |version, priority, interval, addresses: &[&str], authentication| Advertisement {
        version,
        id: 51,
        priority,
        interval: Duration::from_millis(interval),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        authentication,
    };
    let one = ["192.0.2.100"];
    let none = Authentication::None;
    let password = |text| Authentication::Password(Password::new(text));
    for (name, advertisement) in [
        ("ka-v2-noauth first", of(Version::V2, 150, 1000, &one, none)),
        ("ka-v2-noauth last", of(Version::V2, 0, 1000, &one, none)),
        ("frr-v2-ipv4 first", of(Version::V2, 150, 1000, &one, none)),
        ("ka-v2-pass-short first", of(Version::V2, 150, 1000, &one, password("s3cr"))),
        ("ka-v2-pass-long last", of(Version::V2, 0, 1000, &one, password("abcdefghijkl"))),
        (
            "ka-v2-two-vips first",
            of(Version::V2, 150, 2000, &["192.0.2.100", "198.51.100.7"], none),
        ),
        ("ka-v2-unicast first", of(Version::V2, 150, 1000, &one, none)),
        ("ka-v3-mcast first", of(Version::V3, 150, 1000, &one, none)),
        ("frr-v3-ipv4 last", of(Version::V3, 0, 1000, &one, none)),
        (
            "ka-v3-two-vips-10cs first",
            of(Version::V3, 150, 100, &["192.0.2.100", "192.0.2.101"], none),
        ),
        ("ka-v3-unicast first", of(Version::V3, 150, 1000, &one, none)),
        ("ka-v3-unicast-oldsum first", of(Version::V3, 150, 1000, &one, none)),
        ("ka-v3-ipv6 first", of(Version::V3, 150, 1000, &["fe80::5e:100", "2001:db8::100"], none)),
        ("frr-v3-ipv6 last", of(Version::V3, 0, 1000, &["2001:db8::100"], none)),
    ] {
        let golden = golden().into_iter().find(|golden| golden.name == name).expect(name);
        let datagram = Datagram::read(&golden.packet).unwrap();
        let bytes = encode(&advertisement, golden.form, datagram.source, datagram.destination);
        assert_eq!(bytes, datagram.payload, "{name}");
    }
}

/// RFC 9568 5.2.8 as Cisco does it; nobody of ours could be captured sending it.
#[test]
fn version_3_without_pseudo_header_is_read_and_written() {
    let bytes = unhex("3133960100647602c0000264");
    let (source, destination) = (IpAddr::from([192, 0, 2, 11]), IpAddr::from(MULTICAST_V4));
    let datagram = Datagram { source, destination, hop_limit: 255, payload: &bytes };
    let heard = decode(&datagram).unwrap();
    assert_eq!(heard.form, Form::Plain);
    assert_eq!(encode(&heard.advertisement, Form::Plain, source, destination), bytes);
}

/// Each kind of bad advertisement by the one thing that is wrong about it; the checksum is right
/// for all but one.
#[test]
fn every_check_refuses_by_its_own_reason() {
    let v4: IpAddr = [192, 0, 2, 9].into();
    let v6: IpAddr = "fe80::9".parse().unwrap();
    let multicast_v4 = IpAddr::from(MULTICAST_V4);
    let v2 = "2133960100010000c00002640000000000000000";
    let v3 = "3133960100640000c0000264";
    let sixth = "313396010064000020010db8000000000000000000000100";
    let cases = [
        (v2, v4, "2133960100000000c00002640000000000000000", 255, Refusal::Interval),
        (v2, v4, "2133960102010000c00002640000000000000000", 255, Refusal::Authentication),
        (v2, v4, "2133960000010000c00002640000000000000000", 255, Refusal::NoAddress),
        (v2, v4, "2133960200010000c00002640000000000000000", 255, Refusal::Length),
        (v2, v4, "2133960100010000c0000264", 255, Refusal::Length),
        (v2, v4, "2233960100010000c00002640000000000000000", 255, Refusal::Type),
        (v2, v4, "1133960100010000c00002640000000000000000", 255, Refusal::Version),
        (v2, v4, "4133960100010000c00002640000000000000000", 255, Refusal::Version),
        (v2, v4, v2, 254, Refusal::HopLimit),
        (v3, v4, "3133960100000000c0000264", 255, Refusal::Interval),
        (v3, v4, "31339601f0000000c0000264", 255, Refusal::Interval),
        (v3, v4, "3133960000640000c0000264", 255, Refusal::NoAddress),
        (v3, v4, "3133960200640000c0000264", 255, Refusal::Length),
        (v3, v4, "3133960100640000c000026400000000", 255, Refusal::Length),
        (v3, v4, "3033960100640000c0000264", 255, Refusal::Type),
        (v3, v4, v3, 1, Refusal::HopLimit),
        (sixth, v6, v2, 255, Refusal::Version),
        (sixth, v6, v3, 255, Refusal::Length),
        (sixth, v6, sixth, 254, Refusal::HopLimit),
    ];
    for (good, source, bad, hop_limit, expected) in cases {
        let multicast = if source.is_ipv4() { multicast_v4 } else { MULTICAST_V6.into() };
        let read = |text: &str, hop_limit| {
            let payload = summed(text, source, multicast);
            decode(&Datagram { source, destination: multicast, hop_limit, payload: &payload })
        };
        assert!(read(good, 255).is_ok(), "{good}: {:?}", read(good, 255));
        assert_eq!(read(bad, hop_limit), Err(expected), "{bad}");
    }
    let mut bytes = summed(v3, v4, multicast_v4);
    bytes[6] ^= 1;
    let mut datagram =
        Datagram { source: v4, destination: multicast_v4, hop_limit: 255, payload: &bytes };
    assert_eq!(decode(&datagram), Err(Refusal::Checksum));
    let bytes = summed(sixth, v6, MULTICAST_V6.into());
    datagram = Datagram { source: v6, destination: v6, hop_limit: 64, payload: &bytes };
    assert_eq!(decode(&datagram), Err(Refusal::Checksum), "IPv6 has no other form");
}

/// What keepalived takes: reserved bits are not looked at, and neither is the hop limit of what
/// came to one address alone.
#[test]
fn reserved_bits_and_unicast_hop_limits_are_let_pass() {
    let (source, destination) = (IpAddr::from([192, 0, 2, 9]), IpAddr::from([192, 0, 2, 11]));
    let payload = summed("31339601f0640000c0000264", source, destination);
    let datagram = Datagram { source, destination, hop_limit: 64, payload: &payload };
    let interval = decode(&datagram).unwrap().advertisement.interval;
    assert_eq!(interval, Duration::from_secs(1));
}

/// The bytes with a right checksum: plain for version 2, with pseudo-header else.
fn summed(text: &str, source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let mut bytes = unhex(text);
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    if bytes[0] >> 4 != 2 {
        for address in [source, destination] {
            let octets = match address {
                IpAddr::V4(address) => address.octets().to_vec(),
                IpAddr::V6(address) => address.octets().to_vec(),
            };
            sum += octets
                .chunks(2)
                .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
                .sum::<u32>();
        }
        sum += 112 + u32::try_from(bytes.len()).unwrap();
    }
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    bytes[6..8].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
    bytes
}

/// Whatever comes, reading does not panic, and what is read is what can be said again.
#[test]
fn pieces_and_changed_frames_are_refused_or_understood() {
    let mut random = Random::new(0x5652_5250);
    let mut draw = move |below: usize| usize::try_from(random.below(below as u64)).unwrap();
    let (mut refused, mut understood) = (0, 0);
    for golden in golden() {
        for length in 0..golden.packet.len() {
            assert!(Datagram::read(&golden.packet[..length]).is_err(), "{} cut", golden.name);
        }
        for _ in 0..2000 {
            let mut packet = golden.packet.clone();
            for _ in 0..=draw(3) {
                let at = draw(packet.len());
                packet[at] = u8::try_from(draw(256)).unwrap();
            }
            packet.extend(vec![0; draw(8)]);
            let Ok(datagram) = Datagram::read(&packet) else { continue };
            match decode(&datagram) {
                Err(_) => refused += 1,
                Ok(heard) => {
                    understood += 1;
                    let Heard { advertisement, form } = &heard;
                    assert!(
                        !advertisement.addresses.is_empty() && !advertisement.interval.is_zero()
                    );
                    let Datagram { source, destination, .. } = datagram;
                    let payload = encode(advertisement, *form, source, destination);
                    let again = decode(&Datagram { payload: &payload, ..datagram }).unwrap();
                    assert_eq!(again.advertisement, *advertisement);
                }
            }
        }
    }
    assert!(refused > 1000 && understood > 100, "{refused} refused, {understood} understood");
}
