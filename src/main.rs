//! The one executable: reads arguments, runs the command, maps its result to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    buoy::cli::main()
}
