//! Commands on hosts, against OpenSSH's own server.

use std::time::Duration;

use base64::Engine as _;
use testbed::sshd::Sshd;
use tidegate::promotion::fault::{Code, Fault};
use tidegate::ssh::{Access, Command, Host, SshError};

const PATIENCE: Duration = Duration::from_secs(10);

fn access(sshd: &Sshd) -> Access {
    Access {
        user: sshd.user().to_owned(),
        port: sshd.port(),
        key: sshd.key().into(),
        passphrase: None,
        host_keys: vec![sshd.fingerprint()],
    }
}

async fn refused(access: &Access) -> SshError {
    match Host::connect(access, "127.0.0.1", PATIENCE).await {
        Ok(_) => panic!("the connection stands"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn commands_get_their_words_and_their_input_and_tell_how_they_ended() {
    let sshd = Sshd::with(&[("TIER", "staging")]);
    let host = Host::connect(&access(&sshd), "127.0.0.1", PATIENCE).await.unwrap();
    let script = "cat; printf '%s|' \"$@\"; echo \"$TIER\"; echo oh >&2; exit 7";
    let command = Command::new(["sh", "-c", script, "sh", "a b", "$HOME", "it's", ""]).input("in\n");
    let ended = host.run(&command).await.unwrap();
    assert_eq!(ended.stdout.text(), "in\na b|$HOME|it's||staging\n");
    assert_eq!(ended.told(), "ended with 7: oh");
    let twice = tokio::join!(host.run(&command), host.run(&command));
    assert!(twice.0.is_ok() && twice.1.is_ok());
    assert_eq!(host.run(&Command::new(["sh", "-c", "exit 255"])).await.unwrap().status.code(), Some(255));
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "all commands share one connection");
}

#[tokio::test]
async fn a_key_is_taken_as_it_is_in_base64_and_with_a_passphrase() {
    let sshd = Sshd::start();
    let packed = base64::engine::general_purpose::STANDARD.encode(sshd.key());
    let pasted = sshd.key().trim().replace('\n', "\r\n");
    for key in [packed, pasted] {
        let access = Access { key: key.into(), ..access(&sshd) };
        assert!(Host::connect(&access, "127.0.0.2", PATIENCE).await.is_ok());
    }
    let locked = Access { key: sshd.key_with("open sesame").into(), ..access(&sshd) };
    let open = Access { passphrase: Some("open sesame".into()), ..locked.clone() };
    let host = Host::connect(&open, "127.0.0.1", PATIENCE).await.unwrap();
    assert!(host.run(&Command::new(["true"])).await.unwrap().is_good());
    let wrong = Access { passphrase: Some("shut".into()), ..locked.clone() };
    assert!(refused(&wrong).await.to_string().ends_with("`passphrase` is not its passphrase"));
    assert!(refused(&locked).await.to_string().ends_with("it has a passphrase, and `passphrase` is not given"));
    let none = Access { key: "a key".into(), ..access(&sshd) };
    assert_eq!(Fault::from(refused(&none).await).code, Code::SshKeyUnusable);
}

#[tokio::test]
async fn a_host_must_show_a_key_that_is_named() {
    let (sshd, other) = (Sshd::start(), Sshd::start());
    let by_line = Access { host_keys: vec![sshd.known_hosts()], ..access(&sshd) };
    assert!(Host::connect(&by_line, "127.0.0.1", PATIENCE).await.is_ok());
    let strange = Access { host_keys: vec![other.fingerprint()], ..access(&sshd) };
    let error = refused(&strange).await;
    assert!(error.to_string().contains(&sshd.fingerprint()), "{error}");
    assert_eq!(Fault::from(error).code, Code::HostKeyUnknown);
    // The other's key under this one's name.
    let line = other.known_hosts().replace(&other.port().to_string(), &sshd.port().to_string());
    let strange = Access { host_keys: vec![line], ..access(&sshd) };
    let error = refused(&strange).await;
    assert!(error.to_string().contains(&sshd.fingerprint()), "{error}");
    assert_eq!(Fault::from(error).code, Code::HostKeyUnknown);
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1);
}

#[tokio::test]
async fn who_does_not_answer_or_does_not_let_us_in_is_named() {
    let (sshd, other) = (Sshd::start(), Sshd::start());
    let stranger = Access { key: other.key().into(), ..access(&sshd) };
    let error = refused(&stranger).await;
    assert!(matches!(error, SshError::Refused { .. }), "{error}");
    for host_key in [sshd.fingerprint(), sshd.known_hosts()] {
        let nobody = Access { port: testbed::free_port(), host_keys: vec![host_key], ..access(&sshd) };
        let error = refused(&nobody).await;
        assert!(matches!(error, SshError::Unreachable { .. }), "{error}");
        assert!(error.to_string().starts_with("127.0.0.1 cannot be reached over SSH: "), "{error}");
    }
    let option = Host::connect(&access(&sshd), "-oProxyCommand=touch /tmp/x", PATIENCE).await.err().unwrap();
    assert!(matches!(option, SshError::NotAHost(_)));
}

#[tokio::test]
async fn what_takes_too_long_and_a_connection_that_breaks_are_told_apart_from_a_failure() {
    let sshd = Sshd::start();
    let host = Host::connect(&access(&sshd), "127.0.0.1", PATIENCE).await.unwrap();
    let slow = Command::new(["sleep", "60"]).timeout(Duration::from_millis(300));
    let error = host.run(&slow).await.unwrap_err();
    assert_eq!(error.to_string(), "`sleep` on 127.0.0.1 did not end within 300ms");
    assert!(host.run(&Command::new(["true"])).await.unwrap().is_good(), "the connection stands");
    // The server's process of this connection is the parent of the shell that runs the command.
    let cut = Command::new(["sh", "-c", "kill -9 $PPID; sleep 5"]);
    let error = host.run(&cut).await.unwrap_err();
    assert_eq!(Fault::from(error).code, Code::SshBroken);
}
