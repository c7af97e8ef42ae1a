//! The simple text password of version 2 (RFC 2338 5.3.6.2): eight bytes that travel in clear.

use std::fmt;

/// Bytes of a password on the wire; a longer one is cut, as keepalived does.
pub const PASSWORD_MAX: usize = 8;

/// A password as it stands in an advertisement: padded with zeros.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Password([u8; PASSWORD_MAX]);

impl Password {
    /// Returns the password that this text is on the wire.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; PASSWORD_MAX];
        for (byte, given) in bytes.iter_mut().zip(text.bytes()) {
            *byte = given;
        }
        Self(bytes)
    }

    /// Returns the password of an advertisement.
    pub(super) const fn from_wire(bytes: [u8; PASSWORD_MAX]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes as they stand in an advertisement.
    #[must_use]
    pub const fn to_wire(self) -> [u8; PASSWORD_MAX] {
        self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Password(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_and_padded_and_not_shown() {
        assert_eq!(Password::new("abcdefghijkl"), Password(*b"abcdefgh"));
        assert_eq!(Password::new("s3cr"), Password(*b"s3cr\0\0\0\0"));
        assert_eq!(format!("{:?}", Password::new("s3cr")), "Password(not shown)");
    }
}
