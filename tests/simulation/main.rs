//! The protocol core on simulated hosts, networks, kernels and clients, under every fault that
//! concerns the modes.
//!
//! | file | what |
//! |---|---|
//! | `options` | what a seed makes of a run |
//! | `cluster` | the world: one heap of events, one generator |
//! | `process`, `machine`, `host`, `clock` | daemon loop, kernel, and their state |
//! | `network`, `clients` | what is carried, who answers whom |
//! | `neighbourhood` | how clients that no broadcast reaches are had to follow |
//! | `plan`, `faults`, `healing` | configurations, what goes wrong, and its end |
//! | `safety`, `liveness` | what must never be, what must come about |
//! | `kernel_faults`, `outlines` | faults of a kernel; actions in short |
//! | `overlaps`, `fence` | two who answer at once; what fences a host in |
//! | `run`, `seeds` | one seed; many seeds, and how to replay one |
//! | `story`, `scenarios` | hand-written stories, one for each hazard: what tells, and the table |
//! | `network_stories`, `neighbour_stories`, `host_stories`, `operator_stories` | the stories |
//! | `majority_stories`, `voter_stories`, `conflict_stories`, `hold_stories` | more of them |
//! | `layout_stories` | files that have addresses in different groups |
//! | `plan_stories` | what a plan says is what then happens |
//! | `profiles` | hosts with other times than others |
//! | `timing_stories` | profile `auto` |
//! | `rollouts` | every key of the reference, changed host by host |
//! | `checks`, `check_stories` | what checks of hosts say, and stories of it |
//! | `loads`, `load_stories` | how busy hosts are, and stories of placement that goes by it |
//! | `placement_stories` | stories of rules of placement |
//! | `conflicts` | who else answers: silent hosts' kernels, hosts outside the cluster |
//! | `suppression`, `suppression_stories` | a switch that answers for hosts, or drops questions |
//! | `fingerprint`, `recorded` | the hash of a run; that runs are as recorded |
//! | `sessions` | what the wire keeps from the core |
//! | `mutations` | that all of this notices a broken rule |
//!
//! Numbers H1 to H70, S1 to S16 and L1 to L7 are those of docs/invariants.md, others (A1, B1, N4)
//! those of docs/faults.md.
//!
//! `BUOY_SEEDS=20000 cargo test --release --test simulation seeds` runs more seeds;
//! `BUOY_SEED_START` shifts them; a failure prints the line that replays it.

mod check_stories;
mod checks;
mod clients;
mod clock;
mod cluster;
mod conflict_stories;
mod conflicts;
mod draw;
mod faults;
mod fence;
mod fingerprint;
mod healing;
mod hold_stories;
mod host;
mod host_stories;
mod kernel_faults;
mod layout_stories;
mod liveness;
mod load_stories;
mod loads;
mod machine;
mod majority_stories;
mod membership_stories;
mod mutations;
mod neighbour_stories;
mod neighbourhood;
mod network;
mod network_stories;
mod operator_stories;
mod operators;
mod options;
mod outlines;
mod overlaps;
mod path_stories;
mod paths;
mod placement_stories;
mod plan;
mod plan_stories;
mod process;
mod profiles;
mod promise_stories;
mod recorded;
mod restart_stories;
mod restarts;
mod rollouts;
mod run;
mod safety;
mod scenarios;
mod seeds;
mod sessions;
mod stops;
mod story;
mod strict_restart_stories;
mod suppression;
mod suppression_stories;
mod takes;
mod timing_stories;
mod trace;
mod virtual_router_stories;
mod virtual_routers;
mod voter_stories;
