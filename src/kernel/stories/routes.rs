//! Groups with routes: present with all of them, and gone where one cannot be added.

use super::super::stage::play_on;

fn play(addresses: &str, story: &str) {
    play_on(Some("eth0"), addresses, story);
}

#[test]
fn a_group_is_present_when_its_routes_are() {
    play(
        "AR",
        "acquire 1 -> +A2
         done +A2
         sees A2
         routes here -> present:1
         release 2 -> -A2
         routes pending
         done -A2
         loses A2 -> absent:2
         acquire 3 -> +A2
         done +A2
         sees A2
         routes here -> present:3",
    );
}

#[test]
fn a_route_that_cannot_be_added_fails_the_group_at_once() {
    play(
        "AR",
        "acquire 1 -> +A2
         done +A2
         sees A2
         routes refused -> -A2
         routes pending
         done -A2
         loses A2 -> failed:1:Route
         acquire 2 -> +A2",
    );
}

#[test]
fn a_held_group_waits_a_second_for_a_route_that_was_lost() {
    let held = "acquire 1 -> +A2
         done +A2
         sees A2
         routes here -> present:1
         routes refused
         ";
    play("AR", &format!("{held}routes here -> repaired"));
    play(
        "AR",
        &format!(
            "{held}time 1000 -> -A2
             done -A2
             loses A2 -> failed:1:Route"
        ),
    );
}

#[test]
fn routes_that_a_reload_adds_are_waited_for_without_a_word() {
    let held = "acquire 1 -> +A2
         done +A2
         sees A2 -> present:1
         configure AR
         ";
    play("A", &format!("{held}routes here\nconfigure A"));
    play("A", &format!("{held}routes refused\ntime 1000 -> -A2"));
}
