//! The runner's contract: inputs, outputs, workflow commands, the job summary, signals; and the same on a command line.

pub mod context;
pub mod environment;
pub mod inputs;
pub mod logging;
pub mod metadata;
pub mod outputs;
pub mod printer;
pub mod signals;
pub mod summary;
pub mod workspace;
