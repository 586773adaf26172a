//! `deploy.lambda`: an AWS Lambda function.

use std::time::Duration;

use indexmap::IndexMap;
use serde::Serialize;

use crate::config::check::Checker;
use crate::config::collection::{Map, NonEmpty};
use crate::config::literal::{Lit, Literal, NotOne};
use crate::config::matching::{JsonPath, JsonPathSyntax};
use crate::config::names::{Region, RoleArn, UrlSyntax};
use crate::config::path::Path;
use crate::config::secret::{Secret, SecretText};
use crate::config::section::section;
use crate::config::size::{Percent, PercentSyntax};
use crate::config::template::{Deployment, Filled, In, Template, TemplateSyntax, TemplateText};
use crate::config::time::PositiveDuration;
use crate::config::value::{Json, JsonText};

section! {
    /// An AWS Lambda function. Credentials come from the step's environment, unless `role` or `credentials` say
    /// otherwise.
    pub struct LambdaDriver from RawLambdaDriver,
        at_most_one_of ["role", "credentials"],
        finish lambda => LambdaDriver
    {
        /// The function's name.
        required function: In<Deployment, TemplateText> => Template,
        /// The alias that traffic goes to. Default: none; the function's latest code is what runs.
        optional alias: In<Deployment, TemplateText> => Template,
        /// The region. Default: that of the step's environment.
        optional region: Lit<Region> => String,
        /// The role to take on with GitHub's OpenID Connect token of the job. It takes `id-token: write` under
        /// `permissions:`.
        optional role: Lit<RoleArn> => String,
        /// Credentials instead of those of the step's environment.
        optional credentials: RawCredentials => Credentials,
        /// The code, where it is not the service's image.
        optional package: RawPackage => LambdaPackage,
        /// The steps in which the alias moves. Default: at once.
        optional shift: RawShift => Shift,
        /// What the new version is invoked with before the alias moves.
        optional payload: In<Deployment, JsonText> => Json,
        /// What its answer must have, by JSON path.
        default(IndexMap::new()) expect: In<Deployment, Map<JsonPathSyntax, JsonText>> => IndexMap<JsonPath, Json>,
        /// How long one change may take to settle. Default: `5m`.
        default(Duration::from_secs(300)) timeout: Lit<PositiveDuration> => Duration,
        /// The address of the API, for stand-ins. Default: that of AWS.
        optional endpoint: Filled<UrlSyntax> => Template,
    }
}

fn lambda(driver: LambdaDriver, written: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<LambdaDriver> {
    let mut good = true;
    if driver.alias.is_none() {
        good &= checker.belongs(at, written, &["shift"], &["alias"]);
    }
    if driver.payload.is_none() {
        good &= checker.belongs(at, written, &["expect"], &["payload"]);
    }
    if matches!(driver.package, Some(LambdaPackage::Version(_))) && driver.alias.is_none() {
        checker.key_problem(
            &at.key("package"),
            "is a published version, and no alias could be moved to it",
            "add `alias`",
        );
        good = false;
    }
    good.then_some(driver)
}

section! {
    /// Credentials of AWS.
    pub struct Credentials from RawCredentials {
        /// The access key's id.
        required access_key_id: SecretText => Secret,
        /// The secret access key.
        required secret_access_key: SecretText => Secret,
        /// The session's token.
        optional session_token: SecretText => Secret,
    }
}

/// The code of a function, where it is not an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LambdaPackage {
    /// A zip file of the workspace.
    File(Template),
    /// A zip file in S3, as `s3://bucket/key`.
    S3(Template),
    /// The code of another function, by name: what was tested there is what runs here.
    Function(Template),
    /// A version of this function that was published before.
    Version(Template),
}

section! {
    /// The code of a function. It is identified by its checksum (`CodeSha256`).
    struct PackageKeys from RawPackage, one_of ["file", "s3", "function", "version"], finish package => LambdaPackage {
        /// A zip file of the workspace.
        optional file: In<Deployment, TemplateText> => Template,
        /// A zip file in S3: `s3://bucket/key`.
        optional s3: In<Deployment, Filled<S3Address>> => Template,
        /// The code of another function, by name: what was tested there is what runs here.
        optional function: In<Deployment, TemplateText> => Template,
        /// A version of this function that was published before: only the alias moves.
        optional version: In<Deployment, TemplateText> => Template,
    }
}

/// The syntax of objects in S3, which may be templates.
pub(in crate::config) struct S3Address;

impl Literal for S3Address {
    type Value = Template;
    const WANTED: &'static str = "an object in S3: `s3://bucket/key`";
    const PATTERN: Option<&'static str> = Some("^s3://[^/]+/.+$");

    fn read(text: &str) -> Result<Template, NotOne> {
        let template = TemplateSyntax::read(text)?;
        let good = text
            .strip_prefix("s3://")
            .and_then(|rest| rest.split_once('/'))
            .is_some_and(|(bucket, key)| !bucket.is_empty() && !key.is_empty());
        if good { Ok(template) } else { Err(NotOne::because("is not an object in S3")) }
    }
}

fn package(keys: PackageKeys, _: &[String], _: &Path, _: &mut Checker<'_>) -> Option<LambdaPackage> {
    None.or(keys.file.map(LambdaPackage::File))
        .or(keys.s3.map(LambdaPackage::S3))
        .or(keys.function.map(LambdaPackage::Function))
        .or(keys.version.map(LambdaPackage::Version))
}

section! {
    /// The steps in which an alias moves.
    pub struct Shift from RawShift, finish shift => Shift {
        /// The shares of the traffic that the new version gets, e.g. `[10%, 50%]`; all of it comes after the last.
        required steps: NonEmpty<Lit<PercentSyntax<100>>> => Vec<Percent>,
        /// How long each step stays. Default: `1m`.
        default(Duration::from_secs(60)) every: Lit<PositiveDuration> => Duration,
    }
}

fn shift(shift: Shift, _: &[String], at: &Path, checker: &mut Checker<'_>) -> Option<Shift> {
    if !shift.steps.is_sorted_by(|before, after| before < after) {
        checker.problem(&at.key("steps"), "does not grow", "write growing shares, e.g. `[10%, 50%]`");
        return None;
    }
    Some(shift)
}
