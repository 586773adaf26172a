//! The configuration file, as people write it.

mod bad_input;
mod model;
mod schema;

use tidegate::config::{Configuration, Environment};

/// The example of the README.
const EXAMPLE: &str = include_str!("config/design.yml");

/// Every key that there is.
const EVERY_KEY: &str = include_str!("config/every-key.yml");

/// A configuration with `body` in the environment `production`.
fn with_production(body: &str) -> String {
    let body = body.trim().lines().map(|line| format!("    {line}\n")).collect::<String>();
    format!(
        "version: 1
services:
  api: {{ image: ghcr.io/acme/api }}
environments:
  staging: {{ tag: staging }}
  production:
    from: staging
    tag: production
{body}"
    )
}

fn read(text: &str) -> Configuration {
    Configuration::parse("tidegate.yml", text).unwrap_or_else(|errors| panic!("{errors}\n---\n{text}"))
}

fn refused(text: &str) -> String {
    match Configuration::parse("tidegate.yml", text) {
        Ok(_) => panic!("this was accepted:\n{text}"),
        Err(errors) => errors.to_string(),
    }
}

fn production(configuration: &Configuration) -> &Environment {
    configuration.environment("production").unwrap_or_else(|error| panic!("{error}"))
}
