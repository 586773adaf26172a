//! Deployments by the real binary: each driver against a counterpart that remembers what was done to it.

#[cfg(test)]
mod command;
#[cfg(test)]
mod compose;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod examples;
#[cfg(test)]
mod http;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod lambda;
#[cfg(test)]
mod migrations;
#[cfg(test)]
mod moto;
#[cfg(test)]
mod oauth;
#[cfg(test)]
mod workflow;
// What promotions are tested with, too; not all of it is needed here.
#[cfg(test)]
#[allow(dead_code, reason = "shared with the tests of promotions, which use the rest")]
#[path = "../integration/promotion/scene.rs"]
mod scene;

#[cfg(test)]
#[path = "."]
mod ledger {
    #[allow(dead_code, reason = "shared with the tests of the ledger, which use the rest")]
    #[path = "../integration/ledger/place.rs"]
    pub(crate) mod place;
}
