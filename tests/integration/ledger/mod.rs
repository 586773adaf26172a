//! The ledger against real databases: one contract, held to on SQLite, on PostgreSQL, and on PostgreSQL behind PgBouncer
//! in transaction mode with many clients at once.

#![allow(clippy::unwrap_used, reason = "what cannot be had fails the test")]

mod contract;
pub(crate) mod cut;
pub(crate) mod place;
mod postgres;
mod spool;
mod sqlite;
mod story;

/// Runs every test of the contract on every kind of place.
macro_rules! contract {
    ($($test:ident),+ $(,)?) => {
        contract!(@place on_sqlite, crate::ledger::place::Place::sqlite(), $($test),+);
        contract!(@place on_postgres, crate::ledger::place::Place::postgres(), $($test),+);
        contract!(@place on_pgbouncer, crate::ledger::place::Place::pgbouncer(), $($test),+);
    };
    (@place $name:ident, $place:expr, $($test:ident),+) => {
        mod $name {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    crate::ledger::contract::$test($place).await;
                }
            )+
        }
    };
}

contract!(
    a_run_is_opened_and_tied_to_the_one_before,
    one_key_has_one_run,
    a_key_is_taken_up_until_it_ends,
    sequence_numbers_have_no_gap_under_many_takers,
    many_clients_append_and_the_chain_holds,
    the_same_again_is_recognised_and_somebody_elses_is_not,
    one_of_many_gets_the_lease,
    a_lease_that_was_taken_over_is_fenced_off,
    a_run_takes_over_its_own_lease_at_once,
    a_lease_that_was_given_back_is_over,
    an_expired_lease_that_nobody_took_still_counts,
    nothing_is_done_when_something_is_wrong,
    a_call_that_is_dropped_harms_nobody,
    import_is_idempotent_and_says_so,
    import_refuses_what_does_not_fit,
    time_never_goes_back_in_a_run,
    dropped_tables_are_rebuilt_to_the_byte,
    a_rebuild_keeps_a_live_lease,
    many_migrate_at_once,
    a_newer_schema_is_refused,
    events_are_only_ever_added,
    any_text_is_kept,
    the_past_is_told,
    runs_with_open_intents_are_told,
    bad_digests_are_told,
    a_cut_end_shows_against_the_heads,
    a_rebuild_waits_for_writers_and_they_for_it,
);
