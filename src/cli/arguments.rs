//! What may be typed. The doc comments here are the help texts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::parse_duration;

/// Where the configuration is unless named.
pub(super) const CONFIG: &str = "/etc/buoy/buoy.toml";
/// Where the daemon's socket is unless named.
pub(super) const SOCKET: &str = "/run/buoy/control.sock";
/// Where its socket for those who only read is.
pub(super) const OBSERVERS_SOCKET: &str = "/run/buoy/status.sock";

const EXAMPLES: &str = "\
Examples:
  buoy keygen /etc/buoy/cluster.key    make the cluster's key, then copy it to every node
  buoy check                           is the file right? All faults at once
  buoy status                          who is alive, who has which address and why
  buoy drain                           move everything off this node before maintenance
  buoy events --since 10m              what moved, when, and what caused it
  sudo buoy lab                        a whole cluster on this machine, with failures

Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 configuration refused, 4 daemon not reachable,
5 request refused by the daemon.";

/// Keeps floating IP addresses in service on exactly one of your hosts.
#[derive(Debug, Parser)]
#[command(name = "buoy", version, after_help = EXAMPLES, arg_required_else_help = true)]
#[command(max_term_width = 100, subcommand_required = true)]
pub(super) struct Arguments {
    /// The configuration file [default: /etc/buoy/buoy.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// The daemon's socket [default: /run/buoy/control.sock, see serve]
    #[arg(long, global = true, value_name = "SOCKET")]
    pub(super) socket: Option<PathBuf>,
    /// Answer in JSON, one object on a line
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The daemon, in the foreground
    ///
    /// SIGTERM and SIGINT hand every address to a live peer (2 s at most), let the hooks of that
    /// end (4 s at most, from the signal) and end it. SIGHUP reads the configuration again.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy run\n  buoy run --config ./buoy.toml --node lb1 \
        --runtime-dir /tmp/lb1 -v")]
    Run(Run),
    /// Every node and every group: who is alive, who has what, since when and why
    ///
    /// Any node knows all of it and answers the same.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy status\n  buoy status --problems\n  buoy status \
        --json | jq '.groups[].owner'")]
    Status(Status),
    /// Nodes, groups and events of the cluster, live at a terminal
    ///
    /// Tab changes the pane, / filters groups, s sorts them, p shows problems only, e explains a
    /// group, d drains a node once its name is typed, ? lists all keys, q quits. Without colours if
    /// NO_COLOR is set.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy top\n  NO_COLOR=1 buoy top")]
    Top,
    /// What moved, when, and the cause in one sentence
    #[command(after_help = "Examples:\n  buoy events --since 10m\n  buoy events --follow --group \
        10.77.0.100")]
    Events(Events),
    /// Why a group is where it is, and who would be next
    #[command(after_help = "Example:\n  buoy explain 10.77.0.100")]
    Explain {
        /// The group: its name, POOL/NAME, or any of its addresses
        group: String,
    },
    /// Move every group off a node and keep them off
    ///
    /// Each group is handed over, without an outage. With drain_timeout in the configuration
    /// it stays until the connections that it has now have ended or the time is up. Waits until the
    /// node has no group, and shows how many, and how many connections, are left. The node stays
    /// drained, over restarts too, until "buoy undrain".
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy drain             this node\n  buoy drain lb2 \
        --no-wait\n  buoy drain --now       do not wait for connections")]
    Drain {
        /// Which node, and whether to wait.
        #[command(flatten)]
        target: Target,
        /// Move the groups at once, whatever connections they have
        #[arg(long)]
        now: bool,
    },
    /// Let a node have groups again
    #[command(after_help = "Examples:\n  buoy undrain           this node\n  buoy undrain lb2")]
    Undrain(Target),
    /// Hand one group over to a node now
    #[command(after_help = "Example:\n  buoy move 10.77.0.100 lb2")]
    Move {
        /// The group: its name, POOL/NAME, or any of its addresses
        group: String,
        /// The node that should have it
        node: String,
        /// Do not wait until it is there
        #[arg(long)]
        no_wait: bool,
    },
    /// What would move, before it does
    ///
    /// Without some nodes: if they were drained. With --config: if that file were in force on every
    /// node. Computed by the daemon from what it knows now; nothing is done.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy plan --without lb1,lb2\n  buoy plan --config \
        ./new.toml")]
    Plan {
        /// Nodes to do without, separated by commas; this or --config is needed
        #[arg(long, value_name = "NODE", value_delimiter = ',')]
        #[arg(conflicts_with = "config")]
        without: Vec<String>,
    },
    /// Check a configuration file, without the daemon
    ///
    /// Shows all faults at once, each with its line, key, value and what is allowed; without
    /// faults, what the file means. Needs to read the key file, so run it as the same user.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy check\n  buoy check ./new.toml && buoy reload\n  \
        buoy check --restart && systemctl restart buoy")]
    Check {
        /// The file [default: that of --config]
        #[arg(value_name = "CONFIG", conflicts_with = "config")]
        file: Option<PathBuf>,
        /// Ask the daemon too: would no address move if it were restarted now with this file?
        #[arg(long)]
        restart: bool,
    },
    /// Completions for a shell, on standard output
    #[command(after_help = "Example:\n  buoy completions bash > \
        /usr/share/bash-completion/completions/buoy")]
    Completions {
        /// The shell
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Make a configuration of keepalived's, of one or several hosts
    ///
    /// Reads the files by keepalived's own rules, and writes one file for all nodes to standard
    /// output or to --output, and to standard error what became of each keyword: carried over,
    /// carried over otherwise, not needed, or not possible and what to do. What contradicts itself
    /// is refused, and what is not in the files is asked for. @ID stands for "keepalived -i ID".
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy import lb1=lb1.conf lb2=lb2.conf --node \
        lb1=192.0.2.11 --node lb2=192.0.2.12 \\\n    --output buoy.toml\n  buoy import \
        /etc/keepalived/keepalived.conf@site1")]
    Import {
        /// A file of keepalived for each host; NAME is that of the node
        #[arg(value_name = "[NAME=]FILE[@ID]", required = true)]
        files: Vec<String>,
        /// Addresses of a node that are not in its file, or of one without a file
        #[arg(long = "node", value_name = "NAME=ADDRESS[,ADDRESS]")]
        #[arg(value_parser = super::import::node)]
        nodes: Vec<(String, Vec<std::net::IpAddr>)>,
        /// The name of the cluster
        #[arg(long, value_name = "NAME", default_value = "imported")]
        cluster: String,
        /// The file to write; one that exists is never overwritten
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Make a fresh cluster key
    ///
    /// The file can be read by its owner only, and an existing one is never overwritten. Copy it
    /// to every node.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Example:\n  buoy keygen /etc/buoy/cluster.key")]
    Keygen {
        /// Where to write it
        #[arg(value_name = "PATH", default_value = "cluster.key")]
        path: PathBuf,
    },
    /// Metrics for Prometheus, a page, and answers for balancers, over HTTP
    ///
    /// A process of its own, which needs neither the configuration nor the key: it reads the
    /// daemon's socket for those who only read [default: /run/buoy/status.sock]. Serves / (the
    /// page), /metrics, /healthz, /ready?group=GROUP, /status.json and /events (SSE).
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy serve\n  buoy serve --listen 192.0.2.11:4749 \
        --allow-host lb1.example.net\n  buoy serve --print rules > buoy.rules.yml")]
    Serve(Serve),
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
    /// Let the daemon read its configuration again
    ///
    /// Applies the difference and prints it; what is not in the difference is not touched. A file
    /// with faults is refused as a whole and changes nothing.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Example:\n  buoy check && buoy reload")]
    Reload,
    /// A whole cluster on this machine, with failures to watch
    ///
    /// Builds the nodes and a client in network namespaces, runs a real daemon in each, then
    /// kills, freezes, cuts and drains nodes while the client probes every address, and prints
    /// what the client saw. Without a file it makes three nodes. Needs root, or a kernel that
    /// allows user namespaces. Leaves nothing behind.
    #[command(verbatim_doc_comment)]
    #[command(after_help = "Examples:\n  buoy lab\n  buoy lab ./buoy.toml\n  buoy lab --bench 20")]
    Lab {
        /// The cluster to build [default: that of --config if given, else three nodes]
        #[arg(value_name = "CONFIG", conflicts_with = "config")]
        file: Option<PathBuf>,
        /// Repeat each failure so often and print a table of figures
        #[arg(long, value_name = "RUNS", conflicts_with_all = ["file", "config"])]
        #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
        bench: Option<u32>,
        /// Measure the cases of mode majority instead
        #[arg(long, requires = "bench")]
        majority: bool,
        /// Measure long quiet: own cost, busy processors, random loss; takes 12 minutes
        #[arg(long, conflicts_with_all = ["file", "config", "bench"])]
        soak: bool,
    },
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Which node this is [default: the one with an address of this host, or its host name]
    #[arg(long, value_name = "NAME")]
    pub(super) node: Option<String>,
    /// Directory for the sockets and what a restart needs; each daemon on a host needs its own
    #[arg(long, value_name = "DIRECTORY", default_value = "/run/buoy")]
    pub(super) runtime_dir: PathBuf,
    /// Directory for what must outlast a reboot [default: see buoy(8)]
    #[arg(long, value_name = "DIRECTORY")]
    pub(super) state_dir: Option<PathBuf>,
    /// How log lines look [default: text, or json with --json]
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,
    /// Log details as well, not only changes
    #[arg(short, long)]
    pub(super) verbose: bool,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Where to listen; whoever reaches it can read everything, and change nothing
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:4749")]
    pub(super) listen: SocketAddr,
    /// A name under which it may be asked, besides localhost and addresses; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) allow_host: Vec<String>,
    /// Print alert rules for Prometheus, a dashboard for Grafana, or the list of metrics, and end
    #[arg(long, value_name = "WHAT")]
    pub(super) print: Option<Print>,
    /// How log lines look [default: text, or json with --json]
    #[arg(long, value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,
    /// Log every client that goes as well
    #[arg(short, long)]
    pub(super) verbose: bool,
}

/// What is made from the table of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Print {
    /// Alert rules.
    Rules,
    /// A dashboard.
    Dashboard,
    /// The table itself.
    Metrics,
}

/// How log lines look.
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
    /// Only groups of this pool
    #[arg(long, value_name = "POOL")]
    pub(super) pool: Option<String>,
    /// Only this node and the groups that it owns
    #[arg(long, value_name = "NODE")]
    pub(super) node: Option<String>,
    /// Only nodes and groups that are not as they should be
    #[arg(long)]
    pub(super) problems: bool,
    /// Again each second, until interrupted
    #[arg(long)]
    pub(super) watch: bool,
}

/// Arguments of `events`.
#[derive(Debug, Args)]
pub(super) struct Events {
    /// Go on with what happens from now on
    #[arg(long)]
    pub(super) follow: bool,
    /// Only what concerns this group
    #[arg(long, value_name = "GROUP")]
    pub(super) group: Option<String>,
    /// Only the last so much time, such as 90s, 10m, 2h or 1d
    #[arg(long, value_name = "DURATION", value_parser = since)]
    pub(super) since: Option<Duration>,
}

/// Arguments of `drain` and `undrain`.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The node [default: the one whose daemon is asked]
    pub(super) node: Option<String>,
    /// Do not wait until it is done (undrain is done at once)
    #[arg(long)]
    pub(super) no_wait: bool,
}

/// A duration, or why it is none and what to type.
fn since(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    if let Some(days) = days {
        return Ok(Duration::from_secs(u64::from(days) * 86_400));
    }
    parse_duration(text).map_err(|fault| format!("{fault}; write it like 90s, 10m, 2h or 1d"))
}
