//! `kernel` on the real Linux, in fresh network namespaces. See `namespace` for what that needs.
#![expect(clippy::disallowed_methods, reason = "these tests measure how long the kernel takes")]

mod claimants;
mod connections;
mod doors;
mod fence_speed;
mod fixture;
mod following;
mod handing;
mod holding;
mod interfaces;
mod leftovers;
mod lifetimes;
mod namespace;
mod places;
mod reach;
mod repairs;
mod routing;
mod speed;
mod until;
mod whole_host;
mod zones;
