//! Who owned a group in the last hour, drawn: one strip, a colour for each node.
//!
//! Colours are those of Okabe and Ito, told apart by people who see few colours, and each piece
//! has its words. What happened while the daemon did not answer is not known and drawn so.

use super::history::{Absence, SPAN, Stay};
use super::html::Html;

/// Colours there are in the style.
const COLOURS: usize = 8;
/// Width of the drawing: a unit is six seconds.
const WIDTH: u64 = 600;
/// A stay that is shorter is still seen.
const WIDTH_MIN: u64 = 2;

/// The class for the colour of a node; of one that is not listed, none.
pub(super) fn colour(nodes: &[&str], node: &str) -> &'static str {
    const CLASSES: [&str; COLOURS] = ["o0", "o1", "o2", "o3", "o4", "o5", "o6", "o7"];
    let place = nodes.iter().position(|known| *known == node);
    place.map_or("o9", |place| CLASSES[place % COLOURS])
}

/// Draws the strip of one group.
pub(super) fn draw(
    html: &mut Html,
    now: u64,
    nodes: &[&str],
    stays: &[Stay<'_>],
    absences: &[Absence],
) {
    html.raw(r#"<svg class="strip" viewBox="0 0 600 16" preserveAspectRatio="none" role="img">"#);
    html.raw("<title>owners in the last hour</title>");
    for stay in stays {
        let Some(owner) = stay.owner else { continue };
        piece(html, now, (stay.from, stay.to), colour(nodes, owner));
        html.text(owner).raw(" for ").text(&words(stay.to - stay.from));
        html.raw(", until ").text(&words(now.saturating_sub(stay.to))).raw(" ago</title></rect>");
    }
    for absence in absences {
        let to = absence.to.unwrap_or(now);
        if to + SPAN.as_secs() * 1000 > now {
            piece(html, now, (absence.from, to), "away");
            html.raw("not known: the daemon did not answer for ");
            html.text(&words(to.saturating_sub(absence.from))).raw("</title></rect>");
        }
    }
    html.raw("</svg>");
}

/// Begins a piece and its words.
fn piece(html: &mut Html, now: u64, (from, to): (u64, u64), class: &'static str) {
    let span = SPAN.as_secs() * 1000;
    let begin = now.saturating_sub(span);
    let at = |time: u64| time.saturating_sub(begin).min(span) * WIDTH / span;
    let width = at(to).saturating_sub(at(from)).max(WIDTH_MIN);
    html.raw(r#"<rect y="0" height="16" x=""#).number(at(from).min(WIDTH - WIDTH_MIN));
    html.raw(r#"" width=""#).number(width).raw(r#"" class=""#).raw(class).raw(r#""><title>"#);
}

/// A length of time, as people say it.
pub(super) fn words(millis: u64) -> String {
    let seconds = millis / 1000;
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, _) if millis < 10_000 => format!("{}.{} s", seconds, millis % 1000 / 100),
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_709_213_696_000;

    #[test]
    fn a_strip_has_its_golden_drawing() {
        let stays = [
            Stay { from: NOW - 3_600_000, to: NOW - 1_800_000, owner: Some("lb2") },
            Stay { from: NOW - 1_800_000, to: NOW - 1_799_000, owner: None },
            Stay { from: NOW - 1_799_000, to: NOW, owner: Some("<b>") },
        ];
        let absences = [
            Absence { from: NOW - 8_000_000, to: Some(NOW - 7_000_000) },
            Absence { from: NOW - 1000, to: None },
        ];
        let mut html = Html::default();
        draw(&mut html, NOW, &["lb1", "lb2"], &stays, &absences);
        let golden = concat!(
            r#"<svg class="strip" viewBox="0 0 600 16" preserveAspectRatio="none" role="img">"#,
            "<title>owners in the last hour</title>",
            r#"<rect y="0" height="16" x="0" width="300" class="o1"><title>"#,
            "lb2 for 30 min 0 s, until 30 min 0 s ago</title></rect>",
            r#"<rect y="0" height="16" x="300" width="300" class="o9"><title>"#,
            "&lt;b&gt; for 29 min 59 s, until 0.0 s ago</title></rect>",
            r#"<rect y="0" height="16" x="598" width="2" class="away"><title>"#,
            "not known: the daemon did not answer for 1.0 s</title></rect></svg>",
        );
        assert_eq!(html.finish(), golden);
    }

    #[test]
    fn lengths_are_said_as_people_say_them() {
        for (millis, said) in [
            (0, "0.0 s"),
            (9_940, "9.9 s"),
            (10_000, "10 s"),
            (61_000, "1 min 1 s"),
            (3_660_000, "1 h 1 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(words(millis), said);
        }
    }
}
