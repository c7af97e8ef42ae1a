//! One line: its comment taken off, and split into words, as keepalived 2.2.7 does both.
//!
//! There are two ways to split. Keywords and values: only `"` quotes, and nothing is escaped.
//! Commands (`script`, `notify...`): `"` and `'` quote, `\` escapes, and the second word is split
//! again in the same way, since it is the whole command. Pure.

/// A line without its comment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bare {
    /// What is left, without blanks around it; a `\` at the end is kept.
    pub(super) text: String,
    /// Whether a quote was not closed.
    pub(super) quote_open: bool,
}

/// Takes the comment off: `!` and `#` begin one anywhere outside of `"`, `\#` and `\!` do not.
pub(super) fn without_comment(line: &str) -> Bare {
    let mut text = String::with_capacity(line.len());
    let (mut quote, mut comment, mut goes_on) = (false, None, false);
    let mut letters = line.trim_start_matches([' ', '\t']).chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => {
                quote ^= comment.is_none();
                text.push('"');
            }
            '\\' => match letters.next() {
                None => goes_on = true,
                Some(mark @ ('#' | '!')) if !quote => text.push(mark),
                Some(other) => text.extend(['\\', other]),
            },
            '!' | '#' if !quote && comment.is_none() => comment = Some(text.len()),
            other => text.push(other),
        }
    }
    text.truncate(comment.unwrap_or(text.len()));
    text.truncate(text.trim_end_matches([' ', '\t']).len());
    if goes_on {
        text.push('\\');
    }
    Bare { text, quote_open: quote }
}

/// Splits a line into keyword and values. What follows a quote that is not closed is lost.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start_matches(BLANKS);
    while !rest.is_empty() {
        let word = if let Some(quoted) = rest.strip_prefix('"') {
            let Some((word, after)) = quoted.split_once('"') else { break };
            rest = after;
            word
        } else {
            let end = rest.find(|letter| letter == '"' || BLANKS.contains(&letter));
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            rest = after;
            word
        };
        words.push(word.to_owned());
        rest = rest.trim_start_matches(BLANKS);
    }
    words
}

const BLANKS: [char; 6] = [' ', '\t', '\u{c}', '\n', '\r', '\u{b}'];

/// The words of a command's line: keyword, command, and what else stands there; `None` if a quote
/// is not closed or nothing follows a last `\`.
pub(super) fn command_line(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut letters = line.chars().peekable();
    loop {
        while letters.next_if(|letter| BLANKS.contains(letter)).is_some() {}
        if letters.peek().is_none() {
            return Some(words);
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(letter) = letters.peek().copied() {
            if quote.is_none() && BLANKS.contains(&letter) {
                break;
            }
            letters.next();
            match (quote, letter) {
                (_, '\\') => word.push(escaped(&mut letters)?),
                (Some(open), letter) if open == letter => quote = None,
                (None, '"' | '\'') => quote = Some(letter),
                (_, letter) => word.push(letter),
            }
        }
        if quote.is_some() {
            return None;
        }
        words.push(word);
    }
}

fn escaped(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<char> {
    let letter = letters.next()?;
    Some(match letter {
        'x' if letters.peek().is_some_and(char::is_ascii_hexdigit) => number(letters, 16, 2, 0),
        'c' => char::from(u8::try_from(u32::from(letters.next()?) & 0x1f).unwrap_or_default()),
        '0'..='7' => number(letters, 8, 2, letter.to_digit(8).unwrap_or_default()),
        'a' => '\u{7}',
        'b' => '\u{8}',
        'E' => '\u{1b}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        other => other,
    })
}

fn number(
    letters: &mut std::iter::Peekable<std::str::Chars<'_>>,
    radix: u32,
    most: usize,
    mut value: u32,
) -> char {
    for _ in 0..most {
        let Some(letter) = letters.next_if(|letter| letter.is_digit(radix)) else { break };
        value = value * radix + letter.to_digit(radix).unwrap_or_default();
    }
    char::from_u32(value).unwrap_or('?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_begin_outside_of_quotes() {
        for (line, expected) in [
            ("  priority 100 # main", "priority 100"),
            ("a ! b", "a"),
            ("# all", ""),
            ("script \"/bin/a # b\" # c", "script \"/bin/a # b\""),
            ("a \\# b", "a # b"),
            ("a 'b # c'", "a 'b"),
            ("$A=one \\", "$A=one\\"),
            ("a # \"b", "a"),
            ("a # b \\", "a\\"),
            ("\t\t", ""),
        ] {
            assert_eq!(without_comment(line).text, expected, "{line}");
            assert!(!without_comment(line).quote_open, "{line}");
        }
        assert!(without_comment("script \"/bin/a").quote_open);
    }

    #[test]
    fn words_are_split_at_blanks_and_quotes() {
        for (line, expected) in [
            ("a  b\tc", vec!["a", "b", "c"]),
            ("a \"b c\" d", vec!["a", "b c", "d"]),
            ("a\"b c\"d", vec!["a", "b c", "d"]),
            ("a 'b c'", vec!["a", "'b", "c'"]),
            ("a \"b", vec!["a"]),
            ("a \"\"", vec!["a", ""]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
    }

    #[test]
    fn commands_are_split_as_a_shell_would() {
        for (line, expected) in [
            ("script \"/bin/a b\" root", vec!["script", "/bin/a b", "root"]),
            ("script '/bin/a b'", vec!["script", "/bin/a b"]),
            ("script \"/bin/a 'b c' d\"", vec!["script", "/bin/a 'b c' d"]),
            ("/bin/a 'b c'\"d e\"", vec!["/bin/a", "b cd e"]),
            ("a b\\ c \\x41\\101\\n", vec!["a", "b c", "AA\n"]),
        ] {
            assert_eq!(command_line(line).unwrap(), expected, "{line}");
        }
        assert_eq!(command_line("script \"/bin/a"), None);
        assert_eq!(command_line("script a\\"), None);
    }
}
