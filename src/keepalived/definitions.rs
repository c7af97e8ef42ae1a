//! `$NAME=value`, and what becomes of `$NAME`: the rules of keepalived 2.2.7 (`lib/parser.c`).
//!
//! ```text
//!  $V=192.0.2      a definition: no blank before "="; a blank makes it an unknown keyword
//!  $V  ${V}        replaced; $V only before blank, tab, "," ")" or the end of the line
//!  $V/24           stays as it is, ${V}/24 does not
//!  $B=one \        a value of several lines, replaced at the end of a line only
//! ```
//!
//! Pure. What is replaced is looked at again, so that values may name other definitions.

use std::collections::BTreeMap;

/// Replacements in one line: a definition that names itself would never end.
const REPLACEMENTS_MAX: usize = 100;
/// Bytes of a line for keepalived (`MAXBUF`).
pub(super) const LINE_MAX: usize = 1023;

/// Values by name.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    values: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default)]
struct Value {
    lines: Vec<String>,
    several: bool,
}

/// A line in which something was replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replaced {
    /// The line.
    pub(super) text: String,
    /// Lines that follow it, of a value of several lines.
    pub(super) more: Vec<String>,
}

impl Definitions {
    /// Those that keepalived has itself, for `-i id`.
    pub(super) fn standard(id: Option<&str>) -> Self {
        let mut these = Self::default();
        these.set("_HASH", "#");
        these.set("_BANG", "!");
        these.set("_INSTANCE", id.unwrap_or_default());
        these
    }

    /// Sets a value of one line.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        let value = Value { lines: vec![value.to_owned()], several: false };
        self.values.insert(name.to_owned(), value);
    }

    /// Sets a value of several lines.
    pub(super) fn set_lines(&mut self, name: &str, lines: Vec<String>) {
        self.values.insert(name.to_owned(), Value { lines, several: true });
    }

    /// Replaces what is defined; `None` if nothing is. `Err` if there is no end to it.
    pub(super) fn replace(&self, line: &str) -> Result<Option<Replaced>, Endless> {
        let mut text = line.to_owned();
        let mut more = Vec::new();
        let (mut from, mut count) = (0, 0);
        while let Some(at) = text.get(from..).and_then(|rest| rest.find('$')).map(|at| from + at) {
            let Some((length, value)) = self.look_up(text.get(at + 1..).unwrap_or_default()) else {
                from = at + 1;
                continue;
            };
            count += 1;
            let first = value.lines.first().map_or("", String::as_str);
            let begins_sequence = first.trim_start().starts_with('~');
            text.replace_range(at..=at + length, first);
            if value.several {
                more.splice(0..0, value.lines.iter().skip(1).cloned());
            }
            if count > REPLACEMENTS_MAX || text.len() > LINE_MAX {
                return Err(Endless);
            }
            if begins_sequence {
                break;
            }
            from = at;
        }
        Ok((count > 0).then_some(Replaced { text, more }))
    }

    /// The definition that a text names, and how many bytes of it do so.
    fn look_up(&self, text: &str) -> Option<(usize, &Value)> {
        let inner = text.strip_prefix('{');
        let name = identifier(inner.unwrap_or(text))?;
        let (rest, length) = match inner {
            Some(inner) => {
                let rest = inner.get(name.len()..)?.strip_prefix('}')?;
                (rest, name.len() + 2)
            }
            None => (text.get(name.len()..)?, name.len()),
        };
        if inner.is_none() && !rest.is_empty() && !rest.starts_with([' ', '\t', ',', ')']) {
            return None;
        }
        let value = self.values.get(name)?;
        (!value.several || rest.is_empty()).then_some((length, value))
    }
}

/// Definitions name each other in a circle, or make a line longer than keepalived's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endless;

/// The name and the value of a line that is a definition.
pub(super) fn definition(line: &str) -> Option<(&str, &str)> {
    let rest = line.strip_prefix('$')?;
    let name = identifier(rest)?;
    let value = rest.get(name.len()..)?.strip_prefix('=')?;
    Some((name, value.trim_start_matches([' ', '\t'])))
}

/// Names that a line uses and that nothing defines.
pub(super) fn undefined(line: &str) -> Option<&str> {
    let rest = line.split_once('$')?.1;
    identifier(rest.strip_prefix('{').unwrap_or(rest))
}

fn identifier(text: &str) -> Option<&str> {
    let first = text.bytes().next()?;
    if !first.is_ascii_alphabetic() && first != b'_' {
        return None;
    }
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    text.get(..end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(line: &str) -> String {
        let mut these = Definitions::standard(Some("lb1"));
        these.set("V", "192.0.2");
        these.set("W", "$V");
        these.set("LOOP", "x $LOOP");
        these.set_lines("B", vec!["one".to_owned(), "two $V".to_owned()]);
        match these.replace(line) {
            Err(Endless) => "endless".to_owned(),
            Ok(None) => "unchanged".to_owned(),
            Ok(Some(it)) if it.more.is_empty() => it.text,
            Ok(Some(it)) => format!("{}|{}", it.text, it.more.join("|")),
        }
    }

    #[test]
    fn names_are_replaced_where_keepalived_does() {
        for (line, expected) in [
            ("a $V", "a 192.0.2"),
            ("a $V b", "a 192.0.2 b"),
            ("$V,$V)", "192.0.2,192.0.2)"),
            ("$V/24", "unchanged"),
            ("$V.100", "unchanged"),
            ("${V}.100/24", "192.0.2.100/24"),
            ("\"$V\"", "unchanged"),
            ("$W x", "192.0.2 x"),
            ("$NONE ${NONE}", "unchanged"),
            ("costs $", "unchanged"),
            ("router_id ${_INSTANCE}", "router_id lb1"),
            ("$B", "one|two $V"),
            ("x $B", "x one|two $V"),
            ("$B x", "unchanged"),
            ("$LOOP", "endless"),
        ] {
            assert_eq!(replaced(line), expected, "{line}");
        }
    }

    #[test]
    fn a_definition_has_no_blank_before_its_sign() {
        assert_eq!(definition("$A=b c"), Some(("A", "b c")));
        assert_eq!(definition("$A= b"), Some(("A", "b")));
        assert_eq!(definition("$_a1=\\"), Some(("_a1", "\\")));
        for line in ["$A =b", "$1=b", "A=b", "$A", "$=b"] {
            assert_eq!(definition(line), None, "{line}");
        }
    }
}
