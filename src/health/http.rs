//! A request of HTTP, and which version answered it.

use std::time::Duration;

use async_trait::async_trait;

use super::exchange::{Answered, Expected, Filled, client, exchange};
use super::{Good, Miss, Question, Values};
use crate::config::{HttpProbe, IdentityPlace, ProbeIdentity};
use crate::promotion::fault::Fault;

pub(super) struct Http {
    client: reqwest::Client,
    request: Filled,
    expected: Expected,
    redirects: u32,
    certificate: Duration,
    identity: Option<(IdentityPlace, String)>,
}

impl Http {
    pub(super) fn fill(probe: &HttpProbe, identity: Option<&ProbeIdentity>, values: &Values) -> Result<Self, Fault> {
        let identity =
            identity.map(|one| Ok::<_, Fault>((one.place.clone(), values.render(&one.expect)?))).transpose()?;
        Ok(Self {
            client: client()?,
            request: Filled::fill(&probe.request, values)?,
            expected: Expected::fill(&probe.expect, values)?,
            redirects: probe.redirects,
            certificate: probe.certificate,
            identity,
        })
    }

    fn check_identity(&self, answer: &Answered) -> Result<(), Miss> {
        match &self.identity {
            None => Ok(()),
            Some((IdentityPlace::Header(name), wanted)) => {
                let found = answer.headers.get(name).and_then(|value| value.to_str().ok());
                if found == Some(wanted) {
                    Ok(())
                } else {
                    Err(self.other_version(&format!("the header {name}"), found, wanted))
                }
            }
            Some((IdentityPlace::Json(path), wanted)) => {
                let json = answer.json()?;
                let found = path.path().query(&json).all();
                let texts: Vec<String> =
                    found.iter().map(|one| one.as_str().map_or_else(|| one.to_string(), ToOwned::to_owned)).collect();
                if texts.iter().any(|text| text == wanted) {
                    return Ok(());
                }
                Err(self.other_version(path.as_str(), texts.first().map(String::as_str), wanted))
            }
        }
    }

    fn other_version(&self, place: &str, found: Option<&str>, wanted: &str) -> Miss {
        match self.expected.differs(place, found, wanted) {
            Miss::Failed(text) => Miss::Failed(format!("another version answers: {text}")),
            other => other,
        }
    }
}

#[async_trait]
impl Question for Http {
    async fn ask(&self, identity: bool) -> Result<Good, Miss> {
        let by_json = matches!(self.identity, Some((IdentityPlace::Json(_), _)));
        let reads_body = self.expected.reads_body() || (identity && by_json);
        let answer = exchange(&self.client, &self.request, self.redirects, reads_body).await?;
        self.expected.check(&answer)?;
        if identity {
            self.check_identity(&answer)?;
        }
        Ok(Good { warning: answer.warning(self.certificate) })
    }

    fn shows_identity(&self) -> bool {
        self.identity.is_some()
    }
}
