//! Random bits for ids and salts. They are fetched from the system in blocks, because a system call for each value
//! would cost more than the use of the value. Keys are not generated here.

use std::cell::RefCell;

/// The number of bytes fetched at a time.
const POOL: usize = 1024;

struct Pool {
    bytes: [u8; POOL],
    used: usize,
}

/// Returns 128 random bits.
///
/// # Errors
/// [`getrandom::Error`] if the system provides no random bytes.
pub fn bits() -> Result<u128, getrandom::Error> {
    thread_local!(static BITS: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL], used: POOL }) });
    BITS.with_borrow_mut(|pool| {
        if pool.used == POOL {
            getrandom::fill(&mut pool.bytes)?;
            pool.used = 0;
        }
        let taken = pool.bytes.get(pool.used..).and_then(|left| left.first_chunk::<16>());
        pool.used += 16;
        Ok(taken.map_or(0, |bytes| u128::from_le_bytes(*bytes)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_never_repeat_within_or_between_threads() {
        let seen: std::collections::HashSet<u128> = (0..1000).map(|_| bits().unwrap()).collect();
        assert_eq!(seen.len(), 1000);
        let elsewhere = std::thread::spawn(|| bits().unwrap()).join().unwrap();
        assert!(!seen.contains(&elsewhere));
    }
}
