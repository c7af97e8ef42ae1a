//! A hook for each `notify...` script and FIFO, so that scripts for keepalived go on working.
//!
//! A `notify` script is called with the same words behind its own (`INSTANCE NAME STATE 100`), the
//! others without any. The file is the same on every node: a script of one host only is a fault.

use super::commands::absolute;
use super::model::{Hook, Host};
use super::report::Findings;
use super::source::Place;
use super::text::{Table, list, quoted};
use super::units::{Part, Unit};

/// Scripts of a unit.
pub(super) fn of_unit(unit: &Unit<'_>, findings: &mut Findings) -> Vec<Table> {
    let Some((first, others)) = unit.parts.split_first() else { return Vec::new() };
    let here = hooks(first);
    for other in others {
        let there = hooks(other);
        for (owner, hook) in &here {
            let twin = there.iter().find(|(_, it)| it.keyword == hook.keyword);
            let twin = twin.filter(|_| here.len() == there.len());
            let exact = there.iter().find(|(name, it)| name == owner && it.keyword == hook.keyword);
            compare(unit, (first, other), (hook, exact.or(twin).map(|it| it.1)), findings);
        }
        for (_, hook) in
            there.iter().filter(|(_, it)| !here.iter().any(|(_, h)| h.keyword == it.keyword))
        {
            compare(unit, (other, first), (hook, None), findings);
        }
    }
    let mut tables = Vec::new();
    for (owner, hook) in here {
        tables.push(table(unit, first.host, (owner, hook), findings));
    }
    tables
}

/// Scripts of a host with the name of the instance or group that they stand in.
fn hooks<'a>(part: &Part<'a>) -> Vec<(&'a str, &'a Hook)> {
    let groups =
        part.group.iter().flat_map(|it| it.hooks.iter().map(|hook| (it.name.as_str(), hook)));
    let instances =
        part.instances.iter().flat_map(|it| it.hooks.iter().map(|hook| (it.name.as_str(), hook)));
    groups.chain(instances).collect()
}

fn compare(
    unit: &Unit<'_>,
    (one, other): (&Part<'_>, &Part<'_>),
    (hook, twin): (&Hook, Option<&Hook>),
    findings: &mut Findings,
) {
    let user = |hook: &Hook, host: &Host| user(hook, host);
    let same = twin.is_some_and(|twin| {
        twin.program.command == hook.program.command
            && user(twin, other.host) == user(hook, one.host)
    });
    if same {
        return;
    }
    let (keyword, with, without) = (&hook.keyword, &one.host.name, &other.host.name);
    let problem = match twin {
        Some(twin) => format!(
            "{}: {keyword} differs between {with} and {without} ({})",
            unit.name, twin.place
        ),
        None => format!("{}: {with} has {keyword}, {without} has not", unit.name),
    };
    let remedy = "name one script in both files; it finds its node in BUOY_NODE";
    findings.refuse(&hook.place, keyword, problem, remedy);
}

fn user(hook: &Hook, host: &Host) -> Option<String> {
    let global = host.globals.script_user.as_ref().map(|user| user.value.clone());
    hook.program.user.clone().or(global)
}

fn table(
    unit: &Unit<'_>,
    host: &Host,
    (owner, hook): (&str, &Hook),
    findings: &mut Findings,
) -> Table {
    let events: &[&str] = match hook.keyword.as_str() {
        "notify_master" => &["acquired"],
        "notify_backup" => &["released"],
        "notify_fault" => &["unable"],
        _ => &["acquired", "released", "unable"],
    };
    let mut table = Table::new("[[hook]]");
    let name = super::text::name(&format!("{owner}-{}", hook.keyword));
    table.add("name", quoted(&name), &[&hook.place]);
    table.explain("on", list(events), "");
    table.explain("command", list(&absolute(&hook.program.command)), "");
    let user = user(hook, host);
    match &user {
        Some(user) => table.explain("user", quoted(user), ""),
        None => {
            let text = format!(
                "{}: no user is named: keepalived uses keepalived_script, else root; buoy uses \
                 the user of its daemon unless you write user",
                hook.keyword
            );
            findings.tell(text, &[&hook.place]);
        }
    }
    if hook.keyword == "notify" {
        table.explain("style", quoted("keepalived"), "");
        tell_words(unit, owner, &hook.place, findings);
    }
    table.explain("pools", list(&[&unit.pool]), "");
    table
}

fn tell_words(unit: &Unit<'_>, owner: &str, place: &Place, findings: &mut Findings) {
    findings.tell("the priority in notify lines is always 100", &[place]);
    let Some(part) = unit.parts.first().filter(|part| part.group.is_some()) else { return };
    let text = if part.group.is_some_and(|group| group.name == owner) {
        format!("notify of {owner}: its first argument is INSTANCE where keepalived says GROUP")
    } else {
        format!("notify of {owner}: it gets {}, the name of its sync group", unit.pool)
    };
    findings.tell(text, &[place]);
}

/// FIFOs of all hosts.
pub(super) fn fifos(hosts: &[Host], findings: &mut Findings) -> Vec<Table> {
    let mut tables = Vec::new();
    let Some((first, others)) = hosts.split_first() else { return tables };
    let keyword_of = |host: &Host, keyword: &str| {
        host.globals.fifos.iter().find(|fifo| fifo.value.0 == keyword).cloned()
    };
    for keyword in ["notify_fifo", "vrrp_notify_fifo"] {
        let here = keyword_of(first, keyword);
        for other in others {
            let there = keyword_of(other, keyword);
            let path = |fifo: &Option<super::model::Said<(String, String)>>| {
                fifo.as_ref().map(|fifo| fifo.value.1.clone())
            };
            let place = here.as_ref().or(there.as_ref()).map(|fifo| fifo.place.clone());
            if let (true, Some(place)) = (path(&here) != path(&there), place) {
                let problem =
                    format!("{keyword} differs between {} and {}", first.name, other.name);
                findings.refuse(&place, keyword, problem, "name the same FIFO in both files");
            }
        }
        let Some(fifo) = here else { continue };
        if !fifo.value.1.starts_with('/') {
            let remedy = "write the absolute path of the FIFO";
            findings.refuse(&fifo.place, keyword, "is not an absolute path", remedy);
            continue;
        }
        let mut table = Table::new("[[hook]]");
        table.add("name", quoted(keyword), &[&fifo.place]);
        table.explain("on", list(&["acquired", "released", "unable"]), "");
        table.explain("notify_fifo", quoted(&fifo.value.1), "create it with mkfifo");
        tables.push(table);
        findings.tell("the priority in notify lines is always 100", &[&fifo.place]);
    }
    tables
}
