//! Where registries may send us: redirects, uploads, next pages and token servers.

use http::header::LOCATION;
use url::Url;

use super::Registries;
use super::address::{Place, Scheme, Trust, authority, is_loopback, place, same_origin};
use super::answer::Answer;
use super::auth::shown;
use super::clients::Route;
use super::error::Trouble;
use super::host::Host;

impl Registries {
    /// Where an answer says that something is, if it says so, and if it is safe to go there.
    pub(super) async fn location(&self, host: &Host, answer: &Answer) -> Result<Option<Url>, Trouble> {
        match answer.header(LOCATION) {
            Some(text) => self.named(host, answer, text).await.map(Some),
            None => Ok(None),
        }
    }

    /// An address, relative or absolute, that an answer names, if it is safe to go there.
    pub(super) async fn named(&self, host: &Host, answer: &Answer, text: &str) -> Result<Url, Trouble> {
        self.safe(host, host.spoken(), join(&answer.url, text)?).await
    }

    /// An address that a registry named, if it is safe to go to: over TLS unless the registry itself is not; not to a
    /// private address unless the registry itself is at one; never to this link's own addresses. The same host over
    /// plain HTTP, as proxies in front of registries write it, is taken for the same host over TLS.
    pub(super) async fn safe(&self, host: &Host, scheme: Scheme, mut url: Url) -> Result<Url, Trouble> {
        let refused = |url: &Url, why: &str| Err(Trouble::UnsafeTarget { why: format!("{} {why}", shown(url)) });
        let home = host.url(scheme, "")?;
        if !url.username().is_empty() || url.password().is_some() {
            return refused(&url, "holds credentials");
        }
        if same_origin(&url, &home) {
            return Ok(url);
        }
        match (url.scheme(), scheme) {
            ("https", _) | ("http", Scheme::Http) => {}
            ("http", Scheme::Https)
                if url.host() == home.host() && url.port().is_none_or(|port| Some(port) == home.port()) =>
            {
                let port = home.port();
                if url.set_scheme("https").is_err() || url.set_port(port).is_err() {
                    return refused(&url, "is not https");
                }
                return Ok(url);
            }
            _ => return refused(&url, "is not https"),
        }
        let listed =
            self.shared.private_hosts.contains(&authority(&url)) || self.shared.insecure.contains(&authority(&url));
        match place(&url) {
            _ if listed => Ok(url),
            Place::LinkLocal => refused(&url, "is of this link only"),
            Place::Private if !host.is_private().await => refused(&url, "is private"),
            _ => Ok(url),
        }
    }

    /// The kind of connection to an address that is not the registry's own.
    pub(super) async fn route(&self, host: &Host, scheme: Scheme, url: &Url) -> Result<Route, Trouble> {
        if same_origin(url, &host.url(scheme, "")?) {
            return Ok(home_route(host.trust));
        }
        let url = self.safe(host, scheme, url.clone()).await?;
        let authority = authority(&url);
        Ok(if is_loopback(&authority) {
            Route::Direct
        } else if self.shared.insecure.contains(&authority) {
            Route::Lenient
        } else if self.shared.private_hosts.contains(&authority) || host.is_private().await {
            Route::Verified
        } else {
            Route::Guarded
        })
    }
}

/// An address, relative or absolute, that was named by another.
pub(super) fn join(base: &Url, text: &str) -> Result<Url, Trouble> {
    base.join(text).map_err(|_| Trouble::Nonsense { why: "it names an address that is none".to_owned() })
}

/// The kind of connection to a registry itself.
pub(super) const fn home_route(trust: Trust) -> Route {
    match trust {
        Trust::Public => Route::Verified,
        Trust::Loopback => Route::Direct,
        Trust::Insecure => Route::Lenient,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::*;

    async fn allowed(from: &str, scheme: Scheme, to: &str) -> Result<String, Trouble> {
        let options = Options {
            insecure: vec!["insecure.lan:5000".to_owned()],
            private_hosts: vec!["10.9.9.9".to_owned()],
            ..Options::default()
        };
        let client = Registries::new(options);
        let host = Host::new(from, &client.shared.insecure);
        client.safe(&host, scheme, Url::parse(to).unwrap()).await.map(|url| url.to_string())
    }

    #[tokio::test]
    async fn a_registry_on_the_internet_leads_to_the_internet_only() {
        // An address, so that no name has to be resolved.
        let public = "140.82.112.33";
        for to in [
            "https://storage.test/blob?signature=x",
            "https://8.8.8.8/x",
            "https://140.82.112.33/v2/x",
            "https://10.9.9.9/listed",
            "https://insecure.lan:5000/listed",
        ] {
            assert_eq!(allowed(public, Scheme::Https, to).await.as_deref(), Ok(to));
        }
        for to in [
            "http://storage.test/x",
            "https://10.0.0.1/x",
            "https://127.0.0.1/x",
            "https://localhost:5000/x",
            "https://[::1]/x",
            "https://169.254.169.254/latest/meta-data/",
            "https://metadata.google.internal/x",
            "https://user:word@storage.test/x",
            "http://140.82.112.33:8080/v2/x",
            "ftp://storage.test/x",
        ] {
            let refused = allowed(public, Scheme::Https, to).await;
            assert!(matches!(refused, Err(Trouble::UnsafeTarget { .. })), "{to} {refused:?}");
        }
        // What a proxy in front of a registry writes that does not know of its TLS.
        let same = allowed(public, Scheme::Https, "http://140.82.112.33/v2/x?y=z").await;
        assert_eq!(same.as_deref(), Ok("https://140.82.112.33/v2/x?y=z"));
        let same = allowed("10.1.1.1:8443", Scheme::Https, "http://10.1.1.1/v2/x").await;
        assert_eq!(same.as_deref(), Ok("https://10.1.1.1:8443/v2/x"));
    }

    #[tokio::test]
    async fn a_private_registry_may_lead_to_private_storage_but_not_to_this_link() {
        for (from, scheme) in [("10.1.1.1", Scheme::Https), ("127.0.0.1:5000", Scheme::Http)] {
            assert!(allowed(from, scheme, "https://10.0.0.1/x").await.is_ok(), "{from}");
            assert!(allowed(from, scheme, "https://169.254.169.254/x").await.is_err(), "{from}");
        }
        assert!(allowed("127.0.0.1:5000", Scheme::Http, "http://127.0.0.1:5001/x").await.is_ok());
        assert!(allowed("10.1.1.1", Scheme::Https, "http://10.0.0.1/x").await.is_err());
    }

    #[tokio::test]
    async fn each_place_is_reached_in_its_own_way() {
        let client = Registries::new(Options { insecure: vec!["insecure.lan".to_owned()], ..Options::default() });
        let route = |from: &str, scheme, to: &str| {
            let (client, host) = (client.clone(), Host::new(from, &client.shared.insecure));
            let to = Url::parse(to).unwrap();
            async move { client.route(&host, scheme, &to).await.ok() }
        };
        let public = "140.82.112.33";
        for (from, scheme, to, wanted) in [
            (public, Scheme::Https, "https://140.82.112.33/v2/", Some(Route::Verified)),
            (public, Scheme::Https, "https://storage.test/", Some(Route::Guarded)),
            (public, Scheme::Https, "https://insecure.lan/", Some(Route::Lenient)),
            (public, Scheme::Https, "https://10.0.0.1/", None),
            ("10.1.1.1", Scheme::Https, "https://storage.lan/", Some(Route::Verified)),
            ("127.0.0.1:1", Scheme::Http, "http://127.0.0.1:1/v2/", Some(Route::Direct)),
            ("127.0.0.1:1", Scheme::Http, "http://127.0.0.1:2/", Some(Route::Direct)),
            ("insecure.lan", Scheme::Http, "http://insecure.lan/v2/", Some(Route::Lenient)),
        ] {
            assert_eq!(route(from, scheme, to).await, wanted, "{from} {to}");
        }
    }
}
