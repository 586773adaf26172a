//! Mail, sent by the real program to a real server, and read back.

use mail_parser::{Address, MessageParser};
use testbed::authority::Authority;
use testbed::mail::{MailServer, PASSWORD, Security, USER};
use testbed::runner::Finished;

use super::scene::Scene;

/// A promotion that mails to this server, with its keys.
fn mailed(server: &MailServer, keys: &str, authority: &Authority) -> (Scene, Finished) {
    let notify = format!(
        "mail:\n  smtp: {{ host: localhost, port: {}, {keys} }}\n  from: deploy@acme.test\n  \
         to: [ops@acme.test, bob@acme.test]\n  cc: boss@acme.test\n  on: [succeeded]",
        server.port()
    );
    let scene = Scene::new(&notify, "");
    let step = scene.step().env("SMTP_USER", USER).env("SMTP_PASSWORD", PASSWORD);
    let finished = step.env("SSL_CERT_FILE", &authority.file().display().to_string()).run();
    assert!(finished.is_success(), "{finished}");
    (scene, finished)
}

#[test]
fn a_mail_arrives_as_it_was_meant() {
    let authority = Authority::new();
    let login = "user: \"${SMTP_USER}\", password: \"${SMTP_PASSWORD}\"";
    for (security, keys) in [
        (Security::Starttls, format!("security: starttls, {login}")),
        (Security::Tls, format!("security: tls, {login}")),
        (Security::None, "security: none".to_owned()),
    ] {
        let server = MailServer::start(security, &authority, security != Security::None, "");
        let (scene, finished) = mailed(&server, &keys, &authority);
        assert_eq!(scene.notifications(), [("succeeded".into(), "mail".into(), "accepted".into())], "{finished}");
        let mails = server.mails();
        let [mail] = mails.as_slice() else { panic!("{} mails with {security:?}", mails.len()) };
        let mail = MessageParser::default().parse(mail).unwrap();
        let addresses = |address: Option<&Address<'_>>| -> Vec<String> {
            address.unwrap().iter().filter_map(|one| one.address()).map(ToOwned::to_owned).collect()
        };
        assert_eq!(mail.subject(), Some("Succeeded: api to production"));
        assert_eq!(addresses(mail.from()), ["deploy@acme.test"]);
        assert_eq!(addresses(mail.to()), ["ops@acme.test", "bob@acme.test"]);
        assert_eq!(addresses(mail.cc()), ["boss@acme.test"]);
        let envelope = mail.header_raw("X-Envelope-To").unwrap().trim();
        assert_eq!(envelope, "ops@acme.test,bob@acme.test,boss@acme.test");
        assert!(mail.message_id().is_some_and(|id| id.ends_with("@acme.test")));
        let (text, html) = (mail.body_text(0).unwrap(), mail.body_html(0).unwrap());
        for body in [&text, &html] {
            assert!(body.contains("https://github.com/acme/api/actions/runs/16000000001"), "{body}");
            assert!(body.contains("octocat"), "{body}");
        }
        assert!(html.contains("<table") && !text.contains('<'), "{text}");
        scene.assert_nothing_leaked(&finished);
    }
}

#[test]
fn no_mail_and_no_password_goes_over_a_connection_that_is_not_what_was_asked_for() {
    let authority = Authority::new();
    let login = "user: \"${SMTP_USER}\", password: \"${SMTP_PASSWORD}\"";
    // A server without TLS, and one with a certificate of somebody else.
    for (security, stranger) in [(Security::None, false), (Security::Starttls, true)] {
        let server = MailServer::start(security, &authority, false, "");
        let trusted = if stranger { Authority::new() } else { authority.clone() };
        let (scene, finished) = mailed(&server, &format!("security: starttls, {login}"), &trusted);
        assert_eq!(scene.notifications(), [("succeeded".into(), "mail".into(), "failed".into())], "{finished}");
        assert_eq!(server.mails().len(), 0);
        assert!(!finished.annotations("warning").is_empty(), "{finished}");
    }
}

#[test]
fn what_a_server_refuses_is_tried_again_only_where_that_may_pass() {
    let authority = Authority::new();
    for (answer, attempts) in [("451 try again later", 3), ("550 no such user", 1)] {
        let server = MailServer::start(Security::None, &authority, false, answer);
        let (scene, finished) = mailed(&server, "security: none", &authority);
        let run = scene.run();
        let (delivery, tried) = run.notification("succeeded", "mail").unwrap().delivery.unwrap();
        assert_eq!((delivery.name(), tried), ("failed", attempts), "{finished}");
    }
}
