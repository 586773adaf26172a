//! Templates: text with `{{ digest }}` and its like in it.
//!
//! Which values a template may use depends on where it stands: a tag cannot hold what a deployment answered. So every
//! place has a [`Scope`], and a name that is not in it is an error when the configuration is read, not when the run is
//! under way.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::LazyLock;

use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::check::{Check, Checker, Merge};
use super::literal::{Lit, Literal, NotOne, no_secret};
use super::path::{Path, shortened};
use super::suggest;

/// The longest template.
const MAX_LENGTH: usize = 16 << 10;

/// The most instructions that rendering a template may take.
const FUEL: u64 = 100_000;

/// The one engine: an unknown name is an error, and nothing can be included or run for long.
static ENGINE: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    engine.set_fuel(Some(FUEL));
    engine
});

/// The values of a run: what a template may use where nothing else is said. `name.*` is a mapping of values.
pub(super) const RUN: [&str; 12] = [
    "service",
    "environment",
    "digest",
    "version",
    "revision",
    "sequence",
    "deployment_id",
    "mode",
    "vars.*",
    "previous_digest",
    "requestor",
    "reason",
];

/// Where a template stands, and so what it may use.
pub(super) trait Scope {
    /// The names; `name.*` is a mapping of values.
    fn names() -> Vec<&'static str>;
}

macro_rules! scopes {
    ($( $(#[doc = $doc:literal])* $scope:ident = $names:expr ),+ $(,)?) => {
        $(
            $(#[doc = $doc])*
            pub(super) struct $scope;

            impl Scope for $scope {
                fn names() -> Vec<&'static str> {
                    $names
                }
            }
        )+
    };
}

scopes! {
    /// What names a service's image: known before anything was looked at.
    Naming = vec!["service", "environment"],
    /// A tag that is promoted from.
    SourceTag = vec!["service", "environment", "version", "revision", "vars.*"],
    /// A tag of the promoted image.
    ImageTag = vec![
        "service", "environment", "digest", "version", "revision", "sequence", "deployment_id", "mode", "vars.*",
    ],
    /// What a gate looks at: it is about the environment, and not about one service.
    Gating = vec!["environment", "deployment_id", "mode", "vars.*"],
    /// A deployment's first call.
    Deployment = [RUN.as_slice(), &["fencing_token"]].concat(),
    /// A deployment's later calls.
    Response = [RUN.as_slice(), &["fencing_token", "response.*"]].concat(),
    /// A message.
    Message = [RUN.as_slice(), &["event", "state", "severity", "message", "url", "errors"]].concat(),
}

/// What a message's template may use: every name; `name.*` is a mapping of values.
#[must_use]
pub fn message_names() -> Vec<&'static str> {
    Message::names()
}

/// A template that was checked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Template(String);

/// A template could not be rendered. It says why without quoting the values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the template `{template}` cannot be rendered: {why}")]
pub struct RenderError {
    template: String,
    why: String,
}

impl Template {
    /// A template that holds this very text.
    ///
    /// # Errors
    /// The text is not a template.
    pub(super) fn new(text: &str) -> Result<Self, RenderError> {
        let failed = |why| RenderError { template: shortened(text), why };
        if text.len() > MAX_LENGTH {
            return Err(failed(format!("it is longer than {} KiB", MAX_LENGTH >> 10)));
        }
        ENGINE.template_from_str(text).map_err(|error| failed(said(&error)))?;
        Ok(Self(text.to_owned()))
    }

    /// The text, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the same whatever the values are.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !(self.0.contains("{{") || self.0.contains("{%") || self.0.contains("{#"))
    }

    /// Fills in the values.
    ///
    /// # Errors
    /// A value that it needs is not there (a name that is known for its place may still have no value in this run,
    /// such as `version` for an image), or the template asks for something that cannot be done with the value.
    pub fn render<V: Serialize>(&self, values: V) -> Result<String, RenderError> {
        let values = minijinja::value::Serde(values);
        ENGINE
            .render_str(&self.0, values)
            .map_err(|error| RenderError { template: shortened(&self.0), why: said(&error) })
    }

    /// The keys of a mapping that it uses: of `{{ response.id }}` for `response` it is `id`.
    #[must_use]
    pub fn keys_of(&self, mapping: &str) -> Vec<String> {
        let below = |name: &String| Some(name.strip_prefix(mapping)?.strip_prefix('.')?.to_owned());
        self.names().iter().filter_map(below).collect()
    }

    /// The names it uses, with one step into mappings: `digest`, `vars.site`.
    fn names(&self) -> Vec<String> {
        let Ok(template) = ENGINE.template_from_str(&self.0) else { return Vec::new() };
        let functions: Vec<&str> = ENGINE.globals().map(|(name, _)| name).collect();
        let mut names: Vec<String> = template
            .undeclared_variables(true)
            .into_iter()
            .map(|name| name.splitn(3, '.').take(2).collect::<Vec<_>>().join("."))
            .filter(|name| !functions.contains(&name.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What it would look like; none where made-up values do not do.
    pub(super) fn sample(&self) -> Option<String> {
        ENGINE.render_str(&self.0, samples()).ok()
    }
}

fn said(error: &minijinja::Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    match error.line() {
        Some(line) if line > 1 => format!("{what} (in its line {line})"),
        _ => what,
    }
}

/// Values such as a run could have, to look at what a template makes of them.
fn samples() -> minijinja::Value {
    /// A mapping in which every name has a value.
    #[derive(Debug)]
    struct Anything;
    impl minijinja::value::Object for Anything {
        fn get_value(self: &std::sync::Arc<Self>, _: &minijinja::Value) -> Option<minijinja::Value> {
            Some("sample".into())
        }
    }
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let anything = minijinja::Value::from_object(Anything);
    minijinja::context! {
        service => "service", environment => "environment", digest, version => "1.2.3",
        revision => "0123456789abcdef0123456789abcdef01234567", sequence => 1,
        deployment_id => "1732185300-0123456789ab", mode => "mode", previous_digest => digest,
        requestor => "octocat", reason => "reason", fencing_token => 1, event => "succeeded", state => "succeeded",
        severity => "high", message => "message", url => "https://example.com/", errors => 0,
        vars => anything.clone(), response => anything.clone(), captured => anything,
    }
}

/// Checks the names that a template uses, and what it does with them.
fn check_names(template: &Template, at: &Path, checker: &mut Checker<'_>) -> bool {
    let known = checker.scope().to_vec();
    let mut good = true;
    for name in template.names() {
        let root = name.split_once('.').map_or(name.as_str(), |(root, _)| root);
        let is_known = |wanted: &str| known.iter().any(|name| name == wanted);
        if is_known(&name) || is_known(&format!("{root}.*")) {
            continue;
        }
        good = false;
        if is_known(root) {
            checker.problem(
                at,
                format!("`{root}` has nothing below it: `{name}` is not known"),
                format!("write `{{{{ {root} }}}}`"),
            );
            continue;
        }
        let message = format!("the template uses `{}`, which has no value here", shortened(&name));
        let candidates = known.iter().map(|name| name.trim_end_matches(".*"));
        // Where names with a point are known, a wrong one is compared as a whole.
        let whole = known.iter().any(|name| name.starts_with(&format!("{root}.")));
        checker.problem(at, message, suggest::fix(if whole { &name } else { root }, candidates, "names"));
    }
    // A filter, function or test that does not exist shows only when it is used.
    if let Err(error) = ENGINE.render_str(template.as_str(), samples())
        && matches!(
            error.kind(),
            ErrorKind::UnknownFilter | ErrorKind::UnknownFunction | ErrorKind::UnknownTest | ErrorKind::UnknownMethod
        )
        && good
    {
        good = false;
        checker.problem(
            at,
            format!("the template cannot be rendered: {}", said(&error)),
            "use the filters of Jinja, e.g. `upper` or `replace`",
        );
    }
    good
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// The syntax of templates.
pub(super) struct TemplateSyntax;

impl Literal for TemplateSyntax {
    type Value = Template;
    const WANTED: &'static str = "text";
    const LONGEST: usize = MAX_LENGTH;
    const UNQUOTED: bool = true;

    fn read(text: &str) -> Result<Template, NotOne> {
        Template::new(text).map_err(|error| {
            NotOne::because(format!("is not a template: {}", error.why))
                .with_fix("close each `{{` with `}}`, and each `{%` with `%}`")
        })
    }
}

/// A text of the syntax `L`, whose template may use the names of the scope that it stands in.
pub(super) struct Filled<L>(Lit<L>);

/// Any template.
pub(super) type TemplateText = Filled<TemplateSyntax>;

impl<L> Clone for Filled<L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L: Literal> fmt::Debug for Filled<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, L: Literal> Deserialize<'de> for Filled<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Lit::deserialize(deserializer).map(Self)
    }
}

impl<L: Literal> JsonSchema for Filled<L> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Lit::<L>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Lit::<L>::json_schema(generator)
    }
}

impl<L: Literal<Value = Template>> Check for Filled<L> {
    type Checked = Template;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<Template> {
        let template = self.0.check(at, checker)?;
        check_names(&template, at, checker).then_some(template)
    }
}

impl<L> Merge for Filled<L> {
    fn merge(self, over: Self) -> Self {
        over
    }
}

/// Reads a template that stands inside something else, such as a JSON body.
pub(super) fn check_text(text: &str, at: &Path, checker: &mut Checker<'_>) -> Option<Template> {
    if !no_secret(text, at, checker) {
        return None;
    }
    match TemplateSyntax::read(text) {
        Ok(template) => check_names(&template, at, checker).then_some(template),
        Err(NotOne { why, fix }) => {
            checker.problem(at, format!("`{}` {why}", shortened(text)), fix.unwrap_or_default());
            None
        }
    }
}

/// Something whose templates are in the scope `S`.
pub(super) struct In<S, T>(T, PhantomData<S>);

impl<S, T: Clone> Clone for In<S, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), PhantomData)
    }
}

impl<S, T: Default> Default for In<S, T> {
    fn default() -> Self {
        Self(T::default(), PhantomData)
    }
}

impl<S, T: fmt::Debug> fmt::Debug for In<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<'de, S, T: Deserialize<'de>> Deserialize<'de> for In<S, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(|inner| Self(inner, PhantomData))
    }
}

impl<S, T: JsonSchema> JsonSchema for In<S, T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

impl<S: Scope, T: Check> Check for In<S, T> {
    type Checked = T::Checked;

    fn check(&self, at: &Path, checker: &mut Checker<'_>) -> Option<T::Checked> {
        checker.in_scope(S::names().into_iter().map(ToOwned::to_owned).collect(), |checker| self.0.check(at, checker))
    }
}

impl<S, T: Merge> Merge for In<S, T> {
    fn merge(self, over: Self) -> Self {
        Self(self.0.merge(over.0), PhantomData)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_a_template_uses() {
        let names = |text: &str| Template::new(text).map(|template| template.names()).unwrap_or_default();
        assert_eq!(names("{{ digest }}-{{ vars.site }} {{ response.a.b }}"), ["digest", "response.a", "vars.site"]);
        assert_eq!(names("{% for x in range(3) %}{{ x }}{% endfor %}"), Vec::<String>::new());
        assert!(Template::new("plain").is_ok_and(|template| template.is_plain()));
        assert!(Template::new("{{ digest").is_err());
        assert!(Template::new("{% include 'x' %}").is_err());
    }

    #[test]
    fn rendering_is_strict_and_bounded() {
        let render = |text: &str| Template::new(text).and_then(|template| template.render(samples()));
        assert_eq!(render("production-{{ sequence }}").as_deref(), Ok("production-1"));
        assert_eq!(render("<{{ revision[:7] }}>").as_deref(), Ok("<0123456>"));
        assert!(render("{{ unknown }}").is_err());
        assert!(render("{% for x in range(100000) %}{% for y in range(100000) %}{% endfor %}{% endfor %}").is_err());
    }
}
