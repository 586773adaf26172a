//! What only PostgreSQL has: roles, TLS, an address that leads nowhere.

use std::time::{Duration, Instant};

use tidegate::ledger::{LedgerError, connect};
use tidegate::promotion::fault::{Category, Fault};
use tidegate::promotion::state::State;
use tokio::net::TcpListener;

use super::cluster::{cluster, run};
use super::contract;
use super::place::{Place, client};
use super::story::{Seen, promote, visit};

fn grants() -> &'static str {
    include_str!("../../../migrations/postgres/grants.sql")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_with_the_least_rights_can_do_everything_but_change_the_past() {
    let database = cluster().database().await;
    client(&cluster().direct(&database)).prepare().await.unwrap();
    let writer = client(&cluster().as_writer(&database));

    let denied = writer.prepare().await.unwrap_err();
    assert!(matches!(denied, LedgerError::Denied(_)), "{denied:?}");
    let fault = Fault::from(denied);
    assert_eq!(fault.category, Category::Permission);
    assert!(fault.fix.contains("grants.sql"), "{fault:?}");

    run(&cluster().direct(&database), &grants().replace("tidegate_writer", "writer")).await;
    writer.prepare().await.unwrap();
    let seen = promote(&*writer, State::CompletedSuccessfully).await;
    assert_eq!(writer.load(&seen.run.id).await.unwrap().len() as u64, seen.run.seq);
    assert_eq!(writer.past(&tidegate::ledger::Filter::default()).await.unwrap().len(), 2);
    let denied = writer.rebuild().await.unwrap_err();
    assert!(matches!(denied, LedgerError::Denied(_)), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_may_create_in_the_database_makes_the_schema() {
    let database = cluster().database().await;
    let writer = client(&cluster().as_writer(&database));
    let denied = writer.prepare().await.unwrap_err();
    assert!(matches!(&denied, LedgerError::Denied(why) if why.contains("permission denied")), "{denied:?}");
    run(&cluster().direct(&database), &format!("GRANT CREATE ON DATABASE {database} TO writer")).await;
    writer.prepare().await.unwrap();
    promote(&*writer, State::Failed).await;
    writer.rebuild().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_believed_is_told_and_no_password_is() {
    let database = cluster().database().await;
    for address in [cluster().direct(&database), cluster().pooled(&database)] {
        for (good, bad) in
            [("pass%2Fword", "s3cret"), ("tidegate:", "nobody-s3cret:"), (database.as_str(), "no_such_database")]
        {
            let error = client(&address.replacen(good, bad, 1)).prepare().await.unwrap_err();
            assert!(matches!(error, LedgerError::Refused(_)), "{bad}: {error:?}");
            assert!(error.to_string().contains("127.0.0.1:"), "{error}");
            assert!(!error.to_string().contains("word") || bad != "no_such_database", "{error}");
            assert!(bad != "s3cret" || !error.to_string().contains(bad), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_leads_nowhere_is_told_soon() {
    let begin = Instant::now();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let error = client(&cluster().at(port, "app")).prepare().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Unreachable(why) if why.contains(&format!("127.0.0.1:{port}"))), "{error:?}");
    let error = client("postgres://me:s3cret@no-such-host.invalid/app").prepare().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Unreachable(why) if why.contains("no-such-host.invalid")), "{error:?}");
    assert!(!error.to_string().contains("s3cret"));
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());

    // One that accepts and never says a word.
    let begin = Instant::now();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = client(&cluster().at(silent.local_addr().unwrap().port(), "app")).prepare().await.unwrap_err();
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
    let error = client(&cluster().at(port, "app")).prepare().await.unwrap_err();
    assert!(matches!(error, LedgerError::Unreachable(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_server_ended_is_made_again() {
    let database = cluster().database().await;
    for address in [cluster().direct(&database), cluster().pooled(&database)] {
        let ledger = client(&address);
        ledger.prepare().await.unwrap();
        let mut seen = Seen::new(&*ledger).await;
        let others = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'");
        run(&cluster().direct("postgres"), &others).await;
        seen.append(&*ledger, &[visit(1)]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_default_isolation_changes_nothing() {
    let place = Place::postgres().await;
    let Place::Postgres { database, .. } = &place else { panic!("not PostgreSQL") };
    let alter = format!("ALTER DATABASE {database} SET default_transaction_isolation = 'serializable'");
    run(&cluster().direct("postgres"), &alter).await;
    contract::sequence_numbers_have_no_gap_under_many_takers(place).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_hold_every_text_is_refused() {
    let create = "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0";
    run(&cluster().direct("postgres"), create).await;
    let error = client(&cluster().direct("latin")).prepare().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Refused(why) if why.contains("UTF8")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_verified_as_asked() {
    let database = cluster().database().await;
    let folder = cluster().folder.display();
    let with = |parameters: &str| cluster().direct(&database).replace("sslmode=disable", parameters);
    for good in
        ["sslmode=require", "sslmode=prefer", &format!("sslmode=verify-full&sslrootcert={folder}/authority.crt")]
    {
        client(&with(good)).prepare().await.unwrap();
    }
    for bad in ["sslmode=verify-full", &format!("sslmode=verify-full&sslrootcert={folder}/stranger.crt")] {
        let error = client(&with(bad)).prepare().await.unwrap_err();
        assert!(matches!(&error, LedgerError::Refused(why) if why.contains("TLS")), "{bad}: {error:?}");
    }
    // PgBouncer here has no TLS.
    let error = client(&cluster().pooled(&database).replace("=disable", "=require")).prepare().await.unwrap_err();
    assert!(matches!(&error, LedgerError::Refused(why) if why.contains("sslmode")), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_in_parts_leads_to_the_same_ledger() {
    let database = cluster().database().await;
    let parts = tidegate::ledger::Parts {
        host: "127.0.0.1".into(),
        port: Some(cluster().port.to_string()),
        user: "tidegate".into(),
        password: Some("pass/word".into()),
        name: database,
    };
    let ledger = connect(&tidegate::ledger::LedgerAddress::from_parts(&parts).unwrap());
    ledger.prepare().await.unwrap();
    Seen::new(&*ledger).await;
}
