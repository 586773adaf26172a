//! A Redis server that answers PING (the protocol RESP, <https://redis.io/docs/latest/develop/reference/protocol-spec/>).

use async_trait::async_trait;
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use url::Url;

use super::{Good, Miss, Question, Values, certificate, unconnected};
use crate::config::Secret;
use crate::promotion::fault::{Code, Fault};

/// The longest line that is read.
const LINE: u64 = 4 * 1024;

pub(super) struct Redis {
    host: String,
    port: u16,
    tls: bool,
    login: Option<Vec<SecretString>>,
}

impl Redis {
    pub(super) fn fill(address: &Secret, values: &Values) -> Result<Self, Fault> {
        let text = values.secrets.resolve(address)?;
        let wrong = || {
            Fault::new(Code::ConfigurationInvalid, format!("{address} holds no address of a Redis server"))
                .with_fix("let it hold `redis://host:port` or `rediss://user:password@host:port`")
        };
        let url = Url::parse(text.expose_secret()).map_err(|_| wrong())?;
        let tls = match url.scheme() {
            "redis" => false,
            "rediss" => true,
            _ => return Err(wrong()),
        };
        let decoded = |text: &str| SecretString::from(percent_decode_str(text).decode_utf8_lossy().into_owned());
        let login = url.password().map(|password| {
            values.secrets.hide(password);
            let user = Some(url.username()).filter(|user| !user.is_empty()).map(decoded);
            user.into_iter().chain([decoded(password)]).collect()
        });
        let host = url.host_str().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        Ok(Self { host, port: url.port().unwrap_or(6379), tls, login })
    }

    async fn talk(&self, stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<Good, Miss> {
        let mut stream = BufReader::new(stream);
        if let Some(login) = &self.login {
            let words: Vec<&str> =
                std::iter::once("AUTH").chain(login.iter().map(|word| word.expose_secret())).collect();
            let answer = self.command(&mut stream, &words).await?;
            if !answer.starts_with('+') {
                return Err(Miss::Ours(format!("the login is refused: {answer}")));
            }
        }
        match self.command(&mut stream, &["PING"]).await?.as_str() {
            "+PONG" => Ok(Good::default()),
            answer if answer.starts_with("-NOAUTH") || answer.starts_with("-NOPERM") => {
                Err(Miss::Ours(format!("it wants a login: {answer}")))
            }
            answer => Err(Miss::Failed(format!("it answers PING with {answer}"))),
        }
    }

    async fn command(
        &self,
        stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>,
        words: &[&str],
    ) -> Result<String, Miss> {
        let to = format!("{}:{}", self.host, self.port);
        let mut sent = format!("*{}\r\n", words.len());
        for word in words {
            sent.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(sent.as_bytes()).await.map_err(|error| unconnected(&error, &to))?;
        stream.flush().await.map_err(|error| unconnected(&error, &to))?;
        let mut line = Vec::new();
        let read = stream.take(LINE).read_until(b'\n', &mut line).await.map_err(|error| unconnected(&error, &to))?;
        if read == 0 {
            return Err(Miss::Failed(format!("{to} closes the connection")));
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

#[async_trait]
impl Question for Redis {
    async fn ask(&self, _: bool) -> Result<Good, Miss> {
        if self.tls {
            return self.talk(certificate::connect(&self.host, self.port).await?).await;
        }
        let to = format!("{}:{}", self.host, self.port);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        self.talk(stream.map_err(|error| unconnected(&error, &to))?).await
    }
}
