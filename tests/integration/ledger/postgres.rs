//! What only PostgreSQL has: roles, TLS, an address that leads nowhere.

use std::time::{Duration, Instant};

use base64::Engine as _;
use secrecy::SecretString;
use testbed::authority::Authority;
use testbed::postgres::{Database, Postgres};
use tidegate::ledger::{Filter, Ledger, LedgerAddress, LedgerError, Parts, connect};
use tidegate::promotion::fault::{Category, Fault};
use tidegate::promotion::state::State;
use tokio::net::TcpListener;

use super::contract;
use super::place::{Place, client};
use super::story::{Seen, promote, visit};

/// The parts of a database's address.
fn parts(database: &Database) -> Parts {
    Parts {
        host: database.host().into(),
        port: Some(database.port().to_string()),
        user: database.user().into(),
        password: Some(SecretString::from(database.password())),
        name: database.name().into(),
    }
}

async fn prepare(parts: &Parts) -> Result<Box<dyn Ledger>, LedgerError> {
    let ledger = connect(&LedgerAddress::from_parts(parts).unwrap());
    ledger.prepare().await.map(|()| ledger)
}

/// A new role that owns nothing, as which a database is spoken to.
fn role(database: &Database) -> Parts {
    let name = database.name().replace("test", "role");
    Postgres::shared().superuser(&format!("CREATE ROLE {name} LOGIN PASSWORD 'nothing'"));
    Parts { user: name, password: Some("nothing".into()), ..parts(database) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_with_the_least_rights_can_do_everything_but_change_the_past() {
    let database = Postgres::shared().database();
    prepare(&parts(&database)).await.unwrap();
    let role = role(&database);

    let denied = prepare(&role).await.unwrap_err();
    assert!(matches!(denied, LedgerError::Denied(_)), "{denied:?}");
    let fault = Fault::from(denied);
    assert_eq!(fault.category, Category::Permission);
    assert!(fault.fix.contains("grants.sql"), "{fault:?}");

    let grants = include_str!("../../../migrations/postgres/grants.sql");
    database.psql(&grants.replace("tidegate_writer", &role.user));
    let ledger = prepare(&role).await.unwrap();
    let seen = promote(&*ledger, State::CompletedSuccessfully).await;
    assert_eq!(ledger.load(&seen.run.id).await.unwrap().len() as u64, seen.run.seq);
    assert_eq!(ledger.past(&Filter::default()).await.unwrap().len(), 2);
    let denied = ledger.rebuild().await.unwrap_err();
    assert!(matches!(denied, LedgerError::Denied(_)), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_create_in_the_database_makes_the_schema() {
    let database = Postgres::shared().database();
    let role = role(&database);
    let denied = prepare(&role).await.unwrap_err();
    assert!(matches!(&denied, LedgerError::Denied(why) if why.contains("permission denied")), "{denied:?}");
    database.psql(&format!("GRANT CREATE ON DATABASE {} TO {}", database.name(), role.user));
    let ledger = prepare(&role).await.unwrap();
    promote(&*ledger, State::Failed).await;
    ledger.rebuild().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_believed_is_told_and_no_password_is() {
    let database = Postgres::shared().database();
    let pool = database.pool();
    let pooled = Parts { port: Some(pool.port().to_string()), ..parts(&database) };
    for good in [parts(&database), pooled] {
        prepare(&good).await.unwrap();
        for bad in [
            Parts { password: Some("s3cret".into()), ..good.clone() },
            Parts { user: "nobody".into(), ..good.clone() },
            Parts { name: "no_such_database".into(), ..good.clone() },
        ] {
            let error = prepare(&bad).await.unwrap_err();
            assert!(matches!(error, LedgerError::Refused(_)), "{bad:?}: {error:?}");
            assert!(error.to_string().contains("127.0.0.1:"), "{error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
            assert!(!error.to_string().contains(database.password()), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_leads_nowhere_is_told_soon() {
    let begin = Instant::now();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let error = client(&format!("postgres://me:s3cret@127.0.0.1:{port}/app")).prepare().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Unreachable(why) if why.contains(&format!("127.0.0.1:{port}"))), "{error:?}");
    let error = client("postgres://me:s3cret@no-such-host.invalid/app").prepare().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Unreachable(why) if why.contains("no-such-host.invalid")), "{error:?}");
    assert!(!error.to_string().contains("s3cret"));
    assert!(begin.elapsed() < Duration::from_secs(13), "{:?}", begin.elapsed());

    // One that accepts and never says a word.
    let begin = Instant::now();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = client(&format!("postgres://me:s3cret@127.0.0.1:{}/app", silent.local_addr().unwrap().port()))
        .prepare()
        .await
        .unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable(_)), "{error:?}");
    assert!(begin.elapsed() >= Duration::from_secs(9) && begin.elapsed() < Duration::from_secs(14));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn something_else_that_answers_is_no_ledger() {
    let web = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = web.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = web.accept().await.unwrap();
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = client(&format!("postgres://me:s3cret@127.0.0.1:{port}/app")).prepare().await.unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_server_ended_is_made_again() {
    let cluster = Postgres::start();
    let database = cluster.database();
    let pool = database.pool();
    for address in [database.url(), pool.url()] {
        let ledger = client(&address);
        ledger.prepare().await.unwrap();
        let mut seen = Seen::new(&*ledger).await;
        cluster.stop();
        let begin = Instant::now();
        let away = ledger.append(&seen.head(), None, &[visit(1)]).await.unwrap_err();
        assert!(matches!(away, LedgerError::Unreachable(_)), "{away:?}");
        // PgBouncer would let us wait for two minutes.
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        cluster.start_again();
        // PgBouncer does not ask a server again for a second that it has found away.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        seen.append(&*ledger, &[visit(1)]).await;

        // While nobody uses it: it is not even noticed.
        cluster.stop();
        cluster.start_again();
        seen.append(&*ledger, &[visit(2)]).await;
    }
    let ledger = client(&pool.url());
    let mut seen = Seen::new(&*ledger).await;
    pool.stop();
    let away = ledger.append(&seen.head(), None, &[visit(1)]).await.unwrap_err();
    assert!(matches!(away, LedgerError::Unreachable(_)), "{away:?}");
    pool.start_again();
    seen.append(&*ledger, &[visit(1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_default_isolation_changes_nothing() {
    let place = Place::postgres();
    let Place::Postgres { database, .. } = &place else { panic!("not PostgreSQL") };
    let name = database.name();
    database.psql(&format!("ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'"));
    contract::sequence_numbers_have_no_gap_under_many_takers(place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let cluster = Postgres::start();
    let database = cluster.database();
    cluster.superuser("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0 OWNER tidegate");
    let error = prepare(&Parts { name: "latin".into(), ..parts(&database) }).await.unwrap_err();
    assert!(matches!(&error, LedgerError::Refused(why) if why.contains("UTF8")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_verified_as_asked() {
    let cluster = Postgres::start();
    let database = cluster.database();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let certificate = authority.issue();
    // The server writes its own files, so that they are its user's.
    for (file, content) in [("server.crt", &certificate.certificate), ("server.key", &certificate.key)] {
        let content = base64::engine::general_purpose::STANDARD.encode(content);
        let write = format!("cat > /dev/null; echo {content} | base64 -d > {file}; chmod 600 {file}");
        cluster.superuser(&format!("COPY (SELECT 1) TO PROGRAM '{write}'"));
    }
    cluster.superuser("ALTER SYSTEM SET ssl = on");
    cluster.superuser("SELECT pg_reload_conf()");
    let file = |authority: &Authority| authority.file().display().to_string();
    let with = |parameters: &str| client(&format!("{}?{parameters}", database.url()));
    let verified = format!("sslmode=verify-full&sslrootcert={}", file(&authority));
    for good in ["sslmode=require", "sslmode=prefer", &verified] {
        with(good).prepare().await.unwrap();
    }
    let distrusted = format!("sslmode=verify-full&sslrootcert={}", file(&stranger));
    for bad in ["sslmode=verify-full", &distrusted] {
        let error = with(bad).prepare().await.unwrap_err();
        assert!(matches!(&error, LedgerError::Refused(why) if why.contains("TLS")), "{bad}: {error:?}");
    }
    // PgBouncer here has no TLS.
    let pool = database.pool();
    let error = client(&format!("{}?sslmode=require", pool.url())).prepare().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Refused(why) if why.contains("sslmode")), "{error:?}");
}
