//! The link to the database, beside a real server: `DATABASE_URL` names it.

mod postgres_engine;
mod postgres_fake_servers;
mod postgres_parameters;
mod postgres_properties;
mod postgres_refresh;
mod postgres_shop;
