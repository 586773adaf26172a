//! The runtime on which the stand-ins live.

use std::future::Future;
use std::sync::{OnceLock, mpsc};

use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime of all stand-ins of this process. It is never shut down; what runs on it stops with its handle.
pub(crate) fn handle() -> &'static Handle {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            Builder::new_multi_thread()
                .worker_threads(2)
                .thread_name("testbed")
                .enable_all()
                .build()
                .expect("the testbed's runtime can be started")
        })
        .handle()
}

/// Runs a future on the testbed's runtime and blocks the calling thread until it is done.
///
/// It may be called inside another runtime too. It must not be called on the testbed's own runtime, e.g. in
/// [`crate::fault::Action::Call`].
///
/// # Panics
/// When the future panics.
pub fn run<F>(future: F) -> F::Output
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let (sender, receiver) = mpsc::sync_channel(1);
    handle().spawn(async move {
        // Nobody is left to read the result only when the caller's thread has panicked.
        let _ = sender.send(future.await);
    });
    receiver.recv().expect("the task on the testbed's runtime ends without a panic")
}

#[cfg(test)]
mod tests {
    #[tokio::test]
    async fn runs_inside_another_runtime() {
        assert_eq!(super::run(async { 1 + 1 }), 2);
    }
}
