//! Why a command at a daemon did not do what it should: for people, for scripts, as an exit code.
//!
//! Made by `client`, shown by `cli`. Each text names what to do about it.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::response::{NO_ANSWER, Refused};

/// Why a command failed.
#[derive(Debug)]
pub enum Error {
    /// There is no socket.
    Missing(PathBuf),
    /// The socket exists, but no process listens on it.
    NobodyListens(PathBuf),
    /// The caller may not use the socket.
    NotPermitted(PathBuf),
    /// The socket cannot be used for another reason.
    Unreachable(PathBuf, io::Error),
    /// The daemon accepted the connection but has not answered.
    NoAnswer(PathBuf),
    /// The daemon ended the connection before it had answered.
    Lost(PathBuf),
    /// The daemon refused; nothing changed.
    Refused(Refused),
    /// The request is accepted but does not complete.
    Stuck {
        /// What the command waited for, in words.
        waited_for: String,
        /// Reasons, one sentence for each group.
        reasons: Vec<String>,
    },
    /// The answer cannot be parsed.
    NotUnderstood(serde_json::Error),
    /// The answer could not be written.
    Output(io::Error),
}

impl Error {
    /// Returns the code for scripts.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Missing(_) | Self::NobodyListens(_) | Self::Unreachable(..) => "unreachable",
            Self::NotPermitted(_) => "not_permitted",
            Self::NoAnswer(_) => NO_ANSWER,
            Self::Lost(_) => "lost",
            Self::Refused(refused) => &refused.code,
            Self::Stuck { .. } => "stuck",
            Self::NotUnderstood(_) => "not_understood",
            Self::Output(_) => "output",
        }
    }

    /// Returns further sentences, one for each remaining group or fault.
    #[must_use]
    pub fn details(&self) -> &[String] {
        match self {
            Self::Refused(refused) => &refused.details,
            Self::Stuck { reasons, .. } => reasons,
            Self::Missing(_)
            | Self::NobodyListens(_)
            | Self::NotPermitted(_)
            | Self::Unreachable(..)
            | Self::NoAnswer(_)
            | Self::Lost(_)
            | Self::NotUnderstood(_)
            | Self::Output(_) => &[],
        }
    }

    /// The exit code of the contract: 4 not reachable, 5 refused, 1 anything else.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Missing(_)
            | Self::NobodyListens(_)
            | Self::NotPermitted(_)
            | Self::Unreachable(..)
            | Self::NoAnswer(_)
            | Self::Lost(_) => 4,
            // A daemon that took the question and came to no answer is as good as none.
            Self::Refused(refused) if refused.code == NO_ANSWER => 4,
            Self::Refused(_) => 5,
            Self::Stuck { .. } | Self::NotUnderstood(_) | Self::Output(_) => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(socket) => write!(
                out,
                "no daemon: the socket {} does not exist; start it (systemctl start buoy), or \
                 name the right socket with --socket",
                socket.display()
            ),
            Self::NobodyListens(socket) => write!(
                out,
                "no daemon: connection refused at {}, a socket that a dead daemon has left; start \
                 the daemon (systemctl start buoy)",
                socket.display()
            ),
            Self::NotPermitted(socket) => write!(
                out,
                "no permission to use {}; run this as root, or as a member of the group that \
                 owns it (ls -l {0})",
                socket.display()
            ),
            Self::Unreachable(socket, source) => {
                write!(out, "no daemon at {}: {source}", socket.display())
            }
            Self::NoAnswer(socket) => write!(
                out,
                "the daemon at {} accepts connections but does not answer; see its log",
                socket.display()
            ),
            Self::Lost(socket) => write!(
                out,
                "the daemon at {} closed the connection; it is stopping, or this client read too \
                 slowly",
                socket.display()
            ),
            Self::Refused(refused) => {
                let refused_word = if refused.code == NO_ANSWER { "" } else { "refused: " };
                write!(out, "{refused_word}{}", refused.reason)?;
                refused.details.iter().try_for_each(|detail| write!(out, "\n  {detail}"))
            }
            Self::Stuck { waited_for, reasons } => {
                write!(out, "{waited_for}")?;
                reasons.iter().try_for_each(|reason| write!(out, "\n  {reason}"))
            }
            Self::NotUnderstood(source) => write!(
                out,
                "the daemon's answer cannot be parsed ({source}); its version may differ from \
                 that of this command"
            ),
            Self::Output(source) => write!(out, "the answer could not be written: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreachable(_, source) | Self::Output(source) => Some(source),
            Self::NotUnderstood(source) => Some(source),
            Self::Missing(_)
            | Self::NobodyListens(_)
            | Self::NotPermitted(_)
            | Self::NoAnswer(_)
            | Self::Lost(_)
            | Self::Refused(_)
            | Self::Stuck { .. } => None,
        }
    }
}

/// Why a socket cannot be connected to.
pub(super) fn unreachable(socket: &Path, error: io::Error) -> Error {
    let socket = socket.to_owned();
    if error.kind() == ErrorKind::NotFound {
        Error::Missing(socket)
    } else if error.kind() == ErrorKind::ConnectionRefused {
        Error::NobodyListens(socket)
    } else if error.kind() == ErrorKind::PermissionDenied {
        Error::NotPermitted(socket)
    } else {
        Error::Unreachable(socket, error)
    }
}

#[cfg(test)]
mod tests {
    use super::super::response::Rejected;
    use super::*;

    #[test]
    fn each_way_not_to_reach_the_daemon_names_its_remedy() {
        let socket = Path::new("/run/buoy/control.sock");
        let told = |kind: ErrorKind| {
            let error = unreachable(socket, io::Error::from(kind));
            assert_eq!(error.exit_code(), 4);
            error.to_string()
        };
        assert_eq!(
            told(ErrorKind::NotFound),
            "no daemon: the socket /run/buoy/control.sock does not exist; start it (systemctl \
             start buoy), or name the right socket with --socket"
        );
        assert_eq!(
            told(ErrorKind::ConnectionRefused),
            "no daemon: connection refused at /run/buoy/control.sock, a socket that a dead daemon \
             has left; start the daemon (systemctl start buoy)"
        );
        assert_eq!(
            told(ErrorKind::PermissionDenied),
            "no permission to use /run/buoy/control.sock; run this as root, or as a member of \
             the group that owns it (ls -l /run/buoy/control.sock)"
        );
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_not_reachable() {
        let refused = Rejected::new(NO_ANSWER, "the daemon did not answer within 5 s").refused;
        let error = Error::Refused(refused);
        assert_eq!(error.exit_code(), 4);
        assert_eq!(error.to_string(), "the daemon did not answer within 5 s");
    }

    #[test]
    fn refusals_show_all_their_details() {
        let mut refused = Rejected::new("configuration", "the file was not applied").refused;
        refused.details = vec!["line 3: first".to_owned(), "line 9: second".to_owned()];
        let error = Error::Refused(refused);
        assert_eq!(error.exit_code(), 5);
        assert_eq!(
            error.to_string(),
            "refused: the file was not applied\n  line 3: first\n  line 9: second"
        );
    }
}
