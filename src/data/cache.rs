//! A bounded memory of things that are costly to make and the same every time: photographs, frozen samples, factorisations.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};

/// When the cache is full, the oldest value is forgotten first. Forgetting costs time and changes no result: the value is made again,
/// and its maker gives the same value every time.
pub struct Cache<K, V> {
    limit: usize,
    state: Mutex<State<K, V>>,
}

struct State<K, V> {
    map: HashMap<K, (Arc<V>, usize)>,
    order: VecDeque<K>,
    bytes: usize,
}

impl<K: Hash + Eq + Clone, V> Cache<K, V> {
    /// Remembers at most `limit` bytes (as the caller counts them). 0 remembers nothing.
    pub fn new(limit: usize) -> Cache<K, V> {
        Cache { limit, state: Mutex::new(State { map: HashMap::new(), order: VecDeque::new(), bytes: 0 }) }
    }

    fn lock(&self) -> MutexGuard<'_, State<K, V>> {
        // A panic elsewhere cannot leave the map half changed: every update below is complete before it can fail.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The value of `key`, made by `make` (returning it and its size in bytes) where it is not at hand. `make` runs outside the
    /// lock; two threads may make the same value, and then share the first.
    pub fn get_or<E>(&self, key: &K, make: impl FnOnce() -> Result<(V, usize), E>) -> Result<Arc<V>, E> {
        if let Some((value, _)) = self.lock().map.get(key) {
            return Ok(value.clone());
        }
        let (value, bytes) = make()?;
        let value = Arc::new(value);
        let mut state = self.lock();
        if let Some((first, _)) = state.map.get(key) {
            return Ok(first.clone());
        }
        if bytes <= self.limit {
            while state.bytes + bytes > self.limit {
                let Some(oldest) = state.order.pop_front() else { break };
                if let Some((_, freed)) = state.map.remove(&oldest) {
                    state.bytes -= freed;
                }
            }
            state.map.insert(key.clone(), (value.clone(), bytes));
            state.order.push_back(key.clone());
            state.bytes += bytes;
        }
        Ok(value)
    }

    /// Bytes remembered now.
    pub fn bytes(&self) -> usize {
        self.lock().bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_limit_and_forgets_the_oldest() {
        let cache: Cache<u32, u32> = Cache::new(100);
        let get = |k: u32| *cache.get_or(&k, || Ok::<_, ()>((k * 10, 40))).unwrap();
        assert_eq!((get(1), get(2), get(3)), (10, 20, 30));
        assert_eq!(cache.bytes(), 80);
        let mut made = false;
        cache.get_or(&3, || -> Result<_, ()> { panic!("3 is remembered") }).unwrap();
        cache
            .get_or(&1, || -> Result<_, ()> {
                made = true;
                Ok((10, 40))
            })
            .unwrap();
        assert!(made, "1 was the oldest");
        assert!(cache.get_or(&9, || Err::<(u32, usize), _>("cannot")).is_err());
    }
}
