//! Every story by name, and a test for each. The mutation suite tells them all again.

use buoy::protocol::Rule;

use crate::recorded;
use crate::seeds::RUNS;
use crate::story::Story;
use crate::{
    check_stories, conflict_stories, hold_stories, host_stories, layout_stories, load_stories,
    majority_stories, membership_stories, neighbour_stories, network_stories, operator_stories,
    path_stories, placement_stories, plan_stories, promise_stories, restart_stories,
    strict_restart_stories, suppression_stories, timing_stories, virtual_router_stories,
    voter_stories,
};

macro_rules! stories {
    ($($module:ident { $($name:ident)* })*) => {
        /// Every story by name.
        pub(crate) const STORIES: &[(&str, Story)] =
            &[$($((stringify!($name), $module::$name as fn(Option<Rule>) -> _)),*),*];

        $($(#[test]
        fn $name() {
            let (outcome, hash) = recorded::told(|| $module::$name(None));
            if let Err(text) = outcome {
                panic!("{text}");
            }
            recorded::check_story(stringify!($name), hash);
        })*)*
    };
}

stories! {
    network_stories {
        steady_loss lossy_pair heavy_loss burst one_way_cut deaf_owner deaf_owner_hears_again
        mute_owner mute_heir bridge bridge_and_death split_and_heal split_of_two
        announcements_lost loser_speaks_last spoilt_cache old_clients interface_deleted
        address_removed guardian_acts_often own_address_gone network_lost
        link_down_second_path link_back
        alone_link_down_and_up flapping_link freed_in_a_split
    }
    neighbour_stories { broadcasts_held_back older_software readers_of_the_dead }
    host_stories {
        host_death guarded_daemon freeze_and_thaw thawed_owner_knows_nothing machine_pause
        machine_pause_before_a_repeat slow_kernel_of_a_loser
        short_machine_pause two_machines_pause past_life reborn_owner
        cold_boot boot_into_busy_cluster lone_boot lone_boot_with_evidence flapping_node
        mass_failover kernel_refuses owner_and_heir_die owner_and_both_heirs_die
        share_of_the_dead missed_claim_update crash_of_daemon kernel_cannot kernel_hangs
    }
    operator_stories {
        calm_hour list_differs reload drain_and_undrain kept_connections clean_stop move_stays
        receiver_dies giver_dies receiver_loses_its_link receiver_is_not_heard
        drain_with_slow_kernels drained_survivor gates_hold_what_is_planned
        late_repeat
    }
    path_stories {
        data_link_of_an_owner_sends_nothing data_link_of_an_owner_receives_nothing
        data_links_of_all_send_nothing data_link_one_way_with_no_client_to_ask
        data_link_that_loses_nearly_all network_lost_by_all
    }
    plan_stories { plans_come_true }
    timing_stories {
        calm_hosts_get_fast late_host_makes_all_slower fixed_host_holds_all_back
        host_that_is_not_as_fast_as_it_says
        nothing_gets_faster_while_a_host_is_suspected path_that_is_slow_one_way
        slower_statement_is_lost restart_while_it_gets_faster
        restart_in_place_goes_on_with_the_timing
        strict_owner_cut_off_while_the_timing_changes load_arrives_at_once
        lost_datagrams_make_nothing_slower_than_lan machine_pauses_each_day
        default_becomes_auto_host_by_host frozen_daemon_makes_nothing_slower_than_lan
    }
    hold_stories { hold hold_and_merge drained_for_a_while drain_outlasts_a_reboot }
    majority_stories {
        strict_host_death minority_closes short_cut everybody_alone strict_freeze
        strict_machine_pause strict_crash strict_farewell voter_forgets witness_lost strict_drain
        clocks_drift late_grants idle_node_gets_its_lease_at_once slow_way voters_differ mode_goes_to_and_fro many_are_refused
    }
    virtual_router_stories {
        weaker_router_outside stronger_router_outside cluster_that_dies_beside_a_router
        cluster_that_leaves_for_a_router
    }
    voter_stories {
        profiles_differ profile_of_a_voter_that_starts_again deaf_strict_owner
        one_way_cuts_of_every_length split_while_voters_are_added voters_are_added_and_removed
        voters_go_to_and_fro
    }
    layout_stories {
        regrouped strict_regrouped merged_on_the_owner strict_merged_on_the_owner
        merged_and_refused strict_merged_and_refused
        interrupted_rollout strict_interrupted_rollout strict_regrouped_and_cut whole_groups_move
    }
    check_stories {
        checks_fail_at_owner strict_checks_fail_at_owner checks_fail_everywhere
        checks_fail_and_release checks_pass_at_once preferred_checks flapping_checks
        checks_fail_while_owner_dies fit_node_cannot drain_beside_failing_checks
    }
    promise_stories {
        voters_restarted_in_a_row voter_keeps_promises voter_finds_outdated_promises
    }
    restart_stories {
        restart_in_place restart_in_place_knows_nothing restart_in_place_gives_way
        restart_in_place_takes_nothing
        restart_in_place_comes_too_late restart_in_place_while_busy
    }
    strict_restart_stories {
        strict_restart_in_place strict_restart_in_place_cut_off
        strict_restart_in_place_comes_too_late strict_restart_in_place_of_a_voter
    }
    membership_stories {
        removed_while_running removed_by_one_and_listed_again removed_by_restarts
        removed_by_fast_restarts forgotten_and_heard_again
        senses_but_is_not_heard hears_a_newcomer_first
    }
    load_stories { load_noise doubled_load loaded_to_the_limit moved_groups_rest no_herd }
    placement_stories {
        label_required label_required_or_nobody labels_rolled_out
        kept_apart two_pools_kept_apart kept_together
    }
    conflict_stories {
        heartbeats_cut_of_two heartbeats_cut_of_many frozen_of_two frozen_of_many
        freed_without_heartbeats begins_to_hear conflict_before_the_start conflict_at_a_takeover
        conflict_that_comes_later conflict_displaced_by_force conflict_that_comes_again
        conflict_when_a_link_goes
    }
    suppression_stories {
        dead_owner_answered_for living_owner_not_asked_by_broadcast frozen_owner_answered_for
    }
}

/// The table is what the mutation suite goes by.
#[test]
fn every_story_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<&str> = STORIES.iter().map(|(name, _)| *name).collect();
    assert_eq!(names.len(), STORIES.len());
    let recorded = recorded::story_names();
    let told = |name: &&String| names.contains(name.as_str()) || RUNS.contains(&name.as_str());
    let gone: Vec<&String> = recorded.iter().filter(|name| !told(name)).collect();
    assert!(gone.is_empty(), "recorded, but no stories: {gone:?}");
}
