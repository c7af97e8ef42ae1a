//! The story of `buoy lab`: one fault after the other, each told with what the client saw.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Error;
use super::clock;
use super::cluster::Cluster;
use super::experiment::{self, Expectation, Figures};
use super::fault::{Fault, Phase};
use super::interruption::Interruption;
use super::namespace::NamespaceError;
use super::plan::{Configuration, Plan};
use super::probe::INTERVAL;
use super::stage::{Stage, milliseconds};
use super::stalls::{Processors, Stalls};

/// A cluster that starts hears its peers for a second or three before it takes anything; a single
/// node without a sign of life waits for 35 s.
const READY_MAX: Duration = Duration::from_secs(45);
/// Groups are balanced within some seconds of a start.
const SHARE_MAX: Duration = Duration::from_secs(5);
/// An address is answered if a probe of so long ago was.
const RECENT: Duration = Duration::from_millis(60);
/// Lines of a log that are shown when the cluster does not come up.
const LOG_LINES: usize = 20;
/// A machine that stood still for so long made figures worse than they are; so did one that gave
/// so many hundredths of its processors to others.
const STALL_TOLD: Duration = Duration::from_millis(50);
const STOLEN_TOLD: u64 = 5;

/// Tells it.
///
/// # Errors
/// See [`Error`].
pub fn run(
    plan: Plan,
    program: &Path,
    interruption: &Interruption,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut stage = Stage::new(out);
    introduce(&plan, &mut stage)?;
    let watched = |error| NamespaceError::System("watch the machine", error);
    let stalls = Stalls::watch().map_err(watched)?;
    let processors = Processors::now().map_err(watched)?;
    let mut cluster = Cluster::build(plan, program)?;
    let began = clock::now();
    cluster.start_all()?;
    let ready = until_ready(&mut cluster, interruption, &mut |cluster| stage.live(cluster))?;
    let took = ready.duration_since(began).as_secs_f64();
    stage.say(&format!("\nEvery address is answered, {took:.1} s after the daemons started."))?;
    stage.table(&cluster)?;
    stage.say("")?;
    let mut rows = Vec::new();
    let mut turns = vec![0; cluster.nodes()];
    for fault in Fault::ALL {
        // A single node can neither be split from others nor drained to them.
        if cluster.nodes() < 2 && fault != Fault::HostDeath && fault != Fault::Stop {
            continue;
        }
        let victim = next_victim(&cluster, &mut turns);
        for phase in [Phase::Begin, Phase::End] {
            let mut look = |cluster: &Cluster| {
                // A terminal that is gone shows at the next line that stays.
                let _ = stage.live(cluster);
                !interruption.wanted()
            };
            let figures = experiment::stage_fault(&mut cluster, (fault, phase), victim, &mut look)?;
            if interruption.wanted() {
                return Err(Error::Interrupted);
            }
            let title = format!("{} {}", cluster.name(victim), fault.words(phase));
            stage.say(&sentence(&title, &figures))?;
            let stall = stalls.longest();
            if stall >= STALL_TOLD {
                let stall = milliseconds(stall);
                stage.say(&format!("    the machine itself stalled for {stall} ms meanwhile"))?;
            }
            rows.push((title, figures));
        }
    }
    stage.say(&summary(&rows, &cluster.plan))?;
    let stolen = Processors::now().map_err(watched)?.stolen_since(processors);
    if stolen >= STOLEN_TOLD {
        stage.say(&format!(
            "\nOther guests used {stolen} % of this machine's processor time meanwhile: times are \
             longer than on an idle machine."
        ))?;
    }
    stage.say(
        "\nNext: \"buoy lab FILE\" does the same with your own file; docs/installation.md shows \
         how to install buoy on two hosts.",
    )?;
    Ok(())
}

fn introduce<W: Write>(plan: &Plan, stage: &mut Stage<'_, W>) -> Result<(), Error> {
    let names: Vec<_> = plan.nodes.iter().map(|host| host.name.as_str()).collect();
    let from = match &plan.configuration {
        Configuration::Text(_) => "a generated configuration".to_owned(),
        Configuration::File(file) => file.display().to_string(),
    };
    stage.say(&format!(
        "Nodes {} and a client, each a network namespace with a real daemon; {} groups of addresses \
         from {from}.\n\
         Each node in turn is killed, frozen, cut off, drained and so on, then repaired. The client \
         probes every address every {} ms.\n\
         This takes about a minute. Ctrl-C ends it; nothing is left behind in either case.",
        names.join(", "),
        plan.groups.len(),
        INTERVAL.as_millis()
    ))?;
    Ok(())
}

/// Waits until every address is answered and nothing moves any more; tells when all were.
///
/// # Errors
/// When that does not come about, with the ends of the daemons' logs.
pub fn until_ready<E: Into<Error>>(
    cluster: &mut Cluster,
    interruption: &Interruption,
    look: &mut impl FnMut(&Cluster) -> Result<(), E>,
) -> Result<Instant, Error> {
    let ready = clock::until(READY_MAX, || {
        if let Err(error) = look(cluster) {
            return Some(Err(error.into()));
        }
        if interruption.wanted() {
            return Some(Err(Error::Interrupted));
        }
        let ended = |node| cluster.process(node).is_none_or(|p| p.ended().is_some());
        if (0..cluster.nodes()).any(ended) {
            return Some(Err(Error::NotReady(logs(cluster))));
        }
        cluster.prober.silent(RECENT).is_empty().then_some(Ok(()))
    });
    ready.unwrap_or_else(|| Err(Error::NotReady(logs(cluster))))?;
    let answered = clock::now();
    // Nodes that came a moment later get their share; where the file wants otherwise, they do not.
    clock::until(SHARE_MAX, || {
        let answering = cluster.answering(RECENT);
        let has = |node| answering.iter().any(|(_, who)| *who == Some(node));
        (look(cluster).is_err() || interruption.wanted() || (0..cluster.nodes()).all(has))
            .then_some(())
    });
    let mut go_on = |cluster: &Cluster| look(cluster).is_ok() && !interruption.wanted();
    experiment::come_to_rest(cluster, (0, Expectation::Rest), &mut go_on);
    if interruption.wanted() { Err(Error::Interrupted) } else { Ok(answered) }
}

fn logs(cluster: &Cluster) -> String {
    let mut text = String::new();
    for node in 0..cluster.nodes() {
        text.push_str(&format!("--- {}\n", cluster.name(node)));
        let log = cluster.log(node);
        let lines: Vec<_> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The next node to suffer: of those whose turn came least often, the one that answers for most.
/// By turns, because a node that fails again and again within a minute is given nothing, and so
/// would have nothing to lose.
pub fn next_victim(cluster: &Cluster, turns: &mut [usize]) -> usize {
    let mut counts = vec![0_usize; cluster.nodes()];
    for (_, who) in cluster.answering(RECENT) {
        if let Some(node) = who {
            counts[node] += 1;
        }
    }
    let nodes = 0..cluster.nodes();
    let victim = nodes.min_by_key(|node| (turns[*node], usize::MAX - counts[*node])).unwrap_or(0);
    turns[victim] += 1;
    victim
}

fn sentence(title: &str, figures: &Figures) -> String {
    let outcome = match (figures.affected, figures.lost) {
        (0, _) => "no address moved, no probe lost".to_owned(),
        (moved, 0) => format!("{} moved, no probe lost", addresses(moved)),
        (moved, lost) => format!(
            "{} affected: outage {} ms at most (median {}), {lost} probes lost",
            addresses(moved),
            milliseconds(figures.worst),
            milliseconds(figures.median)
        ),
    };
    let majority = figures.majority.map_or_else(String::new, |of| {
        let (out, two) = (milliseconds(of.worst), milliseconds(of.both_answer));
        format!("\n    in mode majority: outage {out} ms, two answered for {two} ms")
    });
    let unsettled = if figures.settled { "" } else { "; NOT SETTLED after 15 s" };
    format!(
        "* {title}: {outcome}; two answered for {} ms{unsettled}{majority}\n    answering now: {}",
        milliseconds(figures.both_answer),
        share(figures)
    )
}

fn addresses(count: usize) -> String {
    format!("{count} {}", if count == 1 { "address" } else { "addresses" })
}

fn share(figures: &Figures) -> String {
    let share = figures.answering.iter().map(|(name, count)| format!("{name} {count}"));
    share.collect::<Vec<_>>().join(", ")
}

fn summary(rows: &[(String, Figures)], plan: &Plan) -> String {
    let wide = rows.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
    let has_majority = !plan.majority.is_empty();
    let (over, head) =
        if has_majority { ("  |  majority", "  |     out  two answer") } else { ("", "") };
    let mut text = format!(
        "\nWhat the client saw (ms)\n  {:wide$}  {:>6}  {:>6}  {:>6}  {:>5}  {:>10}{over}\n  \
         {:wide$}  {:>6}  {:>6}  {:>6}  {:>5}  {:>10}{head}",
        "", "", "", "", "", "", "", "moved", "worst", "median", "lost", "two answer"
    );
    for (title, figures) in rows {
        text.push_str(&format!(
            "\n  {title:wide$}  {:>6}  {:>6}  {:>6}  {:>5}  {:>10}",
            figures.affected,
            milliseconds(figures.worst),
            milliseconds(figures.median),
            figures.lost,
            milliseconds(figures.both_answer),
        ));
        if let Some(of) = figures.majority {
            let (out, two) = (milliseconds(of.worst), milliseconds(of.both_answer));
            text.push_str(&format!("  |  {out:>6}  {two:>10}"));
        }
    }
    text.push_str(&total(rows));
    text.push_str(
        "\n\n\"two answer\" is how long a node still answered the client after another node had \
         added the address.\nIn mode availability (the default) both sides of a split serve, so \
         it is as long as the split;\n",
    );
    text.push_str(if has_majority {
        "in mode majority it must be 0 in every row, at the price of a longer outage."
    } else {
        "groups in mode majority would have 0 there, at the price of a longer outage."
    });
    text
}

/// The last row: the worst of every column, and all probes that were lost.
fn total(rows: &[(String, Figures)]) -> String {
    let wide = rows.iter().map(|(title, _)| title.len()).max().unwrap_or(0);
    let all = || rows.iter().map(|(_, figures)| figures);
    let lost: usize = all().map(|figures| figures.lost).sum();
    let worst = all().map(|figures| figures.worst).max().unwrap_or_default();
    let both = all().map(|figures| figures.both_answer).max().unwrap_or_default();
    let mut text = format!(
        "\n  {:wide$}  {:>6}  {:>6}  {:>6}  {lost:>5}  {:>10}",
        "worst, or sum of probes",
        "",
        milliseconds(worst),
        "",
        milliseconds(both),
    );
    let majority = || all().filter_map(|figures| figures.majority);
    if let (Some(out), Some(two)) =
        (majority().map(|of| of.worst).max(), majority().map(|of| of.both_answer).max())
    {
        let (out, two) = (milliseconds(out), milliseconds(two));
        text.push_str(&format!("  |  {out:>6}  {two:>10}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::experiment::Majority;
    use super::super::plan::Shape;
    use super::*;

    fn figures(lost: usize, worst: u64, both: u64) -> Figures {
        let time = Duration::from_millis;
        Figures {
            affected: usize::from(lost > 0),
            worst: time(worst),
            median: time(worst),
            lost,
            two_owners: Duration::ZERO,
            both_answer: time(both),
            by_turns: Duration::ZERO,
            answering: BTreeMap::from([("lb1".to_owned(), 7)]),
            settled: true,
            majority: Some(Majority { worst: time(81), lost: 40, both_answer: Duration::ZERO }),
        }
    }

    #[test]
    fn the_summary_ends_with_the_worst_and_what_two_answer_means() {
        let rows = [
            ("lb1 is split from the others".to_owned(), figures(0, 0, 1134)),
            ("lb1 finds the others".to_owned(), figures(9, 12, 0)),
        ];
        let text = summary(&rows, &Shape::of_the_story().plan());
        let table: Vec<&str> = text.lines().filter(|line| line.contains('|')).collect();
        assert_eq!(table.len(), 5, "{text}");
        let bars: Vec<_> = table.iter().map(|line| line.find('|')).collect();
        assert!(bars.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
        let words: Vec<&str> = table[4].split_whitespace().collect();
        assert_eq!(words[5..], ["12", "9", "1134", "|", "81", "0"], "{text}");
        assert!(text.contains("in mode majority it must be 0 in every row"), "{text}");
        let sentence = sentence("lb1 finds the others", &rows[1].1);
        assert!(sentence.contains("1 address affected: outage 12 ms at most"), "{sentence}");
        assert!(sentence.contains("in mode majority: outage 81 ms"), "{sentence}");
    }
}
