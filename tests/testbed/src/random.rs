//! Random names for tokens, uploads and databases.

use ring::rand::{SecureRandom as _, SystemRandom};

/// `2 * bytes` random hexadecimal digits.
pub(crate) fn hex(bytes: usize) -> String {
    let mut buffer = vec![0; bytes];
    SystemRandom::new().fill(&mut buffer).expect("the system has random bytes");
    hex::encode(buffer)
}
