//! Calls in the form of other systems, so that a backend made for them plugs in without translating.

pub(super) mod tencent;
