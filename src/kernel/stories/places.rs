//! Stories of where addresses belong, and of what a former owner keeps.

use crate::kernel::stage::{play, play_on};

#[test]
fn what_is_held_stays_on_its_link_and_a_lost_network_is_told() {
    play_on(
        None,
        "A",
        "sees h2 foreign -> usable:true attached
         acquire 1 -> +A2
         sees A2 -> present:1
         done +A2
         link 3 eth1 up
         sees h3 foreign
         loses h2
         time 20 -> lost
         sees h2 foreign -> attached
         loses h3
         sees w3 foreign
         loses h2
         time 40 -> lost
         sees h2 foreign -> attached",
    );
}

#[test]
fn what_is_held_follows_its_network_when_its_own_link_cannot_carry_it() {
    play_on(
        None,
        "A",
        "sees h2 foreign -> usable:true attached
         acquire 1 -> +A2
         sees A2 -> present:1
         done +A2
         link 3 br0 up
         sees h3 foreign
         link 2 eth0 down -> +A3 ~A2
         done +A3
         sees A3
         loses A2 -> moved
         done ~A2",
    );
}

#[test]
fn a_narrower_network_never_loses_an_address_to_a_wider_one() {
    play_on(
        None,
        "A",
        "sees h2 foreign -> usable:true attached
         link 3 eth1 up
         sees w3 foreign
         loses h2
         time 20 -> lost
         acquire 1 -> +A2
         sees A2 -> present:1",
    );
}

#[test]
fn another_hardware_address_is_told() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         link 2 eth0 up@9 -> moved
         link 2 eth0 up@9",
    );
}

#[test]
fn an_address_on_a_silent_link_hinders_nothing() {
    play(
        "link 5 lo silent
         sees A5 foreign
         acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         release 2 -> -A2 -B2
         done -A2
         done -B2
         loses A2
         loses B2 -> absent:2",
    );
}

#[test]
fn the_written_prefix_is_used_beside_an_own_address_of_the_network_only() {
    play_on(
        Some("eth0"),
        "P",
        "acquire 1 -> +P2
         sees P2 -> present:1
         done +P2
         sees h2 foreign -> +p2 ~P2
         sees p2 secondary
         loses P2
         done +p2
         done ~P2
         loses p2 -> +P2
         loses h2
         sees P2 -> repaired
         done +P2",
    );
}

#[test]
fn what_a_former_owner_keeps_is_put_back() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         hand
         loses A2 -> +A2
         sees A2
         done +A2
         link 2 eth0 down -> usable:false
         loses B2
         link 2 eth0 up -> +B2 usable:true
         sees B2
         done +B2",
    );
}
