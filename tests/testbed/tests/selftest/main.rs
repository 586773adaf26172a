//! The stand-ins, tested by themselves and beside the real things.

mod faults;
mod images;
mod registry;
