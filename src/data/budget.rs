//! The memory that decoding takes, shared by all threads: a thread whose picture does not fit beside those of the others waits.
//!
//! A reservation is kept until the caller is done with the picture at full size. A thread that already holds one never waits for
//! a second, whatever it asks for: two threads that each waited for the other's memory would wait for ever.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Condvar, Mutex, MutexGuard};

/// Most memory that pictures may take while they are decoded and converted, bytes, over all threads: the decoder's own
/// buffers, the pixels as decoded, the copy that an EXIF orientation takes.
pub const MAX_BYTES: u64 = 1 << 30;

/// Reserved bytes of all threads.
static USED: Mutex<u64> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

thread_local! {
    /// Reservations of this thread.
    static HELD: Cell<usize> = const { Cell::new(0) };
}

/// A part of [`MAX_BYTES`] that belongs to one picture; given back when it is dropped.
#[derive(Debug)]
pub struct Reserved {
    bytes: u64,
    /// Not `Send`: the count of the thread that took it goes down when it is dropped.
    _thread: PhantomData<*const ()>,
}

fn used() -> MutexGuard<'static, u64> {
    USED.lock().unwrap_or_else(|p| p.into_inner())
}

/// Waits until `bytes` (at most [`MAX_BYTES`], which the caller has checked) fit beside what the other threads hold.
pub fn reserve(bytes: u64) -> Reserved {
    let mut used = used();
    while HELD.get() == 0 && *used > 0 && *used + bytes > MAX_BYTES {
        used = FREED.wait(used).unwrap_or_else(|p| p.into_inner());
    }
    *used += bytes;
    HELD.set(HELD.get() + 1);
    Reserved { bytes, _thread: PhantomData }
}

impl Reserved {
    /// Gives back all but `bytes`.
    pub fn shrink(&mut self, bytes: u64) {
        let less = self.bytes.saturating_sub(bytes);
        self.bytes -= less;
        *used() -= less;
        FREED.notify_all();
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shrink(0);
        HELD.set(HELD.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Eight threads that want 0.4 of the budget each: never more than two at once. Other tests of the process may hold a little.
    #[test]
    fn threads_wait_for_each_other() {
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        let share = MAX_BYTES / 5 * 2;
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    let mut held = reserve(share);
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    // A second picture of the same thread (a mask) does not wait.
                    drop(reserve(MAX_BYTES));
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                    held.shrink(share / 2);
                });
            }
        });
        assert!((1..=2).contains(&most.load(Ordering::SeqCst)), "{most:?}");
    }
}
