//! How often callers, roles, tools, connectors, addresses and the whole server may be asked, and how much at a time.
