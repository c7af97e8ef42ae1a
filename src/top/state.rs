//! What is on the screen, and what keys do. Pure: no clock, no terminal, no daemon.
//!
//! ```text
//!  Browse -- / --> Filter -- Enter, Esc --> Browse
//!  Browse -- e, ? --> Text -- any of q Esc Enter --> Browse
//!  Browse -- d, u --> Confirm -- the node's name, Enter --> (effect) Browse
//! ```
//!
//! The tables are drawn from the last status, sorted and filtered when they are drawn: a selected row
//! is kept by its number, which a status of other groups cannot make invalid.

use std::collections::VecDeque;
use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::feed::Heard;
use crate::control::response::{Event, Group, Node, Status};
use crate::control::selection::is_problem;

/// Events kept for the third pane.
const EVENTS_MAX: usize = 1000;
/// Longest filter or name that can be typed.
const TYPED_MAX: usize = 64;
/// Rows that the page keys move.
const PAGE: usize = 10;

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A letter, digit or sign.
    Letter(char),
    /// The next pane.
    Tab,
    /// A row up.
    Up,
    /// A row down.
    Down,
    /// Some rows up.
    PageUp,
    /// Some rows down.
    PageDown,
    /// The first row.
    Home,
    /// The last row.
    End,
    /// What is typed is complete.
    Enter,
    /// Back.
    Escape,
    /// The last letter was wrong.
    Backspace,
    /// Control and c.
    Interrupt,
}

/// Those that are not letters.
const KEYS: [(KeyCode, Key); 10] = [
    (KeyCode::Tab, Key::Tab),
    (KeyCode::Up, Key::Up),
    (KeyCode::Down, Key::Down),
    (KeyCode::PageUp, Key::PageUp),
    (KeyCode::PageDown, Key::PageDown),
    (KeyCode::Home, Key::Home),
    (KeyCode::End, Key::End),
    (KeyCode::Enter, Key::Enter),
    (KeyCode::Esc, Key::Escape),
    (KeyCode::Backspace, Key::Backspace),
];

impl Key {
    /// From what the terminal says; `None` for what means nothing.
    pub(super) fn of(key: KeyEvent) -> Option<Self> {
        if let KeyCode::Char(letter) = key.code {
            let control = key.modifiers.contains(KeyModifiers::CONTROL);
            return match (control, letter) {
                (false, letter) => Some(Self::Letter(letter)),
                (true, 'c') => Some(Self::Interrupt),
                (true, _) => None,
            };
        }
        KEYS.iter().find(|(code, _)| *code == key.code).map(|(_, key)| *key)
    }
}

/// What the daemon is to be asked, or that the view ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Why this group, as POOL/NAME, is where it is.
    Explain(String),
    /// A node drains, or owns groups again.
    Drain {
        /// The node.
        node: String,
        /// Whether it drains.
        on: bool,
    },
    /// The view ends.
    Quit,
}

/// Which pane has the cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pane {
    /// The nodes.
    Nodes,
    /// The groups.
    Groups,
    /// The events.
    Events,
}

/// By what groups are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// The order of the file.
    File,
    /// The name of the owner.
    Owner,
    /// How they stand, those that are not owned first.
    State,
    /// The one that moved last first.
    Since,
}

impl Sort {
    /// As it is shown.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Owner => "owner",
            Self::State => "state",
            Self::Since => "last move",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::File => Self::Owner,
            Self::Owner => Self::State,
            Self::State => Self::Since,
            Self::Since => Self::File,
        }
    }
}

/// What keys mean now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// They move and order.
    Browse,
    /// They are typed into the filter.
    Filter,
    /// A text is shown.
    Text {
        /// Its heading.
        title: String,
        /// Its lines.
        text: String,
    },
    /// The name of a node is typed, to confirm an order.
    Confirm {
        /// The node.
        node: String,
        /// Whether it is to drain.
        on: bool,
        /// What has been typed.
        typed: String,
    },
}

/// The whole state.
#[derive(Debug)]
pub(super) struct Screen {
    /// Whether colours may be used.
    pub(super) colours: bool,
    /// The last status.
    pub(super) status: Option<Status>,
    /// When that came.
    pub(super) heard: Option<Instant>,
    /// Why the daemon cannot be asked.
    pub(super) lost: Option<String>,
    /// The newest is the last.
    pub(super) events: VecDeque<Event>,
    /// Which pane has the cursor.
    pub(super) pane: Pane,
    /// The row of the cursor in each pane; of the events, from the newest.
    pub(super) rows: [usize; 3],
    /// By what groups are sorted.
    pub(super) sort: Sort,
    /// Groups whose pool, name, address, owner or state contains it.
    pub(super) filter: String,
    /// Whether only groups with problems are shown.
    pub(super) problems: bool,
    /// What keys mean.
    pub(super) mode: Mode,
}

const HELP: &str = "\
Tab       the next pane
up, down  also j and k, page keys, Home, End
s         sort groups by file, owner, state, last move
/         show groups that contain a text: pool, name, address, owner, state
p         show groups with problems only
e         explain the selected group
d, u      drain the selected node; let it own groups again (the node's name confirms)
q         quit
";

impl Screen {
    /// Nothing is known yet.
    pub(super) fn new(colours: bool) -> Self {
        Self {
            colours,
            status: None,
            heard: None,
            lost: None,
            events: VecDeque::new(),
            pane: Pane::Groups,
            rows: [0; 3],
            sort: Sort::File,
            filter: String::new(),
            problems: false,
            mode: Mode::Browse,
        }
    }

    /// Takes what a thread has heard at this time.
    pub(super) fn hear(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Status(status) => {
                self.status = Some(*status);
                self.heard = Some(now);
                self.lost = None;
            }
            Heard::Event(event) => {
                if self.events.len() == EVENTS_MAX {
                    self.events.pop_front();
                }
                self.events.push_back(*event);
            }
            Heard::Lost(why) => self.lost = Some(why),
            Heard::Answer(title, text) => self.mode = Mode::Text { title, text },
        }
    }

    /// Returns the groups to show, filtered and sorted.
    pub(super) fn groups(&self) -> Vec<&Group> {
        let all = self.status.iter().flat_map(|status| &status.groups);
        let wanted =
            |group: &&Group| (!self.problems || is_problem(group)) && contains(group, &self.filter);
        let mut groups: Vec<&Group> = all.filter(wanted).collect();
        match self.sort {
            Sort::File => {}
            Sort::Owner => groups.sort_by(|a, b| a.owner.cmp(&b.owner)),
            Sort::State => groups.sort_by_key(|group| !is_problem(group)),
            Sort::Since => groups.sort_by_key(|group| group.since_ms),
        }
        groups
    }

    /// Returns the nodes, in the order of the file.
    pub(super) fn nodes(&self) -> &[Node] {
        self.status.as_ref().map_or(&[], |status| &status.nodes)
    }

    /// Takes a key; returns what is to be done outside.
    pub(super) fn key(&mut self, key: Key) -> Option<Effect> {
        if key == Key::Interrupt {
            return Some(Effect::Quit);
        }
        match std::mem::replace(&mut self.mode, Mode::Browse) {
            Mode::Browse => self.browse(key),
            Mode::Text { title, text } => {
                if !matches!(key, Key::Escape | Key::Enter | Key::Letter('q')) {
                    self.mode = Mode::Text { title, text };
                }
                None
            }
            Mode::Filter => {
                if key == Key::Escape {
                    self.filter.clear();
                } else if key != Key::Enter {
                    type_into(&mut self.filter, key);
                    self.mode = Mode::Filter;
                }
                None
            }
            Mode::Confirm { node, on, typed } => self.confirm(key, (node, on), typed),
        }
    }

    fn confirm(
        &mut self,
        key: Key,
        (node, on): (String, bool),
        mut typed: String,
    ) -> Option<Effect> {
        if key == Key::Escape {
            return None;
        }
        if key != Key::Enter {
            type_into(&mut typed, key);
            self.mode = Mode::Confirm { node, on, typed };
            return None;
        }
        if typed == node {
            return Some(Effect::Drain { node, on });
        }
        let text = format!("'{typed}' is not {node}: nothing was done\n");
        self.mode = Mode::Text { title: "not confirmed".to_owned(), text };
        None
    }

    fn browse(&mut self, key: Key) -> Option<Effect> {
        match key {
            Key::Letter('q') => return Some(Effect::Quit),
            Key::Tab => {
                self.pane = match self.pane {
                    Pane::Nodes => Pane::Groups,
                    Pane::Groups => Pane::Events,
                    Pane::Events => Pane::Nodes,
                };
            }
            Key::Letter('s') => self.sort = self.sort.next(),
            Key::Letter('p') => self.problems = !self.problems,
            Key::Letter('/') => self.mode = Mode::Filter,
            Key::Escape => self.filter.clear(),
            Key::Letter('?') => {
                self.mode = Mode::Text { title: "keys".to_owned(), text: HELP.to_owned() };
            }
            Key::Letter('e') => {
                let groups = self.groups();
                let row = self.rows[Pane::Groups as usize].min(groups.len().saturating_sub(1));
                let group = groups.get(row)?;
                return Some(Effect::Explain(format!("{}/{}", group.pool, group.group)));
            }
            Key::Letter(letter @ ('d' | 'u')) => {
                let nodes = self.nodes();
                let row = self.rows[Pane::Nodes as usize].min(nodes.len().saturating_sub(1));
                let node = nodes.get(row)?.name.clone();
                self.mode = Mode::Confirm { node, on: letter == 'd', typed: String::new() };
            }
            Key::Up | Key::Letter('k') => self.step(|at, _| at.saturating_sub(1)),
            Key::Down | Key::Letter('j') => self.step(|at, _| at + 1),
            Key::PageUp => self.step(|at, _| at.saturating_sub(PAGE)),
            Key::PageDown => self.step(|at, _| at + PAGE),
            Key::Home => self.step(|_, _| 0),
            Key::End => self.step(|_, last| last),
            Key::Letter(_) | Key::Enter | Key::Backspace | Key::Interrupt => {}
        }
        None
    }

    /// Moves the cursor of the present pane, within its rows.
    fn step(&mut self, to: impl FnOnce(usize, usize) -> usize) {
        let rows = match self.pane {
            Pane::Nodes => self.nodes().len(),
            Pane::Groups => self.groups().len(),
            Pane::Events => self.events.len(),
        };
        let last = rows.saturating_sub(1);
        let row = &mut self.rows[self.pane as usize];
        *row = to((*row).min(last), last).min(last);
    }
}

fn type_into(text: &mut String, key: Key) {
    if key == Key::Backspace {
        text.pop();
    } else if let Key::Letter(letter) = key
        && text.len() < TYPED_MAX
        && letter.is_ascii_graphic()
    {
        text.push(letter);
    }
}

fn contains(group: &Group, filter: &str) -> bool {
    filter.is_empty()
        || group.pool.contains(filter)
        || group.group.contains(filter)
        || group.state.word().contains(filter)
        || group.owner.as_ref().is_some_and(|owner| owner.contains(filter))
        || group.addresses.iter().any(|address| address.contains(filter))
}
