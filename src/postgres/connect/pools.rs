//! The pool of an engine: made when somebody needs it, and given up after a fault.

use std::sync::{Arc, Mutex, PoisonError};

use crate::postgres::connect::pool::Pool;
use crate::postgres::connect::target::CurrentTarget;

/// The pool of an engine, if there is one at the moment.
#[derive(Debug)]
pub(crate) struct Pools {
    target: Arc<CurrentTarget>,
    size: u32,
    pool: Mutex<Option<Arc<Pool>>>,
}

impl Pools {
    pub(crate) fn new(target: Arc<CurrentTarget>, size: u32) -> Self {
        Self { target, size, pool: Mutex::default() }
    }

    pub(crate) fn pool(&self) -> Arc<Pool> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(Pool::new(self.target.clone(), self.size));
        pool.get_or_insert_with(make).clone()
    }

    /// Gives a pool up: it would go on connecting by itself, and keep what nobody waits for.
    pub(crate) fn discard(&self, pool: &Arc<Pool>) {
        let mut held = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        held.take_if(|held| Arc::ptr_eq(held, pool));
    }
}
