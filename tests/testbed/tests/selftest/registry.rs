//! The in-process registry does what the distribution-spec says.

use bytes::Bytes;
use http::{Method, header};
use serde_json::{Value, json};
use testbed::authority::Authority;
use testbed::client::{Client, Endpoint, error_code};
use testbed::digest::sha256;
use testbed::image::{Artifact, Image, media_type};
use testbed::registry::{Auth, Lag, Locations, Referrers, Registry, Settings, TokenField};

fn status(client: &Client, method: &Method, target: &str) -> u16 {
    client.request(method, target, &[], Bytes::new()).status().as_u16()
}

fn stranger(registry: &Registry) -> Client {
    Endpoint { credentials: None, ..registry.endpoint() }.client()
}

#[test]
fn what_is_pushed_is_there() {
    let registry = Registry::start();
    let client = registry.endpoint().client();
    let image = Image::index(&["linux/amd64", "linux/arm64"]).attestations().build();
    image.push(&client, "acme/api", &["staging", "1.0"]).expect("a sound image is accepted");

    assert_eq!(client.tags("acme/api"), ["1.0", "staging"]);
    assert_eq!(client.digest("acme/api", "staging").as_deref(), Some(image.digest()));
    assert_eq!(registry.contents().digest("acme/api", "1.0").as_deref(), Some(image.digest()));
    for (digest, bytes) in image.blobs() {
        assert_eq!(client.blob("acme/api", digest).as_ref(), Some(bytes));
        assert_eq!(registry.contents().blob("acme/api", digest).as_ref(), Some(bytes));
    }
    for document in image.documents() {
        let pulled = client.manifest("acme/api", &document.digest).expect("the manifest");
        assert_eq!((pulled.bytes, pulled.media_type), (document.bytes.clone(), document.media_type.clone()));
    }
    assert_eq!(registry.open_uploads(), 0);
    assert_eq!(registry.contents().repositories(), ["acme/api"]);
}

#[test]
fn placing_is_the_same_as_pushing() {
    let (pushed, placed) = (Registry::start(), Registry::start());
    let image = Image::index(&["linux/amd64", "linux/arm64"]).nested().build();
    let image = image.clone().with(Artifact::new("a/b").subject(image.root()).build()).with_fallback_tags();
    image.push(&pushed.endpoint().client(), "acme/api", &["x"]).expect("a sound image is accepted");
    image.place(placed.contents(), "acme/api", &["x"]);
    assert_eq!(pushed.contents().snapshot(), placed.contents().snapshot());
    let before = placed.contents().snapshot();
    placed.contents().put_tag("acme/api", "x", &sha256(b""));
    assert_ne!(placed.contents().snapshot(), before);
}

#[test]
fn heads_and_ranges() {
    let registry = Registry::start();
    let client = registry.endpoint().client();
    let blob = Bytes::from_static(b"0123456789");
    let digest = sha256(&blob);
    client.push_blob("a", &digest, blob).expect("a blob is accepted");
    let path = format!("/v2/a/blobs/{digest}");
    let head = client.request(&Method::HEAD, &path, &[], Bytes::new());
    assert_eq!((head.status().as_u16(), &head.headers()[header::CONTENT_LENGTH]), (200, &"10".parse().expect("10")));
    let part = client.request(&Method::GET, &path, &[("range", "bytes=4-")], Bytes::new());
    assert_eq!((part.status().as_u16(), part.body().as_ref()), (206, &b"456789"[..]));
    assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 4-9/10");
    let beyond = client.request(&Method::GET, &path, &[("range", "bytes=10-")], Bytes::new());
    assert_eq!(beyond.status(), 416);
    assert_eq!(status(&client, &Method::DELETE, &path), 405);
}

#[test]
fn uploads_in_chunks() {
    let registry = Registry::start();
    for locations in [Locations::Relative, Locations::Absolute, Locations::WithoutQuery] {
        registry.configure(|settings| settings.locations = locations);
        let client = registry.endpoint().client();
        let next =
            |answer: &http::Response<Bytes>| answer.headers()[header::LOCATION].to_str().expect("text").to_owned();
        let opened = client.request(&Method::POST, "/v2/a/blobs/uploads/", &[], Bytes::new());
        let first = client.request(&Method::PATCH, &next(&opened), &[("content-range", "0-2")], Bytes::from("abc"));
        assert_eq!((first.status().as_u16(), &first.headers()[header::RANGE]), (202, &"0-2".parse().expect("a range")));
        let gap = client.request(&Method::PATCH, &next(&first), &[("content-range", "9-9")], Bytes::from("x"));
        assert_eq!(gap.status(), 416);
        let asked = client.request(&Method::GET, &next(&first), &[], Bytes::new());
        assert_eq!((asked.status().as_u16(), &asked.headers()[header::RANGE]), (204, &"0-2".parse().expect("a range")));
        let second = client.request(&Method::PATCH, &next(&asked), &[], Bytes::from("def"));
        let location = next(&second);
        let mark = if location.contains('?') { '&' } else { '?' };
        let target = format!("{location}{mark}digest={}", sha256(b"abcdefghi"));
        let done = client.request(&Method::PUT, &target, &[], Bytes::from("ghi"));
        assert_eq!(done.status(), 201);
        assert_eq!(done.headers()["docker-content-digest"], sha256(b"abcdefghi"));
        assert_eq!(registry.open_uploads(), 0);
    }
}

#[test]
fn the_state_of_an_upload_must_come_back() {
    let registry = Registry::start();
    let client = registry.endpoint().client();
    let opened = client.request(&Method::POST, "/v2/a/blobs/uploads/", &[], Bytes::new());
    let location = opened.headers()[header::LOCATION].to_str().expect("text").to_owned();
    let path = location.split('?').next().expect("a path");
    let answer = client.request(&Method::PUT, &format!("{path}?digest={}", sha256(b"")), &[], Bytes::new());
    assert_eq!(error_code(&answer).as_deref(), Some("BLOB_UPLOAD_INVALID"));
    assert_eq!(status(&client, &Method::DELETE, &location), 204);
    assert_eq!(registry.open_uploads(), 0);
}

#[test]
fn mounts() {
    let registry = Registry::start();
    let client = registry.endpoint().client();
    let digest = sha256(b"x");
    registry.contents().put_blob("from", &digest, "x");
    let target = format!("/v2/to/blobs/uploads/?mount={digest}&from=from");
    registry.configure(|settings| settings.mounts = false);
    assert_eq!(status(&client, &Method::POST, &target), 202);
    registry.configure(|settings| settings.mounts = true);
    assert_eq!(status(&client, &Method::POST, &target), 201);
    assert_eq!(registry.contents().blobs("to"), [digest]);
    let absent = format!("/v2/to/blobs/uploads/?mount={}&from=from", sha256(b"y"));
    assert_eq!(status(&client, &Method::POST, &absent), 202);
}

#[test]
fn a_post_can_be_all() {
    let registry = Registry::start();
    registry.configure(|settings| settings.single_post = true);
    let target = format!("/v2/a/blobs/uploads/?digest={}", sha256(b"x"));
    let answer = registry.endpoint().client().request(&Method::POST, &target, &[], Bytes::from("x"));
    assert_eq!(answer.status(), 201);
}

#[test]
fn lists_come_in_pages() {
    let registry = Registry::start();
    let client = registry.endpoint().client();
    registry.configure(|settings| settings.page_size = 2);
    for tag in ["e", "a", "c", "b", "d"] {
        registry.contents().put_tag("a", tag, &sha256(b""));
    }
    assert_eq!(client.tags("a"), ["a", "b", "c", "d", "e"]);
    assert_eq!(registry.log().len(), 3);
    let page = client.request(&Method::GET, "/v2/a/tags/list?n=1&last=b", &[], Bytes::new());
    assert_eq!(serde_json::from_slice::<Value>(page.body()).expect("JSON")["tags"], json!(["c"]));
    assert_eq!(page.headers()[header::LINK], "</v2/a/tags/list?last=c&n=1>; rel=\"next\"");
    assert_eq!(status(&client, &Method::GET, "/v2/b/tags/list"), 404);
}

#[test]
fn referrers_are_listed() {
    let registry = Registry::start();
    let client = registry.endpoint().client();
    let image = Image::manifest("linux/amd64").build();
    let signature = Artifact::new("application/a").annotation("k", "v").subject(image.root()).build();
    let sbom = Artifact::new("application/b").subject(image.root()).build();
    image.push(&client, "a", &[]).expect("an image is accepted");
    sbom.push(&client, "a", &[]).expect("a referrer is accepted");
    let document = &signature.documents()[0];
    let path = format!("/v2/a/manifests/{}", document.digest);
    let pushed = client.request(&Method::PUT, &path, &[("content-type", &document.media_type)], document.bytes.clone());
    assert_eq!(pushed.headers()["oci-subject"], image.digest());

    let list = |query: &str| {
        let answer =
            client.request(&Method::GET, &format!("/v2/a/referrers/{}{query}", image.digest()), &[], Bytes::new());
        assert_eq!(answer.headers()[header::CONTENT_TYPE], media_type::OCI_INDEX);
        let index: Value = serde_json::from_slice(answer.body()).expect("JSON");
        (index["manifests"].as_array().expect("a list").clone(), answer.headers().clone())
    };
    assert_eq!(list("").0.len(), 2);
    let (filtered, headers) = list("?artifactType=application%2Fa");
    assert_eq!(filtered.len(), 1);
    assert_eq!(filtered[0]["annotations"], json!({"k": "v"}));
    assert_eq!(headers["oci-filters-applied"], "artifactType");
    registry.configure(|settings| settings.page_size = 1);
    assert!(list("").1.contains_key(header::LINK));

    registry.configure(|settings| settings.referrers = Referrers::Off);
    assert_eq!(status(&client, &Method::GET, &format!("/v2/a/referrers/{}", image.digest())), 404);
    registry.configure(|settings| settings.referrers = Referrers::RedirectTo("http://127.0.0.1:9/x".into()));
    assert_eq!(status(&client, &Method::GET, &format!("/v2/a/referrers/{}", image.digest())), 303);
    let pushed = client.request(&Method::PUT, &path, &[("content-type", &document.media_type)], document.bytes.clone());
    assert!(!pushed.headers().contains_key("oci-subject"));
}

#[test]
fn tags_can_lag_and_be_immutable() {
    let registry = Registry::start();
    let client = registry.endpoint().client();
    let (old, new) = (Image::manifest("linux/amd64").build(), Image::manifest("linux/amd64").seed(2).build());
    old.push(&client, "a", &["t"]).expect("an image is accepted");
    registry.configure(|settings| settings.lag = Some(Lag { reads: 2, shows_old: true }));
    new.push(&client, "a", &["t"]).expect("an image is accepted");
    let seen: Vec<_> = (0..3).map(|_| client.digest("a", "t")).collect();
    assert_eq!(seen, [Some(old.digest().to_owned()), Some(old.digest().to_owned()), Some(new.digest().to_owned())]);
    registry.configure(|settings| settings.lag = Some(Lag { reads: 1, shows_old: false }));
    new.push(&client, "a", &["t"]).expect("an image is accepted");
    assert_eq!((client.digest("a", "t"), client.digest("a", "t").as_deref()), (None, Some(new.digest())));

    registry.configure(|settings| settings.immutable_tags = true);
    new.push(&client, "a", &["t"]).expect("the same digest is accepted");
    let refused = old.push(&client, "a", &["t"]).expect_err("another digest is refused");
    assert_eq!(refused.status, 409);
}

#[test]
fn basic_authentication() {
    let registry =
        Registry::builder().auth(Auth::Basic).user("ann", "se:cret").user_with("bob", "b", &[("a", "pull")]).start();
    assert_eq!(status(&stranger(&registry), &Method::GET, "/v2/"), 401);
    let ann = registry.endpoint().client();
    Image::manifest("linux/amd64").build().push(&ann, "a", &["t"]).expect("ann may push");
    assert_eq!(registry.log().last().and_then(|entry| entry.user.clone()).as_deref(), Some("ann"));
    assert_eq!(registry.log().last().and_then(|entry| entry.authorization.clone()).as_deref(), Some("Basic"));
    let bob = Endpoint { credentials: Some(("bob".into(), "b".into())), ..registry.endpoint() }.client();
    assert!(bob.digest("a", "t").is_some());
    assert_eq!(status(&bob, &Method::POST, "/v2/a/blobs/uploads/"), 403);
    let wrong = Endpoint { credentials: Some(("ann".into(), "b".into())), ..registry.endpoint() }.client();
    assert_eq!(status(&wrong, &Method::GET, "/v2/"), 401);
    registry.configure(|settings| settings.anonymous_pull = true);
    assert!(stranger(&registry).digest("a", "t").is_some());
}

#[test]
fn token_authentication() {
    let registry = Registry::builder()
        .auth(Auth::Token)
        .user("ann", "secret")
        .user_with("bob", "b", &[("to", "pull,push")])
        .start();
    let ann = registry.endpoint().client();
    let image = Image::manifest("linux/amd64").build();
    image.push(&ann, "from", &["t"]).expect("ann may push");
    assert_eq!(registry.log().last().and_then(|entry| entry.user.clone()).as_deref(), Some("ann"));
    assert_eq!(status(&ann, &Method::POST, "/token?service=testbed"), 405);
    assert_eq!(status(&stranger(&registry), &Method::GET, "/token?service=testbed"), 401);

    // A mount needs to read the other repository.
    let bob = Endpoint { credentials: Some(("bob".into(), "b".into())), ..registry.endpoint() }.client();
    let digest = image.blobs().keys().next().expect("a blob");
    let mount = format!("/v2/to/blobs/uploads/?mount={digest}&from=from");
    let refused = bob.request(&Method::POST, &mount, &[], Bytes::new());
    let challenge = refused.headers()[header::WWW_AUTHENTICATE].to_str().expect("text").to_owned();
    assert!(challenge.contains("scope=\"repository:to:pull,push repository:from:pull\""), "{challenge}");
    assert!(challenge.ends_with("error=\"insufficient_scope\""), "{challenge}");
    assert_eq!(status(&ann, &Method::POST, &mount), 201);
    assert_eq!(status(&bob, &Method::POST, "/v2/to/blobs/uploads/"), 202);
}

#[test]
fn tokens_expire() {
    let registry = Registry::builder().auth(Auth::Token).user("ann", "secret").start();
    registry.configure(|settings| {
        settings.token_uses = Some(1);
        settings.token_field = TokenField::AccessToken;
        settings.announce_expiry = false;
    });
    let client = registry.endpoint().client();
    let target = "/token?service=testbed&scope=repository:a:pull,push";
    let basic = [("authorization", "Basic YW5uOnNlY3JldA==")];
    let answer = client.request(&Method::GET, target, &basic, Bytes::new());
    let answer: Value = serde_json::from_slice(answer.body()).expect("JSON");
    assert_eq!(answer.as_object().expect("an object").len(), 1);
    let bearer = format!("Bearer {}", answer["access_token"].as_str().expect("a token"));
    let anonymous = stranger(&registry);
    let open = |bearer: &str| {
        let headers = [("authorization", bearer)];
        anonymous.request(&Method::POST, "/v2/a/blobs/uploads/", &headers, Bytes::new()).status().as_u16()
    };
    assert_eq!((open(&bearer), open(&bearer)), (202, 401));
    registry.configure(|settings| settings.token_uses = None);
    let answer = client.request(&Method::GET, target, &basic, Bytes::new());
    let answer: Value = serde_json::from_slice(answer.body()).expect("JSON");
    let bearer = format!("Bearer {}", answer["access_token"].as_str().expect("a token"));
    assert_eq!(open(&bearer), 202);
    registry.expire_tokens();
    assert_eq!(open(&bearer), 401);
}

#[test]
fn ghcr_does_not_tell_what_is_missing() {
    let registry = Registry::builder().auth(Auth::Token).user("ann", "secret").settings(Settings::ghcr()).start();
    let anonymous = stranger(&registry);
    Image::manifest("linux/amd64").build().place(registry.contents(), "acme/public", &["t"]);
    assert!(anonymous.digest("acme/public", "t").is_some());
    assert_eq!(anonymous.digest("acme/public", "none"), None);
    let token = |target: &str, headers: &[(&str, &str)]| {
        let answer = anonymous.request(&Method::GET, target, headers, Bytes::new());
        (answer.status().as_u16(), error_code(&answer))
    };
    let denied = (403, Some("DENIED".to_owned()));
    assert_eq!(token("/token?service=testbed&scope=repository:acme/none:pull", &[]), denied);
    // Wrong credentials make a public package unreadable, too.
    let wrong = [("authorization", "Basic YW5uOndyb25n")];
    assert_eq!(token("/token?service=testbed&scope=repository:acme/public:pull", &wrong), denied);
    // Any user name will do.
    let named = Endpoint { credentials: Some(("anybody".into(), "secret".into())), ..registry.endpoint() }.client();
    assert_eq!(status(&named, &Method::GET, "/v2/acme/none/manifests/t"), 403);
    assert_eq!(status(&named, &Method::POST, "/v2/acme/none/blobs/uploads/"), 202);
}

#[test]
fn tls_with_an_authority_of_its_own() {
    let authority = Authority::new();
    let registry = Registry::builder().tls(&authority).start();
    assert!(registry.url().starts_with("https://127.0.0.1:"));
    let image = Image::manifest("linux/amd64").build();
    image.push(&registry.endpoint().client(), "a", &["t"]).expect("an image is accepted");
    let answer = registry.endpoint().client().request(&Method::GET, "/v2/", &[], Bytes::new());
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    assert!(authority.file().exists());
    let other = Endpoint { authority: Some(Authority::new()), ..registry.endpoint() };
    let refused = other.client().try_request(&Method::GET, "/v2/", &[], Bytes::new());
    assert!(refused.is_err(), "a client that does not know the authority must not connect");
}

#[test]
fn blobs_can_be_elsewhere() {
    let front = Registry::start();
    let storage = Registry::builder().auth(Auth::SignedAddresses).contents(front.contents()).start();
    front.configure(|settings| settings.redirect_blobs = Some(storage.url()));
    let digest = sha256(b"x");
    front.contents().put_blob("a", &digest, "x");
    let client = front.endpoint().client();
    let redirect = client.request(&Method::GET, &format!("/v2/a/blobs/{digest}"), &[], Bytes::new());
    assert_eq!(redirect.status(), 307);
    let location = redirect.headers()[header::LOCATION].to_str().expect("text").to_owned();
    assert!(location.starts_with(&storage.url()));
    assert_eq!(client.request(&Method::GET, &location, &[], Bytes::new()).body().as_ref(), b"x");
    let leaked = client.request(&Method::GET, &location, &[("authorization", "Bearer t")], Bytes::new());
    assert_eq!(leaked.status(), 400);
    assert_eq!(storage.log()[1].authorization.as_deref(), Some("Bearer"));
}

#[test]
fn too_many_requests_at_once_are_refused() {
    let registry = Registry::start();
    registry.configure(|settings| settings.max_in_flight = Some(0));
    let answer = registry.endpoint().client().request(&Method::GET, "/v2/", &[], Bytes::new());
    assert_eq!((answer.status().as_u16(), error_code(&answer).as_deref()), (429, Some("TOOMANYREQUESTS")));
}

#[test]
fn it_stops_when_it_is_dropped() {
    let registry = Registry::start();
    let host = registry.host();
    assert!(std::net::TcpStream::connect(&host).is_ok());
    drop(registry);
    let refused = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        std::net::TcpStream::connect(&host).is_err()
    });
    assert!(refused, "the port is still open a second after the registry was dropped");
}
