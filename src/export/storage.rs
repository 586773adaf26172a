//! The archive in object storage, through `object_store`, with its retries and our limits of time.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use super::Item;
use crate::config::{Audit, Secret};
use crate::http::install_tls_provider;
use crate::promotion::fault::{Category, Code, Fault};
use crate::promotion::retry::RetryPolicy;
use crate::promotion::run::Run;
use crate::promotion::untrusted::line;

/// How long one request may take, and how long a file is tried.
const REQUEST: Duration = Duration::from_secs(20);
const FILE: Duration = Duration::from_secs(60);

/// How long all files may take together.
const ALL: Duration = Duration::from_secs(180);

/// Reads a secret that the configuration names.
pub type Read<'a> = &'a (dyn Fn(&Secret) -> Result<SecretString, Fault> + Sync);

/// An archive that can be written to.
#[derive(Debug)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The address as it is in the configuration.
    address: String,
}

impl Archive {
    /// The archive that a configuration names; none where it names none. Nothing is connected to yet.
    ///
    /// # Errors
    /// A secret that is not set; credentials that the storage cannot be reached with.
    pub fn of(audit: &Audit, secret: Read<'_>, retry: RetryPolicy) -> Result<Option<Self>, Fault> {
        let Some(address) = &audit.archive else { return Ok(None) };
        install_tls_provider();
        let credentials = audit
            .credentials
            .as_ref()
            .map(|one| Ok::<_, Fault>((secret(&one.access_key_id)?, secret(&one.secret_access_key)?)))
            .transpose()?;
        let (scheme, rest) = address.split_once("://").unwrap_or_default();
        let (bucket, rest) = rest.split_once('/').unwrap_or((rest, ""));
        let (store, prefix) = match scheme {
            "s3" => (s3(audit, bucket, credentials, retry), rest),
            "gs" => (google(bucket, credentials.as_ref(), retry), rest),
            _ => {
                let (container, rest) = rest.split_once('/').unwrap_or((rest, ""));
                (azure(bucket, container, credentials, retry), rest)
            }
        };
        let unusable = |why: String| {
            Fault::new(Code::ConfigurationInvalid, format!("the archive {address} cannot be used: {why}"))
                .with_fix("correct `audit.archive` and `audit.credentials`")
        };
        Ok(Some(Self { store: store.map_err(unusable)?, prefix: Path::from(prefix), address: address.clone() }))
    }

    /// Where the files of a run are.
    #[must_use]
    pub fn place(&self, run: &Run) -> String {
        let path = self.folder(run).to_string();
        let (scheme, rest) = self.address.split_once("://").unwrap_or_default();
        let bucket: Vec<&str> = rest.split('/').take(if scheme == "az" { 2 } else { 1 }).collect();
        format!("{scheme}://{}/{path}", bucket.join("/"))
    }

    /// `{prefix}/{owner}/{name}/{environment}/{deployment id}`; what a storage does not take in a name is encoded.
    fn folder(&self, run: &Run) -> Path {
        let mut path = self.prefix.clone();
        let scope = run.opening.scope.split('/');
        for part in scope.chain([run.opening.environment.as_str(), run.id.as_str()]) {
            path = path.join(part);
        }
        path
    }

    /// Puts the files of a run there. A later visit of the run writes them anew.
    ///
    /// # Errors
    /// [`Code::ArchiveFailed`], with what the storage says.
    pub async fn keep(&self, run: &Run, items: &[Item]) -> Result<(), Fault> {
        let folder = self.folder(run);
        let all = async {
            for item in items {
                let payload = PutPayload::from(item.content.clone());
                self.store
                    .put(&folder.clone().join(item.name.as_str()), payload)
                    .await
                    .map_err(|error| (item.name.clone(), error))?;
            }
            Ok(())
        };
        match timeout(ALL, all).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err((name, error))) => Err(self.failed(&name, &error)),
            Err(_) => Err(Fault::new(
                Code::ArchiveFailed,
                format!("{} has not taken the trail within {}", self.address, humantime::format_duration(ALL)),
            )
            .in_category(Category::Timeout)),
        }
    }

    fn failed(&self, name: &str, error: &object_store::Error) -> Fault {
        let fault = Fault::new(
            Code::ArchiveFailed,
            format!("{name} cannot be archived in {}: {}", self.address, line(&error.to_string(), 400)),
        );
        match error {
            object_store::Error::PermissionDenied { .. } => fault
                .in_category(Category::Permission)
                .with_fix("let the credentials write below the archive's address, e.g. `s3:PutObject`"),
            object_store::Error::Unauthenticated { .. } => fault.in_category(Category::Authentication),
            object_store::Error::NotFound { .. } => fault
                .in_category(Category::Validation)
                .with_fix("make the bucket or container, or correct `audit.archive`"),
            _ => fault,
        }
    }
}

type Made = Result<Arc<dyn ObjectStore>, String>;

fn s3(audit: &Audit, bucket: &str, credentials: Option<(SecretString, SecretString)>, retry: RetryPolicy) -> Made {
    // Without credentials of its own: those of the step's environment, web identity too.
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(patience(retry));
    let mut plain = false;
    if let Some(endpoint) = &audit.endpoint {
        plain = endpoint.as_str().starts_with("http://");
        builder = builder.with_endpoint(endpoint.as_str());
    }
    if let Some(region) = &audit.region {
        builder = builder.with_region(region);
    }
    if let Some((id, key)) = credentials {
        builder = builder.with_access_key_id(id.expose_secret()).with_secret_access_key(key.expose_secret());
    }
    let store = builder.with_client_options(options().with_allow_http(plain)).build();
    store.map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|error| line(&error.to_string(), 300))
}

fn azure(
    account: &str,
    container: &str,
    credentials: Option<(SecretString, SecretString)>,
    retry: RetryPolicy,
) -> Made {
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_account(account)
        .with_container_name(container)
        .with_retry(patience(retry))
        .with_client_options(options());
    if let Some((_, key)) = credentials {
        builder = builder.with_access_key(key.expose_secret());
    }
    let store = builder.build();
    store.map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|error| line(&error.to_string(), 300))
}

fn google(bucket: &str, credentials: Option<&(SecretString, SecretString)>, retry: RetryPolicy) -> Made {
    if credentials.is_some() {
        return Err("Google's storage takes no keys: give `GOOGLE_APPLICATION_CREDENTIALS` in the step's environment"
            .to_owned());
    }
    let store = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_retry(patience(retry))
        .with_client_options(options())
        .build();
    store.map(|store| Arc::new(store) as Arc<dyn ObjectStore>).map_err(|error| line(&error.to_string(), 300))
}

fn options() -> ClientOptions {
    ClientOptions::new().with_timeout(REQUEST).with_connect_timeout(Duration::from_secs(10))
}

fn patience(retry: RetryPolicy) -> RetryConfig {
    let mut patience = RetryConfig {
        max_retries: usize::try_from(retry.attempts.saturating_sub(1)).unwrap_or(usize::MAX),
        retry_timeout: FILE,
        ..RetryConfig::default()
    };
    patience.backoff.init_backoff = retry.initial;
    patience.backoff.max_backoff = retry.max;
    patience.backoff.base = retry.factor.max(1.1);
    patience
}
