//! What the process tells its caller: one number for each kind of ending.
//!
//! Scripts and service managers rely on these (the unit restarts the daemon after 1, but not after
//! 2 and 3, where the same file or command line would only fail again).

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did what it was asked to.
    Done = 0,
    /// It failed while running.
    Failed = 1,
    /// It was called in a wrong way.
    Usage = 2,
    /// The configuration was refused.
    Configuration = 3,
    /// No daemon answers.
    Unreachable = 4,
    /// The daemon refused the request and said why.
    Refused = 5,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
