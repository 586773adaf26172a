//! The proxy hands on what passes, and counts it.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, header};
use testbed::authority::Authority;
use testbed::client::Endpoint;
use testbed::docker_registry::DockerRegistry;
use testbed::fault::{Action, Rule};
use testbed::image::Image;
use testbed::proxy::Proxy;
use testbed::registry::{Auth, Registry};

#[test]
fn an_image_passes_to_every_registry() {
    let authority = Authority::new();
    let plain = DockerRegistry::start();
    let relative = DockerRegistry::builder().relative_locations().start();
    let tls = DockerRegistry::builder().htpasswd("ann", "secret").tls(&authority).start();
    let token = DockerRegistry::builder().token("ann", "secret").start();
    let ours = Registry::builder().auth(Auth::Token).user("ann", "secret").tls(&authority).start();
    let upstreams = [plain.endpoint(), relative.endpoint(), tls.endpoint(), token.endpoint(), ours.endpoint()];
    let image = Image::index(&["linux/amd64", "linux/arm64"]).build();
    for upstream in upstreams {
        let proxy = Proxy::start(&upstream);
        let client = proxy.endpoint().client();
        image.push(&client, "acme/api", &["t"]).expect("the image passes");
        assert_eq!(upstream.client().digest("acme/api", "t").as_deref(), Some(image.digest()));
        let log = proxy.log();
        let uploads = log.iter().filter(|entry| entry.method == "PUT" && entry.status == Some(201)).count();
        assert_eq!(uploads, image.blobs().len() + image.documents().len() + 1, "every upload goes through the proxy");
        let sent: u64 = log.iter().map(|entry| entry.received).sum();
        assert!(sent as usize >= image.blobs().values().map(Bytes::len).sum::<usize>());
    }
}

#[test]
fn heads_and_absolute_locations_pass() {
    let upstream = Registry::start();
    let proxy = Proxy::start(&upstream.endpoint());
    upstream.configure(|settings| settings.locations = testbed::registry::Locations::At(upstream.url()));
    let client = proxy.endpoint().client();
    let opened = client.request(&Method::POST, "/v2/a/blobs/uploads/", &[], Bytes::new());
    assert!(opened.headers()[header::LOCATION].to_str().expect("text").starts_with(&proxy.url()));
    upstream.contents().put_blob("a", &testbed::digest::sha256(b"0123"), "0123");
    let head =
        client.request(&Method::HEAD, &format!("/v2/a/blobs/{}", testbed::digest::sha256(b"0123")), &[], Bytes::new());
    assert_eq!((head.status().as_u16(), head.headers()[header::CONTENT_LENGTH].as_bytes()), (200, &b"4"[..]));
}

#[test]
fn an_absent_upstream_is_a_bad_gateway() {
    let upstream = Registry::start();
    let endpoint = upstream.endpoint();
    drop(upstream);
    std::thread::sleep(Duration::from_millis(50));
    let proxy = Proxy::start(&endpoint);
    assert_eq!(proxy.endpoint().client().request(&Method::GET, "/v2/", &[], Bytes::new()).status(), 502);
}

#[test]
fn latency_and_hooks() {
    let upstream = Registry::start();
    let proxy = Proxy::start(&upstream.endpoint());
    proxy.set_latency(Duration::from_millis(30));
    let (before, after) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (seen_before, seen_after) = (Arc::clone(&before), Arc::clone(&after));
    let upstream_requests = {
        let upstream = Arc::new(upstream);
        let (first, second) = (Arc::clone(&upstream), Arc::clone(&upstream));
        let count = |registry: &Registry| u32::try_from(registry.log().len()).expect("few requests");
        proxy.fault(
            Rule::on("*", "*")
                .nth(2)
                .act(Action::call(move || seen_before.store(count(&first), Ordering::SeqCst)))
                .act(Action::call_after(move || seen_after.store(count(&second), Ordering::SeqCst))),
        );
        upstream
    };
    let client = proxy.endpoint().client();
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(client.request(&Method::GET, "/v2/", &[], Bytes::new()).status(), 200);
    }
    assert!(begun.elapsed() >= Duration::from_millis(90));
    assert_eq!((before.load(Ordering::SeqCst), after.load(Ordering::SeqCst)), (1, 2));
    assert_eq!(upstream_requests.log().len(), 3);
}

/// A body must not be collected before it is handed on: with a layer of a gigabyte that would be a gigabyte of memory.
#[test]
fn bodies_are_handed_on_as_they_come() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let proxy = Proxy::start(&Endpoint { url, credentials: None, authority: None });
    let mut client = TcpStream::connect(proxy.host()).expect("a connection");
    let timeout = Some(Duration::from_secs(5));
    client.set_read_timeout(timeout).expect("a timeout");
    client.write_all(b"PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf").expect("half a request is sent");

    let (mut upstream, _) = listener.accept().expect("the proxy connects");
    upstream.set_read_timeout(timeout).expect("a timeout");
    read_until(&mut upstream, b"half");
    client.write_all(b"done").expect("the other half is sent");
    read_until(&mut upstream, b"done");

    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf").expect("half an answer is sent");
    read_until(&mut client, b"half");
    upstream.write_all(b"done").expect("the other half is sent");
    read_until(&mut client, b"done");
}

fn read_until(stream: &mut TcpStream, end: &[u8]) {
    let mut received = Vec::new();
    let mut byte = [0];
    while !received.ends_with(end) {
        stream.read_exact(&mut byte).expect("what was sent arrives before the rest is sent");
        received.push(byte[0]);
    }
}
