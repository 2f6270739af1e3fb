//! `refresh()`: a full load over a pooled connection.

use std::time::Instant;

use super::load::load_blocking;
use super::publish::{Cycle, Outcome};
use crate::postgres::context::Context;
use crate::postgres::error::Error;

/// Loads everything, so that the snapshot contains all that was committed before `called`. Blocks;
/// starts no attempt after `until`.
pub(crate) fn load_now(context: &Context, called: Instant, until: Instant) -> Result<(), Error> {
    loop {
        let mut client = context.pool.connection(until)?;
        let cycle = Cycle::begin(context);
        let read = load_blocking(&mut client, &context.queries, context.signals.has_tokens())?;
        match cycle.publish(read)? {
            Outcome::Published => return Ok(()),
            Outcome::Stopped => return Err(Error::lost("refresh")),
            // A load over the engine's connection that began after the call is as good.
            Outcome::Superseded if context.live.is_current_since(called) => return Ok(()),
            Outcome::Superseded if Instant::now() >= until => {
                return Err(Error::deadline("refresh"));
            }
            Outcome::Superseded => {}
        }
    }
}
