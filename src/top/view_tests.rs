//! Pictures of 80x24: golden text, what keys change, and what a hostile name cannot.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::Color;

use super::*;
use crate::control::response::{Event, Status};
use crate::top::feed::Heard;
use crate::top::now;
use crate::top::state::{Effect, Key, Screen};

const STATUS: &str = r#"{"schema":1,"cluster":"edge","node":"lb1","phase":"active","nodes":[
{"name":"lb1","state":"up","last_heard_ms":0,"draining":false,"version":"0.1.0","phase":"active",
"owns":1},{"name":"lb2","state":"up","last_heard_ms":42,"draining":true,"version":"0.1.0",
"phase":"active","owns":1,"waits":{"connections":12,"left_ms":25000}},
{"name":"lb3","state":"dead","last_heard_ms":65000,"draining":false,"version":null}],"groups":[
{"pool":"web","group":"10.77.0.100","addresses":["10.77.0.100"],"owner":"lb1","state":"owned",
"epoch":7,"since_ms":81234,"reason":"lb3 fell silent"},
{"pool":"web","group":"10.77.0.101","addresses":["10.77.0.101"],"owner":"lb2","state":"owned",
"epoch":7,"since_ms":4260,"reason":"handed over by lb1 for balance"},
{"pool":"api","group":"10.77.0.102","addresses":["10.77.0.102"],"owner":null,"state":"unowned",
"epoch":0,"since_ms":81234,"reason":"nobody has claimed it yet"}]}"#;

fn event(sentence: &str) -> Heard {
    Heard::Event(Box::new(Event {
        seq: 1,
        time: "2024-02-29T12:34:56.001Z".to_owned(),
        kind: "owner_changed".to_owned(),
        observer: "lb1".to_owned(),
        node: None,
        pool: None,
        group: None,
        from: None,
        to: None,
        epoch: Some(7),
        cause: None,
        sentence: sentence.to_owned(),
    }))
}

fn status() -> Status {
    serde_json::from_str(STATUS).expect("a status")
}

/// A screen that has heard a status at this time, and one event.
fn screen(colours: bool, at: Instant) -> Screen {
    let mut screen = Screen::new(colours);
    screen.hear(Heard::Status(Box::new(status())), at);
    screen.hear(event("10.77.0.100 moved from lb3 to lb1: lb3 fell silent"), at);
    screen
}

fn terminal(screen: &Screen, (width, height): (u16, u16), at: Instant) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, screen, at)).expect("it draws");
    terminal
}

/// What is on the screen, without the spaces at the ends of lines.
fn picture(screen: &Screen, at: Instant) -> String {
    let terminal = terminal(screen, (80, 24), at);
    let cells = terminal.backend().buffer().content();
    let line = |row: &[ratatui::buffer::Cell]| {
        let text: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", text.trim_end())
    };
    cells.chunks(80).map(line).collect()
}

fn press(screen: &mut Screen, keys: &str) -> Option<Effect> {
    let key = |letter| match letter {
        '\n' => Key::Enter,
        '\t' => Key::Tab,
        letter => Key::Letter(letter),
    };
    keys.chars().map(|letter| screen.key(key(letter))).last().flatten()
}

#[test]
fn a_picture_of_80_by_24_is_golden() {
    let at = now();
    let golden = "\
cluster edge, seen by lb1 (active)                                      1.5s old
 nodes
  NODE            STATE     PHASE       HEARD GROUPS  DRAIN            VERSION
  lb1             up        active          -      1  -                0.1.0
  lb2             up        active       1.5s      1  23s for 12       0.1.0
  lb3             dead      -             66s      0  -                -
[groups 1-3 of 3, by file]
  POOL         GROUP              OWNER           STATE     SINCE WHY
> web          10.77.0.100        lb1             owned       81s lb3 fell silen
  web          10.77.0.101        lb2             owned      4.2s handed over by
  api          10.77.0.102        -               unowned     81s nobody has cla







 events
12:34:56 owner_changed   10.77.0.100 moved from lb3 to lb1: lb3 fell silent (epo



Tab pane  / filter  s sort  p problems  e explain  d drain  u undrain  ? keys  q
";
    let shown = picture(&screen(true, at), at + Duration::from_millis(1500));
    assert_eq!(shown, golden, "\n{shown}");
}

#[test]
fn old_data_and_a_lost_daemon_are_said() {
    let at = now();
    let mut screen = screen(true, at);
    let shown = picture(&screen, at + Duration::from_secs(9));
    assert!(shown.lines().next().unwrap().ends_with("STALE, 9.0s old"), "{shown}");
    screen.hear(Heard::Lost("nobody listens".to_owned()), at);
    let shown = picture(&screen, at + Duration::from_secs(30));
    assert!(shown.starts_with("DAEMON LOST, 30s old: nobody listens"), "{shown}");
    assert!(shown.contains("10.77.0.100"), "what was known stays: {shown}");
    screen.hear(Heard::Status(Box::new(status())), at);
    assert!(picture(&screen, at).starts_with("cluster edge"));
    assert!(picture(&Screen::new(true), at).starts_with("waiting for the daemon"));
}

#[test]
fn groups_are_filtered_and_sorted() {
    let at = now();
    let mut screen = screen(true, at);
    press(&mut screen, "/api\n");
    let shown = picture(&screen, at);
    assert!(shown.contains("[groups 1-1 of 1 (3 in all), by file, with 'api']"), "{shown}");
    assert!(!shown.contains(" web "), "{shown}");
    press(&mut screen, "/");
    screen.key(Key::Escape);
    press(&mut screen, "ss");
    let first = |screen: &Screen| screen.groups()[0].group.clone();
    assert_eq!(first(&screen), "10.77.0.102", "by state");
    press(&mut screen, "s");
    assert_eq!(first(&screen), "10.77.0.101", "by last move");
    press(&mut screen, "p");
    assert_eq!(screen.groups().len(), 1);
}

#[test]
fn of_4096_groups_those_around_the_cursor_are_drawn() {
    let at = now();
    let mut screen = screen(true, at);
    let mut status = status();
    let group = status.groups[0].clone();
    let named = |number: u32| Group { group: format!("g{number}"), ..group.clone() };
    status.groups = (0..4096).map(named).collect();
    screen.hear(Heard::Status(Box::new(status)), at);
    screen.key(Key::End);
    let shown = picture(&screen, at);
    assert!(shown.contains("-4096 of 4096"), "{shown}");
    assert!(shown.contains("> web          g4095"), "{shown}");
    press(&mut screen, "e");
    assert_eq!(press(&mut screen, "e"), Some(Effect::Explain("web/g4095".to_owned())));
}

#[test]
fn a_drain_needs_the_name_of_the_node() {
    let at = now();
    let mut screen = screen(true, at);
    assert_eq!(press(&mut screen, "\t\tjd"), None);
    assert!(picture(&screen, at).contains("drain lb2? type its name, then Enter"));
    assert_eq!(press(&mut screen, "lb1\n"), None);
    assert!(picture(&screen, at).contains("'lb1' is not lb2: nothing was done"));
    let ordered = press(&mut screen, "\ndlb2\n");
    assert_eq!(ordered, Some(Effect::Drain { node: "lb2".to_owned(), on: true }));
    assert_eq!(press(&mut screen, "q"), Some(Effect::Quit));
}

#[test]
fn nothing_is_coloured_where_there_are_no_colours() {
    let at = now();
    let coloured = |colours| {
        let terminal = terminal(&screen(colours, at), (80, 24), at);
        let cells = terminal.backend().buffer().content().iter();
        cells.filter(|cell| cell.fg != Color::Reset || cell.bg != Color::Reset).count()
    };
    assert_eq!(coloured(false), 0);
    assert!(coloured(true) > 0);
}

#[test]
fn no_text_of_others_moves_the_cursor_and_no_window_is_too_small() {
    let at = now();
    let mut screen = screen(true, at);
    let mut status = status();
    status.nodes[1].version = Some("\x1b[2J\u{202e}evil\nline".to_owned());
    screen.hear(Heard::Status(Box::new(status)), at);
    screen.hear(event("\x1b]0;title\x07"), at);
    let shown = picture(&screen, at);
    assert!(shown.chars().all(|it| it == '\n' || matches!(it, ' '..='~')), "{shown:?}");
    for size in [(1, 1), (10, 3), (20, 8), (300, 100)] {
        terminal(&screen, size, at);
    }
}

#[test]
fn keys_are_those_of_the_terminal() {
    let of = |code, modifiers| Key::of(KeyEvent::new(code, modifiers));
    assert_eq!(of(KeyCode::Char('q'), KeyModifiers::NONE), Some(Key::Letter('q')));
    assert_eq!(of(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Interrupt));
    assert_eq!(of(KeyCode::Char('x'), KeyModifiers::CONTROL), None);
    assert_eq!(of(KeyCode::PageDown, KeyModifiers::NONE), Some(Key::PageDown));
    assert_eq!(of(KeyCode::F(1), KeyModifiers::NONE), None);
    assert_eq!(Screen::new(false).key(Key::Interrupt), Some(Effect::Quit));
}
