//! Keywords of the top of a file, of `global_defs`, `bfd_instance` and `garp_group`.

use super::Block::{self, Bfd, GarpGroup, Globals, Instance, Process, Script, Servers, SyncGroup};
use super::Form::{Any, Block as Inside, List, Value};
use super::{Form, Row, WITH_VALUE, alias, row};
use crate::keepalived::report::Verdict::{self, Carried, NotNeeded, NotPossible, Otherwise};

const OF_BALANCING: &str = super::BALANCED;
const DROPPED: &str = "{are} dropped";
const WIRE: &str = "{concern} the wire only";
const VERIFIED: &str = "{are} not needed: takeovers are verified";
const HOOK: &str = ": use a hook";
const MAIL: &str = "{belong} to keepalived's mail: use a hook";
const ITSELF: &str = "{are} dropped: buoy locks its memory and takes its priority itself";
const NOT_FLOATING: &str = "{are} not floating: put them into your network configuration";

const fn dropped(name: &'static str) -> Row {
    row(name, Value, NotNeeded, DROPPED)
}

const fn shown_as(name: &'static str, short: &'static str) -> Row {
    alias(dropped(name), short)
}

const fn value(name: &'static str, verdict: Verdict, how: &'static str) -> Row {
    row(name, Value, verdict, how)
}

const fn list(name: &'static str, entry: &'static str, verdict: Verdict, how: &'static str) -> Row {
    row(name, List(entry), verdict, how)
}

const fn block(name: &'static str, inside: Block, verdict: Verdict, how: &'static str) -> Row {
    row(name, Inside(inside), verdict, how)
}

const fn server(name: &'static str, form: Form) -> Row {
    row(name, form, NotPossible, OF_BALANCING)
}

/// The top of a file.
pub(super) const TOP: &[Row] = &[
    block("global_defs", Globals, Otherwise, ": as far as it has a counterpart"),
    block("vrrp_instance", Instance, Carried, ": a pool with one group of the same name"),
    block("vrrp_sync_group", SyncGroup, Carried, ": a pool with one group of all its addresses"),
    block("vrrp_script", Script, Carried, ": a check"),
    block("vrrp_track_process", Process, Carried, ": a check of type process"),
    block("vrrp_track_file", Block::TrackFile, Otherwise, ": see where it is used"),
    block("track_file", Block::TrackFile, Otherwise, ": see where it is used"),
    list("static_ipaddress", "address", NotPossible, NOT_FLOATING),
    list("static_routes", "route", NotPossible, NOT_FLOATING),
    list("static_rules", "rule", NotPossible, NOT_FLOATING),
    row("track_group", Any, NotPossible, "{are} about static addresses: {are} dropped"),
    block("garp_group", GarpGroup, Otherwise, ": buoy has one announce_rate for all interfaces"),
    block("bfd_instance", Bfd, NotNeeded, ": not mapped; buoy's own heartbeats are as fast"),
    row("virtual_server", Inside(Servers), NotPossible, OF_BALANCING),
    row("virtual_server_group", Inside(Servers), NotPossible, OF_BALANCING),
    row("SSL", Inside(Servers), NotPossible, OF_BALANCING),
    alias(
        value(
            "net_namespace",
            NotPossible,
            ": start buoy in that namespace (NetworkNamespacePath=)",
        ),
        WITH_VALUE,
    ),
    server("net_namespace_ipvs", Value),
    dropped("namespace_with_ipsets"),
    alias(value("instance", NotPossible, ": give buoy another --runtime-dir"), WITH_VALUE),
    shown_as("use_pid_dir", "use_pid_dir"),
    dropped("child_wait_time"),
    dropped("linkbeat_use_polling"),
    list(
        "linkbeat_interfaces",
        "interface",
        NotNeeded,
        "{are} dropped: the kernel reports changes of links",
    ),
    list(
        "interface_up_down_delays",
        "interface",
        NotPossible,
        "{have} no counterpart: write dwell, rise and fall at a check",
    ),
];

/// `global_defs`.
pub(super) const GLOBALS: &[Row] = &[
    value("router_id", Carried, ": the name of the node, unless given on the command line"),
    // Mail.
    list("notification_email", "mail", NotPossible, HOOK),
    value("smtp_server", NotPossible, HOOK),
    value("smtp_alert", NotPossible, HOOK),
    value("smtp_alert_vrrp", NotPossible, HOOK),
    value("smtp_alert_checker", NotPossible, HOOK),
    value("notification_email_from", NotPossible, MAIL),
    value("smtp_helo_name", NotPossible, MAIL),
    value("smtp_connect_timeout", NotPossible, MAIL),
    value("no_email_faults", NotPossible, MAIL),
    value("email_faults", NotPossible, MAIL),
    value("no_checker_emails", NotPossible, MAIL),
    // Dropped; in the order in which they are told.
    shown_as("enable_snmp_vrrp", "enable_snmp_*"),
    shown_as("enable_snmp_keepalived", "enable_snmp_*"),
    shown_as("enable_snmp_rfc", "enable_snmp_*"),
    shown_as("enable_snmp_rfcv2", "enable_snmp_*"),
    shown_as("enable_snmp_rfcv3", "enable_snmp_*"),
    shown_as("enable_snmp_checker", "enable_snmp_*"),
    shown_as("enable_traps", "enable_snmp_*"),
    shown_as("snmp_socket", "enable_snmp_*"),
    shown_as("snmp_rs_stats_update_interval", "enable_snmp_*"),
    shown_as("snmp_vs_stats_update_interval", "enable_snmp_*"),
    shown_as("enable_dbus", "enable_dbus"),
    shown_as("dbus_service_name", "enable_dbus"),
    shown_as("dbus_no_interface_name", "enable_dbus"),
    shown_as("vrrp_iptables", "vrrp_iptables"),
    shown_as("vrrp_ipsets", "vrrp_ipsets"),
    shown_as("nftables", "nftables"),
    shown_as("nftables_priority", "nftables"),
    shown_as("nftables_ifindex", "nftables"),
    shown_as("nftables_counters", "nftables"),
    shown_as("vrrp_netlink_cmd_rcv_bufs", "*_rcv_bufs*"),
    shown_as("vrrp_netlink_cmd_rcv_bufs_force", "*_rcv_bufs*"),
    shown_as("vrrp_netlink_monitor_rcv_bufs", "*_rcv_bufs*"),
    shown_as("vrrp_netlink_monitor_rcv_bufs_force", "*_rcv_bufs*"),
    shown_as("process_monitor_rcv_bufs", "*_rcv_bufs*"),
    shown_as("process_monitor_rcv_bufs_force", "*_rcv_bufs*"),
    shown_as("lvs_netlink_cmd_rcv_bufs", "*_rcv_bufs*"),
    shown_as("lvs_netlink_cmd_rcv_bufs_force", "*_rcv_bufs*"),
    shown_as("lvs_netlink_monitor_rcv_bufs", "*_rcv_bufs*"),
    shown_as("lvs_netlink_monitor_rcv_bufs_force", "*_rcv_bufs*"),
    shown_as("vrrp_rx_bufs_policy", "vrrp_rx_bufs_*"),
    shown_as("vrrp_rx_bufs_multiplier", "vrrp_rx_bufs_*"),
    shown_as("process_names", "process_names"),
    shown_as("process_name", "process_names"),
    shown_as("vrrp_process_name", "process_names"),
    shown_as("checker_process_name", "process_names"),
    shown_as("lvs_process_name", "process_names"),
    shown_as("bfd_process_name", "process_names"),
    shown_as("use_pid_dir", "use_pid_dir"),
    dropped("max_auto_priority"),
    dropped("min_auto_priority_delay"),
    dropped("umask"),
    dropped("random_seed"),
    dropped("reload_check_config"),
    dropped("reload_time_file"),
    dropped("reload_repeat"),
    dropped("reload_file"),
    dropped("include_check"),
    dropped("config_save_dir"),
    dropped("tmp_config_directory"),
    dropped("data_use_instance"),
    dropped("state_dump_file"),
    dropped("stats_dump_file"),
    dropped("json_dump_file"),
    dropped("json_version"),
    dropped("iproute_usr_dir"),
    dropped("iproute_etc_dir"),
    dropped("use_symlink_paths"),
    dropped("enable_filesystem"),
    dropped("filesystem_other_read"),
    dropped("log_unknown_vrids"),
    dropped("disable_local_igmp"),
    dropped("vmac_prefix"),
    dropped("vmac_addr_prefix"),
    dropped("fifo_write_vrrp_states_on_reload"),
    // Scripts.
    value("script_user", Carried, ": the user of hooks and of checks of type exec"),
    value("enable_script_security", NotNeeded, "{are} not needed: hooks and checks have a user"),
    value("set_supplementary_groups", NotNeeded, DROPPED),
    value("startup_script", NotPossible, "{have} no counterpart: use ExecStartPre= of the unit"),
    value("startup_script_timeout", NotPossible, "{have} no counterpart: use TimeoutStartSec="),
    value("shutdown_script", NotPossible, "{have} no counterpart: use ExecStopPost= of the unit"),
    value("shutdown_script_timeout", NotPossible, "{have} no counterpart: use TimeoutStopSec="),
    value("notify_fifo", Carried, ": a hook with notify_fifo; make the FIFO with mkfifo"),
    value("vrrp_notify_fifo", Carried, ": a hook with notify_fifo; make the FIFO with mkfifo"),
    value("notify_fifo_script", NotPossible, ": start the reader yourself"),
    value("vrrp_notify_fifo_script", NotPossible, ": start the reader yourself"),
    value("vrrp_notify_priority_changes", NotPossible, "{have} no counterpart: no priorities"),
    // Announcements.
    alias(value("vrrp_garp_master_delay", NotNeeded, VERIFIED), "garp_master_delay"),
    alias(value("vrrp_garp_master_repeat", NotNeeded, VERIFIED), "_repeat"),
    alias(value("vrrp_garp_master_refresh_repeat", NotNeeded, VERIFIED), "_repeat"),
    alias(value("vrrp_garp_lower_prio_repeat", NotNeeded, VERIFIED), "garp_lower_prio_*"),
    alias(value("vrrp_garp_lower_prio_delay", NotNeeded, VERIFIED), "garp_lower_prio_*"),
    alias(value("vrrp_min_garp", NotNeeded, VERIFIED), "vrrp_min_garp"),
    alias(value("vrrp_garp_extra_if", NotNeeded, VERIFIED), "garp_extra_if"),
    alias(value("vrrp_vmac_garp_intvl", NotNeeded, VERIFIED), "garp_extra_if"),
    value("vrrp_garp_master_refresh", Otherwise, ": see announce_refresh"),
    value("vrrp_garp_interval", Otherwise, ": see announce_rate"),
    value("vrrp_gna_interval", Otherwise, ": see announce_rate"),
    // The wire.
    alias(value("vrrp_version", NotNeeded, "{are} not needed between buoys"), WITH_VALUE),
    value("vrrp_strict", NotNeeded, WIRE),
    value("vrrp_mcast_group4", NotNeeded, WIRE),
    value("vrrp_mcast_group6", NotNeeded, WIRE),
    value("vrrp_skip_check_adv_addr", NotNeeded, WIRE),
    value("vrrp_check_unicast_src", NotNeeded, WIRE),
    value("vrrp_lower_prio_no_advert", NotNeeded, WIRE),
    value("vrrp_higher_prio_send_advert", NotNeeded, WIRE),
    value("vrrp_down_timer_adverts", NotNeeded, WIRE),
    value("v3_checksum_as_v2", NotNeeded, WIRE),
    value("vrrp_owner_ignore_adverts", NotNeeded, WIRE),
    value("vrrp_startup_delay", NotNeeded, "{are} not needed: see maturity_min"),
    value("vrrp_delay_after_boot", NotNeeded, "{are} not needed: see maturity_min"),
    value("dynamic_interfaces", NotNeeded, "{are} not needed: interfaces may come and go"),
    value("default_interface", Otherwise, ": the interface of instances that name none"),
    // Its own process.
    value("vrrp_priority", NotNeeded, ITSELF),
    value("vrrp_no_swap", NotNeeded, ITSELF),
    value("vrrp_rt_priority", NotNeeded, ITSELF),
    value("vrrp_cpu_affinity", NotNeeded, ITSELF),
    value("vrrp_rlimit_rttime", NotNeeded, ITSELF),
    value("vrrp_rlimit_rtime", NotNeeded, ITSELF),
    value("bfd_priority", NotNeeded, ITSELF),
    value("bfd_no_swap", NotNeeded, ITSELF),
    value("bfd_rt_priority", NotNeeded, ITSELF),
    value("bfd_cpu_affinity", NotNeeded, ITSELF),
    value("bfd_rlimit_rttime", NotNeeded, ITSELF),
    value("bfd_rlimit_rtime", NotNeeded, ITSELF),
    // Balancing.
    value(
        "lvs_sync_daemon",
        NotPossible,
        "{follow} keepalived's VRRP state and will stop: run ipvsadm --start-daemon from a hook",
    ),
    server("lvs_timeouts", Value),
    server("lvs_flush", Value),
    server("lvs_flush_on_stop", Value),
    server("lvs_flush_onstop", Value),
    server("lvs_notify_fifo", Value),
    server("lvs_notify_fifo_script", Value),
    server("nftables_ipvs", Value),
    server("nftables_ipvs_priority", Value),
    server("nftables_ipvs_start_fwmark", Value),
    server("rs_init_notifies", Value),
    server("checker_log_all_failures", Value),
    server("checker_shutdown_vs_only", Value),
    server("checker_priority", Value),
    server("checker_no_swap", Value),
    server("checker_rt_priority", Value),
    server("checker_cpu_affinity", Value),
    server("checker_rlimit_rttime", Value),
    server("checker_rlimit_rtime", Value),
    // Of older versions; keepalived 2.2.7 does not know them.
    value("lvs_id", NotNeeded, "{are} ignored by keepalived already"),
    value("garp_master_delay", NotNeeded, "{are} ignored by keepalived already"),
    value("smtp_connection_timeout", NotNeeded, "{are} ignored by keepalived already"),
    value("lvs_sync_daemon_interface", NotNeeded, "{are} ignored by keepalived already"),
];

/// `bfd_instance`.
pub(super) const BFD: &[Row] = &[
    bfd("neighbor_ip"),
    bfd("neighbour_ip"),
    bfd("source_ip"),
    bfd("min_rx"),
    bfd("min_tx"),
    bfd("idle_tx"),
    bfd("multiplier"),
    bfd("passive"),
    bfd("ttl"),
    bfd("hoplimit"),
    bfd("max_hops"),
    bfd("multihop"),
    bfd("weight"),
    bfd("vrrp"),
    bfd("checker"),
];

const fn bfd(name: &'static str) -> Row {
    row(name, Value, NotNeeded, "{go} with the bfd_instance")
}

/// `garp_group`.
pub(super) const GARP_GROUP: &[Row] = &[
    value("garp_interval", Otherwise, ": see announce_rate"),
    value("gna_interval", Otherwise, ": see announce_rate"),
    value("interface", NotNeeded, ": buoy has one announce_rate for all interfaces"),
    list("interfaces", "interface", NotNeeded, ": buoy has one announce_rate for all interfaces"),
];
