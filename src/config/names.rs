//! Names and addresses: what people call things, here and elsewhere.

use std::sync::LazyLock;

use regex::Regex;
use serde::{Serialize, Serializer};

use super::literal::{Literal, NotOne};
use super::template::Template;

/// A syntax that is a pattern and means its own text.
macro_rules! patterned {
    ($(
        $(#[doc = $doc:literal])*
        $syntax:ident {
            is: $is:literal, wanted: $wanted:literal, pattern: $pattern:literal
            $(, max: $max:literal)? $(, unquoted: $unquoted:literal)?
        }
    )+) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug, Clone)]
            pub(super) struct $syntax;

            impl Literal for $syntax {
                type Value = String;
                const WANTED: &'static str = $wanted;
                const PATTERN: Option<&'static str> = Some($pattern);
                $( const LONGEST: usize = $max; )?
                $( const UNQUOTED: bool = $unquoted; )?

                fn read(text: &str) -> Result<String, NotOne> {
                    // A constant, which the test below compiles.
                    static PATTERN: LazyLock<Regex> =
                        LazyLock::new(|| Regex::new($pattern).expect("a constant pattern"));
                    if PATTERN.is_match(text) {
                        Ok(text.to_owned())
                    } else {
                        Err(NotOne::because(concat!("is not ", $is)))
                    }
                }
            }
        )+
    };
}

patterned! {
    /// The name of a service, a probe, a channel: it goes into file names, lists and templates.
    Name {
        is: "a name", wanted: "a name of letters, digits, `-`, `_` and `.`, e.g. `api`",
        pattern: "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
    }
    /// The name of an environment; GitHub's rules (255 characters, anything that can be seen).
    EnvironmentName {
        is: "the name of an environment", wanted: "a name of at most 255 characters, without spaces around it",
        pattern: r"^[^\s\x00-\x1F\x7F]([^\x00-\x1F\x7F]*[^\s\x00-\x1F\x7F])?$", max: 255
    }
    /// The name of a file in `.github/workflows`.
    WorkflowFile {
        is: "the file name of a workflow", wanted: "the file name of a workflow, without its folder, e.g. `ci.yml`",
        pattern: r"^[^/\\\x00-\x1F\x7F]+\.ya?ml$", max: 255
    }
    /// `owner/name` on GitHub.
    GithubRepository {
        is: "a repository", wanted: "`owner/name`",
        pattern: "^[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/[A-Za-z0-9._-]{1,100}$"
    }
    /// A branch, or a pattern of branches.
    Branch {
        is: "a branch", wanted: "a branch or a pattern, e.g. `main` or `release/*`",
        pattern: r"^[^\s~^:?\\\x00-\x1F\x7F]+$", max: 255
    }
    /// A host with its port.
    HostPort {
        is: "a host with its port", wanted: "a host and a port, e.g. `db.example.com:5432`",
        pattern: r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):([1-9][0-9]{0,4})$", max: 260
    }
    /// A host, with its port where that is not the usual one.
    Host {
        is: "a host", wanted: "a host, with its port where that is not the usual one, e.g. `registry.lan:5000`",
        pattern: r"^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[1-9][0-9]{0,4})?$", max: 260
    }
    /// A name in the DNS.
    DnsName {
        is: "a name in the DNS", wanted: "a name in the DNS, e.g. `api.example.com`",
        pattern: r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", max: 253
    }
    /// A user of a system.
    UserName {
        is: "a user", wanted: "a user's name, e.g. `deploy`",
        pattern: r"^[A-Za-z0-9_][A-Za-z0-9._@\\-]{0,63}$", unquoted: true
    }
    /// A host key: a fingerprint, or a line of `known_hosts`.
    HostKey {
        is: "a host key", wanted: "a fingerprint (`SHA256:…`) or a line of `known_hosts`",
        pattern: r"^(SHA256:[A-Za-z0-9+/]{43}=?|\S+ (ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/]{40,}={0,2}( .*)?)$"
    }
    /// The address of a mailbox.
    Mailbox {
        is: "a mail address", wanted: "a mail address, e.g. `ops@example.com`",
        pattern: r"^[^\s@<>,\x00-\x1F\x7F]+@[A-Za-z0-9.-]+$", max: 254
    }
    /// A label of GitHub's issues.
    IssueLabel {
        is: "a label", wanted: "a label of at most 50 characters",
        pattern: r"^[^,\x00-\x1F\x7F]+$", max: 50
    }
    /// A type of event of `repository_dispatch`.
    EventType {
        is: "a type of event", wanted: "a type of event of at most 100 characters, e.g. `deploy-production`",
        pattern: r"^[^\s\x00-\x1F\x7F]+$", max: 100
    }
    /// An AWS role.
    RoleArn {
        is: "the ARN of a role", wanted: "the ARN of a role, e.g. `arn:aws:iam::123456789012:role/deploy`",
        pattern: r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$"
    }
    /// An AWS region.
    Region {
        is: "a region", wanted: "a region, e.g. `eu-central-1`",
        pattern: "^[a-z]{2,4}(-[a-z]+)+-[0-9]+$"
    }
    /// Where audit trails are archived.
    ArchiveAddress {
        is: "an address of object storage",
        wanted: "`s3://bucket/prefix`, `gs://bucket/prefix` or `az://account/container/prefix`",
        pattern: r"^(s3|gs|az)://[a-z0-9][a-z0-9._-]{1,62}(/[^\s\x00-\x1F\x7F?#]*)?$", max: 1024
    }
    /// A port of a container.
    ContainerPort {
        is: "a port", wanted: "a port, with its protocol where that is not TCP, e.g. `8080` or `53/udp`",
        pattern: "^[1-9][0-9]{0,4}(/(tcp|udp|sctp))?$", unquoted: true
    }
    /// The name of a schema in a database.
    SchemaName {
        is: "the name of a schema", wanted: "the name of a schema, e.g. `public`",
        pattern: "^[A-Za-z_][A-Za-z0-9_$]{0,62}$"
    }
    /// Text of one line.
    Line {
        is: "text of one line", wanted: "text of one line",
        pattern: r"^[^\x00-\x1F\x7F]+$", max: 1024, unquoted: true
    }
    /// A path to a file, below the workspace where it is not absolute.
    FilePath {
        is: "a path", wanted: "a path, e.g. `scan/report.json`",
        pattern: r"^[^\x00-\x1F\x7F]+$", max: 1024
    }
}

/// A status of HTTP, or a class of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// One, e.g. 200.
    Code(u16),
    /// All that begin with this digit, e.g. 2 for `2xx`.
    Class(u16),
}

impl Status {
    /// `2xx`: what means success.
    pub(super) const SUCCESS: Self = Self::Class(2);

    /// Whether a status is it, or of it.
    #[must_use]
    pub const fn matches(self, status: u16) -> bool {
        match self {
            Self::Code(code) => code == status,
            Self::Class(class) => class == status / 100,
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The syntax of statuses.
pub(super) struct StatusSyntax;

impl Literal for StatusSyntax {
    type Value = Status;
    const WANTED: &'static str = "a status of HTTP such as `200`, or a class such as `2xx`";
    const PATTERN: Option<&'static str> = Some("^[1-5]([0-9]{2}|xx)$");
    const UNQUOTED: bool = true;

    fn read(text: &str) -> Result<Status, NotOne> {
        let class = text.strip_suffix("xx").map(|class| class.parse().map(Status::Class));
        match class.unwrap_or_else(|| text.parse().map(Status::Code)) {
            Ok(status @ Status::Class(1..=5)) if text.len() == 3 => Ok(status),
            Ok(status @ Status::Code(100..=599)) if text.len() == 3 => Ok(status),
            _ => Err(NotOne::because("is not a status")),
        }
    }
}

/// Who may approve.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Approver {
    /// A user, by login. Logins are compared without regard to case.
    User(String),
    /// The members of a team.
    Team {
        /// The organisation's login.
        organization: String,
        /// The team's slug.
        team: String,
    },
}

/// The syntax of approvers: `octocat` or `@acme/release`.
pub(super) struct ApproverSyntax;

impl Literal for ApproverSyntax {
    type Value = Approver;
    const WANTED: &'static str = "a login such as `octocat`, or a team such as `@acme/release`";
    const PATTERN: Option<&'static str> =
        Some(r"^@?[A-Za-z0-9][A-Za-z0-9-]{0,38}(_[A-Za-z0-9]+)?(\[bot\])?(/[A-Za-z0-9._-]{1,100})?$");

    fn read(text: &str) -> Result<Approver, NotOne> {
        let name = text.strip_prefix('@').unwrap_or(text);
        let (login, team) = name.split_once('/').map_or((name, None), |(login, team)| (login, Some(team)));
        // Managed users of an enterprise have `_shortcode` at the end of their logins.
        let good = !login.is_empty()
            && login.len() <= 60
            && login.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            && login.as_bytes()[0].is_ascii_alphanumeric()
            && login.matches('_').count() <= 1
            && !login.ends_with('_')
            && login.split('_').next().is_some_and(|plain| plain.len() <= 39);
        let slug = |team: &str| {
            (1..=100).contains(&team.len())
                && team.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        match team {
            None if good => Ok(Approver::User(login.to_owned())),
            Some(team) if good && slug(team) => {
                Ok(Approver::Team { organization: login.to_owned(), team: team.to_owned() })
            }
            _ => Err(NotOne::because("is neither a login nor a team")),
        }
    }
}

/// The syntax of users on hosts, which may be templates.
pub(super) struct UserSyntax;

impl Literal for UserSyntax {
    type Value = Template;
    const WANTED: &'static str = "a user's name, e.g. `deploy`";
    const UNQUOTED: bool = true;

    fn read(text: &str) -> Result<Template, NotOne> {
        let template = Template::new(text).map_err(|_| {
            NotOne::because("user is not a template").with_fix("close each `{{` with `}}`, and each `{%` with `%}`")
        })?;
        match template.sample() {
            Some(sample) if UserName::read(&sample).is_err() => Err(NotOne::because("is no user's name")),
            _ => Ok(template),
        }
    }
}

/// The syntax of addresses on the web, which may be templates. A password does not belong into one.
pub(super) struct UrlSyntax;

impl Literal for UrlSyntax {
    type Value = Template;
    const WANTED: &'static str = "an address that begins with `https://` or `http://`";
    const PATTERN: Option<&'static str> = Some("^https?://");
    const QUOTABLE: bool = false;

    fn read(text: &str) -> Result<Template, NotOne> {
        let template = Template::new(text).map_err(|_| {
            NotOne::because("address is not a template").with_fix("close each `{{` with `}}`, and each `{%` with `%}`")
        })?;
        if !(text.starts_with("https://") || text.starts_with("http://")) {
            return Err(NotOne::because("address begins neither with `https://` nor with `http://`"));
        }
        // What cannot be rendered with made-up values is left to the run.
        let Some(sample) = template.sample() else { return Ok(template) };
        let url =
            url::Url::parse(&sample).map_err(|error| NotOne::because(format!("address cannot be used: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NotOne::because("address holds a user or a password (not shown)")
                .with_fix("take it out, and use `basic`, `bearer` or `headers` with `${NAME}`"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(NotOne::because("address has no host"));
        }
        Ok(template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::image::{PlatformSyntax, RepositorySyntax};
    use crate::config::matching::{AnyPattern, JsonPathSyntax, PointerSyntax};

    fn accepts<L: Literal>(good: &[&str], bad: &[&str]) {
        for text in good {
            if let Err(error) = L::read(text) {
                panic!("{text} {}", error.why);
            }
            if let Some(pattern) = L::PATTERN {
                assert!(Regex::new(pattern).unwrap().is_match(text), "{text} does not fit the schema");
            }
        }
        for text in bad {
            assert!(L::read(text).is_err(), "{text} was accepted");
        }
    }

    #[test]
    fn names_and_addresses() {
        accepts::<Name>(&["api", "a.b_c-9"], &["a b", "-a", "a/b", "ä"]);
        accepts::<EnvironmentName>(&["production", "prod / eu (west)", "p"], &[" a", "a ", "a\nb"]);
        accepts::<WorkflowFile>(&["ci.yml", "ci-cd.yaml"], &["ci", ".github/workflows/ci.yml", "ci.json"]);
        accepts::<GithubRepository>(&["acme/api", "a/b.c"], &["acme", "acme/a/b", "-a/b"]);
        accepts::<Branch>(&["main", "release/*"], &["a b", "a~1", "a:b"]);
        accepts::<HostPort>(&["db:5432", "[::1]:80", "10.0.0.1:1"], &["db", "db:0", "db:http", "a b:1"]);
        accepts::<Host>(&["registry.lan:5000", "registry.lan"], &["http://registry.lan", "registry.lan/x"]);
        accepts::<UserName>(&["deploy", "1000"], &["a b", ""]);
        accepts::<UserSyntax>(&["deploy", "{{ vars.user }}"], &["a b", "", "{{"]);
        accepts::<HostKey>(
            &[
                "SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8",
                "host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl comment",
            ],
            &["MD5:aa:bb", "ssh-ed25519 AAAA", "SHA256:short"],
        );
        accepts::<Mailbox>(&["ops@acme.test"], &["ops", "Ops <ops@acme.test>", "a@b@c"]);
        accepts::<RoleArn>(&["arn:aws:iam::123456789012:role/deploy"], &["deploy", "arn:aws:iam::1:role/x"]);
        accepts::<Region>(&["eu-central-1", "us-gov-west-1"], &["europe", "eu_central_1"]);
        accepts::<ArchiveAddress>(
            &["s3://acme-audit/tidegate", "az://acme/audit"],
            &["https://x", "s3://", "s3://a b"],
        );
        accepts::<ContainerPort>(&["8080", "53/udp"], &["0", "80/icmp", "http"]);
        accepts::<StatusSyntax>(&["200", "2xx"], &["20", "600", "0xx", "6xx", "xx2", "+20", "+xx"]);
        assert!(Status::SUCCESS.matches(204) && !Status::SUCCESS.matches(302));
        accepts::<ApproverSyntax>(
            &["octocat", "@acme/release", "acme/release", "@octocat", "jane_acme"],
            &["", "@", "a b", "acme/", "acme/a/b", "_a", "a_b_c", "octocat!"],
        );
        accepts::<PointerSyntax>(&["/status", "/a/0/b~1c", "/"], &["status", "$.status", "/a~2"]);
        accepts::<JsonPathSyntax>(&["$.status", "$['a'][0]", "$"], &["status", "$.", "$["]);
        accepts::<PlatformSyntax>(&["linux/amd64", "linux/arm/v7"], &["linux", "linux/amd64/v1/x"]);
        accepts::<RepositorySyntax>(
            &["ghcr.io/acme/api", "localhost:5000/api"],
            &["acme/api", "ghcr.io/acme/api:v1", "ghcr.io/acme/api@sha256:00"],
        );
        accepts::<UrlSyntax>(
            &["https://acme.test/{{ vars.site }}", "http://10.0.0.1:8080/health"],
            &["acme.test", "ftp://acme.test", "https://user:pass@acme.test/", "https://", "https://a b/", "https://{{"],
        );
        accepts::<AnyPattern>(&["^ok$"], &["(", "a{99999999}"]);
    }
}
