//! A Redis server as far as PING and AUTH go (RESP2), with or without TLS.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::authority::Certificate;
use crate::background;

struct State {
    password: Option<String>,
    /// What PING is answered with instead of PONG.
    answer: Mutex<Option<String>>,
    commands: Mutex<Vec<Vec<String>>>,
}

/// A running stand-in; it stops when this is dropped.
pub struct Redis {
    address: SocketAddr,
    state: Arc<State>,
    stop: CancellationToken,
}

impl Redis {
    /// Starts it; whoever comes must show the password, where there is one, and speak TLS, where there is a certificate.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn start(password: Option<&str>, certificate: Option<&Certificate>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port on 127.0.0.1");
        listener.set_nonblocking(true).expect("the listener can be made non-blocking");
        let address = listener.local_addr().expect("the listener has an address");
        let tls = certificate.map(Certificate::server).map(TlsAcceptor::from);
        let state = Arc::new(State {
            password: password.map(ToOwned::to_owned),
            answer: Mutex::default(),
            commands: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let _runtime = background::handle().enter();
        let listener = TcpListener::from_std(listener).expect("the runtime takes the listener");
        let accepting = accept(listener, tls, Arc::clone(&state), stop.clone());
        background::handle().spawn(stop.clone().run_until_cancelled_owned(accepting));
        Self { address, state, stop }
    }

    /// Its port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on PING is answered so, e.g. `-LOADING Redis is loading the dataset in memory`.
    pub fn answers(&self, answer: &str) {
        *self.state.answer.lock().expect("nobody panics here") = Some(answer.to_owned());
    }

    /// All commands so far, with their words.
    #[must_use]
    pub fn commands(&self) -> Vec<Vec<String>> {
        self.state.commands.lock().expect("nobody panics here").clone()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, state: Arc<State>, stop: CancellationToken) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            match tls {
                None => serve(stream, &state).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        serve(stream, &state).await;
                    }
                }
            }
        }));
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: &State) {
    let mut stream = BufReader::new(stream);
    let mut known = state.password.is_none();
    while let Some(words) = command(&mut stream).await {
        let answer = match words.first().map(|word| word.to_uppercase()).as_deref() {
            Some("AUTH") => {
                known = words.last() == state.password.as_ref();
                if known { "+OK".to_owned() } else { "-WRONGPASS invalid username-password pair".to_owned() }
            }
            _ if !known => "-NOAUTH Authentication required.".to_owned(),
            Some("PING") => {
                let told = state.answer.lock().expect("nobody panics here").clone();
                told.unwrap_or_else(|| "+PONG".to_owned())
            }
            _ => "-ERR unknown command".to_owned(),
        };
        state.commands.lock().expect("nobody panics here").push(words);
        if stream.write_all(format!("{answer}\r\n").as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// A command: an array of strings. Nothing when the client has gone, or does not speak the protocol.
async fn command(stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>) -> Option<Vec<String>> {
    let count = number(stream, '*').await?;
    let mut words = Vec::new();
    for _ in 0..count {
        let length = number(stream, '$').await?;
        let mut word = vec![0; length + 2];
        stream.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        words.push(String::from_utf8(word).ok()?);
    }
    Some(words)
}

async fn number(stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>, sign: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(sign)?.parse().ok().filter(|number| *number < 1024)
}
