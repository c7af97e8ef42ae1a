//! `~SEQ(NAME, FROM, STEP, TO) text` and `~LST(NAME, a, b) text`: one line for each value.
//!
//! Pure. The forms are those of keepalived 2.2.7: `~SEQ` takes one to three numbers (`~SEQx` makes
//! hexadecimal ones), `~LST` one name, or several in braces with as many values in braces each.

use super::definitions::Definitions;

/// Values of one sequence.
const VALUES_MAX: i64 = 10_000;

/// A line for each set of values.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sequence {
    /// Names that are set before each line.
    pub(super) names: Vec<String>,
    /// Their values, one for each line.
    pub(super) values: Vec<Vec<String>>,
    /// The line.
    pub(super) text: String,
}

/// Reads a line that begins with `~SEQ` or `~LST`; `None` if it cannot be read.
pub(super) fn sequence(line: &str, definitions: &Definitions) -> Option<Sequence> {
    let rest = line.strip_prefix("~SEQ").or_else(|| line.strip_prefix("~LST"))?;
    let is_list = line.starts_with("~LST");
    let (hexadecimal, rest) = match rest.strip_prefix('x') {
        Some(rest) if !is_list => (true, rest),
        _ => (false, rest),
    };
    let (inside, text) = rest.trim_start().strip_prefix('(')?.split_once(')')?;
    let text = text.trim_start().to_owned();
    if is_list {
        return list(inside, text);
    }
    let (name, numbers) = inside.split_once(',')?;
    let numbers = format!("{})", numbers.trim());
    let numbers = definitions.replace(&numbers).ok()?.map_or(numbers, |it| it.text);
    let numbers: Option<Vec<i64>> = numbers.trim_end_matches(')').split(',').map(number).collect();
    let (from, step, to) = match numbers?.as_slice() {
        [to] => (if *to < 0 { -1 } else { 1 }, if *to < 1 { -1 } else { 1 }, *to),
        [from, to] => (*from, if from <= to { 1 } else { -1 }, *to),
        [from, step, to] => (*from, *step, *to),
        _ => return None,
    };
    let away = step == 0 || (from < to && step < 0) || (from > to && step > 0);
    if away || (to - from) / step > VALUES_MAX || (hexadecimal && (from < 0 || to < 0)) {
        return None;
    }
    let count = (to - from) / step;
    let shown = |number: i64| if hexadecimal { format!("{number:x}") } else { number.to_string() };
    let values = (0..=count).map(|index| vec![shown(from + index * step)]).collect();
    Some(Sequence { names: vec![name.trim().to_owned()], values, text })
}

fn number(text: &str) -> Option<i64> {
    let text = text.trim();
    let number = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16).ok()?,
        None => text.parse().ok()?,
    };
    (number.abs() <= i64::from(u32::MAX)).then_some(number)
}

fn list(inside: &str, text: String) -> Option<Sequence> {
    let (names, mut rest) = group(inside.trim())?;
    let mut values = Vec::new();
    while let Some(after) = rest.trim_start().strip_prefix(',') {
        let (mut set, after) = group(after.trim_start())?;
        if set.len() > names.len() {
            return None;
        }
        set.resize(names.len(), String::new());
        values.push(set);
        rest = after;
    }
    let all = rest.trim().is_empty() && !values.is_empty();
    all.then_some(Sequence { names, values, text })
}

/// `{a, b}` or a single word, and what follows it.
fn group(text: &str) -> Option<(Vec<String>, &str)> {
    let words = |inner: &str| inner.split(',').map(|word| word.trim().to_owned()).collect();
    match text.strip_prefix('{') {
        Some(inner) => inner.split_once('}').map(|(inner, rest)| (words(inner), rest)),
        None => {
            let (word, rest) = text.split_at(text.find(',').unwrap_or(text.len()));
            Some((vec![word.trim().to_owned()], rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<String> {
        let mut definitions = Definitions::default();
        definitions.set("N", "3");
        let it = sequence(line, &definitions)?;
        let values: Vec<String> = it.values.iter().map(|set| set.join("/")).collect();
        Some(format!("{} = {}: {}", it.names.join("/"), values.join(" "), it.text))
    }

    #[test]
    fn sequences_have_the_values_of_keepalived() {
        for (line, expected) in [
            ("~SEQ(I, 1, 3) 192.0.2.$I", Some("I = 1 2 3: 192.0.2.$I")),
            ("~SEQ(I, 3) x", Some("I = 1 2 3: x")),
            ("~SEQ(I, 9, -4, 1) x", Some("I = 9 5 1: x")),
            ("~SEQ(I, 1, $N) x", Some("I = 1 2 3: x")),
            ("~SEQx(I, 9, 11) x", Some("I = 9 a b: x")),
            ("~LST(A, one, two) $A", Some("A = one two: $A")),
            ("~LST({A, B}, {1, 2}, {3}) $A", Some("A/B = 1/2 3/: $A")),
            ("~SEQ(I, 1, -1, 3) x", None),
            ("~SEQ(I, 1, 9999999) x", None),
            ("~SEQ(I) x", None),
            ("~SEQ I 1 2", None),
            ("~LST(A) x", None),
        ] {
            assert_eq!(read(line).as_deref(), expected, "{line}");
        }
    }
}
