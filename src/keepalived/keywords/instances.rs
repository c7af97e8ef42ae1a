//! Keywords of `vrrp_instance`, `vrrp_sync_group`, and of what they track.

use super::Block::Authentication;
use super::Form::{Block as Inside, List, Value};
use super::{Row, WITH_VALUE, alias, row};
use crate::keepalived::report::Verdict::{self, Carried, NotNeeded, NotPossible, Otherwise};

const BETWEEN_BUOYS: &str = "{are} not needed between buoys";
const WIRE: &str = "{concern} the wire only";
const VERIFIED: &str = "{are} not needed: takeovers are verified";
const IGNORED: &str = "{are} ignored by keepalived already";
const HOOK: &str = ": use a hook";
const VMAC: &str = ": clients will see the node's own hardware address; remove static ARP entries";
const STOPS: &str = ": the event released comes at a stop too";
const TRACKED: &str = "{have} no counterpart: buoy restores a lost address or route by itself";

const fn value(name: &'static str, verdict: Verdict, how: &'static str) -> Row {
    row(name, Value, verdict, how)
}

const fn list(name: &'static str, entry: &'static str, verdict: Verdict, how: &'static str) -> Row {
    row(name, List(entry), verdict, how)
}

/// `vrrp_instance`.
pub(super) const INSTANCE: &[Row] = &[
    value("state", NotNeeded, "{are} a hint only: the priority decides"),
    value("interface", Carried, ": interface of the pool"),
    alias(value("virtual_router_id", NotNeeded, BETWEEN_BUOYS), WITH_VALUE),
    alias(value("version", NotNeeded, BETWEEN_BUOYS), WITH_VALUE),
    alias(value("advert_int", NotNeeded, BETWEEN_BUOYS), WITH_VALUE),
    value("priority", Otherwise, ": the order of prefer"),
    list("virtual_ipaddress", "address", Carried, ": addresses of the group"),
    list("virtual_ipaddress_excluded", "address", Carried, ": addresses of the group"),
    list("virtual_routes", "route", Carried, ": routes of the group"),
    list("virtual_rules", "rule", Carried, ": rules of the group"),
    value("preempt", Otherwise, ": failback"),
    value("nopreempt", Carried, ": failback = \"never\""),
    value("preempt_delay", Carried, ": failback"),
    row("authentication", Inside(Authentication), NotNeeded, "{are} dropped with auth_pass"),
    // Heartbeats.
    list("unicast_peer", "peer", Otherwise, ": the addresses of the nodes"),
    value("unicast_src_ip", Otherwise, ": the address of the node"),
    value("mcast_src_ip", Otherwise, ": the address of the node"),
    value("mcast_dst_ip", NotNeeded, WIRE),
    value("unicast_ttl", NotNeeded, WIRE),
    value("unicast_fault_no_peer", NotNeeded, WIRE),
    value("check_unicast_src", NotNeeded, WIRE),
    value("old_unicast_checksum", NotNeeded, WIRE),
    value("v3_checksum_as_v2", NotNeeded, WIRE),
    value("track_src_ip", NotNeeded, WIRE),
    value("skip_check_adv_addr", NotNeeded, WIRE),
    value("strict_mode", NotNeeded, WIRE),
    value("lower_prio_no_advert", NotNeeded, WIRE),
    value("higher_prio_send_advert", NotNeeded, WIRE),
    value("down_timer_adverts", NotNeeded, WIRE),
    value("kernel_rx_buf_size", NotNeeded, WIRE),
    value("owner_ignore_adverts", NotNeeded, WIRE),
    value("timer_expired_backup", NotNeeded, WIRE),
    value("thread_timer_expired", NotNeeded, WIRE),
    value("native_ipv6", NotNeeded, "{are} obsolete"),
    value("debug", NotNeeded, "{are} obsolete: use -v"),
    value("linkbeat_use_polling", NotNeeded, "{are} obsolete"),
    // Interfaces.
    value("use_vmac", NotPossible, VMAC),
    value("use_vmac_addr", NotPossible, VMAC),
    value("use_ipvlan", NotPossible, VMAC),
    value("vmac_xmit_base", NotNeeded, "{concern} the virtual MAC only"),
    value("vrf", NotPossible, "{have} no counterpart: name the interface of that VRF"),
    value(
        "dont_track_primary",
        NotPossible,
        "{have} no counterpart: a node whose link is down releases its groups",
    ),
    value("promote_secondaries", NotPossible, "{are} a sysctl: set it in sysctl.conf"),
    value("accept", NotNeeded, ": buoy's addresses accept connections"),
    value("no_accept", NotPossible, ": buoy's addresses accept connections"),
    value("no_virtual_ipaddress", NotPossible, "{have} no counterpart: a group has addresses"),
    // What is tracked.
    list("track_script", "script", Carried, ": checks of the pool"),
    list("track_process", "process", Carried, ": checks of the pool"),
    list("track_file", "file", Otherwise, ": checks of type file that compare a number"),
    list("track_interface", "interface", Otherwise, ": the group's own interface is watched"),
    list("track_bfd", "bfd", NotNeeded, ": not mapped; buoy's own heartbeats are as fast"),
    // Scripts.
    value("notify", Carried, ": a hook with style = \"keepalived\""),
    value("notify_master", Carried, ": a hook for acquired"),
    value("notify_backup", Carried, ": a hook for released"),
    value("notify_fault", Carried, ": a hook for unable"),
    value("notify_stop", NotPossible, STOPS),
    value("notify_deleted", NotPossible, STOPS),
    value("notify_master_rx_lower_pri", NotPossible, ": see the event second_claimant"),
    value("notify_priority_changes", NotPossible, "{have} no counterpart: no priorities"),
    value("smtp_alert", NotPossible, HOOK),
    value(
        "lvs_sync_daemon_interface",
        NotPossible,
        "{belong} to lvs_sync_daemon: run ipvsadm --start-daemon from a hook",
    ),
    // Announcements.
    alias(value("garp_master_delay", NotNeeded, VERIFIED), "garp_master_delay"),
    alias(value("garp_master_repeat", NotNeeded, VERIFIED), "_repeat"),
    alias(value("garp_master_refresh_repeat", NotNeeded, VERIFIED), "_repeat"),
    alias(value("garp_lower_prio_delay", NotNeeded, VERIFIED), "garp_lower_prio_*"),
    alias(value("garp_lower_prio_repeat", NotNeeded, VERIFIED), "garp_lower_prio_*"),
    alias(value("garp_extra_if", NotNeeded, VERIFIED), "garp_extra_if"),
    alias(value("vmac_garp_intvl", NotNeeded, VERIFIED), "garp_extra_if"),
    value("garp_master_refresh", Otherwise, ": see announce_refresh"),
    // Of older versions; keepalived 2.2.7 does not know them.
    value("lvs_sync_daemon_inteface", NotNeeded, IGNORED),
    value("vrrp_unicast_bind", NotNeeded, IGNORED),
    value("track_all", NotNeeded, IGNORED),
    value("track_vips", NotPossible, TRACKED),
    value("track_vip_ifs", NotPossible, TRACKED),
    value("track_vroutes", NotPossible, TRACKED),
    value("track_vroute_ifs", NotPossible, TRACKED),
    value("track_vrules", NotPossible, TRACKED),
    value("track_vrule_ifs", NotPossible, TRACKED),
    value("ip_family", NotNeeded, IGNORED),
    value("vrrp_sync_group", NotNeeded, IGNORED),
];

/// `vrrp_sync_group`.
pub(super) const SYNC_GROUP: &[Row] = &[
    list("group", "instance", Carried, ": one group of all their addresses"),
    list("track_script", "script", Carried, ": checks of the pool"),
    list("track_process", "process", Carried, ": checks of the pool"),
    list("track_file", "file", Otherwise, ": checks of type file that compare a number"),
    list("track_interface", "interface", Otherwise, ": the group's own interfaces are watched"),
    list("track_bfd", "bfd", NotNeeded, ": not mapped; buoy's own heartbeats are as fast"),
    value("notify", Carried, ": a hook with style = \"keepalived\""),
    value("notify_master", Carried, ": a hook for acquired"),
    value("notify_backup", Carried, ": a hook for released"),
    value("notify_fault", Carried, ": a hook for unable"),
    value("notify_stop", NotPossible, STOPS),
    value("notify_priority_changes", NotPossible, "{have} no counterpart: no priorities"),
    value("smtp_alert", NotPossible, HOOK),
    value("global_tracking", NotNeeded, "{are} obsolete"),
    value("sync_group_tracking_weight", NotNeeded, "{have} no counterpart: checks are required"),
];

/// `vrrp_script`.
pub(super) const SCRIPT: &[Row] = &[
    value("script", Carried, ": what is checked"),
    value("interval", Carried, ": interval"),
    value("timeout", Carried, ": timeout"),
    value("weight", Otherwise, ": the effect of the check"),
    value("rise", Carried, ": rise"),
    value("fall", Carried, ": fall"),
    value("user", Carried, ": user of a check of type exec"),
    value("init_fail", NotNeeded, "{are} not needed: a check has to pass before it counts"),
];

/// `vrrp_track_process`.
pub(super) const PROCESS: &[Row] = &[
    value("process", Carried, ": process"),
    value("weight", Otherwise, ": the effect of the check"),
    value("quorum", NotPossible, "{are} dropped: one process is enough"),
    value("quorum_max", NotPossible, "{are} dropped"),
    value("param_match", NotPossible, "{are} dropped: the name of the process decides"),
    value("full_command", NotPossible, "{are} dropped: the name of the process decides"),
    value("delay", NotNeeded, "{are} dropped: see interval, rise and fall"),
    value("fork_delay", NotNeeded, "{are} dropped: see interval, rise and fall"),
    value("terminate_delay", NotNeeded, "{are} dropped: see interval, rise and fall"),
];

/// `vrrp_track_file`.
pub(super) const TRACK_FILE: &[Row] = &[
    value("file", Otherwise, ": see where it is used"),
    value("weight", Otherwise, ": see where it is used"),
    value("init_file", NotPossible, ": buoy creates no files; create it at boot"),
];

/// `authentication`.
pub(super) const AUTHENTICATION: &[Row] = &[
    value("auth_type", NotNeeded, "{are} dropped with auth_pass"),
    value("auth_pass", NotNeeded, super::PASSWORD),
    value("auth_hmac", NotNeeded, super::PASSWORD),
    value("key", NotNeeded, super::PASSWORD),
    value("active_key", NotNeeded, super::PASSWORD),
    value("mode", NotNeeded, super::PASSWORD),
    value("time_window", NotNeeded, super::PASSWORD),
    value("anti_replay", NotNeeded, super::PASSWORD),
];
