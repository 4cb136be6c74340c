//! Mail, over SMTP: plain text, one for each message.

use async_trait::async_trait;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{self, AsyncSmtpTransport};
use lettre::{AsyncTransport, Message, Tokio1Executor};

use super::Sender;
use super::words::{body, headline, paragraph};
use crate::domain::alerting::{SmtpSecurity, SmtpTarget};
use crate::domain::limits::{CA_FILE_BYTES_MAX, MAIL_TEXT_BYTES_MAX, MAIL_TIMEOUT, RECEIVER_TIMEOUT};
use crate::domain::reason::{Reason, ReasonKind};
use crate::infrastructure::blocking::blocking;
use crate::infrastructure::http::failure::unreachable;
use crate::infrastructure::scrub::Scrub;
use crate::usecase::ports::{AlertMessage, AlertReceiver};

pub(super) struct Smtp {
    target: SmtpTarget,
    /// The last line of each mail.
    from: String,
    scrub: Scrub,
}

impl Smtp {
    pub(super) fn new(target: SmtpTarget, sender: &Sender) -> Self {
        let mut scrub = Scrub::default();
        if let Some((user, password)) = &target.login {
            scrub.hide(password.expose());
            // As AUTH PLAIN sends it.
            scrub.hide(&format!("\0{user}\0{}", password.expose()));
        }
        Self { target, from: sender.line(), scrub }
    }

    fn mail(&self, message: &AlertMessage) -> Result<Message, Reason> {
        let misconfigured =
            |cause: String| Reason::new(ReasonKind::Misconfigured, cause).with_hint("check from and to");
        let address = |text: &String| text.parse::<Mailbox>().map_err(|error| misconfigured(error.to_string()));
        let mut builder: MessageBuilder = Message::builder().from(address(&self.target.from)?);
        for to in &self.target.to {
            builder = builder.to(address(to)?);
        }
        let text = body(message, &self.from, MAIL_TEXT_BYTES_MAX, |alert| format!("{}\n", paragraph(alert)));
        let mail = builder.subject(headline(message)).header(ContentType::TEXT_PLAIN).body(text);
        let mut mail = mail.map_err(|error| misconfigured(error.to_string()))?;
        // So that nobody's absence is answered to us (RFC 3834).
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        mail.headers_mut().insert_raw(HeaderValue::new(automatic, "auto-generated".to_owned()));
        Ok(mail)
    }

    /// Why a mail did not go out.
    fn reason(&self, error: &smtp::Error) -> Reason {
        let text = self.scrub.clean(&error.to_string());
        let code = error.status().map(u16::from);
        match code {
            _ if error.is_timeout() => Reason::new(ReasonKind::Timeout, "no answer in time"),
            Some(530 | 534 | 535 | 538) => {
                Reason::new(ReasonKind::Denied, text).with_hint("check username and password")
            }
            Some(_) => Reason::new(ReasonKind::Failed, text),
            None if error.is_client() => Reason::new(ReasonKind::Misconfigured, text)
                .with_hint("set security to what the server supports: tls, starttls or none"),
            None => unreachable(error),
        }
    }
}

/// Reads certificates.
fn transport(target: &SmtpTarget) -> Result<AsyncSmtpTransport<Tokio1Executor>, Reason> {
    let tls = || {
        let mut parameters = TlsParameters::builder(target.host.clone());
        if let Some(file) = &target.ca_file {
            let doing = || format!("read certificate authorities {}", file.display());
            let bad = |cause: String| Reason::new(ReasonKind::Misconfigured, cause).context(doing());
            let size = std::fs::metadata(file).map_err(|error| Reason::from(error).context(doing()))?.len();
            if size > CA_FILE_BYTES_MAX {
                return Err(bad("too large".to_owned()));
            }
            let pem = std::fs::read(file).map_err(|error| Reason::from(error).context(doing()))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| bad(error.to_string()))?;
            parameters = parameters.add_root_certificate(certificate);
        }
        parameters.build().map_err(|error| Reason::new(ReasonKind::Misconfigured, format!("set up TLS: {error}")))
    };
    let tls = match target.security {
        SmtpSecurity::Tls => Tls::Wrapper(tls()?),
        SmtpSecurity::StartTls => Tls::Required(tls()?),
        SmtpSecurity::None => Tls::None,
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&target.host)
        .port(target.port)
        .tls(tls)
        .timeout(Some(RECEIVER_TIMEOUT));
    if let Some((user, password)) = &target.login {
        builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
    }
    Ok(builder.build())
}

#[async_trait]
impl AlertReceiver for Smtp {
    async fn send(&self, message: &AlertMessage) -> Result<(), Reason> {
        let sending = async {
            let mail = self.mail(message)?;
            let target = self.target.clone();
            let transport = blocking(move || transport(&target)).await?;
            transport.send(mail).await.map_err(|error| self.reason(&error))
        };
        let sent = tokio::time::timeout(MAIL_TIMEOUT, sending).await;
        let late = || Err(Reason::new(ReasonKind::Timeout, "no answer in time"));
        let place = format!("send to {}:{}", self.target.host, self.target.port);
        sent.unwrap_or_else(|_| late()).map_err(|reason| reason.context(place))?;
        Ok(())
    }
}
