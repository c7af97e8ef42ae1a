//! The page: who is alive, who has what since when and why, and what happened last.
//!
//! Written whole for each reader, so that it works without a script; `live.js` puts the newest one
//! in its place when something happens. Of many groups those that are not well come first, and
//! [`GROUPS_SHOWN`] of the others.

use serde::Deserialize;

use super::feed::Snapshot;
use super::history::{Absence, History, stays};
use super::html::Html;
use super::page_parts::{checks, drains, events, nodes};
use super::table::pools;
use super::timeline::{self, colour, words};
use crate::control::response::{Group, GroupState, Status};
use crate::control::timestamp;

/// Groups on one page.
const GROUPS_SHOWN: usize = 100;
/// Groups that are not well, told before all others.
const TROUBLES_SHOWN: usize = 50;

/// What of it is wanted.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct View {
    /// Only the groups of this pool.
    pub(super) pool: Option<String>,
    /// Groups before the first that is shown.
    pub(super) from: Option<usize>,
}

/// Writes the page.
pub(super) fn render(snapshot: &Snapshot, history: &History, view: &View, now: u64) -> String {
    let mut html = Html::default();
    let status = snapshot.answer.as_ref().ok().map(|answer| &*answer.status);
    head(&mut html, status);
    html.raw("<main>");
    match &snapshot.answer {
        Ok(answer) => {
            let status = &answer.status;
            summary(&mut html, status);
            drains(&mut html, status);
            nodes(&mut html, status);
            let absences: Vec<Absence> = history.absences().copied().collect();
            Groups { status, history, view, now, absences }.write(&mut html);
            checks(&mut html, status);
        }
        Err(why) => {
            html.raw(r#"<p class="banner bad"><strong>The daemon does not answer.</strong> "#);
            html.text(why).raw(". The last known state is shown below.</p>");
        }
    }
    events(&mut html, history);
    foot(&mut html, snapshot);
    html.raw("</main></body></html>\n");
    html.finish()
}

fn head(html: &mut Html, status: Option<&Status>) {
    html.raw(concat!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
        "<meta name=\"color-scheme\" content=\"light dark\">",
        "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>",
        "<link rel=\"stylesheet\" href=\"/style.css\">",
        "<script src=\"/live.js\" defer></script><title>",
    ));
    match status {
        Some(status) => html.text(&status.cluster).raw(" - ").text(&status.node).raw(" - buoy"),
        None => html.raw("buoy"),
    };
    html.raw("</title></head><body><header><h1>");
    match status {
        Some(status) => {
            html.text(&status.cluster).raw("</h1><p>as seen by <strong>").text(&status.node);
            html.raw("</strong>, ").text(&status.phase).raw("</p>")
        }
        None => html.raw("buoy</h1>"),
    };
    html.raw("<p id=\"live\" hidden></p></header>");
}

/// When it was true, and since when nobody has told.
fn foot(html: &mut Html, snapshot: &Snapshot) {
    let at = timestamp::rfc3339(snapshot.at);
    html.raw("<footer><p>As of <time datetime=\"").text(&at).raw("\">").text(&at);
    html.raw("</time>, ").text(&words(millis_of(snapshot))).raw(" old when sent. ");
    html.raw(
        "<a href=\"/status.json\">status.json</a> <a href=\"/metrics\">metrics</a></p></footer>",
    );
}

fn millis_of(snapshot: &Snapshot) -> u64 {
    u64::try_from(snapshot.age().as_millis()).unwrap_or(u64::MAX)
}

fn summary(html: &mut Html, status: &Status) {
    let all = status.groups.len();
    let owned = status.groups.iter().filter(|group| group.state == GroupState::Owned).count();
    if owned == all {
        html.raw(r#"<p class="banner good">All "#).number(all as u64).raw(" groups are answered.");
    } else {
        html.raw(r#"<p class="banner bad">"#).number((all - owned) as u64).raw(" of ");
        html.number(all as u64).raw(" groups are not answered as they should be.");
    }
    html.raw("</p>");
}

/// Whether somebody should look at a group.
fn is_well(group: &Group) -> bool {
    group.state == GroupState::Owned && group.claimant.is_none() && group.withheld.is_none()
}

/// The table of groups.
struct Groups<'a> {
    status: &'a Status,
    history: &'a History,
    view: &'a View,
    now: u64,
    absences: Vec<Absence>,
}

impl Groups<'_> {
    fn write(&self, html: &mut Html) {
        let all = self.status.groups.iter();
        let pool = self.view.pool.as_deref();
        let (well, unwell): (Vec<&Group>, Vec<&Group>) = all
            .filter(|group| pool.is_none_or(|pool| group.pool == pool))
            .partition(|it| is_well(it));
        html.raw("<section><h2>Groups</h2>");
        self.pools(html);
        let from = self.view.from.unwrap_or(0).min(well.len());
        let shown = well.iter().skip(from).take(GROUPS_SHOWN);
        let rows: Vec<&Group> = unwell.iter().take(TROUBLES_SHOWN).chain(shown).copied().collect();
        html.raw("<table><thead><tr><th>Group<th>Owner<th>State<th>Since<th>Why<th>Last hour</tr>");
        html.raw("</thead><tbody>");
        let names: Vec<&str> = self.status.nodes.iter().map(|node| &*node.name).collect();
        let changes = self.history.changes();
        for group in rows {
            self.row(html, group, &names);
            let key = (group.pool.as_str(), group.group.as_str());
            let changes = changes.get(&key).map_or(&[][..], Vec::as_slice);
            let stays = stays(self.now, changes, (group.owner.as_deref(), group.since_ms));
            html.raw("<td data-is=\"Last hour\">");
            timeline::draw(html, self.now, &names, &stays, &self.absences);
            html.raw("</tr>");
        }
        html.raw("</tbody></table>");
        if unwell.len() > TROUBLES_SHOWN {
            html.raw("<p>").number((unwell.len() - TROUBLES_SHOWN) as u64);
            html.raw(" more have problems.</p>");
        }
        self.turn(html, from, well.len());
        html.raw("</section>");
    }

    fn row(&self, html: &mut Html, group: &Group, names: &[&str]) {
        html.raw(if is_well(group) { "<tr>" } else { "<tr class=\"bad\">" });
        html.raw("<th scope=\"row\">").text(&group.group).raw("<small>").text(&group.pool);
        let others = group.addresses.iter().filter(|address| **address != group.group);
        for address in others {
            html.raw(" ").text(address);
        }
        html.raw("</small><td data-is=\"Owner\">");
        match &group.owner {
            Some(owner) => {
                html.raw("<span class=\"dot ").raw(colour(names, owner)).raw("\"></span>");
                html.text(owner)
            }
            None => html.raw("none"),
        };
        html.raw("<td data-is=\"State\">").raw(group.state.word());
        html.raw("<td data-is=\"Since\">").text(&words(group.since_ms));
        html.raw("<td data-is=\"Why\">").text(&group.reason);
        if let Some(claimant) = &group.claimant {
            html.raw("<br>").text(claimant).raw(" outside the cluster claims it too");
        }
        if let Some(withheld) = &group.withheld {
            html.raw("<br>").text(withheld);
        }
        if let Some(unable) = &group.unable_here {
            html.raw("<br>not possible here: ").text(unable);
        }
        if let Some(preserved) = &group.preserved {
            html.raw("<br>").text(&preserved.by).raw(" still serves ");
            match preserved.connections {
                Some(connections) => html.number(u64::from(connections)).raw(" connections"),
                None => html.raw("its connections"),
            };
        }
    }

    /// Links to the pools, if there are several.
    fn pools(&self, html: &mut Html) {
        let pools = pools(self.status);
        if pools.len() < 2 {
            return;
        }
        html.raw("<nav><a href=\"/\">all pools</a>");
        for pool in pools.iter().take(GROUPS_SHOWN) {
            html.raw(" <a href=\"/?pool=").query(pool).raw("\">").text(pool).raw("</a>");
        }
        html.raw("</nav>");
    }

    /// Links to the groups before and after.
    fn turn(&self, html: &mut Html, from: usize, all: usize) {
        if all <= GROUPS_SHOWN {
            return;
        }
        let shown = GROUPS_SHOWN.min(all - from);
        html.raw("<nav>").number(shown as u64).raw(" of ").number(all as u64);
        html.raw(" without problems, after ").number(from as u64);
        let mut link = |from: usize, words: &'static str| {
            html.raw(" <a href=\"/?from=").number(from as u64);
            if let Some(pool) = &self.view.pool {
                html.raw("&amp;pool=").query(pool);
            }
            html.raw("\">").raw(words).raw("</a>");
        };
        if from > 0 {
            link(from.saturating_sub(GROUPS_SHOWN), "earlier");
        }
        if from + shown < all {
            link(from + shown, "later");
        }
        html.raw("</nav>");
    }
}
