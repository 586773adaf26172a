//! docker-registry runs as asked, and the in-process registry refuses what it refuses.

use bytes::Bytes;
use http::{Method, header};
use serde_json::{Value, json};
use testbed::authority::Authority;
use testbed::client::{Client, Endpoint, error_code};
use testbed::digest::{sha256, sha512};
use testbed::docker_registry::DockerRegistry;
use testbed::image::{Artifact, Compression, Descriptor, Format, Image, media_type};
use testbed::registry::{Auth, Registry};

fn image() -> testbed::image::Content {
    Image::index(&["linux/amd64", "linux/arm64"]).attestations().build()
}

#[test]
fn every_form_of_image_is_accepted() {
    let registry = DockerRegistry::start();
    let client = registry.endpoint().client();
    let platforms = ["linux/amd64", "linux/arm64"];
    let forms = [
        Image::manifest("linux/amd64").build(),
        Image::index(&platforms).format(Format::Docker).attestations().build(),
        Image::index(&platforms).compression(Compression::Zstd).attestations().build(),
        Image::index(&platforms).compression(Compression::None).nested().build(),
        Image::index(&platforms).foreign_layer("https://example.com/layer").build(),
        Image::index(&platforms).format(Format::Docker).foreign_layer("https://example.com/layer").build(),
        Image::index(&platforms).sha512_blobs().build(),
        image().with(Artifact::new("a/b").subject(image().root()).build()).with_fallback_tags(),
    ];
    for (number, form) in forms.iter().enumerate() {
        form.push(&client, "acme/api", &[&format!("t{number}")]).expect("docker-registry accepts the image");
        assert_eq!(client.digest("acme/api", &format!("t{number}")).as_deref(), Some(form.digest()));
    }
}

#[test]
fn a_manifest_named_by_sha512_is_refused() {
    let registry = DockerRegistry::start();
    let image = Image::index(&["linux/amd64"]).sha512_children().build();
    let refused = image.push(&registry.endpoint().client(), "acme/api", &[]).expect_err("docker-registry knows sha256");
    assert_eq!((refused.status, refused.code.as_deref()), (400, Some("DIGEST_INVALID")));
}

#[test]
fn basic_authentication_and_tls() {
    let authority = Authority::new();
    let registry = DockerRegistry::builder().htpasswd("ann", "secret").tls(&authority).start();
    image().push(&registry.endpoint().client(), "acme/api", &["t"]).expect("ann may push");
    let wrong = Endpoint { credentials: Some(("ann".into(), "wrong".into())), ..registry.endpoint() };
    assert_eq!(wrong.client().request(&Method::GET, "/v2/", &[], Bytes::new()).status(), 401);
}

#[test]
fn token_authentication() {
    for authority in [None, Some(Authority::new())] {
        let mut builder = DockerRegistry::builder().token_with("ann", "secret", &[("acme/*", "pull,push")]);
        if let Some(authority) = &authority {
            builder = builder.tls(authority);
        }
        let registry = builder.start();
        let client = registry.endpoint().client();
        image().push(&client, "acme/api", &["t"]).expect("ann may push");
        let refused = image().push(&client, "other/api", &["t"]).expect_err("ann may not push there");
        assert_eq!(refused.status, 401);
        let digest = image().blobs().keys().next().expect("a blob").clone();
        let mount = format!("/v2/acme/web/blobs/uploads/?mount={digest}&from=acme/api");
        assert_eq!(client.request(&Method::POST, &mount, &[], Bytes::new()).status(), 201);
        let log = registry.tokens().expect("a token server").log();
        assert!(log.iter().any(|entry| entry.target.matches("scope=").count() == 2), "{log:?}");
        assert!(log.iter().all(|entry| entry.user.as_deref() == Some("ann")));
    }
}

#[test]
fn it_stops_when_it_is_dropped() {
    let registry = DockerRegistry::start();
    let host = registry.host().to_owned();
    assert!(registry.log().contains("listening on"));
    drop(registry);
    assert!(std::net::TcpStream::connect(host).is_err());
}

/// A request that both registries are asked.
struct Asked {
    method: Method,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

fn put(reference: &str, media_type: &str, document: &Value) -> Asked {
    put_bytes(reference, media_type, Bytes::from(document.to_string()))
}

fn put_bytes(reference: &str, media_type: &str, body: Bytes) -> Asked {
    let target = format!("/v2/acme/api/manifests/{reference}");
    Asked { method: Method::PUT, target, headers: vec![("content-type", media_type.to_owned())], body }
}

fn ask(method: Method, target: &str) -> Asked {
    Asked { method, target: target.to_owned(), headers: Vec::new(), body: Bytes::new() }
}

fn outcome(client: &Client, asked: &Asked) -> (u16, Option<String>) {
    let headers: Vec<(&str, &str)> = asked.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = client.request(&asked.method, &asked.target, &headers, asked.body.clone());
    (answer.status().as_u16(), error_code(&answer))
}

/// What a manifest may name because it is there, and its parts.
fn sound() -> (Value, Value, Value) {
    let image = image();
    let child = image.child("linux/amd64").expect("a platform");
    let manifest = image.document(&child.digest).expect("its manifest").json();
    let index = image.document(image.digest()).expect("the index").json();
    let absent = serde_json::to_value(Descriptor::of(media_type::OCI_MANIFEST, b"absent")).expect("JSON");
    (manifest, index, absent)
}

fn bad_manifests() -> Vec<(&'static str, Asked)> {
    let (manifest, index, absent) = sound();
    let changed = |document: &Value, change: &dyn Fn(&mut Value)| {
        let mut document = document.clone();
        change(&mut document);
        document
    };
    let oci = media_type::OCI_MANIFEST;
    let no_layer = changed(&manifest, &|manifest| manifest["layers"][0]["digest"] = absent["digest"].clone());
    let no_config = changed(&manifest, &|manifest| manifest["config"]["digest"] = absent["digest"].clone());
    let no_child = changed(&index, &|index| index["manifests"][0] = absent.clone());
    let other_type = changed(&manifest, &|manifest| manifest["mediaType"] = json!(media_type::OCI_INDEX));
    let docker_type = changed(&manifest, &|manifest| manifest["mediaType"] = json!(media_type::DOCKER_MANIFEST));
    let both = changed(&manifest, &|manifest| manifest["manifests"] = index["manifests"].clone());
    let index_with_layers = changed(&index, &|index| index["layers"] = manifest["layers"].clone());
    let version_1 = changed(&manifest, &|manifest| manifest["schemaVersion"] = json!(1));
    let no_type = changed(&manifest, &|manifest| drop(manifest.as_object_mut().map(|map| map.remove("mediaType"))));
    let large = changed(&manifest, &|manifest| manifest["annotations"] = json!({"x": "x".repeat(4 << 20)}));
    let text = manifest.to_string();
    let short = text[..text.len() / 2].to_owned();
    let docker_list = changed(&index, &|index| {
        index["mediaType"] = json!(media_type::DOCKER_LIST);
        index["manifests"][0] = absent.clone();
    });
    let bad_digest = changed(&manifest, &|manifest| manifest["layers"][0]["digest"] = json!("sha256:abc"));
    vec![
        ("a missing layer", put("t", oci, &no_layer)),
        ("a missing config", put("t", oci, &no_config)),
        ("a missing child", put("t", media_type::OCI_INDEX, &no_child)),
        ("a missing child of a docker list", put("t", media_type::DOCKER_LIST, &docker_list)),
        ("an index said to be a manifest", put("t", oci, &index)),
        ("a manifest said to be an index", put("t", media_type::OCI_INDEX, &manifest)),
        ("another mediaType inside", put("t", oci, &other_type)),
        ("docker's mediaType inside", put("t", oci, &docker_type)),
        ("an OCI manifest said to be docker's", put("t", media_type::DOCKER_MANIFEST, &manifest)),
        ("docker's type and none inside", put("t", media_type::DOCKER_MANIFEST, &no_type)),
        ("manifest and index at once", put("t", oci, &both)),
        ("an index with layers", put("t", media_type::OCI_INDEX, &index_with_layers)),
        ("an unknown Content-Type", put("t", "application/vnd.acme.manifest+json", &manifest)),
        ("plain JSON", put("t", "application/json", &manifest)),
        ("no Content-Type", Asked { headers: Vec::new(), ..put("t", oci, &manifest) }),
        ("an unknown schema version", put("t", oci, &version_1)),
        ("half a manifest", put_bytes("t", oci, Bytes::from(short))),
        ("a manifest over 4 MiB", put("t", oci, &large)),
        ("no manifest at all", put_bytes("t", oci, Bytes::new())),
        ("another digest", put(&sha256(b"other"), oci, &manifest)),
        ("a malformed digest in a layer", put("t", oci, &bad_digest)),
        ("a digest of an unknown algorithm", put(&format!("md5:{}", "a".repeat(32)), oci, &manifest)),
        ("a tag that begins with a dash", put("-t", oci, &manifest)),
        ("a tag of 129 characters", put(&"t".repeat(129), oci, &manifest)),
        ("a name in capitals", Asked { target: "/v2/acme/API/manifests/t".into(), ..put("t", oci, &manifest) }),
        ("a name with two dots", Asked { target: "/v2/a..b/manifests/t".into(), ..put("t", oci, &manifest) }),
    ]
}

/// A range behind a blob's end is not among these: docker-registry answers it with 416, promises the whole blob's length,
/// and closes the connection.
fn bad_requests() -> Vec<(&'static str, Asked)> {
    let absent = sha256(b"absent");
    let blob = image().blobs().keys().next().expect("a blob").clone();
    let accept = |kind: &str| vec![("accept", kind.to_owned())];
    let tag = "/v2/acme/api/manifests/sound";
    vec![
        ("a missing tag", ask(Method::GET, "/v2/acme/api/manifests/none")),
        ("a missing manifest", ask(Method::GET, &format!("/v2/acme/api/manifests/{absent}"))),
        ("a missing repository", ask(Method::GET, "/v2/acme/none/manifests/t")),
        ("no Accept", ask(Method::GET, tag)),
        ("any Accept", Asked { headers: accept("*/*"), ..ask(Method::GET, tag) }),
        ("docker's Accept", Asked { headers: accept(media_type::DOCKER_LIST), ..ask(Method::GET, tag) }),
        ("a missing blob", ask(Method::GET, &format!("/v2/acme/api/blobs/{absent}"))),
        ("a blob of another repository", ask(Method::GET, &format!("/v2/acme/none/blobs/{blob}"))),
        ("a malformed digest of a blob", ask(Method::GET, "/v2/acme/api/blobs/sha256:abc")),
        ("a blob by a tag", ask(Method::GET, "/v2/acme/api/blobs/latest")),
        ("putting tags", ask(Method::PUT, "/v2/acme/api/tags/list")),
        ("putting a blob", ask(Method::PUT, &format!("/v2/acme/api/blobs/{absent}"))),
        ("getting no upload", ask(Method::GET, "/v2/acme/api/blobs/uploads/")),
        (
            "an unknown algorithm of a manifest",
            ask(Method::GET, &format!("/v2/acme/api/manifests/md5:{}", "a".repeat(32))),
        ),
        ("an unknown algorithm of a blob", ask(Method::GET, &format!("/v2/acme/api/blobs/md5:{}", "a".repeat(32)))),
        ("tags of nothing", ask(Method::GET, "/v2/acme/none/tags/list")),
        ("referrers", ask(Method::GET, &format!("/v2/acme/api/referrers/{absent}"))),
        ("deleting a tag", ask(Method::DELETE, tag)),
        ("deleting a manifest", ask(Method::DELETE, &format!("/v2/acme/api/manifests/{absent}"))),
        ("deleting a blob", ask(Method::DELETE, &format!("/v2/acme/api/blobs/{blob}"))),
        ("posting a manifest", ask(Method::POST, tag)),
        ("an unknown upload", ask(Method::PUT, "/v2/acme/api/blobs/uploads/0123?digest=sha256:0")),
        ("a mount of nothing", ask(Method::POST, &format!("/v2/acme/web/blobs/uploads/?mount={absent}&from=acme/api"))),
        ("a mount of a malformed digest", ask(Method::POST, "/v2/acme/web/blobs/uploads/?mount=abc&from=acme/api")),
        ("a mount from nowhere", ask(Method::POST, &format!("/v2/acme/web/blobs/uploads/?mount={blob}"))),
        ("a mount", ask(Method::POST, &format!("/v2/acme/web/blobs/uploads/?mount={blob}&from=acme/api"))),
        (
            "all in one POST",
            Asked {
                body: Bytes::from_static(b"x"),
                ..ask(Method::POST, &format!("/v2/acme/api/blobs/uploads/?digest={}", sha256(b"x")))
            },
        ),
        ("no such page", ask(Method::GET, "/v2/acme/api/none")),
        ("the base", ask(Method::GET, "/v2/")),
    ]
}

#[test]
fn the_registry_refuses_what_docker_registry_refuses() {
    let (real, ours) = (DockerRegistry::start(), Registry::start());
    // In docker-registry the referrers API does not exist.
    ours.configure(|settings| settings.referrers = testbed::registry::Referrers::Off);
    let (real, ours) = (real.endpoint().client(), ours.endpoint().client());
    for client in [&real, &ours] {
        image().push(client, "acme/api", &["sound"]).expect("a sound image is accepted");
    }
    let mut differences = Vec::new();
    for (name, asked) in bad_manifests().into_iter().chain(bad_requests()) {
        let (expected, found) = (outcome(&real, &asked), outcome(&ours, &asked));
        if expected != found {
            differences.push(format!("{name}: docker-registry {expected:?}, ours {found:?}"));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn bad_uploads_are_refused_alike() {
    let (real, ours) = (DockerRegistry::start(), Registry::start());
    let (real, ours) = (real.endpoint().client(), ours.endpoint().client());
    let queries = ["", "digest=", "digest=sha256:abc", "digest=nonsense"].map(str::to_owned);
    let digests = [sha256(b"other"), sha512(b"other"), format!("md5:{}", "a".repeat(32))];
    for query in queries.into_iter().chain(digests.map(|digest| format!("digest={digest}"))) {
        let [expected, found] = [&real, &ours].map(|client| {
            let opened = client.request(&Method::POST, "/v2/acme/api/blobs/uploads/", &[], Bytes::new());
            let location = opened.headers()[header::LOCATION].to_str().expect("text").to_owned();
            let target = format!("{location}&{query}");
            let answer = client.request(&Method::PUT, &target, &[], Bytes::from("content"));
            let again = client.request(&Method::PUT, &format!("{location}&digest={}", sha256(b"")), &[], Bytes::new());
            ((answer.status().as_u16(), error_code(&answer)), again.status().as_u16())
        });
        assert_eq!(expected, found, "{query}");
    }
}

/// The scopes, sorted, and the error of a challenge: realm and service differ, and docker-registry gives scopes and
/// their actions in any order.
fn scope_and_error(challenge: &str) -> (Vec<Vec<String>>, Option<String>) {
    let value = |name: &str| {
        let (_, rest) = challenge.split_once(&format!(",{name}=\""))?;
        Some(rest.split_once('"')?.0.to_owned())
    };
    let sorted = |scope: &str| {
        let mut parts: Vec<String> = scope.split([':', ',']).map(str::to_owned).collect();
        parts.sort();
        parts
    };
    let mut scopes: Vec<_> = value("scope").iter().flat_map(|scopes| scopes.split(' ')).map(sorted).collect();
    scopes.sort();
    (scopes, value("error"))
}

#[test]
fn challenges_are_alike() {
    let (real, ours) = (
        DockerRegistry::builder().token_with("ann", "secret", &[("to", "pull,push")]).start(),
        Registry::builder().auth(Auth::Token).user_with("ann", "secret", &[("to", "pull,push")]).start(),
    );
    let digest = sha256(b"x");
    for (method, target) in [
        (Method::GET, "/v2/".to_owned()),
        (Method::HEAD, "/v2/to/manifests/t".to_owned()),
        (Method::GET, "/v2/from/tags/list".to_owned()),
        (Method::POST, format!("/v2/to/blobs/uploads/?mount={digest}&from=from")),
        (Method::DELETE, format!("/v2/to/manifests/{digest}")),
    ] {
        for credentials in [None, Some(("ann".to_owned(), "secret".to_owned()))] {
            let [expected, found] = [real.endpoint(), ours.endpoint()].map(|endpoint| {
                let client = Endpoint { credentials: credentials.clone(), ..endpoint }.client();
                let answer = client.request(&method, &target, &[], Bytes::new());
                let challenge = answer.headers().get(header::WWW_AUTHENTICATE);
                let challenge = challenge.map(|value| scope_and_error(value.to_str().expect("text")));
                (answer.status().as_u16(), challenge)
            });
            assert_eq!(expected, found, "{method} {target} {credentials:?}");
        }
    }
}

/// A client that neither we nor the program wrote finds in our registry what we placed there, and copies it.
#[test]
fn skopeo_agrees() {
    let (real, ours) = (DockerRegistry::start(), Registry::builder().auth(Auth::Token).user("ann", "secret").start());
    let image = Image::index(&["linux/amd64", "linux/arm64"]).attestations().build();
    image.place(ours.contents(), "acme/api", &["t"]);
    let (there, back) =
        (format!("docker://{}/acme/api:t", real.host()), format!("docker://{}/acme/web:t", ours.host()));
    for (from, to, credentials) in
        [(format!("docker://{}/acme/api:t", ours.host()), there.clone(), "--src-creds"), (there, back, "--dest-creds")]
    {
        let output = std::process::Command::new("skopeo")
            .args(["--insecure-policy", "copy", "--all", "--preserve-digests", "--src-tls-verify=false"])
            .args(["--dest-tls-verify=false", credentials, "ann:secret", &from, &to])
            .output()
            .expect("skopeo is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(real.endpoint().client().digest("acme/api", "t").as_deref(), Some(image.digest()));
    assert_eq!(ours.contents().digest("acme/web", "t").as_deref(), Some(image.digest()));
}
