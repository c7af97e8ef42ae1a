//! The command line. The doc comments of its types are the help texts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::dns::Dns;
use crate::config::parse_duration;
use crate::control::terms::Terms;
use crate::protocol::SpareTerms;

/// Path of the configuration unless `--config` names another.
pub(super) const CONFIG: &str = "/etc/buoy/buoy.toml";
/// Path of the daemon's socket unless `--socket` names another.
pub(super) const SOCKET: &str = "/run/buoy/control.sock";
/// Path of its socket for clients that may only read.
pub(super) const OBSERVERS_SOCKET: &str = "/run/buoy/status.sock";

const EXAMPLES: &str = "\
Examples:
  buoy keygen /etc/buoy/cluster.key    create the cluster key; copy it to every node
  buoy check                           validate the file; reports all errors at once
  buoy status                          which nodes are alive, who owns which address and why
  buoy drain                           move everything off this node before maintenance
  buoy events --since 10m              what moved, when, and why
  sudo buoy lab                        a whole cluster on this machine, with failures

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 configuration refused, 4 daemon not reachable,
5 request refused by the daemon.";

/// Keep floating IP addresses in service on exactly one of your hosts.
#[derive(Debug, Parser)]
#[command(name = "buoy", version, after_help = EXAMPLES, arg_required_else_help = true)]
#[command(max_term_width = 100, subcommand_required = true)]
pub(super) struct Arguments {
    /// Configuration file [default: /etc/buoy/buoy.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Socket of the daemon [default: /run/buoy/control.sock; see serve]
    #[arg(long, global = true, value_name = "SOCKET")]
    pub(super) socket: Option<PathBuf>,
    /// Print JSON, one object per line
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon in the foreground
    ///
    /// On SIGTERM and SIGINT it hands every address over to a live peer (2 s at most), waits for the
    /// hooks of these moves (4 s at most from the signal) and exits. On SIGHUP it reloads.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy run\n  buoy run --config ./buoy.toml --node lb1 \
        --runtime-dir /tmp/lb1 -v")]
    Run(Run),
    /// Show every node and every group: its state, its owner, since when and why
    ///
    /// Every node knows the whole cluster: ask any of them.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy status\n  buoy status --problems\n  buoy status \
        --json | jq '.groups[].owner'")]
    Status(Status),
    /// Show nodes, groups and events of the cluster, live at a terminal
    ///
    /// Tab changes the pane, / filters groups, s sorts them, p shows problems only, e explains a
    /// group, d drains a node once its name is typed, ? lists all keys, q quits. Without colours if
    /// NO_COLOR is set.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy top\n  NO_COLOR=1 buoy top")]
    Top,
    /// Show what happened: what moved, when, and the cause in one sentence
    ///
    /// The events of this node, those of former processes of its daemon included. With --all-nodes
    /// those of every node: the others are asked by a command, over ssh unless --via names another.
    /// Exit code 1 if a node could not be asked.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy events --since 10m\n  buoy events --follow --group \
        10.77.0.100\n  buoy events --all-nodes --since 8h")]
    Events(Events),
    /// Explain why a group is on its owner, and which nodes would be next
    #[command(after_help = "Example:\n  buoy explain 10.77.0.100")]
    Explain {
        /// The group: its name, POOL/NAME, or any of its addresses
        group: String,
    },
    /// Move every group off a node and keep them off
    ///
    /// Hands each group over without an outage. With drain_timeout in the configuration a group
    /// stays until its present connections have ended or the timeout has expired. Waits until the
    /// node has no groups, and shows how many groups and connections are left. The node stays
    /// drained, also after a restart of its daemon, until "buoy undrain".
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy drain             this node\n  buoy drain lb2 \
        --no-wait\n  buoy drain --now       without waiting for connections\n  buoy drain lb2 --if-safe \
         --keep 75% --for 2h --reason 'kernel 6.1.99'")]
    Drain {
        /// The node, and whether to wait.
        #[command(flatten)]
        target: Target,
        /// Move the groups at once, without waiting for connections
        #[arg(long)]
        now: bool,
        /// What must be left, why and for how long.
        #[command(flatten)]
        terms: DrainTerms,
    },
    /// Suspend moves for balance and fail-back in the whole cluster for a while
    ///
    /// For maintenance: a node that is undrained gets no groups until the hold ends. Failover, drains
    /// and "buoy move" work as always. All nodes know the hold, so it survives the node that was
    /// asked. It ends with "buoy release" or after its time.
    #[command(verbatim_doc_comment)]
    #[command(
        after_help = "Examples:\n  buoy hold --for 4h --reason 'kernel 6.1.99'\n  buoy release"
    )]
    Hold(HoldTerms),
    /// End a hold
    #[command(after_help = "Example:\n  buoy release")]
    Release,
    /// Take back your last drain, undrain, move or hold that was given to this node
    ///
    /// After a drain, the groups that the node had return to it.
    Undo,
    /// Upgrade every node of the cluster with one command, one after the other
    ///
    /// For each node: refuses to continue if another node is out of service or too little capacity
    /// would be left; drains it, runs the command, waits until it is ready (see ready), undrains it.
    /// Nothing moves for balance until all are done, so groups move as rarely as possible. The status
    /// of every node shows the progress; a second upgrade is refused; after a lost terminal --resume
    /// continues from any node. Exit code 1 if a step failed: its node stays drained, or all nodes are
    /// reverted.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy upgrade --run 'ssh {node} upgrade-balancer' \
        --dry-run\n  buoy upgrade --run 'ssh {node} upgrade-balancer' --keep 60% \\\n    \
        --on-failure rollback --rollback 'ssh {node} downgrade-balancer'")]
    Upgrade(Box<super::upgrade::Wanted>),
    /// Wait until a node may have groups again
    ///
    /// Ready means: up, active, with the configuration of the others and passing checks, for the
    /// time of --soak without interruption. A drained node can be ready; undrain it then. Run it on
    /// another node while this one is being changed. Exit code 1, with the reason, if the node is not
    /// ready in time.
    #[command(verbatim_doc_comment)]
    #[command(
        after_help = "Examples:\n  buoy ready lb2 --soak 30s && buoy undrain lb2\n  buoy ready \
        lb2 --timeout 20m   a machine that reboots"
    )]
    Ready {
        /// The node
        node: String,
        /// Time for which the node must be ready
        #[arg(long, value_name = "DURATION", value_parser = since, default_value = "0s")]
        soak: Duration,
        /// Longest time to wait
        #[arg(long, value_name = "DURATION", value_parser = since, default_value = "10m")]
        timeout: Duration,
    },
    /// Allow a drained node to own groups again
    #[command(after_help = "Examples:\n  buoy undrain           this node\n  buoy undrain lb2")]
    Undrain(Target),
    /// Hand one group over to a node
    #[command(after_help = "Example:\n  buoy move 10.77.0.100 lb2")]
    Move {
        /// The group: its name, POOL/NAME, or any of its addresses
        group: String,
        /// The node that should own it
        node: String,
        /// Return at once, do not wait until it has moved
        #[arg(long)]
        no_wait: bool,
    },
    /// Show what would move, without moving it
    ///
    /// With --without: if these nodes were drained. With --config: if every node used that file.
    /// The daemon computes it from its present state; nothing is changed.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy plan --without lb1,lb2\n  buoy plan --config \
        ./new.toml")]
    Plan {
        /// Nodes to plan without, separated by commas; give this or --config
        #[arg(long, value_name = "NODE", value_delimiter = ',')]
        #[arg(conflicts_with = "config")]
        without: Vec<String>,
    },
    /// Validate a configuration file without the daemon
    ///
    /// Reports all faults at once, each with its line, key, value and what is allowed. Describes a
    /// valid file. Reads the key file: run it as a user who may read that, or --without-key.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy check\n  buoy check ./new.toml && buoy reload\n  \
        buoy check --restart && systemctl restart buoy\n  buoy check --without-key /tmp/copy.toml")]
    Check {
        /// File to check [default: that of --config]
        #[arg(value_name = "CONFIG", conflicts_with = "config")]
        file: Option<PathBuf>,
        /// Also ask the daemon whether a restart now, with this file, would move no address
        #[arg(long)]
        restart: bool,
        /// Do not read the key file, for a copy of the file that lies elsewhere
        #[arg(long, conflicts_with = "restart")]
        without_key: bool,
    },
    /// Print completions for a shell
    #[command(after_help = "Example:\n  buoy completions bash > \
        /usr/share/bash-completion/completions/buoy")]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Convert keepalived's configuration, of one or several hosts
    ///
    /// Reads the files by keepalived's own rules, writes one file for all nodes to standard output
    /// or to --output, and reports to standard error what became of each keyword: carried over,
    /// carried over differently, not needed, or not possible and what to do. Contradictions are
    /// refused, and missing facts are asked for. @ID corresponds to "keepalived -i ID".
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy import lb1=lb1.conf lb2=lb2.conf --node \
        lb1=192.0.2.11 --node lb2=192.0.2.12 \\\n    --output buoy.toml\n  buoy import \
        /etc/keepalived/keepalived.conf@site1")]
    Import {
        /// One keepalived file for each host; NAME is the name of its node
        #[arg(value_name = "[NAME=]FILE[@ID]", required = true)]
        files: Vec<String>,
        /// Addresses of a node that are not in its file, or that has no file
        #[arg(long = "node", value_name = "NAME=ADDRESS[,ADDRESS]")]
        #[arg(value_parser = super::import::node)]
        nodes: Vec<(String, Vec<std::net::IpAddr>)>,
        /// Name of the cluster
        #[arg(long, value_name = "NAME", default_value = "imported")]
        cluster: String,
        /// Write vrrp tables, for changing one host at a time while others run keepalived
        #[arg(long)]
        vrrp: bool,
        /// File to write; an existing file is never overwritten
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Create a new cluster key
    ///
    /// Only its owner can read the file, and an existing file is never overwritten. Copy it to
    /// every node.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Example:\n  buoy keygen /etc/buoy/cluster.key")]
    Keygen {
        /// File to write
        #[arg(value_name = "PATH", default_value = "cluster.key")]
        path: PathBuf,
    },
    /// Serve metrics for Prometheus, a status page and health checks over HTTP
    ///
    /// A separate process, which needs neither the configuration nor the key: it reads the daemon's
    /// read-only socket [default: /run/buoy/status.sock]. Serves / (the page), /metrics, /healthz,
    /// /ready?group=GROUP, /status.json and /events (SSE).
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy serve\n  buoy serve --listen 192.0.2.11:4749 \
        --allow-host lb1.example.net\n  buoy serve --print rules > buoy.rules.yml")]
    Serve(Serve),
    /// Answer DNS questions for a delegated zone with the addresses that are in service
    ///
    /// A separate process, which needs neither the configuration nor the key. Each pool is a name of
    /// the zone, answered (A, AAAA) with the addresses that a node owns and whose checks pass there.
    /// Addresses of nodes that drain are left out while there are others. Reads the daemon's
    /// read-only socket [default: /run/buoy/status.sock], or other hosts' /status.json for a name over
    /// several clusters. Answers SERVFAIL while nothing is known. Port 53 needs CAP_NET_BIND_SERVICE.
    #[command(verbatim_doc_comment)]
    #[command(
        after_help = "Examples:\n  buoy dns --zone ha.example.net --listen 192.0.2.11:53\n  \
        buoy dns --zone ha.example.net --listen 192.0.2.11:53 --name www=web,api \\\n      \
        --source /run/buoy/status.sock --source 198.51.100.11:4749"
    )]
    Dns(Box<Dns>),
    /// What the daemon starts beside itself
    #[command(hide = true)]
    Guard,
    /// What keeps the tables of a dead daemon
    #[command(hide = true)]
    HoldTables {
        /// The table
        table: String,
        /// Whether it is the process that stays
        #[arg(long)]
        detached: bool,
    },
    /// Reload the daemon's configuration
    ///
    /// Applies what has changed in the file and prints it; the rest is not touched. A file with
    /// faults is refused as a whole and changes nothing.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Example:\n  buoy check && buoy reload")]
    Reload,
    /// Collect what a report of a fault needs, as one text without keys
    ///
    /// Versions, configuration without secrets, status, explanations, events, journal, nftables tables
    /// of buoy, addresses, routes, neighbours, kernel settings. What cannot be read says why. Run it as
    /// root on every node concerned, and look through the file before you send it.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Example:\n  sudo buoy report --output lb1.txt")]
    Report {
        /// File to write [default: standard output]; an existing file is never overwritten
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Run a whole cluster on this machine and show its failovers
    ///
    /// Builds the nodes and a client in network namespaces, runs a real daemon in each, then kills,
    /// freezes, isolates and drains nodes while the client probes every address, and prints what the
    /// client saw. Without a file it builds three nodes. Needs root, or a kernel that allows user
    /// namespaces. Leaves nothing behind.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy lab\n  buoy lab ./buoy.toml\n  buoy lab --bench 20")]
    Lab {
        /// Cluster to build [default: that of --config if given, else three nodes]
        #[arg(value_name = "CONFIG", conflicts_with = "config")]
        file: Option<PathBuf>,
        /// Repeat each failure RUNS times and print a table of figures
        #[arg(long, value_name = "RUNS", conflicts_with_all = ["file", "config"])]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
        bench: Option<u32>,
        /// Measure mode majority instead
        #[arg(long, requires = "bench")]
        majority: bool,
        /// Measure a quiet cluster: own cost, busy processors, random loss; takes 12 minutes
        #[arg(long, conflicts_with_all = ["file", "config", "bench"])]
        soak: bool,
    },
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Name of this node [default: the node with an address of this host, or its host name]
    #[arg(long, value_name = "NAME")]
    pub(super) node: Option<String>,
    /// Directory for sockets and for state that survives a restart; each daemon needs its own
    #[arg(long, value_name = "DIRECTORY", default_value = "/run/buoy")]
    pub(super) runtime_dir: PathBuf,
    /// Directory for state that survives a reboot [default: see buoy(8)]
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) state_dir: Option<PathBuf>,
    /// Format of log lines [default: text, or json with --json]
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,
    /// Log details, not only changes
    #[arg(short, long)]
    pub(super) verbose: bool,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where to listen; every host that reaches it can read everything and change nothing
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4749")]
    pub(super) listen: SocketAddr,
    /// Host name to accept in requests, besides localhost and addresses; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) allow_host: Vec<String>,
    /// Print Prometheus alert rules, a Grafana dashboard or the list of metrics, and exit
    #[arg(long, value_name = "WHAT")]
    pub(super) print: Option<Print>,
    /// Format of log lines [default: text, or json with --json]
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,
    /// Log also every client that disconnects
    #[arg(short, long)]
    pub(super) verbose: bool,
}

/// Output generated from the table of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Print {
    /// Alert rules.
    Rules,
    /// Dashboard.
    Dashboard,
    /// List of metrics.
    Metrics,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object for each line.
    Json,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// Show only groups of this pool
    #[arg(long, value_name = "POOL")]
    pub(super) pool: Option<String>,
    /// Show only this node and the groups that it owns
    #[arg(long, value_name = "NODE")]
    pub(super) node: Option<String>,
    /// Show only nodes and groups with problems
    #[arg(long)]
    pub(super) problems: bool,
    /// Print again every second, until interrupted
    #[arg(long)]
    pub(super) watch: bool,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Keep printing new events
    #[arg(long)]
    pub(super) follow: bool,
    /// Print only events of this group
    #[arg(long, value_name = "GROUP")]
    pub(super) group: Option<String>,
    /// Print only events of the last DURATION, such as 90s, 10m, 2h or 1d
    #[arg(long, value_name = "DURATION", value_parser = since)]
    pub(super) since: Option<Duration>,
    /// Merge the events of all nodes into one story, in one order
    #[arg(long, conflicts_with = "follow")]
    pub(super) all_nodes: bool,
    /// Command that prints the events of a node [default: ssh ... {node} buoy events --json]
    #[arg(long, value_name = "COMMAND", requires = "all_nodes")]
    pub(super) via: Option<String>,
}

/// Arguments of `drain` and `undrain`.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The node [default: the one whose daemon is asked]
    pub(super) node: Option<String>,
    /// Return at once, do not wait until it is done (undrain never waits)
    #[arg(long)]
    pub(super) no_wait: bool,
}

/// Why an order is given and for how long.
#[derive(Debug, Args)]
pub(super) struct HoldTerms {
    /// Time after which the hold ends, at most 7d [default: 2h]
    #[arg(long = "for", value_name = "DURATION", value_parser = since)]
    lasts: Option<Duration>,
    /// Reason to show in the status and events of all nodes (64 bytes)
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Terms of `drain`.
#[derive(Debug, Args)]
pub(super) struct DrainTerms {
    /// Refuse (exit code 5) while another node is out of service, or if no majority would be left
    #[arg(long)]
    if_safe: bool,
    /// Refuse (exit code 5) if less of the weight would stay in service
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    keep: Option<u8>,
    /// Time after which the node is undrained automatically, at most 7d
    #[arg(long = "for", value_name = "DURATION", value_parser = since)]
    lasts: Option<Duration>,
    /// Stay drained after a reboot of the host
    #[arg(long)]
    persist: bool,
    /// Reason to show in the status and events of all nodes (64 bytes)
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl From<HoldTerms> for Terms {
    fn from(HoldTerms { lasts, reason }: HoldTerms) -> Self {
        Self { reason, lasts, ..Self::default() }
    }
}

impl From<DrainTerms> for Terms {
    fn from(DrainTerms { if_safe, keep, lasts, persist, reason }: DrainTerms) -> Self {
        Self { spare: SpareTerms { alone: if_safe, keep }, reason, persist, lasts }
    }
}

/// Parses a share, such as 75%; the error says what to type.
pub(super) fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text).parse::<u8>().ok();
    number.filter(|number| *number <= 100).ok_or_else(|| "write it like 75%".to_owned())
}

/// Parses a duration; the error says what to type.
pub(super) fn since(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    if let Some(days) = days {
        return Ok(Duration::from_secs(u64::from(days) * 86_400));
    }
    parse_duration(text)
        .map_err(|fault| format!("{fault}; write a duration like 90s, 10m, 2h or 1d"))
}
