//! Mail by SMTP.

use std::time::Duration;

use async_trait::async_trait;
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message as Mail, Tokio1Executor};
use secrecy::{ExposeSecret as _, SecretString};

use super::mail::content;
use super::{Channel, Letter, Receipt, Refused};
use crate::config::{Mail as Addresses, Smtp as Server, SmtpSecurity};
use crate::promotion::untrusted::line;

/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(7);

/// A mail server, and who is written to.
pub(super) struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
}

impl std::fmt::Debug for Smtp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Smtp").field("from", &self.from).field("to", &self.to).finish()
    }
}

impl Smtp {
    /// A server that is spoken to as the configuration says: TLS that is asked for is insisted on.
    ///
    /// # Errors
    /// Why the server or an address cannot be used.
    pub(super) fn new(
        server: &Server,
        login: Option<(SecretString, SecretString)>,
        addresses: &Addresses,
    ) -> Result<Self, String> {
        let tls = || TlsParameters::new(server.host.clone()).map_err(|error| format!("TLS cannot be used: {error}"));
        let tls = match server.security {
            SmtpSecurity::Starttls => Tls::Required(tls()?),
            SmtpSecurity::Tls => Tls::Wrapper(tls()?),
            SmtpSecurity::None => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&server.host)
            .port(server.port())
            .timeout(Some(SILENCE))
            .tls(tls);
        if let Some((user, password)) = login {
            let (user, password) = (user.expose_secret().to_owned(), password.expose_secret().to_owned());
            builder = builder.credentials(Credentials::new(user, password));
        }
        let mailbox = |text: &String| text.parse::<Mailbox>().map_err(|error| format!("`{text}`: {error}"));
        Ok(Self {
            transport: builder.build(),
            from: mailbox(&addresses.from)?,
            to: addresses.to.iter().map(mailbox).collect::<Result<_, _>>()?,
            cc: addresses.cc.iter().map(mailbox).collect::<Result<_, _>>()?,
        })
    }

    fn mail(&self, letter: &Letter) -> Result<Mail, Refused> {
        let content = content(letter);
        let domain = self.from.email.domain();
        // The same in every attempt: whoever gets it twice can tell.
        let mut builder = Mail::builder()
            .message_id(Some(format!("<{}@{domain}>", letter.id())))
            .from(self.from.clone())
            .subject(content.subject);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        for cc in &self.cc {
            builder = builder.cc(cc.clone());
        }
        builder
            .multipart(MultiPart::alternative_plain_html(content.text, content.html))
            .map_err(|error| Refused::finally(format!("the mail cannot be composed: {error}")))
    }
}

#[async_trait]
impl Channel for Smtp {
    async fn send(&self, letter: &Letter) -> Result<Receipt, Refused> {
        let mail = self.mail(letter)?;
        match self.transport.send(mail).await {
            // The server promises to deliver it or to tell the sender (RFC 5321, 6.1).
            Ok(_) => Ok(Receipt::accepted()),
            Err(error) => {
                let why = line(&error.to_string(), 200);
                // 4yz may pass, 5yz does not (RFC 5321, 4.2.1); so does what breaks on the way, but for what TLS refuses.
                let finally = error.is_permanent() || error.is_client() || error.is_tls();
                Err(if finally { Refused::finally(why) } else { Refused::for_now(why) })
            }
        }
    }
}
