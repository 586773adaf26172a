//! The stand-ins, tested by themselves and beside the real things.

mod docker_registry;
mod faults;
mod images;
mod postgres;
mod proxy;
mod registry;
mod runner;
