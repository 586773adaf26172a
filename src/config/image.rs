//! Images: repositories, tags, platforms.

use super::literal::{Literal, NotOne};
use super::template::{Template, TemplateSyntax};
use crate::promotion::candidate::Platform;
use crate::promotion::image::{InvalidReference, Repository, Tag};

/// The syntax of platforms.
pub(super) struct PlatformSyntax;

impl Literal for PlatformSyntax {
    type Value = Platform;
    const WANTED: &'static str = "a platform, e.g. `linux/amd64` or `linux/arm/v7`";
    const PATTERN: Option<&'static str> = Some("^[A-Za-z0-9._-]{1,64}(/[A-Za-z0-9._-]{1,64}){1,2}$");

    fn read(text: &str) -> Result<Platform, NotOne> {
        text.parse().map_err(|_| NotOne::because("is not a platform"))
    }
}

/// The syntax of image repositories.
pub(super) struct RepositorySyntax;

impl Literal for RepositorySyntax {
    type Value = Repository;
    const WANTED: &'static str = "a repository with its registry, e.g. `ghcr.io/acme/api`";

    fn read(text: &str) -> Result<Repository, NotOne> {
        let tail = text.rsplit('/').next().unwrap_or_default();
        if text.contains('@') || (text.contains('/') && tail.contains(':')) {
            let name = text.split('@').next().unwrap_or_default();
            let name = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).map_or(name, |(name, _)| name);
            return Err(NotOne::because("names a tag or a digest, and must name the repository alone")
                .with_fix(format!("write `{name}`: the tag is the environment's")));
        }
        text.parse::<Repository>().map_err(|error| invalid(text, &error))
    }
}

/// What the domain says of a text that is no repository or tag: why, and what to write.
pub(super) fn invalid(text: &str, error: &InvalidReference) -> NotOne {
    let said = error.to_string();
    let said = said.strip_prefix(&format!("`{text}` ")).unwrap_or(&said).to_owned();
    match said.split_once("; ") {
        Some((why, fix)) => NotOne::because(why).with_fix(fix),
        None => NotOne::because(said),
    }
}

/// The syntax of tags that may be templates.
pub(super) struct TagSyntax;

impl Literal for TagSyntax {
    type Value = Template;
    const WANTED: &'static str = "a tag, e.g. `production` or `production-{{ sequence }}`";

    fn read(text: &str) -> Result<Template, NotOne> {
        let template = TemplateSyntax::read(text)?;
        match template.sample() {
            Some(sample) => match sample.parse::<Tag>() {
                Err(error) if template.is_plain() => Err(invalid(text, &error)),
                Err(error) => {
                    let NotOne { why, fix } = invalid(&sample, &error);
                    Err(NotOne { why: format!("would make `{sample}`, which {why}"), fix })
                }
                Ok(_) => Ok(template),
            },
            None => Ok(template),
        }
    }
}

/// The syntax of image repositories that may be templates.
pub(super) struct RepositoryTemplateSyntax;

impl Literal for RepositoryTemplateSyntax {
    type Value = Template;
    const WANTED: &'static str = "a repository with its registry, e.g. `ghcr.io/acme-prod/{{ service }}`";

    fn read(text: &str) -> Result<Template, NotOne> {
        let template = TemplateSyntax::read(text)?;
        template.sample().map_or(Ok(()), |sample| RepositorySyntax::read(&sample).map(|_| ()))?;
        Ok(template)
    }
}
