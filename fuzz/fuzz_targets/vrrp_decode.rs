//! Whatever comes as VRRP, reading it does not panic, and what is read can be said again.
//!
//! The input is used twice: as an IP packet, and as an advertisement whose checksum is put right,
//! so that the fuzzer gets past it.
#![no_main]

use std::net::IpAddr;

use buoy::vrrp::{Datagram, Form, decode, encode};
use libfuzzer_sys::fuzz_target;

fn read(datagram: &Datagram<'_>) {
    let Ok(heard) = decode(datagram) else { return };
    let Datagram { source, destination, .. } = *datagram;
    let payload = encode(&heard.advertisement, heard.form, source, destination);
    let again = decode(&Datagram { payload: &payload, ..*datagram });
    let again = again.expect("what was read can be read again");
    assert_eq!(again.advertisement, heard.advertisement);
}

fuzz_target!(|input: &[u8]| {
    if let Ok(datagram) = Datagram::read(input) {
        read(&datagram);
    }
    let source = IpAddr::from([192, 0, 2, 11]);
    let destination = IpAddr::from(buoy::vrrp::MULTICAST_V4);
    let mut payload = input.to_vec();
    if let Some(sum) = payload.get_mut(6..8) {
        sum.fill(0);
        let sum = Form::Plain.sum(&payload, source, destination).to_be_bytes();
        payload[6..8].copy_from_slice(&sum);
    }
    read(&Datagram { source, destination, hop_limit: 255, payload: &payload });
});
