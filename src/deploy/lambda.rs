//! `lambda`: an AWS Lambda function gets new code, and its alias moves to it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use super::{Begun, Driver, Kit, Log, Order, Pace, Progress, Report, Setback, fill_fault};
use crate::aws::{self, Access, Alias, AwsError, Function};
use crate::config::{Json, LambdaDriver, LambdaPackage, SecretReader, Template};
use crate::promotion::deployment::{Handle, Running, differences};
use crate::promotion::digest::Digest;
use crate::promotion::fault::{Code, Fault};
use crate::promotion::untrusted::line;

/// How often it is looked whether a change has settled.
const LOOK: Duration = Duration::from_secs(1);

/// How large a package may be that is sent with the request (AWS docs, "Lambda quotas": 50 MB, zipped).
const LARGEST: u64 = 50 * 1024 * 1024;

/// Deploys functions.
pub(super) struct Lambda {
    settings: LambdaDriver,
    secrets: SecretReader,
    workspace: PathBuf,
    api: aws::Lambda,
}

impl fmt::Debug for Lambda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lambda").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// What the function is to run.
enum NewCode {
    /// This code, and its checksum where it is known before AWS has it.
    Update { code: Value, checksum: Option<String> },
    /// A version that was published before.
    Published(String),
}

/// An order with its names filled in.
struct Names {
    function: String,
    alias: Option<String>,
}

impl Lambda {
    /// # Errors
    /// No region, no credentials.
    pub(super) fn new(settings: &LambdaDriver, kit: &Kit) -> Result<Self, Fault> {
        let api = aws::Lambda::new(&Access {
            section: "deploy.lambda",
            region: settings.region.as_deref(),
            role: settings.role.as_deref(),
            credentials: settings.credentials.as_ref(),
            endpoint: settings.endpoint.as_ref(),
            secrets: &kit.secrets,
            retry: kit.retry,
        })?;
        let (settings, secrets) = (settings.clone(), kit.secrets.clone());
        Ok(Self { settings, secrets, workspace: kit.workspace.clone(), api })
    }

    fn render(template: &Template, order: &Order) -> Result<String, Fault> {
        template.render(&order.values).map_err(|error| fill_fault(error.into()))
    }

    fn names(&self, order: &Order) -> Result<Names, Fault> {
        let alias = self.settings.alias.as_ref().map(|alias| Self::render(alias, order)).transpose()?;
        Ok(Names { function: Self::render(&self.settings.function, order)?, alias })
    }

    /// What the order puts in place.
    async fn code(&self, order: &Order) -> Result<NewCode, Fault> {
        let Some(package) = &self.settings.package else {
            let image = order.release.image.as_ref().ok_or_else(|| {
                Fault::new(
                    Code::ConfigurationInvalid,
                    "the service has no image, and `deploy.lambda.package` names no package",
                )
                .with_fix("add `package` under `deploy.lambda`")
            })?;
            let checksum = order.release.digest.as_ref().map(|digest| digest.hex().to_owned());
            return Ok(NewCode::Update { code: json!({ "ImageUri": image.to_string() }), checksum });
        };
        match package {
            LambdaPackage::Version(version) => Ok(NewCode::Published(Self::render(version, order)?)),
            LambdaPackage::File(path) => {
                let path = self.workspace.join(Self::render(path, order)?);
                let unreadable = |error: std::io::Error| {
                    let text = format!("the package {} cannot be read: {error}", path.display());
                    Fault::new(Code::DriverAbsent, text).with_fix("let an earlier step put the package there")
                };
                let length = std::fs::metadata(&path).map_err(unreadable)?.len();
                if length > LARGEST {
                    let text = format!("the package {} has {length} bytes, and AWS takes {LARGEST}", path.display());
                    let fault = Fault::new(Code::ConfigurationInvalid, text);
                    return Err(fault.with_fix("put it into S3, and name it as `s3`"));
                }
                Ok(zip(&std::fs::read(&path).map_err(unreadable)?))
            }
            LambdaPackage::S3(address) => {
                let address = Self::render(address, order)?;
                let (bucket, key) = address
                    .strip_prefix("s3://")
                    .and_then(|rest| rest.split_once('/'))
                    .ok_or_else(|| Fault::new(Code::ConfigurationInvalid, format!("`{address}` is no object in S3")))?;
                Ok(NewCode::Update { code: json!({ "S3Bucket": bucket, "S3Key": key }), checksum: None })
            }
            LambdaPackage::Function(name) => {
                let name = Self::render(name, order)?;
                let other = self.api.function(&name, None).await.map_err(|error| error.fault(&name))?;
                if let Some(image) = &other.image {
                    return Ok(NewCode::Update { code: json!({ "ImageUri": image }), checksum: Some(other.checksum) });
                }
                let bytes = self.api.download(&other).await.map_err(|error| error.fault(&name))?;
                let code = zip(&bytes);
                if !matches!(&code, NewCode::Update { checksum: Some(checksum), .. } if *checksum == other.checksum) {
                    let text = format!(
                        "the code of {name} that AWS hands out is not the one that it names ({})",
                        other.checksum
                    );
                    return Err(Fault::new(Code::DigestMismatch, text));
                }
                Ok(code)
            }
        }
    }

    /// Gives the function its code, waits until it is there, and publishes it where there is an alias. The version.
    async fn put_code(
        &self,
        names: &Names,
        code: NewCode,
        order: &Order,
        log: &Log,
    ) -> Result<Option<String>, Setback> {
        let about = |error: AwsError| setback(error, &names.function);
        let (code, checksum) = match code {
            NewCode::Published(version) => {
                self.api.function(&names.function, Some(&version)).await.map_err(about)?;
                return Ok(Some(version));
            }
            NewCode::Update { code, checksum } => (code, checksum),
        };
        let now = self.settled(&names.function, None).await?;
        if checksum.as_ref() != Some(&now.checksum) {
            log.say(&format!("{} gets new code instead of {}", names.function, now.checksum));
            let updated = self.api.update_code(&names.function, code, now.revision.as_deref()).await;
            if let Err(error) = updated {
                // The first of two attempts may have been taken, and its answer lost.
                let ours = error.is_outdated()
                    && checksum.is_some()
                    && checksum == Some(self.settled(&names.function, None).await?.checksum);
                if !ours {
                    return Err(about(error));
                }
            }
        }
        let now = self.settled(&names.function, None).await?;
        if checksum.is_some_and(|checksum| checksum != now.checksum) {
            let text = format!("{} was given one code and has another: {}", names.function, now.checksum);
            return Err(Setback::Failed(Fault::new(Code::RunningDiffers, text)));
        }
        if names.alias.is_none() {
            return Ok(None);
        }
        let text = format!("tidegate {}", order.run);
        let version = self.api.publish(&names.function, &now.checksum, &text).await.map_err(about)?;
        self.settled(&names.function, Some(&version)).await?;
        log.say(&format!("version {version} of {} is published", names.function));
        Ok(Some(version))
    }

    /// Waits until nothing is under way with the function any more.
    async fn settled(&self, function: &str, version: Option<&str>) -> Result<Function, Setback> {
        let end = Instant::now() + self.settings.timeout;
        loop {
            let now = self.api.function(function, version).await.map_err(|error| setback(error, function))?;
            if now.has_failed() {
                let text = format!("{function} is {}: {}", now.state, line(&now.reason, 300));
                return Err(Setback::Failed(Fault::new(Code::DeploymentFailed, text)));
            }
            if now.is_settled() {
                return Ok(now);
            }
            if Instant::now() >= end {
                let limit = humantime::format_duration(self.settings.timeout);
                let text = format!("{function} is still {} after {limit}", now.state);
                return Err(Setback::Failed(Fault::new(Code::DeploymentTimedOut, text)));
            }
            sleep(LOOK).await;
        }
    }

    /// Invokes the new code before traffic goes to it.
    async fn try_out(&self, names: &Names, version: Option<&str>, order: &Order, log: &Log) -> Result<(), Fault> {
        let Some(payload) = &self.settings.payload else { return Ok(()) };
        let payload = self.secrets.fill_json(payload, &order.values).map_err(fill_fault)?;
        let answer =
            self.api.invoke(&names.function, version, &payload).await.map_err(|error| error.fault(&names.function))?;
        let shown = line(&self.secrets.redact(&answer.body.to_string()), 300);
        log.say(&format!("invoked: {shown}"));
        let failed = |why: String| {
            let why = self.secrets.redact(&why);
            let fault =
                Fault::new(Code::DeploymentFailed, format!("the new code of {} {why}: {shown}", names.function));
            fault.with_fix("see the function's logs in CloudWatch; no traffic goes to it where there is an alias")
        };
        if let Some(error) = answer.error {
            return Err(failed(format!("fails when it is invoked ({})", line(&error, 60))));
        }
        for (path, wanted) in &self.settings.expect {
            let wanted = self.fill_expected(wanted, order)?;
            if !path.path().query(&answer.body).iter().any(|found| **found == wanted) {
                return Err(failed(format!("does not answer {wanted} at `{}`", path.as_str())));
            }
        }
        Ok(())
    }

    fn fill_expected(&self, wanted: &Json, order: &Order) -> Result<Value, Fault> {
        self.secrets.fill_json(wanted, &order.values).map_err(fill_fault)
    }

    /// Moves the alias to a version: in steps where they are configured, and at once else. Somebody else who moves it
    /// meanwhile is noticed.
    async fn move_alias(&self, names: &Names, version: &str, at_once: bool, log: &Log) -> Result<(), Setback> {
        let Some(name) = &names.alias else { return Ok(()) };
        let about = |error: AwsError| setback(error, &names.function);
        let Some(mut alias) = self.api.alias(&names.function, name).await.map_err(about)? else {
            self.api.create_alias(&names.function, name, version).await.map_err(about)?;
            log.say(&format!("{name} is new, and is version {version}"));
            return Ok(());
        };
        let steps = self.settings.shift.as_ref().filter(|_| !at_once && alias.version != version);
        for step in steps.into_iter().flat_map(|shift| &shift.steps) {
            let weight = f64::from(step.basis_points()) / 10_000.0;
            let stays = alias.version.clone();
            let weights = json!({ version: weight });
            alias = self
                .api
                .update_alias(&names.function, name, &stays, weights, alias.revision.as_deref())
                .await
                .map_err(touched)?;
            log.say(&format!("{step} of the traffic of {name} goes to version {version}"));
            sleep(self.settings.shift.as_ref().map_or(LOOK, |shift| shift.every)).await;
        }
        if alias.version != version || !alias.weights.is_empty() {
            self.api
                .update_alias(&names.function, name, version, json!({}), alias.revision.as_deref())
                .await
                .map_err(touched)?;
        }
        log.say(&format!("{name} is version {version}"));
        Ok(())
    }

    async fn alias_of(&self, names: &Names) -> Result<Option<Alias>, Fault> {
        let Some(name) = &names.alias else { return Ok(None) };
        self.api.alias(&names.function, name).await.map_err(|error| error.fault(&names.function))
    }

    /// The version that has this code, the newest of several.
    async fn version_of(&self, function: &str, digest: &Digest) -> Result<Option<String>, Fault> {
        let versions = self.api.versions(function).await.map_err(|error| error.fault(function))?;
        let has = |one: &&Function| digest_of(one).as_ref() == Some(digest);
        Ok(versions.iter().rev().find(has).and_then(|one| one.version.clone()))
    }
}

/// What is known of the function when a call about it has failed: without an alias that has moved, nobody is hurt.
fn setback(error: AwsError, about: &str) -> Setback {
    match error {
        AwsError::Away { .. } => Setback::Failed(error.fault(about)),
        other => Setback::Untouched(other.fault(about)),
    }
}

/// What is known of a change to an alias that has failed: traffic may go elsewhere already.
fn touched(error: AwsError) -> Setback {
    Setback::Failed(error.fault("the alias"))
}

fn zip(bytes: &[u8]) -> NewCode {
    let checksum = STANDARD.encode(Sha256::digest(bytes));
    NewCode::Update { code: json!({ "ZipFile": STANDARD.encode(bytes) }), checksum: Some(checksum) }
}

/// The digest of a function's code: that of its image, or the checksum of its package.
fn digest_of(function: &Function) -> Option<Digest> {
    let resolved = function.resolved.as_deref().and_then(|uri| uri.rsplit('@').next()?.parse().ok());
    let hex = |text: &str| format!("sha256:{text}").parse().ok();
    let packed = || STANDARD.decode(&function.checksum).ok().filter(|bytes| bytes.len() == 32);
    resolved.or_else(|| hex(&function.checksum)).or_else(|| hex(&hex::encode(packed()?)))
}

#[async_trait]
impl Driver for Lambda {
    fn name(&self) -> &'static str {
        "lambda"
    }

    fn pace(&self) -> Pace {
        Pace { every: LOOK, timeout: self.settings.timeout }
    }

    fn check(&self, order: &Order) -> Result<(), Fault> {
        self.api.check()?;
        self.names(order)?;
        if let Some(payload) = &self.settings.payload {
            self.secrets.fill_json(payload, &order.values).map_err(fill_fault)?;
        }
        for wanted in self.settings.expect.values() {
            self.fill_expected(wanted, order)?;
        }
        let package = match &self.settings.package {
            Some(
                LambdaPackage::File(it)
                | LambdaPackage::S3(it)
                | LambdaPackage::Function(it)
                | LambdaPackage::Version(it),
            ) => it,
            None => return Ok(()),
        };
        Self::render(package, order).map(|_| ())
    }

    /// Gives the function its code unless it has it, publishes, tries it out, and moves the alias. Every change names the
    /// revision that it was decided on, so that two at once do not mix.
    async fn start(&self, order: &Order, log: &Log) -> Result<Begun, Setback> {
        let names = self.names(order).map_err(Setback::Untouched)?;
        let code = self.code(order).await.map_err(Setback::Untouched)?;
        let version = self.put_code(&names, code, order, log).await?;
        self.try_out(&names, version.as_deref(), order, log).await.map_err(|fault| match names.alias {
            // The alias is where it was: nobody uses the new code.
            Some(_) => Setback::Untouched(fault),
            None => Setback::Failed(fault),
        })?;
        if let Some(version) = &version {
            self.move_alias(&names, version, false, log).await?;
        }
        Ok(Begun::Done(Report { version, ..Report::default() }))
    }

    /// Looks at the alias, or at the function's code. What a visit left in the middle can be done again: each step is
    /// passed over that is done.
    async fn observe(&self, order: &Order, _: Option<&Handle>) -> Result<Progress, Fault> {
        if order.release.is_unknown() {
            return Ok(Progress::NotStarted);
        }
        let running = self.running(order).await?;
        Ok(match differences(&order.release, &order.names, &running).is_empty() {
            true => Progress::Applied(Report {
                version: running.first().and_then(|one| one.version.clone()),
                ..Report::default()
            }),
            false => Progress::NotStarted,
        })
    }

    /// Moves the alias back to the version that has the code; without an alias the function gets its earlier image again.
    async fn roll_back(&self, order: &Order, log: &Log) -> Result<Begun, Setback> {
        let names = self.names(order).map_err(Setback::Untouched)?;
        let named = order.release.version.clone().filter(|version| version.parse::<u64>().is_ok());
        let version = match (&names.alias, &order.release.digest) {
            // The digest is the name: the version may be what an image's label says.
            (Some(_), Some(digest)) => {
                let found = self.version_of(&names.function, digest).await.map_err(Setback::Untouched)?;
                found.or(named.filter(|_| order.release.image.is_none()))
            }
            (Some(_), None) => named,
            (None, _) => None,
        };
        if let Some(version) = version {
            self.move_alias(&names, &version, true, log).await?;
            return Ok(Begun::Done(Report { version: Some(version), ..Report::default() }));
        }
        let Some(image) = &order.release.image else {
            let text = format!("no version of {} has the code that is to be put back", names.function);
            let fault = Fault::new(Code::NothingToGoBackTo, text);
            return Err(Setback::Untouched(
                fault.with_fix("use an `alias`: its earlier versions stay; or deploy the earlier package by hand"),
            ));
        };
        let checksum = order.release.digest.as_ref().map(|digest| digest.hex().to_owned());
        let code = NewCode::Update { code: json!({ "ImageUri": image.to_string() }), checksum };
        let version = self.put_code(&names, code, order, log).await?;
        if let Some(version) = &version {
            self.move_alias(&names, version, true, log).await?;
        }
        Ok(Begun::Done(Report { version, ..Report::default() }))
    }

    /// Nothing: a change of AWS cannot be stopped.
    async fn cancel(&self, _: &Order, _: &Handle) -> Result<(), Fault> {
        Ok(())
    }

    async fn running(&self, order: &Order) -> Result<Vec<Running>, Fault> {
        let names = self.names(order)?;
        let fault = |error: AwsError| error.fault(&names.function);
        let Some(name) = &names.alias else {
            let now = self.api.function(&names.function, None).await.map_err(fault)?;
            return Ok(vec![Running { at: names.function.clone(), digest: digest_of(&now), version: None }]);
        };
        let Some(alias) = self.alias_of(&names).await? else {
            return Ok(vec![Running { at: name.clone(), ..Running::default() }]);
        };
        let mut running = Vec::new();
        for version in std::iter::once(&alias.version).chain(alias.weights.keys()) {
            let now = self.api.function(&names.function, Some(version)).await.map_err(fault)?;
            running.push(Running { at: name.clone(), digest: digest_of(&now), version: Some(version.clone()) });
        }
        Ok(running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_has_one_digest_whatever_aws_calls_it() {
        let digest = Digest::sha256(b"code");
        let function = |checksum: &str, resolved: Option<&str>| {
            let mut function = Function::default();
            checksum.clone_into(&mut function.checksum);
            function.resolved = resolved.map(ToOwned::to_owned);
            function
        };
        assert_eq!(digest_of(&function(digest.hex(), None)), Some(digest.clone()));
        assert_eq!(digest_of(&function(&STANDARD.encode(Sha256::digest(b"code")), None)), Some(digest.clone()));
        let uri = format!("1.dkr.ecr.eu-west-1.amazonaws.com/api@{digest}");
        assert_eq!(digest_of(&function("x", Some(&uri))), Some(digest));
        assert_eq!(digest_of(&function("x", None)), None);
    }
}
