//! Orders of operators that stand until they are ended or their time is up, and who gave them.

use std::fmt;
use std::time::Duration;

use super::identity::NodeId;

/// Longest name of a giver, in bytes: Linux allows no longer user names.
pub const GIVER_MAX: usize = 32;
/// Longest reason, in bytes.
pub const REASON_MAX: usize = 64;
/// Longest time after which an order is to end by itself: a hold that is forgotten does no harm for
/// longer than a week.
pub const STANDS_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Standing orders that a node remembers, those that are over included.
pub const STANDING_ORDERS_MAX: usize = 16;

/// A text of at most `N` bytes, without control characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text<const N: usize>([u8; N]);

impl<const N: usize> Text<N> {
    /// No text.
    pub const EMPTY: Self = Self([0; N]);

    /// Returns as many whole characters of the text as fit; control characters become spaces.
    #[must_use]
    pub fn cut(text: &str) -> Self {
        let mut bytes = [0; N];
        let mut length = 0;
        for one in text.chars().map(|one| if one.is_control() { ' ' } else { one }) {
            if length + one.len_utf8() > N {
                break;
            }
            one.encode_utf8(&mut bytes[length..]);
            length += one.len_utf8();
        }
        Self(bytes)
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(N);
        // Made of whole characters, none of them zero.
        str::from_utf8(&self.0[..length]).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), out)
    }
}

/// What a standing order is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lasting {
    /// No node hands a group over for balance or fail-back.
    Hold,
    /// This node is to own nothing. The node itself knows that it drains; the standing order says
    /// who wants it, why, and for how long.
    Drain(NodeId),
    /// An upgrade is under way; its reason says how far it is. Nothing is done because of it, but that
    /// no second one begins.
    Upgrade,
}

/// An order that stands until it is ended or its time is up. Every node knows it and tells it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StandingOrder {
    /// Drawn by the node that was asked.
    pub id: u64,
    /// What it is about.
    pub what: Lasting,
    /// The node that was asked.
    pub at: NodeId,
    /// Time after which it ends by itself, whole milliseconds; `None` if it does not.
    pub left: Option<Duration>,
    /// Whether an operator has ended it, or a later order has replaced it.
    pub ended: bool,
    /// Whether a node drains again when it hears of it after a restart of its host.
    pub persists: bool,
    /// The user who gave it.
    pub by: Text<GIVER_MAX>,
    /// Why, in the words of that user; may be empty.
    pub reason: Text<REASON_MAX>,
}

impl StandingOrder {
    /// Returns whether it is in force.
    #[must_use]
    pub const fn is_in_force(&self) -> bool {
        !self.ended && !matches!(self.left, Some(Duration::ZERO))
    }
}

/// What an operator changes about standing orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StandingChange {
    /// This stands from now on, in place of what stood for the same.
    Give {
        /// What it is about.
        what: Lasting,
        /// The user who gives it.
        by: Text<GIVER_MAX>,
        /// Why.
        reason: Text<REASON_MAX>,
        /// Whether it is carried out again after a restart of the host.
        persists: bool,
        /// How long it stands, at most [`STANDS_MAX`]; `None` until it is ended.
        lasts: Option<Duration>,
    },
    /// Whatever stands for this ends.
    End(Lasting),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_and_has_no_control_characters() {
        for (text, cut) in [
            ("", ""),
            ("kernel", "kernel"),
            ("kernel 6.1", "kernel 6"),
            ("1234567\u{e4}", "1234567"),
            ("123456\u{e4}", "123456\u{e4}"),
            ("a\nb\u{85}\0", "a b  "),
        ] {
            assert_eq!(Text::<8>::cut(text).as_str(), cut, "{text:?}");
        }
    }
}
