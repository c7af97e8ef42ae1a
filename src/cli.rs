//! The command line: what may be typed, and which module answers it.

use std::process::ExitCode;

/// Runs the command given in the process arguments and tells the exit code.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
