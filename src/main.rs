//! Tidegate: parse, run, render the error, return the exit code.

fn main() -> std::process::ExitCode {
    tidegate::action::main()
}
