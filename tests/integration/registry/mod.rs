//! The room `registry/` against docker-registry and the testbed's registry, with a counting proxy in front and skopeo
//! as a judge that shares no code with either.

mod attached;
mod auth;
mod copy;
mod faults;
mod inspect;
mod setup;
mod tags;
mod tls;
