//! The runner's contract: inputs, outputs, workflow commands, the job summary, signals; and the same on a command line.

mod approving;
mod book;
mod console;
pub mod context;
mod delivery;
pub mod environment;
mod exports;
pub mod inputs;
pub mod logging;
pub mod metadata;
mod operations;
pub mod outputs;
pub mod printer;
mod request;
mod run;
pub mod signals;
pub mod summary;
mod table;
mod tools;
mod usage;
mod witness;
mod words;
pub mod workspace;

use std::process::ExitCode;

pub use run::run;

/// The whole program: reads the command line and the environment of this process, does what they ask, and returns the
/// exit code.
#[must_use]
pub fn main() -> ExitCode {
    let arguments = std::env::args_os().map(|one| one.to_string_lossy().into_owned()).collect();
    let environment = environment::Environment::of_this_process();
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let exit = runtime.block_on(run(arguments, environment));
            // Nothing that still runs, such as a name that is looked up, holds the process back.
            runtime.shutdown_background();
            ExitCode::from(exit.code())
        }
        Err(error) => {
            printer::Printer::stdout(false).text(&format!("the program cannot start: {error}"));
            ExitCode::from(crate::promotion::fault::Exit::Failed.code())
        }
    }
}
