//! The private Postgres of a server that was given no database.
