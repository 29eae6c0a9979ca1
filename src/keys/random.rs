//! Random bits for names and salts: from the system, many at a time, as a call for each costs more
//! than what it is for. Keys are not made of them.

use std::cell::RefCell;

/// Bytes fetched at a time.
const POOL: usize = 1024;

struct Pool {
    bytes: [u8; POOL],
    used: usize,
}

/// 128 random bits.
///
/// # Errors
/// Where the system gives no random bytes.
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn no_bits_come_twice() {
        let seen: std::collections::HashSet<u128> = (0..1000).map(|_| bits().unwrap()).collect();
        assert_eq!(seen.len(), 1000);
        let elsewhere = std::thread::spawn(|| bits().unwrap()).join().unwrap();
        assert!(!seen.contains(&elsewhere));
    }
}
