//! Markup and text kept apart: only what stands in this program's source is ever markup.
//!
//! Names, versions, sentences come from files, peers and servers; they pass [`Html::text`], which
//! leaves nothing that a browser takes for more than text, nor what reorders or hides text.

/// A piece of a page.
#[derive(Debug, Default)]
pub(super) struct Html(String);

impl Html {
    /// Adds markup, which must be a literal.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Adds text, within an element or within the quotes of an attribute.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        for letter in text.chars() {
            match letter {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                letter if is_shown(letter) => self.0.push(letter),
                _ => self.0.push('\u{fffd}'),
            }
        }
        self
    }

    /// Adds text for the value of a query within a link.
    pub(super) fn query(&mut self, text: &str) -> &mut Self {
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                self.0.push(char::from(byte));
            } else {
                let digit = |value: u8| char::from(b"0123456789ABCDEF"[usize::from(value)]);
                self.0.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
        }
        self
    }

    /// Adds a whole number.
    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.0.push_str(&number.to_string());
        self
    }

    /// The whole.
    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Not a control, and nothing that changes the direction of what stands beside it.
fn is_shown(letter: char) -> bool {
    let directs = ('\u{202a}'..='\u{202e}').contains(&letter)
        || ('\u{2066}'..='\u{2069}').contains(&letter)
        || ['\u{200e}', '\u{200f}', '\u{61c}', '\u{feff}'].contains(&letter);
    !letter.is_control() && !directs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        let mut html = Html::default();
        html.raw("<p title=\"")
            .text("\" onload='x'")
            .raw("\">")
            .text("<b>&\u{202e}\0\n")
            .raw("</p>");
        assert_eq!(
            html.finish(),
            "<p title=\"&quot; onload=&#39;x&#39;\">&lt;b&gt;&amp;\u{fffd}\u{fffd}\u{fffd}</p>"
        );
    }

    #[test]
    fn queries_hold_anything() {
        let mut html = Html::default();
        html.query("a b&c=\"<\u{e9}");
        assert_eq!(html.finish(), "a%20b%26c%3D%22%3C%C3%A9");
    }
}
