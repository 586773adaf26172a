//! Where requests may go: schemes, origins, and the addresses that a registry on the internet has no business with.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

/// How a registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How far a registry is trusted to be what its name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Any registry: TLS with a certificate that verifies.
    Public,
    /// On this machine: plain HTTP, or TLS with any certificate, as Docker does.
    Loopback,
    /// Listed under `insecure-registries`: TLS with any certificate, or plain HTTP, as Docker does.
    Insecure,
}

impl Trust {
    /// The schemes to try, in order.
    pub(super) const fn schemes(self) -> &'static [Scheme] {
        match self {
            Self::Public => &[Scheme::Https],
            Self::Loopback => &[Scheme::Http, Scheme::Https],
            Self::Insecure => &[Scheme::Https, Scheme::Http],
        }
    }
}

/// Whether a host with or without a port is this machine: `localhost`, `*.localhost` (RFC 6761, 6.3), 127.0.0.0/8, `::1`.
pub(super) fn is_loopback(registry: &str) -> bool {
    let Ok(url) = Url::parse(&format!("http://{registry}/")) else { return false };
    match url.host() {
        Some(Host::Domain(name)) => is_local_name(name),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn is_local_name(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// Whether two addresses are the same scheme, host and port: only then credentials go along.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// A host with its port where that is not the scheme's own, as lists of hosts write it.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Whether an address is not on the internet: private, of this machine or this link, shared, or reserved.
pub(super) fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_private_v4(address),
        IpAddr::V6(address) => {
            embedded_v4(address).is_some_and(is_private_v4)
                || address.is_loopback()
                || address.is_unspecified()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_multicast()
        }
    }
}

/// Whether an address is of this link only, where clouds keep the credentials of their machines.
pub(super) fn is_link_local(address: IpAddr) -> bool {
    /// The metadata service of AWS over IPv6.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                || address == METADATA
                || embedded_v4(address).is_some_and(|address| address.is_link_local())
        }
    }
}

fn is_private_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b)) // shared address space, RFC 6598
        || (a == 192 && b == 0 && c == 0) // protocol assignments, RFC 6890
        || (a == 198 && (b == 18 || b == 19)) // benchmarks, RFC 2544
}

/// The IPv4 address inside a mapped (RFC 4291, 2.5.5.2), translated (RFC 6052) or 6to4 address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// What an address that a registry names is, before anything is sent there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// A name; where it leads is only known once it is resolved.
    Named,
    /// On the internet.
    Public,
    /// Private, or of this machine.
    Private,
    /// Of this link only: never a registry's storage.
    LinkLocal,
}

pub(super) fn place(url: &Url) -> Place {
    let address = match url.host() {
        Some(Host::Domain(name)) if is_local_name(name) => return Place::Private,
        // The metadata services of Google and of others who copied the name.
        Some(Host::Domain(name)) if name.trim_end_matches('.').ends_with("metadata.google.internal") => {
            return Place::LinkLocal;
        }
        Some(Host::Domain(_)) | None => return Place::Named,
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
    };
    if is_link_local(address) {
        Place::LinkLocal
    } else if is_private(address) {
        Place::Private
    } else {
        Place::Public
    }
}

/// A name that leads to an address on no internet.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` leads to a private address")]
pub(super) struct PrivateAddress {
    name: String,
}

/// Resolves names, and refuses those that lead to private addresses: for places that a registry on the internet
/// points to. Looking a name up first and connecting afterwards would leave time for it to change (DNS rebinding).
#[derive(Debug)]
pub(super) struct GuardedResolver {
    /// Names that may be private: the proxies of the environment, which usually are.
    pub(super) exempt: Arc<BTreeSet<String>>,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let exempt = Arc::clone(&self.exempt);
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if exempt.contains(&name.as_str().to_ascii_lowercase()) {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let public: Vec<SocketAddr> = found.into_iter().filter(|found| !is_private(found.ip())).collect();
            if public.is_empty() {
                return Err(PrivateAddress { name: name.as_str().to_owned() }.into());
            }
            Ok(Box::new(public.into_iter()) as Addrs)
        })
    }
}

/// Whether a registry's name leads to a private address. A name that cannot be resolved here (behind a proxy) does not.
pub(super) async fn leads_to_private(url: &Url) -> bool {
    match (place(url), url.host_str()) {
        (Place::Private | Place::LinkLocal, _) => true,
        (Place::Named, Some(name)) => match tokio::net::lookup_host((name, 0)).await {
            Ok(mut found) => found.any(|found| is_private(found.ip())),
            Err(_) => false,
        },
        _ => false,
    }
}

/// The names of the proxies in the environment.
pub(super) fn proxies() -> BTreeSet<String> {
    ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
        .into_iter()
        .filter_map(|name| std::env::var(name).ok())
        .filter_map(|text| Url::parse(&text).or_else(|_| Url::parse(&format!("http://{text}"))).ok())
        .filter_map(|url| url.host_str().map(str::to_ascii_lowercase))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_by_every_name() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:1", "127.9.9.9", "[::1]:5000", "registry.localhost:5000"]
        {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["ghcr.io", "10.0.0.1:5000", "localhost.evil.test", "0.0.0.0:5000", "127.0.0.1.evil.test"] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn places_are_told_apart() {
        for (url, wanted) in [
            ("https://storage.test/x", Place::Named),
            ("https://140.82.112.3/x", Place::Public),
            ("https://10.1.2.3/x", Place::Private),
            ("https://172.31.0.1/x", Place::Private),
            ("https://192.168.1.1/x", Place::Private),
            ("https://127.0.0.1/x", Place::Private),
            ("https://2130706433/x", Place::Private), // 127.0.0.1 as one number
            ("https://0x7f.1/x", Place::Private),
            ("https://0.0.0.0/x", Place::Private),
            ("https://100.64.0.1/x", Place::Private),
            ("https://localhost/x", Place::Private),
            ("https://LOCALHOST./x", Place::Private),
            ("https://[::1]/x", Place::Private),
            ("https://[fd12::1]/x", Place::Private),
            ("https://[::ffff:10.0.0.1]/x", Place::Private),
            ("https://[64:ff9b::a00:1]/x", Place::Private),
            ("https://169.254.169.254/latest/meta-data", Place::LinkLocal),
            ("https://[fe80::1]/x", Place::LinkLocal),
            ("https://[fd00:ec2::254]/x", Place::LinkLocal),
            ("https://[::ffff:169.254.169.254]/x", Place::LinkLocal),
            ("https://metadata.google.internal/x", Place::LinkLocal),
            ("https://[2606:50c0:8000::153]/x", Place::Public),
        ] {
            assert_eq!(place(&Url::parse(url).unwrap()), wanted, "{url}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |one: &str, other: &str| same_origin(&Url::parse(one).unwrap(), &Url::parse(other).unwrap());
        assert!(same("https://a.test/x", "https://a.test:443/y"));
        for other in ["http://a.test/x", "https://a.test:444/x", "https://b.test/x", "https://a.test.evil.test/x"] {
            assert!(!same("https://a.test/x", other), "{other}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_by_the_guarded_resolver() {
        let resolver = GuardedResolver { exempt: Arc::default() };
        let refused = resolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(refused.is::<PrivateAddress>());
        let exempt = GuardedResolver { exempt: Arc::new(BTreeSet::from(["localhost".to_owned()])) };
        assert!(exempt.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
