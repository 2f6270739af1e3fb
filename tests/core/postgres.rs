//! The PostgreSQL layer with a real server, which `DATABASE_URL` names.

mod postgres_engine;
mod postgres_fake_servers;
mod postgres_groups;
mod postgres_inheritance;
mod postgres_parameters;
mod postgres_pool;
mod postgres_properties;
mod postgres_refresh;
mod postgres_rows;
mod postgres_shop;
mod postgres_steps;
mod postgres_tables;
