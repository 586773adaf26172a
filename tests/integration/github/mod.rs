//! The GitHub client against the stand-in: through GitHub's published contract wherever the answers are GitHub's, and
//! directly where they go wrong.

mod approving;
mod dispatching;
mod failing;
mod issues;
mod limits;
mod lost_answers;
mod permissions;
mod reading;
mod releasing;

use std::time::Duration;

use testbed::contract::Contract;
use testbed::github::{GitHub as Standin, Repository};
use tidegate::github::{GitHub, RepositoryName, Settings};
use tidegate::promotion::retry::RetryPolicy;
use tokio::time::Instant;

/// The stand-in with a repository, behind the contract.
struct Bench {
    contract: Contract,
    github: Standin,
    api: Repository,
    name: RepositoryName,
}

impl Bench {
    fn new() -> Self {
        let github = Standin::start();
        let contract = Contract::before(&github);
        let api = github.repository("acme/api");
        Self { contract, api, name: "acme/api".parse().unwrap(), github }
    }

    /// A client with a job's token, through the contract.
    fn client(&self) -> GitHub {
        self.client_with(&self.github.job_token())
    }

    /// A client with this token, through the contract.
    fn client_with(&self, token: &str) -> GitHub {
        client(&self.contract.url(), token, None)
    }
}

/// The stand-in with a repository, and a client that speaks to it directly.
struct Direct {
    github: Standin,
    api: Repository,
    name: RepositoryName,
    token: String,
    client: GitHub,
}

impl Direct {
    fn new() -> Self {
        let github = Standin::start();
        let token = github.job_token();
        let client = client(&github.url(), &token, None);
        let api = github.repository("acme/api");
        Self { client, token, api, name: "acme/api".parse().unwrap(), github }
    }

    /// Another client with the same token, whose time ends so soon.
    fn hurried(&self, time: Duration) -> GitHub {
        client(&self.github.url(), &self.token, Some(time))
    }

    /// How many requests of a method came to a path.
    fn count(&self, method: &str, path: &str) -> usize {
        self.github.log().iter().filter(|entry| entry.line() == format!("{method} {path}")).count()
    }
}

fn client(url: &str, token: &str, time: Option<Duration>) -> GitHub {
    GitHub::new(settings(url, token, time)).unwrap()
}

/// Settings that try four times, and quickly.
fn settings(url: &str, token: &str, time: Option<Duration>) -> Settings {
    let quick = Duration::from_millis(5);
    Settings {
        api_url: url.to_owned(),
        token: Some(token.into()),
        retry: RetryPolicy { attempts: 4, initial: quick, factor: 1.0, max: quick },
        deadline: time.map(|time| Instant::now() + time),
        observer: None,
    }
}

/// A number with so many digits that it is a commit's id.
fn no_commit() -> String {
    "0123456789".repeat(4)
}
