//! `refresh()`: a full load over a pooled connection.

use std::time::Duration;

use tokio_postgres::Client;

use super::load::{Scope, load};
use super::publish::{Cycle, Outcome};
use super::statements::{PreparedClient, Statements};
use crate::postgres::context::Context;
use crate::postgres::error::Error;

/// Loads everything, so that the snapshot contains all that was committed before `called`, which is
/// a time since boot.
pub(crate) async fn load_now(
    context: &Context,
    client: &Client,
    called: Duration,
) -> Result<(), Error> {
    let queries = &context.queries;
    // The engine's thread may have looked before the latest migration.
    let absent = queries.parts.find_absent(client).await;
    let absent = absent.map_err(|error| Error::driver("refresh", error))?;
    let queries = queries.load_from(&absent, &[])?;
    let client = PreparedClient { client, statements: &Statements::default() };
    loop {
        let cycle = Cycle::begin(context);
        let scope = Scope::Everything { tokens: context.signals.has_tokens() };
        let read = load(client, &queries, scope, cycle.base()).await?;
        match cycle.publish(read)? {
            Outcome::Published => return Ok(()),
            Outcome::Stopped => return Err(Error::lost("refresh")),
            // A load over the engine's connection that began after the call is as good.
            Outcome::Superseded if context.live.is_current_since(called) => return Ok(()),
            Outcome::Superseded => {}
        }
    }
}
