//! How the registry behaves; all of it can be changed while it runs.

use std::time::Duration;

/// How a registry behaves. The defaults are those of a sound OCI 1.1 registry.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Whether the registry knows the referrers API.
    pub referrers: Referrers,
    /// How many tags or referrers one page has; the rest is behind `Link`.
    pub page_size: usize,
    /// The form of the `Location` of an upload session.
    pub locations: Locations,
    /// Whether a mount is done, or answered with an upload session (202) always.
    pub mounts: bool,
    /// Whether `POST …/blobs/uploads/?digest=` with the bytes completes an upload; otherwise it opens a session (202).
    pub single_post: bool,
    /// The largest body of a PATCH that has a `Content-Range`; a larger one is answered with 416, as GHCR does.
    pub patch_limit: Option<u64>,
    /// The largest manifest, in bytes.
    pub manifest_limit: usize,
    /// Whether a tag can be pointed to another digest; otherwise that is answered with 409.
    pub immutable_tags: bool,
    /// What the first reads of a tag see after it was written.
    pub lag: Option<Lag>,
    /// How long every request takes at least.
    pub latency: Duration,
    /// How many requests may be under way at once; more are answered with 429.
    pub max_in_flight: Option<usize>,
    /// Another server to which a GET of a blob is redirected (307), e.g. `http://127.0.0.1:4000`.
    pub redirect_blobs: Option<String>,
    /// Whether tokens are given for pulling to whom gives no credentials.
    pub anonymous_pull: bool,
    /// Whether only the password is looked at, as GHCR does.
    pub ignore_user_names: bool,
    /// How long a token is accepted; also its `expires_in`.
    pub token_lifetime: Duration,
    /// Whether the token endpoint says `expires_in` and `issued_at`.
    pub announce_expiry: bool,
    /// How many requests a token is good for.
    pub token_uses: Option<u32>,
    /// The names under which the token endpoint gives the token.
    pub token_field: TokenField,
    /// Whether what is forbidden, and what does not exist, is answered with 403 `DENIED`, as GHCR does; otherwise a
    /// missing permission is a 401 with `insufficient_scope`, and what does not exist is a 404.
    pub denies_what_is_missing: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            referrers: Referrers::On,
            page_size: 1000,
            locations: Locations::Relative,
            mounts: true,
            single_post: false,
            patch_limit: None,
            manifest_limit: 4 << 20,
            immutable_tags: false,
            lag: None,
            latency: Duration::ZERO,
            max_in_flight: None,
            redirect_blobs: None,
            anonymous_pull: false,
            ignore_user_names: false,
            token_lifetime: Duration::from_secs(300),
            announce_expiry: true,
            token_uses: None,
            token_field: TokenField::Both,
            denies_what_is_missing: false,
        }
    }
}

impl Settings {
    /// GHCR's habits, as its users report them: no referrers API (a redirect that leads nowhere), pages of 100 tags,
    /// 416 for a PATCH over 4 MiB, user names ignored, and 403 for whatever is missing or forbidden.
    #[must_use]
    pub fn ghcr() -> Self {
        Self {
            referrers: Referrers::RedirectTo("http://127.0.0.1:9/-/v2/packages/container".to_owned()),
            page_size: 100,
            patch_limit: Some(4 << 20),
            anonymous_pull: true,
            ignore_user_names: true,
            denies_what_is_missing: true,
            ..Self::default()
        }
    }
}

/// Whether a registry knows the referrers API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Referrers {
    /// It does.
    On,
    /// It answers 404, and gives no `OCI-Subject` on a push.
    Off,
    /// It answers 303 with this address and a cut digest, as GHCR does, and gives no `OCI-Subject` on a push.
    RedirectTo(String),
}

/// The form of the `Location` of an upload session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locations {
    /// A path with a query, `/v2/…/blobs/uploads/<id>?_state=…`; the query must come back.
    Relative,
    /// The same with scheme and host.
    Absolute,
    /// A path without a query.
    WithoutQuery,
    /// The same path with a query on another server, e.g. `http://127.0.0.1:4000`.
    At(String),
}

/// What the first reads of a tag see after it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lag {
    /// How many reads (GET or HEAD) do not see the new digest yet.
    pub reads: u32,
    /// Whether they see the digest from before; otherwise, and where there was none, 404.
    pub shows_old: bool,
}

/// The names under which the token endpoint gives the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenField {
    /// `token` and `access_token`, as docker's specification recommends.
    Both,
    /// `token` alone.
    Token,
    /// `access_token` alone, as Azure's registry does.
    AccessToken,
}
