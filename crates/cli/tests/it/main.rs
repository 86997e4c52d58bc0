//! The built binary, driven as its users drive it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what helps tests may end them")]

mod assistant;
mod audit;
mod cache;
mod cancel;
mod check;
mod correct;
mod demo;
mod identity;
mod init;
mod keys;
mod limits;
mod lists;
mod nodes;
mod observe;
mod outage;
mod overload;
mod pages;
mod policy;
mod reload;
mod replicas;
mod safety;
mod secret;
mod sentinels;
mod serve;
mod shaping;
mod shutdown;
mod spec;
mod stdio;
mod support;
mod tools_call;
