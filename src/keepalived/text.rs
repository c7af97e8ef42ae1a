//! Tables of a `buoy.toml` as text, each line with the lines that it came from.

use super::source::Place;

/// A table, or one that is written as a comment.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// `[cluster]`, `[[pool]]`.
    pub(super) header: &'static str,
    /// Comments above it.
    pub(super) comments: Vec<String>,
    /// Its lines.
    pub(super) rows: Vec<Row>,
    /// Whether all of it is a comment.
    pub(super) off: bool,
}

/// `key = value  # from`.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: String,
    /// As TOML.
    pub(super) value: String,
    /// What is written behind it.
    pub(super) from: String,
}

impl Table {
    /// A table without lines.
    pub(super) fn new(header: &'static str) -> Self {
        Self { header, ..Self::default() }
    }

    /// Adds a line that came from somewhere.
    pub(super) fn add(&mut self, key: &str, value: String, from: &[&Place]) {
        self.explain(key, value, shown(from));
    }

    /// Adds a line with a remark.
    pub(super) fn explain(&mut self, key: &str, value: String, from: impl Into<String>) {
        self.rows.push(Row { key: key.to_owned(), value, from: from.into() });
    }

    fn write(&self, text: &mut String) {
        let mark = if self.off { "# " } else { "" };
        for comment in &self.comments {
            text.push_str(&format!("# {}\n", plain(comment)));
        }
        text.push_str(&format!("{mark}{}\n", self.header));
        for Row { key, value, from } in &self.rows {
            text.push_str(&format!("{mark}{key} = {value}"));
            if !from.is_empty() {
                text.push_str(&format!("  # {}", plain(from)));
            }
            text.push('\n');
        }
    }
}

/// All tables, with an empty line between two.
pub(super) fn write(head: &[String], tables: &[Table]) -> String {
    let mut text = String::new();
    for line in head {
        text.push_str(&format!("# {}\n", plain(line)));
    }
    for table in tables {
        text.push('\n');
        table.write(&mut text);
    }
    text
}

/// Places for a comment: at most three, since they are many for a large cluster.
fn shown(places: &[&Place]) -> String {
    let mut words: Vec<String> = Vec::new();
    for place in places {
        let word = place.to_string();
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let more = words.len().saturating_sub(3);
    words.truncate(3);
    let end = if more > 0 { format!(" and {more} more") } else { String::new() };
    words.join(", ") + &end
}

/// A comment ends at its line, and TOML has no control characters in it.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// A string of TOML.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            letter if letter.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(letter)));
            }
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// A list of strings.
pub(super) fn list<T: ToString>(words: &[T]) -> String {
    let words: Vec<String> = words.iter().map(|word| quoted(&word.to_string())).collect();
    format!("[{}]", words.join(", "))
}

/// A name as buoy takes it: other characters become `-`.
pub(super) fn name(text: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._-:".contains(letter);
    let name: String =
        text.chars().map(|letter| if allowed(letter) { letter } else { '-' }).take(63).collect();
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_those_of_toml() {
        for text in ["plain", "a \"b\" \\ c", "tab\tand\nline", "\u{e9}\u{1b}"] {
            let table: toml::Table = format!("key = {}", quoted(text)).parse().unwrap();
            assert_eq!(table["key"].as_str(), Some(text));
        }
        assert_eq!(name("VI 1 (front)"), "VI-1--front-");
    }
}
