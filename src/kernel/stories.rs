//! Tests of `reconcile`, `group` and `links` together, as stories told on a `stage`.

use super::stage::{play, play_on};

mod places;
mod routes;
mod zones;

#[test]
fn present_is_told_by_events_not_by_answers() {
    play(
        "acquire 1 -> +A2 +B2
         done +A2
         done +B2
         sees A2
         sees B2 -> present:1",
    );
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2",
    );
}

#[test]
fn a_tentative_address_is_not_present_and_a_duplicate_fails() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 tentative
         done +A2
         done +B2
         sees B2 duplicate -> -A2 -B2
         loses A2
         loses B2
         done -A2
         done -B2 -> failed:1:Duplicate",
    );
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 tentative
         sees B2 -> present:1",
    );
}

#[test]
fn what_is_refused_fails_after_everything_is_removed() {
    for (refusal, failure) in [("forbidden", "NotPermitted"), ("other", "Refused")] {
        play(&format!(
            "acquire 1 -> +A2 +B2
             sees A2
             done +A2
             refused +B2 {refusal} -> -A2
             done -A2
             loses A2 -> failed:1:{failure}
             acquire 2 -> +A2 +B2"
        ));
    }
    play(
        "acquire 1 -> +A2 +B2
         refused +A2 nolink -> look
         refused +B2 nolink -> failed:1:NoInterface look",
    );
}

#[test]
fn an_address_of_another_program_fails_and_is_never_touched() {
    play(
        "sees A2 foreign
         acquire 1 -> failed:1:ForeignAddress
         release 2 -> absent:2",
    );
    play(
        "sees A7 foreign
         acquire 1 -> failed:1:ForeignAddress",
    );
    // It came after we had looked.
    play(
        "acquire 1 -> +A2 +B2
         sees B2
         done +B2
         refused +A2 exists -> +A2 look
         dump A2! B2 -> -B2
         refused +A2 exists -> look
         loses B2 -> look
         done -B2 -> failed:1:ForeignAddress look",
    );
}

#[test]
fn an_address_of_ours_that_is_already_there_is_success() {
    play(
        "sees A2 -> -A2
         sees B2 -> -B2
         done -A2
         loses A2
         loses B2
         done -B2
         acquire 1 -> +A2 +B2
         refused +A2 exists -> +A2 look
         dump A2
         sees B2 -> present:1",
    );
}

#[test]
fn late_means_failed() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         done +A2
         done +B2
         time 51 -> look
         dump A2 -> +B2
         time 1000 -> -A2
         loses A2
         done -A2
         done +B2
         time 1051 -> look
         dump -> failed:1:Timeout",
    );
}

#[test]
fn the_time_that_others_take_does_not_count() {
    // As long as the kernel answers to anybody, it gets to the second one.
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         at 900
         done +A2
         time 1000
         at 1800
         sees B2 -> present:1",
    );
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         at 900
         done +A2
         time 1000
         time 1900 -> -A2",
    );
}

#[test]
fn absent_is_told_when_everything_is_seen_to_be_gone() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         release 2 -> -A2 -B2
         done -A2
         done -B2
         loses A2
         loses B2 -> absent:2
         release 3 -> absent:3",
    );
}

#[test]
fn an_answer_that_never_comes_is_not_waited_for_for_ever() {
    play(
        "sees A2 -> -A2
         acquire 1 -> +B2
         release 2
         sees B2
         done +B2 -> -B2
         loses B2
         done -B2
         time 10000 -> -A2 look
         dump A2
         loses A2
         done -A2 -> absent:2",
    );
}

#[test]
fn a_removal_is_repeated_until_it_is_confirmed() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         release 2 -> -A2 -B2
         loses B2
         done -B2
         done -A2
         time 50 -> look
         dump A2 -> -A2
         refused -A2 other
         time 100 -> look
         dump A2 -> -A2
         refused -A2 missing -> look
         dump -> absent:2",
    );
}

#[test]
fn nothing_is_told_to_be_gone_while_it_is_still_being_added() {
    play(
        "acquire 1 -> +A2 +B2
         release 2
         refused +A2 other
         sees B2
         done +B2 -> -B2
         loses B2
         done -B2 -> absent:2",
    );
}

#[test]
fn what_is_being_removed_is_not_present() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         release 2 -> -A2 -B2
         acquire 3
         loses A2
         done -A2 -> +A2
         loses B2
         done -B2 -> +B2
         sees A2
         sees B2 -> present:3",
    );
}

#[test]
fn what_somebody_removed_is_put_back_at_once() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         loses A2 -> +A2
         done +A2
         sees A2 -> repaired
         loses A2 -> +A2
         loses B2 -> +B2
         sees A2
         sees B2
         done +A2
         done +B2
         time 100 -> repaired",
    );
}

#[test]
fn while_nothing_may_be_added_what_ended_stays_away_and_is_put_back_afterwards() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         closed
         loses A2
         sees B2
         loses B2
         open -> +A2 +B2
         sees A2
         sees B2 -> repaired
         done +A2
         done +B2
         closed
         loses A2
         release 2 -> -B2
         loses B2
         done -B2 -> absent:2
         acquire 3
         time 1000 -> failed:3:Timeout",
    );
}

#[test]
fn what_cannot_be_put_back_fails() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         loses A2 -> +A2
         refused +A2 other -> -B2
         loses B2
         done -B2 -> failed:1:Refused",
    );
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         loses A2 -> +A2
         refused +A2 exists -> +A2 look
         dump A2! B2 -> -B2
         refused +A2 exists -> look
         loses B2 -> look
         done -B2 -> failed:1:ForeignAddress look",
    );
}

#[test]
fn without_its_link_a_held_group_waits_and_is_whole_again_afterwards() {
    // Going down takes the IPv6 address along.
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         link 2 eth0 down -> usable:false
         loses B2
         link 2 eth0 up -> +B2 usable:true
         sees B2 -> repaired
         done +B2",
    );
    // Deleted and made again under the same name.
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         link 2 eth0 down -> usable:false
         loses A2
         loses B2
         link 2 gone
         link 3 eth0 down
         link 3 eth0 up -> +A3 +B3 usable:true
         sees A3
         sees B3 -> repaired",
    );
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         link 2 gone -> usable:false
         release 2 -> absent:2",
    );
}

#[test]
fn a_missing_interface_fails_at_once_and_a_dead_one_when_late() {
    play(
        "link 2 gone -> usable:false
         acquire 1 -> failed:1:NoInterface",
    );
    play(
        "link 2 eth0 down -> usable:false
         acquire 1
         time 1000 -> failed:1:Timeout
         link 2 eth0 up -> usable:true",
    );
}

#[test]
fn a_group_configured_again_before_it_is_gone_is_told_anew_whether_its_link_is_up() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         link 2 eth0 down -> usable:false
         configure none
         time 200 -> -A2 -B2
         configure AB -> usable:false attached",
    );
}

#[test]
fn without_an_interface_each_address_finds_its_network() {
    play_on(
        None,
        "A",
        "sees h2 foreign -> usable:true attached
         acquire 1 -> +A2
         sees A2 -> present:1
         done +A2",
    );
}

#[test]
fn a_changed_list_changes_only_the_difference() {
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         configure AB
         configure AC -> +C2
         sees C2 -> present:1
         done +C2
         time 200 -> -B2
         loses B2
         done -B2
         release 2 -> -A2 -C2",
    );
    play(
        "acquire 1 -> +A2 +B2
         sees A2
         sees B2 -> present:1
         done +A2
         done +B2
         configure none
         release 2 -> -A2 -B2
         loses A2
         loses B2
         done -A2
         done -B2 -> absent:2
         release 3 -> absent:3
         acquire 4 -> failed:4:Refused
         configure A
         acquire 5 -> +A2",
    );
}
