//! An HTTP server on a free port of the loopback interface, with or without TLS.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::authority::{Authority, Certificate};
use crate::background;

/// The connection is closed without an answer.
#[derive(Debug)]
pub(crate) struct Unanswered;

impl std::fmt::Display for Unanswered {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("closed without an answer")
    }
}

impl std::error::Error for Unanswered {}

/// A running server; dropping it closes the port and every connection.
pub(crate) struct Server {
    address: SocketAddr,
    authority: Option<Authority>,
    connections: Arc<AtomicUsize>,
    stop: CancellationToken,
}

impl Server {
    /// Binds `127.0.0.1:0` and serves; with TLS when there is an authority.
    ///
    /// `handler` is given the server's address with each request.
    pub(crate) fn start<H, F>(authority: Option<&Authority>, handler: H) -> Self
    where
        H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Response<Body>, Unanswered>> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port on 127.0.0.1");
        listener.set_nonblocking(true).expect("the listener can be made non-blocking");
        let address = listener.local_addr().expect("the listener has an address");
        let tls = authority.map(Authority::issue).as_ref().map(Certificate::server).map(TlsAcceptor::from);
        let connections = Arc::new(AtomicUsize::new(0));
        let stop = CancellationToken::new();
        let _runtime = background::handle().enter();
        let listener = TcpListener::from_std(listener).expect("the runtime takes the listener");
        let accepting = accept(listener, tls, handler, Arc::clone(&connections), stop.clone());
        background::handle().spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self { address, authority: authority.cloned(), connections, stop }
    }

    /// The address with its port.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http` or `https`.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.authority.is_some() { "https" } else { "http" }
    }

    /// The authority that signed the server's certificate.
    pub(crate) const fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    /// How many connections were accepted so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept<H, F>(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: H,
    connections: Arc<AtomicUsize>,
    stop: CancellationToken,
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Unanswered>> + Send + 'static,
{
    loop {
        // A connection that was reset before it was accepted is the client's affair.
        let Ok((stream, _)) = listener.accept().await else { continue };
        connections.fetch_add(1, Ordering::SeqCst);
        let _ = stream.set_nodelay(true);
        let (tls, handler) = (tls.clone(), handler.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            match tls {
                None => serve(stream, handler).await,
                Some(tls) => {
                    // A client that does not trust the certificate hangs up here.
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, handler).await;
                    }
                }
            }
        }));
    }
}

async fn serve<S, H, F>(stream: S, handler: H)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response<Body>, Unanswered>> + Send + 'static,
{
    let service = service_fn(handler);
    // An error is a connection that the client closed, or that a fault closed on purpose.
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
