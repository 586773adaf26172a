//! Where the ledger is.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;
use url::Url;

use super::LedgerError;

/// The file of a ledger that nobody asked to be elsewhere.
const DEFAULT_FILE: &str = "ledger.sqlite";

/// What PostgreSQL calls us, where the address does not say.
const APPLICATION: &str = "tidegate";

/// PostgreSQL's port.
const PORT: u16 = 5432;

const WRITE: &str = "write `postgres://user:password@host:5432/database`";

const ENCODE: &str = "a password with special characters must be percent-encoded, e.g. `@` as `%40`";

/// Parameters of an address that are honoured.
const HONOURED: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];

/// Parameters that providers and other clients write into addresses, and that change nothing here.
const PASSED_OVER: &[&str] = &[
    "channel_binding",
    "connect_timeout",
    "connection_limit",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "pgbouncer",
    "pool_timeout",
    "schema",
    "target_session_attrs",
];

/// Where the ledger is. Neither `Debug` nor `Display` shows a password.
#[derive(Clone)]
pub struct LedgerAddress(pub(super) Place);

#[derive(Clone)]
pub(super) enum Place {
    Postgres(Box<PgConnectOptions>),
    Sqlite { path: PathBuf, lasting: bool },
}

/// The address of a PostgreSQL database in parts, as the inputs `database-host` and so on have them.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// A host name, an IP address, or the folder of a Unix socket.
    pub host: String,
    /// The port; 5432 where there is none.
    pub port: Option<String>,
    /// The user.
    pub user: String,
    /// The password; none where the database asks for none, or a password file has it.
    pub password: Option<SecretString>,
    /// The database's name.
    pub name: String,
}

fn bad(why: impl Into<String>) -> LedgerError {
    LedgerError::BadAddress(why.into())
}

impl LedgerAddress {
    /// Reads `postgres://user:password@host:port/database`, `postgresql://…` or `sqlite:path`.
    ///
    /// `sslmode` and its companions are honoured as libpq does. What the address does not say besides host, port, user
    /// and database is taken from libpq's environment variables and password file.
    ///
    /// # Errors
    /// [`LedgerError::BadAddress`], which says what is wrong and quotes nothing of the address that may be a password.
    pub fn parse(address: &SecretString) -> Result<Self, LedgerError> {
        let text = address.expose_secret().trim();
        match text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest)) {
            Some((scheme, _)) if scheme == "postgres" || scheme == "postgresql" => postgres(text),
            Some((scheme, rest)) if scheme == "sqlite" => sqlite(rest),
            _ => Err(bad(format!("{WRITE}, or `sqlite:` and a path"))),
        }
    }

    /// Puts an address together from its parts.
    ///
    /// # Errors
    /// [`LedgerError::BadAddress`], naming the part that is missing or wrong.
    pub fn from_parts(parts: &Parts) -> Result<Self, LedgerError> {
        for (name, part) in
            [("database-host", &parts.host), ("database-user", &parts.user), ("database-name", &parts.name)]
        {
            if part.is_empty() {
                return Err(bad(format!("`{name}` is missing; give it, or the whole address as `database-url`")));
            }
        }
        let port = match parts.port.as_deref() {
            None => PORT,
            Some(port) => port.parse().map_err(|_| bad("`database-port` is not a port; write e.g. `5432`"))?,
        };
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(bare_host(&parts.host))
            .port(port)
            .username(&parts.user)
            .database(&parts.name);
        if let Some(password) = &parts.password {
            options = options.password(password.expose_secret());
        }
        Ok(Self::of_postgres(options))
    }

    /// The ledger of a job that was given none: a file in `folder`, which does not outlive the job.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self(Place::Sqlite { path: folder.join(DEFAULT_FILE), lasting: false })
    }

    /// Whether the ledger outlives the job: a PostgreSQL database, or a file that was asked for.
    #[must_use]
    pub const fn is_lasting(&self) -> bool {
        match self.0 {
            Place::Postgres(_) => true,
            Place::Sqlite { lasting, .. } => lasting,
        }
    }

    /// Whether there may be something in it: a file that is not there has no past.
    #[must_use]
    pub fn exists(&self) -> bool {
        match &self.0 {
            Place::Postgres(_) => true,
            Place::Sqlite { path, .. } => path.exists(),
        }
    }

    fn of_postgres(options: PgConnectOptions) -> Self {
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name(APPLICATION),
        };
        Self(Place::Postgres(Box::new(options.disable_statement_logging())))
    }
}

/// A host as it is connected to: an IPv6 address stands in brackets only in an address.
fn bare_host(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn postgres(text: &str) -> Result<LedgerAddress, LedgerError> {
    let mut url = Url::parse(text).map_err(|error| match error {
        url::ParseError::EmptyHost => bad(format!("it names no host; {WRITE}")),
        error => bad(format!("{error}; {ENCODE}")),
    })?;
    // With an unencoded `/`, `?` or `#` in the password, the rest of the password and the host end up here.
    let beyond = [Some(url.path()), url.query(), url.fragment()];
    if url.fragment().is_some() || beyond.iter().flatten().any(|part| part.contains('@')) {
        return Err(bad(format!("there is an `@` or `#` after the host; {ENCODE}")));
    }
    let mut kept = Vec::new();
    for (key, value) in url.query_pairs() {
        if HONOURED.contains(&&*key) {
            kept.push((key.into_owned(), value.into_owned()));
        } else if !PASSED_OVER.contains(&&*key) {
            return Err(bad(format!("the parameter `{key}` is not known; known are {}", HONOURED.join(", "))));
        }
    }
    let says = |names: &[&str]| kept.iter().any(|(key, value)| names.contains(&key.as_str()) && !value.is_empty());
    if url.host_str().is_none_or(str::is_empty) && !says(&["host", "hostaddr"]) {
        return Err(bad(format!("it names no host; {WRITE}")));
    }
    if url.username().is_empty() && !says(&["user"]) {
        return Err(bad(format!("it names no user; {WRITE}")));
    }
    if url.path().trim_start_matches('/').is_empty() && !says(&["dbname"]) {
        return Err(bad(format!("it names no database; {WRITE}")));
    }
    let port_is_said = url.port().is_some() || says(&["port"]);
    url.set_query(None);
    if !kept.is_empty() {
        url.query_pairs_mut().extend_pairs(kept);
    }
    let mut options = PgConnectOptions::from_url(&url).map_err(|error| match error {
        sqlx::Error::Configuration(why) => bad(why.to_string()),
        _ => bad("it cannot be read"),
    })?;
    if !port_is_said {
        options = options.port(PORT);
    }
    if let Some(host) = options.get_host().strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let host = host.to_owned();
        options = options.host(&host);
    }
    Ok(LedgerAddress::of_postgres(options))
}

fn sqlite(rest: &str) -> Result<LedgerAddress, LedgerError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.starts_with(':') {
        return Err(bad("`sqlite:` needs the path of a file, e.g. `sqlite:/var/lib/tidegate/ledger.sqlite`"));
    }
    if path.contains('?') || path.ends_with('/') {
        return Err(bad("`sqlite:` takes the path of a file and no parameters"));
    }
    Ok(LedgerAddress(Place::Sqlite { path: path.into(), lasting: true }))
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(options) => {
                write!(f, "postgres://{}@", options.get_username())?;
                match options.get_socket() {
                    Some(socket) => write!(f, "{}", socket.display())?,
                    None => write!(f, "{}:{}", options.get_host(), options.get_port())?,
                }
                options.get_database().map_or(Ok(()), |database| write!(f, "/{database}"))
            }
            Self::Sqlite { path, .. } => write!(f, "sqlite:{}", path.display()),
        }
    }
}

impl fmt::Display for LedgerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for LedgerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerAddress({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LedgerAddress, LedgerError> {
        LedgerAddress::parse(&SecretString::from(text))
    }

    fn options(text: &str) -> PgConnectOptions {
        match parse(text).unwrap().0 {
            Place::Postgres(options) => *options,
            Place::Sqlite { .. } => panic!("{text} is not PostgreSQL"),
        }
    }

    #[test]
    fn addresses_are_read_and_shown_without_password() {
        for (text, shown, lasting) in [
            ("postgres://me:s3cret@db.test/app", "postgres://me@db.test:5432/app", true),
            ("postgresql://me:s3cret@db.test:6432/app?sslmode=require", "postgres://me@db.test:6432/app", true),
            ("postgres://me:s3cret%40x%2F@[::1]/app", "postgres://me@::1:5432/app", true),
            ("postgres:///app?host=/run/pg&user=me&password=s3cret", "postgres://me@/run/pg/app", true),
            ("postgres://db.test?user=me&password=s3cret&dbname=app&port=7", "postgres://me@db.test:7/app", true),
            ("postgres://me:s3cret@db.test/app?channel_binding=require", "postgres://me@db.test:5432/app", true),
            ("sqlite:/var/lib/ledger.sqlite", "sqlite:/var/lib/ledger.sqlite", true),
            ("sqlite://ledger.sqlite", "sqlite:ledger.sqlite", true),
            ("  SQLITE:ledger.sqlite\n", "sqlite:ledger.sqlite", true),
        ] {
            let address = parse(text).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(address.is_lasting(), lasting, "{text}");
            assert!(!format!("{address:?}").contains("s3cret"), "{address:?}");
        }
        let default = LedgerAddress::in_folder(Path::new(".tidegate"));
        assert_eq!(default.to_string(), "sqlite:.tidegate/ledger.sqlite");
        assert!(!default.is_lasting());
    }

    #[test]
    fn tls_is_as_the_address_says() {
        use sqlx::postgres::PgSslMode;
        assert!(matches!(options("postgres://a@b/c?sslmode=disable").get_ssl_mode(), PgSslMode::Disable));
        let verified = options("postgres://a@b/c?sslmode=verify-full&sslrootcert=/ca.pem");
        assert!(matches!(verified.get_ssl_mode(), PgSslMode::VerifyFull));
    }

    #[test]
    fn bad_addresses_say_what_is_wrong_and_quote_no_password() {
        for (text, says) in [
            ("", "write `postgres://"),
            ("mysql://me:s3cret@db/app", "write `postgres://"),
            ("/var/lib/s3cret", "write `postgres://"),
            ("postgres://me:s3cret@db:port/app", "invalid port number"),
            ("postgres://me:s3/cret@db/app", "percent-encoded"),
            ("postgres://me:12/s3cret@db/app", "percent-encoded"),
            ("postgres://me:12?s3cret@db/app", "percent-encoded"),
            ("postgres://me:12#s3cret@db/app", "percent-encoded"),
            ("postgres://me:s3cret@/app", "no host"),
            ("postgres:///app", "no host"),
            ("postgres://db/app", "no user"),
            ("postgres://me:s3cret@db", "no database"),
            ("postgres://me:s3cret@db/app?sslmode=s0me", "ssl_mode"),
            ("postgres://me:s3cret@db/app?sslmod=require", "`sslmod` is not known"),
            ("sqlite:", "needs the path"),
            ("sqlite::memory:", "needs the path"),
            ("sqlite:x.db?mode=ro", "no parameters"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(says), "{text}: {error}");
            assert!(!error.to_string().contains("cret"), "{text}: {error}");
        }
    }

    #[test]
    fn parts_make_an_address() {
        let parts = Parts {
            host: "db.test".into(),
            port: Some("6432".into()),
            user: "me".into(),
            password: Some("s3cret".into()),
            name: "app".into(),
        };
        let address = LedgerAddress::from_parts(&parts).unwrap();
        assert_eq!(address.to_string(), "postgres://me@db.test:6432/app");
        assert!(!format!("{address:?}{parts:?}").contains("s3cret"));
        for (parts, says) in [
            (Parts { host: String::new(), ..parts.clone() }, "database-host"),
            (Parts { user: String::new(), ..parts.clone() }, "database-user"),
            (Parts { name: String::new(), ..parts.clone() }, "database-name"),
            (Parts { port: Some("x".into()), ..parts }, "database-port"),
        ] {
            let error = LedgerAddress::from_parts(&parts).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
