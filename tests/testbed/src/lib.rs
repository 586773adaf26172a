//! Stand-ins for what Tidegate talks to, and launchers of the real things.
//!
//! | module | what it gives |
//! |---|---|
//! | [`registry`] | an OCI 1.1 registry inside the process, as strict as docker-registry, that fails on demand |
//! | [`fault`] | rules that say which requests go wrong, and how |
//! | [`log`] | what was asked of a server |
//! | [`image`] | test images, sound and defective, and what is attached to images |
//! | [`client`] | a registry client of the testbed's own: it pushes test images and says what a registry holds |
//! | [`docker`] | a Docker engine, where the machine has one |
//! | [`docker_registry`] | Debian's docker-registry, launched for a test; [`tokens`] is its token server |
//! | [`proxy`] | a proxy that logs what passes, and fails on demand |
//! | [`postgres`] | a private PostgreSQL, directly and through PgBouncer |
//! | [`redis`] | a Redis server that answers PING |
//! | [`oauth`] | an OAuth 2 server, npm's `oidc-provider` |
//! | [`lambda`] | AWS Lambda's API |
//! | [`docker_host`] | hosts with Docker that are reached over SSH |
//! | [`deployment_api`] | a deployment API with a memory |
//! | [`runner`] | what GitHub's runner gives an action, and what it makes of what the action leaves |
//! | [`github`] | a stateful stand-in for GitHub's REST API |
//! | [`contract`] | GitHub's published contract, held against client and stand-in |
//! | [`channels`] | a stand-in for Slack, Teams, Brevo, PagerDuty and webhooks |
//! | [`mail`] | a real SMTP server, launched for a test |
//! | [`moto`] | what speaks like AWS, launched for a test |
//! | [`sshd`] | OpenSSH's server, launched for a test |
//! | [`service`] | a service whose versions behave as told |
//! | [`authority`] | a certificate authority for local TLS |
//!
//! Everything may be called from tests with and without a runtime: the servers live on a runtime of their own
//! ([`background`]), so a test may block its own thread. Nothing is printed, every server listens on a free port of
//! the loopback interface, and everything stops when its handle is dropped.
//!
//! What cannot be done (a port that cannot be bound, a program that is not installed) panics with a clear message:
//! a stand-in that is silently absent would make a test pass that proves nothing.

pub mod authority;
pub mod background;
pub mod channels;
mod child;
pub mod client;
mod connector;
pub mod contract;
pub mod deployment_api;
pub mod digest;
pub mod docker;
pub mod docker_host;
pub mod docker_registry;
pub mod fault;
mod front;
pub mod github;
pub mod image;
pub mod lambda;
pub mod log;
pub mod mail;
pub mod moto;
pub mod oauth;
pub mod postgres;
pub mod proxy;
mod random;
pub mod redis;
pub mod registry;
pub mod runner;
mod server;
pub mod service;
pub mod sshd;
pub mod tokens;

pub use child::free_port;
