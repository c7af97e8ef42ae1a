//! That the simulator notices a broken rule: every rule of the protocol is broken once.
//!
//! For each rule the stories are told without it until one ends otherwise, then the first seeds
//! are run until one fails. A rule that nothing misses is either not needed or not watched, and
//! fails this test.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use buoy::protocol::Rule;

use crate::options::Options;
use crate::run::run;
use crate::scenarios::STORIES;
use crate::seeds::{number, say};

/// Seeds tried for each rule before it counts as not missed.
const SEEDS: u64 = 400;

/// Told first: which story missed the rule when that was last looked at. A line that is wrong, or not
/// there, costs time and nothing else: the others are told then.
const LIKELY: &[(Rule, &str)] = &[
    (Rule::AddressesClaimed, "merged_on_the_owner"),
    (Rule::AddressesLeased, "strict_regrouped_and_cut"),
    (Rule::AnnounceAfterSplit, "split_and_heal"),
    (Rule::AnnounceConfirmed, "steady_loss"),
    (Rule::AnnouncePacing, "mass_failover"),
    (Rule::AnnounceRefresh, "spoilt_cache"),
    (Rule::AnnounceRepaired, "address_removed"),
    (Rule::AnnounceRepeats, "split_and_heal"),
    (Rule::AnswersUnderLease, "frozen_of_two"),
    (Rule::AskedDirectly, "dead_owner_answered_for"),
    (Rule::AdvertisementAwaited, "stronger_router_outside"),
    (Rule::BootSilence, "voter_forgets"),
    (Rule::BreakBeforeMake, "drain_with_slow_kernels"),
    (Rule::ChecksMove, "checks_fail_at_owner"),
    (Rule::ClockJump, "machine_pause_before_a_repeat"),
    (Rule::ClaimedMayLive, "hears_a_newcomer_first"),
    (Rule::ClaimsBeforeTaking, "begins_to_hear"),
    (Rule::CommonOrder, "owner_and_both_heirs_die"),
    (Rule::Corroboration, "one_way_cut"),
    (Rule::Damping, "flapping_node"),
    (Rule::Defence, "conflict_that_comes_later"),
    (Rule::DirectedDefence, "conflict_that_comes_again"),
    (Rule::DrainingTakesNothing, "drained_survivor"),
    (Rule::DriftMargin, "clocks_drift"),
    (Rule::ErrandsOnce, "late_repeat"),
    (Rule::FitterFirst, "checks_fail_and_release"),
    (Rule::FirstOutageExcused, "frozen_daemon_makes_nothing_slower_than_lan"),
    (Rule::FormerHeartbeats, "slower_statement_is_lost"),
    (Rule::FlappingChecks, "flapping_checks"),
    (Rule::GiveWay, "burst"),
    (Rule::GoneEverywhere, "merged_and_refused"),
    (Rule::GroupsAskedApart, "freed_without_heartbeats"),
    (Rule::HeardByHolder, "deaf_strict_owner"),
    (Rule::HeirsSpread, "share_of_the_dead"),
    (Rule::HolderGoesOn, "freed_in_a_split"),
    (Rule::HoldStands, "hold"),
    (Rule::IdleIsFirst, "idle_node_gets_its_lease_at_once"),
    (Rule::InabilityBackoff, "kernel_refuses"),
    (Rule::InabilityIsFall, "flapping_link"),
    (Rule::IncarnationChecked, "reborn_owner"),
    (Rule::IsolatedIsGone, "deaf_owner"),
    (Rule::JumpEndsSupport, "two_machines_pause"),
    (Rule::KeptApart, "kept_apart"),
    (Rule::KeptTogether, "kept_together"),
    (Rule::KernelPatience, "kernel_hangs"),
    (Rule::KernelOutweighsPeers, "heartbeats_cut_of_many"),
    (Rule::LastResort, "checks_fail_everywhere"),
    (Rule::LatenessCounts, "late_host_makes_all_slower"),
    (Rule::LeaseFirst, "minority_closes"),
    (Rule::LeaseEndsAsGranted, "strict_restart_in_place_cut_off"),
    (Rule::LeaseFloor, "late_grants"),
    (Rule::LeaseFromAsking, "strict_freeze"),
    (Rule::LeaseInsists, "minority_closes"),
    (Rule::LeaseStated, "profiles_differ"),
    (Rule::LinkDownReleases, "link_down_second_path"),
    (Rule::ListsSettled, "split_while_voters_are_added"),
    (Rule::LostNetworkKept, "network_lost_by_all"),
    (Rule::LostNetworkReleases, "network_lost"),
    (Rule::ListenAfterLink, "alone_link_down_and_up"),
    (Rule::LoadCounts, "doubled_load"),
    (Rule::LoadDamped, "load_noise"),
    (Rule::LoadRests, "moved_groups_rest"),
    (Rule::LookBeforeTake, "heartbeats_cut_of_two"),
    (Rule::MajorityToTake, "everybody_alone"),
    (Rule::Maturity, "alone_link_down_and_up"),
    (Rule::MovingIsOwned, "bridge_and_death"),
    (Rule::MuteTakesNothing, "mute_heir"),
    (Rule::PlacementRestored, "label_required"),
    (Rule::PromisesKept, "voter_keeps_promises"),
    (Rule::PromisesReadOnce, "voter_finds_outdated_promises"),
    (Rule::RankFallback, "list_differs"),
    (Rule::ReceiverChecksBalance, "split_and_heal"),
    (Rule::RefusedNamed, "many_are_refused"),
    (Rule::RefusedKeepPlace, "checks_pass_at_once"),
    (Rule::OwnRemovalsExcused, "guardian_acts_often"),
    (Rule::Relay, "bridge_and_death"),
    (Rule::Retransmission, "split_and_heal"),
    (Rule::RequiredLabels, "label_required"),
    (Rule::RouterGivesWay, "stronger_router_outside"),
    (Rule::RouterPrevails, "stronger_router_outside"),
    (Rule::SelfTest, "deaf_owner"),
    (Rule::ShareConnections, "readers_of_the_dead"),
    (Rule::ShareNeighbours, "broadcasts_held_back"),
    (Rule::SilentKernel, "everybody_alone"),
    (Rule::SilentPathDoubted, "data_link_of_an_owner_receives_nothing"),
    (Rule::FeaturesAsked, "older_software"),
    (Rule::SensedProvesNothing, "senses_but_is_not_heard"),
    (Rule::SensedIsThere, "senses_but_is_not_heard"),
    (Rule::Solicitation, "lossy_pair"),
    (Rule::SlewMargin, "strict_freeze"),
    (Rule::SoloWait, "lone_boot"),
    (Rule::ConflictNotDisplaced, "conflict_before_the_start"),
    (Rule::Support, "split_and_heal"),
    (Rule::SupportHeld, "split_and_heal"),
    (Rule::SlowestTimingCounts, "fixed_host_holds_all_back"),
    (Rule::TimingTightensSlowly, "nothing_gets_faster_while_a_host_is_suspected"),
    (Rule::TakeBack, "receiver_loses_its_link"),
    (Rule::UnfitGetsNothing, "checks_fail_at_owner"),
    (Rule::UnheardPathDoubted, "data_link_of_an_owner_sends_nothing"),
    (Rule::UnlistedCounts, "removed_while_running"),
    (Rule::UnlistedDrains, "removed_while_running"),
    (Rule::UnlistedServes, "removed_by_fast_restarts"),
    (Rule::VerifyAfterStall, "thawed_owner_knows_nothing"),
    (Rule::VerifyFollowing, "broadcasts_held_back"),
    (Rule::VotersAgree, "voters_differ"),
    (Rule::WorstLatenessKept, "machine_pauses_each_day"),
    (Rule::WishesAligned, "mode_goes_to_and_fro"),
    (Rule::WithdrawAtOnce, "slow_kernel_of_a_loser"),
    (Rule::YieldsFirst, "cluster_that_leaves_for_a_router"),
];

/// The story that misses the rule, and how it ended.
fn story(rule: Rule) -> Option<String> {
    let likely = LIKELY.iter().find(|(of, _)| *of == rule).map(|(_, name)| *name);
    let first = STORIES.iter().filter(|(name, _)| Some(*name) == likely);
    first.chain(STORIES).find_map(|(name, story)| {
        let text = story(Some(rule)).err()?;
        let found = text.lines().last().unwrap_or_default().to_owned();
        Some(format!("story {name}: {found}"))
    })
}

/// The seed that misses the rule, and what it finds violated.
fn seed(rule: Rule, seeds: u64) -> Option<String> {
    (1..=seeds).find_map(|seed| {
        let options = Options { broken: Some(rule), ..Options::drawn(seed) };
        let violation = run(options).err()?;
        Some(format!("seed {seed}: {}: {}", violation.rule, violation.text))
    })
}

#[test]
fn every_broken_rule_is_noticed() {
    let seeds = number("BUOY_MUTATION_SEEDS", SEEDS);
    let only = std::env::var("BUOY_RULE").ok();
    let found: Mutex<BTreeMap<Rule, Option<String>>> = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(rule) = Rule::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if only.as_ref().is_some_and(|only| !format!("{rule:?}").contains(only)) {
                        continue;
                    }
                    let miss = story(*rule).or_else(|| seed(*rule, seeds));
                    found.lock().expect("no thread panics").insert(*rule, miss);
                }
            });
        }
    });
    let found = found.into_inner().expect("no thread panics");
    for (rule, miss) in &found {
        match miss {
            Some(text) => say(&format!("{rule:?} is missed by {text}")),
            None => say(&format!("{rule:?} is missed by no story and none of {seeds} seeds")),
        }
    }
    let unnoticed: Vec<Rule> =
        found.iter().filter(|(_, miss)| miss.is_none()).map(|(rule, _)| *rule).collect();
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
