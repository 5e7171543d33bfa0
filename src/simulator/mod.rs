//! Stand-in vendor servers for tests, `rouse simulate` and `rouse demo`.
