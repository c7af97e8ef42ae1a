//! What the control socket asks the daemon, and how little of it reaches the daemon.
//!
//! The daemon receives [`Inquiry`] values from a bounded channel and answers each through its
//! one-shot reply with plain protocol types; names, sentences and JSON are made on this side. A
//! reply that is dropped, or that does not come in time, is a refusal for the client and nothing
//! worse. Statuses are asked for once for all clients: while one is younger than [`STATUS_AGE_MAX`]
//! it is given again, and while one is being asked for, the others wait for the same one.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::awaited::Awaited;
use super::measures::Measures;
use super::names::{Names, NamesInForce, Unresolved};
use super::plan::{self, Foreseen, Plan};
use super::report_counters::ReportCounters;
use super::request::PLAN_TEXT_BYTES_MAX;
use super::response::{
    Applied, Check, Done, Explanation, Fence, Hook, MissingRoutes, NO_ANSWER, OverheardRouter,
    Rejected, Restart, SCHEMA, VirtualRouter,
};
use super::terms::{self, Terms};
use super::{refusals, translation};
use crate::protocol::{
    self, GroupKey, Lasting, NodeId, Order, Refusal, SpareTerms, StandingChange, StandingOrder,
};
use crate::redaction::redact;

/// Depth of the channel to the daemon: one inquiry for each client there can be, of two sockets.
pub const INQUIRIES_MAX: usize = 2 * super::server::CLIENTS_MAX;
/// A status younger than this is given again.
pub const STATUS_AGE_MAX: Duration = Duration::from_millis(20);
/// A daemon that has not answered by then is stuck; a hand-over between nodes takes less.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// Groups of a pool that are named to who took it for a group.
const GROUPS_SHOWN: usize = 8;
/// A plan for the most groups and nodes takes seconds, beside everything else.
const PLAN_WAIT: Duration = Duration::from_secs(30);
/// A reload reads files, which may lie on a slow disk.
const RELOAD_WAIT: Duration = Duration::from_secs(30);

/// One question to the daemon. Whoever does not answer drops the reply.
#[derive(Debug)]
pub enum Inquiry {
    /// What the node knows now.
    Status {
        /// Channel for the answer.
        reply: oneshot::Sender<Snapshot>,
    },
    /// Why a group is where it is.
    Explain {
        /// Identity of the group.
        group: GroupKey,
        /// Takes the answer; `None` if the protocol has no such group.
        reply: oneshot::Sender<Option<protocol::Explanation>>,
    },
    /// An operator's order; the answer is that of `Action::Answer`.
    Order {
        /// Order for the core.
        order: Order,
        /// Channel for the answer.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// An operator gives or ends a standing order; the answer is that of `Action::Answer`.
    Standing {
        /// What is wanted.
        change: StandingChange,
        /// Takes the answer.
        reply: oneshot::Sender<Result<(), Refusal>>,
    },
    /// What would move.
    Plan {
        /// Condition of the plan.
        wanted: PlanWanted,
        /// Takes the answer, or all that is wrong with the file.
        reply: oneshot::Sender<Result<Foreseen, Vec<String>>>,
    },
    /// Read the configuration file again.
    Reload {
        /// Takes the differences applied, or the faults because of which none was.
        reply: oneshot::Sender<Result<Vec<String>, Vec<String>>>,
    },
}

/// What is to be different from now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlanWanted {
    /// These nodes drain.
    Without(Vec<NodeId>),
    /// This text stands in the configuration file.
    Text(String),
}

/// What the node knows, and what the daemon around it counted.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The protocol's picture.
    pub status: protocol::Status,
    /// What ends the kernel's answers for this node's addresses without the daemon.
    pub fence: Fence,
    /// Why connections are not kept here, though that is configured.
    pub not_preserving: Option<String>,
    /// Established TCP connections on this host, by group; of a group that is missing nothing is
    /// known.
    pub connections: BTreeMap<GroupKey, u64>,
    /// Connections that a drain of this node waits for; `None` while none does.
    pub awaited_by_drain: Option<Awaited>,
    /// Connections of groups that were handed over which this node still serves.
    pub awaited_by_group: BTreeMap<GroupKey, Awaited>,
    /// Names and counts, such as `("datagrams_refused", 3)`; may be empty.
    pub counters: Vec<(&'static str, u64)>,
    /// Features that peers do not tell to understand, and that are not used towards them.
    pub held_back: BTreeMap<NodeId, Vec<&'static str>>,
    /// What keeps peers from being heard, and what is wrong with this node's name, in words.
    pub obstacles: BTreeMap<NodeId, String>,
    /// The UDP port of the cluster; `None` where it is not known.
    pub port: Option<u16>,
    /// What a restart of the daemon would do now.
    pub restart: Option<Restart>,
    /// The checks of this node.
    pub checks: Vec<Check>,
    /// The hooks of this node.
    pub hooks: Vec<Hook>,
    /// What was counted of reports.
    pub reported: ReportCounters,
    /// What else was measured; what the counters of reports have is filled in later.
    pub measures: Option<Measures>,
    /// The virtual routers of this node.
    pub virtual_routers: Vec<VirtualRouter>,
    /// Those that others advertise.
    pub overheard_routers: Vec<OverheardRouter>,
    /// Routes and rules that this node lacks.
    pub missing_routes: Vec<MissingRoutes>,
    /// The orders that stand.
    pub orders: Vec<StandingOrder>,
}

impl From<protocol::Status> for Snapshot {
    fn from(status: protocol::Status) -> Self {
        let (fence, connections, counters) = (Fence::default(), BTreeMap::new(), Vec::new());
        let (held_back, checks, hooks) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (not_preserving, obstacles, port) = (None, BTreeMap::new(), None);
        let (reported, measures) = (ReportCounters::default(), None);
        Self {
            restart: None,
            reported,
            measures,
            obstacles,
            port,
            status,
            fence,
            not_preserving,
            connections,
            awaited_by_drain: None,
            awaited_by_group: BTreeMap::new(),
            counters,
            held_back,
            checks,
            hooks,
            virtual_routers: Vec::new(),
            overheard_routers: Vec::new(),
            missing_routes: Vec::new(),
            orders: Vec::new(),
        }
    }
}

/// Asks the daemon on behalf of all clients.
#[derive(Debug)]
pub(super) struct Inquirer {
    pub(super) names: NamesInForce,
    inquiries: mpsc::Sender<Inquiry>,
    /// Held while a status is asked for, so that there is one inquiry for all who wait.
    status: Mutex<Option<KeptStatus>>,
}

#[derive(Debug)]
struct KeptStatus {
    taken: Instant,
    line: Arc<[u8]>,
}

impl Inquirer {
    pub(super) fn new(names: NamesInForce, inquiries: mpsc::Sender<Inquiry>) -> Self {
        Self { names, inquiries, status: Mutex::new(None) }
    }

    /// The status as a line of JSON, newline included; it may be this old.
    pub(super) async fn status(&self, age_max: Duration) -> Result<Arc<[u8]>, Rejected> {
        let mut kept = self.status.lock().await;
        if let Some(kept) = &*kept
            && kept.taken.elapsed() < age_max
        {
            return Ok(Arc::clone(&kept.line));
        }
        let snapshot = self.ask(ANSWER_WAIT, |reply| Inquiry::Status { reply }).await?;
        let line: Arc<[u8]> =
            json_line(&translation::status(&snapshot, &self.names.current())).into();
        *kept = Some(KeptStatus { taken: Instant::now(), line: Arc::clone(&line) });
        Ok(line)
    }

    pub(super) async fn explain(&self, group: &str) -> Result<Explanation, Rejected> {
        let names = self.names.current();
        let key = find_group(&names, group)?;
        let answer = self.ask(ANSWER_WAIT, |reply| Inquiry::Explain { group: key, reply }).await?;
        answer
            .map(|explanation| translation::explanation(&explanation, &names))
            .ok_or_else(|| unknown_group(group))
    }

    /// Drains a node on these terms, given by this user.
    pub(super) async fn drain(
        &self,
        node: Option<&str>,
        now: bool,
        (terms, by): (&Terms, &str),
    ) -> Result<Done, Rejected> {
        let names = self.names.current();
        let node = find_node(&names, node)?;
        if terms.spare != SpareTerms::default() {
            let seen = self.ask(ANSWER_WAIT, |reply| Inquiry::Status { reply }).await?;
            terms::refuse_unsafe(&seen.status, node, terms.spare, &names)?;
        }
        let order = if now { Order::DrainNow(node) } else { Order::Drain(node) };
        let done = self.order("drain", order).await?;
        let told = self.stand(terms.standing(Lasting::Drain(node), by)).await;
        // That somebody drained it is lost with one too many, but not what was asked for.
        if terms.say_something() { told.map(|()| done) } else { Ok(done) }
    }

    pub(super) async fn undrain(&self, node: Option<&str>) -> Result<Done, Rejected> {
        let node = find_node(&self.names.current(), node)?;
        let done = self.order("undrain", Order::Undrain(node)).await?;
        self.stand(StandingChange::End(Lasting::Drain(node))).await?;
        Ok(done)
    }

    pub(super) async fn move_group(&self, group: &str, node: &str) -> Result<Done, Rejected> {
        let names = self.names.current();
        let group = find_group(&names, group)?;
        let to = find_node(&names, Some(node))?;
        self.order("move", Order::Move { group, to }).await
    }

    pub(super) fn names(&self) -> Arc<Names> {
        self.names.current()
    }

    pub(super) async fn order(&self, word: &str, order: Order) -> Result<Done, Rejected> {
        let answer = self.ask(ANSWER_WAIT, |reply| Inquiry::Order { order, reply }).await?;
        // Whoever ordered something and asks for the status next wants to see it in there.
        *self.status.lock().await = None;
        let names = self.names.current();
        answer.map_err(|refusal| {
            let (code, reason) = refusals::refusal(refusal, order, &names);
            Rejected::new(code, reason)
        })?;
        let (node, name) = match order {
            Order::Drain(node) | Order::DrainNow(node) | Order::Undrain(node) => (node, None),
            Order::Move { group, to } => (to, Some(names.group(group))),
        };
        let (pool, group) = name.map(|name| (name.pool, name.group)).unzip();
        Ok(Done { schema: SCHEMA, done: word.to_owned(), node: names.node(node), pool, group })
    }

    pub(super) async fn plan(
        &self,
        without: &[String],
        text: Option<String>,
    ) -> Result<Plan, Rejected> {
        let names = self.names.current();
        let wanted = match text {
            Some(text) if text.len() > PLAN_TEXT_BYTES_MAX => {
                let reason =
                    format!("the file to plan with is larger than {PLAN_TEXT_BYTES_MAX} bytes");
                return Err(Rejected::new("request_too_long", reason));
            }
            Some(text) => PlanWanted::Text(text),
            None if without.is_empty() => {
                let reason = "name the nodes to plan without, or the file to plan with";
                return Err(Rejected::new("nothing_to_plan", reason));
            }
            None => {
                let nodes = without.iter().map(|name| find_node(&names, Some(name)));
                PlanWanted::Without(nodes.collect::<Result<_, _>>()?)
            }
        };
        let answer = self.ask(PLAN_WAIT, |reply| Inquiry::Plan { wanted, reply }).await?;
        let planned = answer.map(|foreseen| plan::answer(&foreseen, &names));
        planned.map_err(|faults| {
            let reason = "a reload would refuse this configuration";
            let mut rejected = Rejected::new("configuration", reason);
            rejected.refused.details = faults;
            rejected
        })
    }

    pub(super) async fn reload(&self) -> Result<Applied, Rejected> {
        let answer = self.ask(RELOAD_WAIT, |reply| Inquiry::Reload { reply }).await?;
        *self.status.lock().await = None;
        answer.map(|applied| Applied { schema: SCHEMA, applied }).map_err(|faults| {
            let reason = "the configuration was not applied and the old one stays in force";
            let mut rejected = Rejected::new("configuration", reason);
            rejected.refused.details = faults;
            rejected
        })
    }

    /// Whoever ordered something and asks for the status next wants to see it in there.
    pub(super) async fn forget_status(&self) {
        *self.status.lock().await = None;
    }

    pub(super) async fn ask<T>(
        &self,
        wait: Duration,
        inquiry: impl FnOnce(oneshot::Sender<T>) -> Inquiry,
    ) -> Result<T, Rejected> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.inquiries.send(inquiry(reply)).await.ok()?;
            answer.await.ok()
        };
        match timeout(wait, asked).await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => Err(Rejected::new("ending", "the daemon is stopping; ask another node")),
            Err(_) => Err(Rejected::new(
                NO_ANSWER,
                format!("the daemon did not answer within {} s; see its log", wait.as_secs()),
            )),
        }
    }
}

/// A group by the name an operator gave.
pub(super) fn find_group(names: &Names, group: &str) -> Result<GroupKey, Rejected> {
    names.find_group(group).map_err(|unresolved| match unresolved {
        Unresolved::Unknown => match names.groups_of(group).as_slice() {
            [] => unknown_group(group),
            groups => {
                let shown =
                    groups.iter().take(GROUPS_SHOWN).copied().collect::<Vec<_>>().join(", ");
                let more = if groups.len() > GROUPS_SHOWN { ", ..." } else { "" };
                let reason = format!("'{group}' is a pool; its groups are {shown}{more}");
                Rejected::new("pool_named", reason)
            }
        },
        Unresolved::Ambiguous => {
            let reason = if group.parse::<IpAddr>().is_ok() {
                format!("several groups have {group}; write it as {group}%INTERFACE, or the name")
            } else {
                format!("several pools have a group '{group}'; write it as POOL/{group}")
            };
            Rejected::new("ambiguous_group", reason)
        }
    })
}

fn unknown_group(group: &str) -> Rejected {
    let group = redact(group);
    Rejected::new(
        "unknown_group",
        format!("the configuration has no group '{group}'; 'buoy status' lists them"),
    )
}

pub(super) fn find_node(names: &Names, node: Option<&str>) -> Result<NodeId, Rejected> {
    let Some(name) = node else { return Ok(names.me()) };
    names.find_node(name).ok_or_else(|| {
        let (name, known) = (redact(name), names.node_names().join(", "));
        Rejected::new(
            "unknown_node",
            format!("the configuration has no node '{name}'; its nodes are {known}"),
        )
    })
}

/// An answer as one line, newline included.
pub(super) fn json_line<T: serde::Serialize>(answer: &T) -> Vec<u8> {
    let mut line = serde_json::to_vec(answer)
        .expect("answers have string keys and no fallible Serialize, so JSON cannot fail");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::super::fixture;
    use super::*;

    /// No status is too old.
    const ANY: Duration = Duration::from_secs(3600);

    /// An inquirer, and the daemon's end of its channel.
    fn inquirer() -> (Arc<Inquirer>, mpsc::Receiver<Inquiry>) {
        let (sender, receiver) = mpsc::channel(INQUIRIES_MAX);
        let names = NamesInForce::new(fixture::names());
        (Arc::new(Inquirer::new(names, sender)), receiver)
    }

    async fn answer_one(inquiries: &mut mpsc::Receiver<Inquiry>) {
        let inquiry = timeout(ANSWER_WAIT, inquiries.recv()).await.expect("an inquiry comes");
        match inquiry.expect("the inquirer lives") {
            Inquiry::Status { reply } => {
                reply.send(fixture::status().into()).expect("somebody waits");
            }
            Inquiry::Order { reply, .. } | Inquiry::Standing { reply, .. } => {
                reply.send(Ok(())).expect("somebody waits");
            }
            other @ (Inquiry::Explain { .. } | Inquiry::Plan { .. } | Inquiry::Reload { .. }) => {
                panic!("not expected here: {other:?}")
            }
        }
    }

    fn block_on(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(test);
    }

    #[test]
    fn twenty_clients_cost_one_inquiry() {
        block_on(async {
            let (inquirer, mut inquiries) = inquirer();
            let mut clients = JoinSet::new();
            for _ in 0..20 {
                let inquirer = Arc::clone(&inquirer);
                clients.spawn(async move { inquirer.status(ANY).await });
            }
            answer_one(&mut inquiries).await;
            while let Some(line) = clients.join_next().await {
                assert!(line.unwrap().is_ok());
            }
            assert!(inquiries.try_recv().is_err(), "the daemon was asked twice");
        });
    }

    #[test]
    fn an_old_status_is_asked_for_anew() {
        block_on(async {
            let (inquirer, mut inquiries) = inquirer();
            for _ in 0..2 {
                let (line, ()) =
                    tokio::join!(inquirer.status(Duration::ZERO), answer_one(&mut inquiries));
                assert!(line.is_ok());
            }
        });
    }

    #[test]
    fn after_an_order_the_status_is_asked_for_anew() {
        block_on(async {
            let (inquirer, mut inquiries) = inquirer();
            let (line, ()) = tokio::join!(inquirer.status(ANY), answer_one(&mut inquiries));
            assert!(line.is_ok());
            let terms = Terms::default();
            let (done, ()) = tokio::join!(inquirer.drain(None, false, (&terms, "root")), async {
                answer_one(&mut inquiries).await;
                answer_one(&mut inquiries).await;
            });
            assert_eq!(done.unwrap().node, "lb1");
            let (line, ()) = tokio::join!(inquirer.status(ANY), answer_one(&mut inquiries));
            assert!(line.is_ok());
        });
    }

    #[test]
    fn a_daemon_that_is_ending_is_a_refusal() {
        block_on(async {
            let (inquirer, inquiries) = inquirer();
            drop(inquiries);
            let rejected = inquirer.explain("10.77.0.100").await.unwrap_err();
            assert_eq!(rejected.refused.code, "ending");
        });
    }
}
