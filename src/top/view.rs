//! Draws the state, for 80 columns and 24 lines or more. Pure.
//!
//! ```text
//!  cluster, asked node                       age, or that the daemon is lost
//!  nodes    as many as there are, a third of the lines at most
//!  groups   the rest: those around the cursor
//!  events   a quarter of the lines, the newest last
//!  keys, or what is being typed
//! ```
//!
//! Whatever peers may have sent is shown as printable ASCII: no text can move the cursor.

use std::time::{Duration, Instant};

use ratatui::Frame;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::state::{Mode, Pane, Screen};
use crate::control::render;
use crate::control::response::{Group, GroupState, Node, NodeState};

/// A status older than this is marked, with a daemon that is not known to be lost too.
const STALE: Duration = Duration::from_secs(2);

/// Draws it as it stands at this time.
pub(super) fn draw(frame: &mut Frame<'_>, screen: &Screen, now: Instant) {
    let area = frame.area();
    let lines = lines(screen, (usize::from(area.width), usize::from(area.height)), now);
    frame.render_widget(Paragraph::new(lines), area);
}

fn lines(screen: &Screen, (width, height): (usize, usize), now: Instant) -> Vec<Line<'static>> {
    let age = screen.heard.map(|heard| now.saturating_duration_since(heard));
    let mut lines = vec![heading(screen, width, age)];
    let body = height.saturating_sub(2);
    if let Mode::Text { title, text } = &screen.mode {
        lines.push(title_line(title, true, width));
        lines.extend(text.lines().take(body.saturating_sub(1)).map(|it| plain(it, width)));
    } else {
        let events = body / 4;
        let nodes = (screen.nodes().len() + 2).min(body / 3);
        lines.extend(node_lines(screen, (width, nodes), age.unwrap_or_default()));
        lines.extend(group_lines(screen, (width, body.saturating_sub(events + nodes))));
        lines.extend(event_lines(screen, (width, events)));
    }
    lines.resize(height.saturating_sub(1), Line::default());
    lines.push(footer(screen, width));
    lines
}

fn heading(screen: &Screen, width: usize, age: Option<Duration>) -> Line<'static> {
    let age_text =
        age.map_or_else(|| "no data yet".to_owned(), |age| format!("{} old", short(age)));
    if let Some(lost) = &screen.lost {
        let text = format!("DAEMON LOST, {age_text}: {lost}");
        return Line::styled(fit(&text, width), alarm(screen));
    }
    let Some(status) = &screen.status else {
        return plain("waiting for the daemon", width);
    };
    let left = format!("cluster {}, seen by {} ({})", status.cluster, status.node, status.phase);
    let stale = age.is_some_and(|age| age > STALE);
    let right = if stale { format!("STALE, {age_text}") } else { age_text };
    let style = if stale { alarm(screen) } else { Style::new().add_modifier(Modifier::BOLD) };
    let left = fit(&left, width.saturating_sub(right.len() + 1));
    Line::styled(format!("{left} {right}"), style)
}

fn node_lines(
    screen: &Screen,
    (width, height): (usize, usize),
    age: Duration,
) -> Vec<Line<'static>> {
    let columns = "  NODE            STATE     PHASE       HEARD GROUPS  DRAIN            VERSION";
    let mut lines = vec![
        title_line("nodes", screen.pane == Pane::Nodes, width),
        Line::styled(fit(columns, width), Style::new().add_modifier(Modifier::DIM)),
    ];
    let asked = screen.status.as_ref().map_or("", |status| status.node.as_str());
    let (rows, cursor) = window(screen.nodes(), screen.rows[0], height.saturating_sub(2));
    for (place, node) in rows.iter().enumerate() {
        let heard = match node.last_heard_ms {
            _ if node.name == asked => "-".to_owned(),
            Some(millis) => short(Duration::from_millis(millis) + age),
            None => "never".to_owned(),
        };
        let text = format!(
            "{} {:<15} {:<9} {:<10} {heard:>6} {:>6}  {:<16} {}",
            mark(place == cursor && screen.pane == Pane::Nodes),
            node.name,
            node.state.word(),
            node.phase.as_deref().unwrap_or("-"),
            node.owns,
            drain(node, age),
            node.version.as_deref().unwrap_or("-"),
        );
        lines.push(Line::styled(fit(&text, width), node_style(screen, node)));
    }
    lines.truncate(height);
    lines
}

/// What a draining node waits for; the time that is left counts down between two statuses.
fn drain(node: &Node, age: Duration) -> String {
    match (&node.waits, node.draining) {
        (Some(waits), _) => {
            let left = short(Duration::from_millis(waits.left_ms).saturating_sub(age));
            match waits.connections {
                Some(count) => format!("{left} for {count}"),
                None => format!("{left} left"),
            }
        }
        (None, true) => "drained".to_owned(),
        (None, false) => "-".to_owned(),
    }
}

fn group_lines(screen: &Screen, (width, height): (usize, usize)) -> Vec<Line<'static>> {
    let groups = screen.groups();
    let all = screen.status.as_ref().map_or(0, |status| status.groups.len());
    let (rows, cursor) = window(&groups, screen.rows[1], height.saturating_sub(2));
    let first = screen.rows[1].min(groups.len().saturating_sub(1)).saturating_sub(cursor);
    let shown = if rows.is_empty() { 0 } else { first + 1 };
    let mut title = format!("groups {shown}-{} of {}", first + rows.len(), groups.len());
    if groups.len() != all {
        title.push_str(&format!(" ({all} in all)"));
    }
    title.push_str(&format!(", by {}", screen.sort.word()));
    if screen.problems {
        title.push_str(", problems");
    }
    if !screen.filter.is_empty() {
        title.push_str(&format!(", with '{}'", screen.filter));
    }
    let columns = "  POOL         GROUP              OWNER           STATE     SINCE WHY";
    let mut lines = vec![
        title_line(&title, screen.pane == Pane::Groups, width),
        Line::styled(fit(columns, width), Style::new().add_modifier(Modifier::DIM)),
    ];
    for (place, group) in rows.iter().enumerate() {
        let text = format!(
            "{} {} {} {} {:<8} {:>6} {}",
            mark(place == cursor && screen.pane == Pane::Groups),
            fit(&group.pool, 12),
            fit(&group.group, 18),
            fit(group.owner.as_deref().unwrap_or("-"), 15),
            group.state.word(),
            short(Duration::from_millis(group.since_ms)),
            group.reason,
        );
        lines.push(Line::styled(fit(&text, width), group_style(screen, group)));
    }
    lines.truncate(height);
    lines.resize(height, Line::default());
    lines
}

fn event_lines(screen: &Screen, (width, height): (usize, usize)) -> Vec<Line<'static>> {
    let mut lines = vec![title_line("events", screen.pane == Pane::Events, width)];
    let room = height.saturating_sub(1);
    let back = screen.rows[2].min(screen.events.len().saturating_sub(room));
    let end = screen.events.len() - back;
    let shown = screen.events.range(end.saturating_sub(room)..end);
    lines.extend(shown.map(|event| plain(&clock_first(&render::event(event)), width)));
    lines.truncate(height);
    lines
}

/// Without the date and the milliseconds, for which there is no room.
fn clock_first(line: &str) -> String {
    match (line.get(11..19), line.get(24..)) {
        (Some(time), Some(rest)) => format!("{time} {}", rest.trim()),
        _ => line.to_owned(),
    }
}

fn footer(screen: &Screen, width: usize) -> Line<'static> {
    let text = match &screen.mode {
        Mode::Browse => {
            "Tab pane  / filter  s sort  p problems  e explain  d drain  u undrain  ? keys  q quit"
                .to_owned()
        }
        Mode::Filter => format!("filter: {}_", screen.filter),
        Mode::Text { .. } => "Esc back".to_owned(),
        Mode::Confirm { node, on, typed } => {
            let order = if *on { "drain" } else { "undrain" };
            format!("{order} {node}? type its name, then Enter; Esc: no: {typed}_")
        }
    };
    Line::styled(fit(&text, width), Style::new().add_modifier(Modifier::REVERSED))
}

/// Returns the rows around the cursor that fit, and where among them the cursor is.
fn window<T>(rows: &[T], cursor: usize, height: usize) -> (&[T], usize) {
    let cursor = cursor.min(rows.len().saturating_sub(1));
    let first = cursor.saturating_sub(height.saturating_sub(1));
    let end = (first + height).min(rows.len());
    (&rows[first..end], cursor - first)
}

fn mark(here: bool) -> char {
    if here { '>' } else { ' ' }
}

fn title_line(title: &str, focused: bool, width: usize) -> Line<'static> {
    let style = if focused { Modifier::REVERSED | Modifier::BOLD } else { Modifier::BOLD };
    let text = if focused { format!("[{title}]") } else { format!(" {title}") };
    Line::styled(fit(&text, width), Style::new().add_modifier(style))
}

fn plain(text: &str, width: usize) -> Line<'static> {
    Line::raw(fit(text, width))
}

/// Returns the text in exactly so many columns, of printable ASCII.
fn fit(text: &str, width: usize) -> String {
    let printable = |letter: char| if matches!(letter, ' '..='~') { letter } else { '?' };
    let kept: String = text.chars().take(width).map(printable).collect();
    format!("{kept:<width$}")
}

/// Returns a span in six characters at most.
fn short(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..10 => format!("{}.{}s", seconds, span.subsec_millis() / 100),
        10..100 => format!("{seconds}s"),
        100..6000 => format!("{}m", seconds / 60),
        6000..360_000 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

fn coloured(screen: &Screen, colour: Color) -> Style {
    if screen.colours { Style::new().fg(colour) } else { Style::new() }
}

fn alarm(screen: &Screen) -> Style {
    coloured(screen, Color::Red).add_modifier(Modifier::REVERSED | Modifier::BOLD)
}

fn node_style(screen: &Screen, node: &Node) -> Style {
    match node.state {
        NodeState::Up if node.draining => coloured(screen, Color::Yellow),
        NodeState::Up => Style::new(),
        NodeState::Suspect | NodeState::Indirect | NodeState::Unknown => {
            coloured(screen, Color::Yellow)
        }
        NodeState::Dead | NodeState::Left => coloured(screen, Color::Red),
    }
}

fn group_style(screen: &Screen, group: &Group) -> Style {
    match group.state {
        GroupState::Owned => Style::new(),
        GroupState::Moving | GroupState::Waiting => coloured(screen, Color::Yellow),
        GroupState::Closed | GroupState::Unowned => coloured(screen, Color::Red),
    }
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
