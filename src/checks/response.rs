//! What a server answered: the head of an HTTP/1.x response, and its body as far as it is wanted.
//! Pure.
//!
//! Strict, because a check must not pass by luck: a line that is no HTTP, a header without a name,
//! a chunk whose length is no number is nonsense and told as such. Whatever is longer than its
//! limit is told as that. Nothing here reads; the caller gives what it has, then more.

use std::fmt;

/// Bytes of the head; servers refuse longer ones in requests as well.
pub(super) const HEAD_MAX: usize = 16 * 1024;
/// Bytes of the body that are looked at.
pub(super) const BODY_MAX: usize = 64 * 1024;
/// Headers of one response.
const HEADERS_MAX: usize = 128;

/// What is wrong with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Nonsense {
    /// It does not begin as HTTP does.
    NotHttp,
    /// A header is none.
    Header,
    /// A chunk of the body is none.
    Chunk,
    /// The head does not end.
    HeadTooLong,
}

impl fmt::Display for Nonsense {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHttp => out.write_str("the answer is not HTTP"),
            Self::Header => out.write_str("the answer has a malformed header"),
            Self::Chunk => out.write_str("the answer has a malformed chunk"),
            Self::HeadTooLong => write!(out, "the answer's head is longer than {HEAD_MAX} bytes"),
        }
    }
}

/// A head that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// 100 to 599.
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    /// Where the body begins.
    pub(super) length: usize,
}

impl Head {
    /// Reads the head at the beginning of these bytes; `None` if it is not complete.
    pub(super) fn read(bytes: &[u8]) -> Result<Option<Self>, Nonsense> {
        let begins_well = |start: &[u8]| bytes.iter().zip(start).all(|(is, due)| is == due);
        if !begins_well(b"HTTP/1.") {
            return Err(Nonsense::NotHttp);
        }
        let Some(length) = end_of_head(bytes) else {
            let long = bytes.len() >= HEAD_MAX;
            return if long { Err(Nonsense::HeadTooLong) } else { Ok(None) };
        };
        // Latin-1 is allowed in values; what is not ASCII is only compared.
        let text = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
        let mut lines = text.split('\n').map(|line| line.trim_end_matches('\r'));
        let status = status(lines.next().unwrap_or_default())?;
        let mut headers = Vec::new();
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or(Nonsense::Header)?;
            let named = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_graphic());
            if !named || headers.len() == HEADERS_MAX {
                return Err(Nonsense::Header);
            }
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Some(Self { status, headers, length }))
    }

    /// Values of a header, whose name has no capitals.
    pub(super) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.headers.iter().filter(move |(is, _)| is.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// What is there of the body, and whether that is all of it.
    pub(super) fn body(&self, bytes: &[u8]) -> Result<(Vec<u8>, bool), Nonsense> {
        let raw = bytes.get(self.length..).unwrap_or_default();
        let chunked = self
            .values("transfer-encoding")
            .any(|coding| coding.to_ascii_lowercase().ends_with("chunked"));
        if chunked {
            return unchunk(raw);
        }
        let length = self.values("content-length").next().and_then(|text| text.parse().ok());
        let whole = length.is_some_and(|length: usize| raw.len() >= length);
        let end = length.unwrap_or(raw.len()).min(raw.len());
        Ok((raw.get(..end).unwrap_or_default().to_vec(), whole))
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let within = bytes.get(..HEAD_MAX).unwrap_or(bytes);
    let long = within.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    let short = within.windows(2).position(|two| two == b"\n\n").map(|at| at + 2);
    long.into_iter().chain(short).min()
}

fn status(line: &str) -> Result<u16, Nonsense> {
    let rest = line.strip_prefix("HTTP/1.0 ").or_else(|| line.strip_prefix("HTTP/1.1 "));
    let code = rest.and_then(|rest| rest.split(' ').next()).filter(|code| code.len() == 3);
    let code = code.and_then(|code| code.parse().ok()).filter(|code| (100..=599).contains(code));
    code.ok_or(Nonsense::NotHttp)
}

/// Takes the chunks out of their wrapping (RFC 9112 7.1); trailers are not looked at.
fn unchunk(mut raw: &[u8]) -> Result<(Vec<u8>, bool), Nonsense> {
    /// Sixteen digits and some extension.
    const LINE_MAX: usize = 256;
    let mut body = Vec::new();
    loop {
        let Some(end) = raw.iter().position(|byte| *byte == b'\n') else {
            return if raw.len() > LINE_MAX { Err(Nonsense::Chunk) } else { Ok((body, false)) };
        };
        let line = raw.get(..end).unwrap_or_default();
        let line = std::str::from_utf8(line).map_err(|_| Nonsense::Chunk)?.trim();
        let digits = line.split(';').next().unwrap_or_default().trim();
        let length = usize::from_str_radix(digits, 16).map_err(|_| Nonsense::Chunk)?;
        raw = raw.get(end + 1..).unwrap_or_default();
        if length == 0 {
            return Ok((body, true));
        }
        let chunk = raw.get(..length.min(raw.len())).unwrap_or_default();
        body.extend_from_slice(chunk);
        if chunk.len() < length {
            return Ok((body, false));
        }
        raw = raw.get(length..).unwrap_or_default();
        raw = match raw {
            [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
            [] | [b'\r'] => return Ok((body, false)),
            [_, ..] => return Err(Nonsense::Chunk),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        Head::read(text.as_bytes()).unwrap().unwrap()
    }

    #[test]
    fn heads_are_read_whole_or_not_at_all() {
        let text = "HTTP/1.1 204 No Content\r\nX-Role:  active \r\nx-role: b\r\n\r\nrest";
        let whole = head(text);
        assert_eq!(whole.status, 204);
        assert_eq!(whole.values("x-role").collect::<Vec<_>>(), ["active", "b"]);
        assert_eq!(&text[whole.length..], "rest");
        for length in 0..text.len() - 4 {
            assert_eq!(Head::read(&text.as_bytes()[..length]), Ok(None), "cut to {length}");
        }
        assert_eq!(head("HTTP/1.0 200 OK\nA: b\n\n").values("a").next(), Some("b"));
    }

    #[test]
    fn nonsense_is_told() {
        let cases = [
            ("SSH-2.0-OpenSSH_9.6\r\n", Nonsense::NotHttp),
            ("HTTP/2 200\r\n\r\n", Nonsense::NotHttp),
            ("HTTP/1.1 20 OK\r\n\r\n", Nonsense::NotHttp),
            ("HTTP/1.1 999 OK\r\n\r\n", Nonsense::NotHttp),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", Nonsense::Header),
            ("HTTP/1.1 200 OK\r\n: no name\r\n\r\n", Nonsense::Header),
        ];
        for (text, expected) in cases {
            assert_eq!(Head::read(text.as_bytes()), Err(expected), "{text}");
        }
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(HEAD_MAX));
        assert_eq!(Head::read(endless.as_bytes()), Err(Nonsense::HeadTooLong));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1));
        assert_eq!(Head::read(many.as_bytes()), Err(Nonsense::Header));
    }

    #[test]
    fn bodies_end_by_length_by_chunks_or_by_closing() {
        let body = |text: &str| head(text).body(text.as_bytes());
        let whole = |text: &str| Ok((text.as_bytes().to_vec(), true));
        let part = |text: &str| Ok((text.as_bytes().to_vec(), false));
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready!"), whole("ready"));
        assert_eq!(body("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nready"), part("ready"));
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nready"), part("ready"));
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(body(&format!("{chunks}3;x=y\r\nrea\r\n2\r\ndy\r\n0\r\n\r\n")), whole("ready"));
        assert_eq!(body(&format!("{chunks}3\r\nrea\r\n2\r\nd")), part("read"));
        assert_eq!(body(&format!("{chunks}3\r\nrea\r\n")), part("rea"));
        assert_eq!(body(&format!("{chunks}z\r\n")), Err(Nonsense::Chunk));
        assert_eq!(body(&format!("{chunks}3\r\nreadx")), Err(Nonsense::Chunk));
        assert_eq!(body(&format!("{chunks}{}", "1".repeat(300))), Err(Nonsense::Chunk));
    }
}
