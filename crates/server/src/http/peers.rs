//! Networks, and which of them connections may come from: where others than this machine reach the endpoint, tokens must have come
//! through a proxy that encrypts. And who is behind a proxy that is trusted to say so.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::FORWARDED;

/// An address, or all that begin with the same bits: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads a network; `None` for what is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok().filter(|bits| *bits <= most))?;
        Some(Self { address, bits })
    }

    /// Tells whether an address is one of it. An IPv4 address that came over IPv6 is one of IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let shifted = |value: u128, width: u32| value.checked_shr(width - u32::from(self.bits)).unwrap_or(0);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                shifted(u32::from(own).into(), 32) == shifted(u32::from(other).into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                shifted(u128::from(own), 128) == shifted(u128::from(other), 128)
            }
            _ => false,
        }
    }
}

/// Returns the address a request came from, where the connection comes from `peer`: that of the connection, or where it is a
/// trusted proxy's the last one in front of the proxies that are trusted, as they say.
///
/// Whatever a client wrote itself stands in front of what a trusted proxy added, so it is read from the end, and what cannot
/// be read ends it. Where `X-Forwarded-For` and `Forwarded` say different things one of them is the client's own, and nobody
/// can tell which: then it is the proxy's address. Source: RFC 7239 sections 4 to 6.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    if !is_trusted(peer) {
        return peer;
    }
    let walk = |hops: &mut dyn Iterator<Item = Option<IpAddr>>| {
        let mut last = peer;
        for hop in hops.take(MOST_HOPS) {
            let Some(address) = hop else { return last };
            last = address;
            if !is_trusted(address) {
                return last;
            }
        }
        last
    };
    let lines =
        |name: &str| headers.get_all(name).iter().rev().map(http::HeaderValue::as_bytes).collect::<Vec<_>>();
    let (old, new) = (lines("x-forwarded-for"), lines(FORWARDED.as_str()));
    let mut plain = old.iter().flat_map(|line| line.rsplit(|byte| *byte == b',')).map(hop);
    let mut named = new.iter().flat_map(|line| line.rsplit(|byte| *byte == b',')).map(forwarded_for);
    match (old.is_empty(), new.is_empty()) {
        (true, true) => peer,
        (false, true) => walk(&mut plain),
        (true, false) => walk(&mut named),
        (false, false) => {
            let (one, other) = (walk(&mut plain), walk(&mut named));
            if one == other { one } else { peer }
        }
    }
}

/// Most proxies in a row that are looked at.
const MOST_HOPS: usize = 32;

/// Reads one element of `X-Forwarded-For`: an address, with a port or brackets where some proxies write them.
fn hop(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let address = text.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    address.ok().or_else(in_brackets).map(|address| address.to_canonical())
}

/// Reads the `for` of one element of `Forwarded`. A quoted string with a comma in it is cut apart before, and then is none.
fn forwarded_for(text: &[u8]) -> Option<IpAddr> {
    text.split(|byte| *byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let value =
            pair.get(..4).filter(|name| name.eq_ignore_ascii_case(b"for=")).and_then(|_| pair.get(4..))?;
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        hop(unquoted.unwrap_or(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_networks_it_begins_as() {
        for (network, address, is_in) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "::ffff:10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "fe80::1", false),
            ("::/0", "2001:db8::1", true),
        ] {
            let found = Network::parse(network).unwrap().contains(address.parse().unwrap());
            assert_eq!(found, is_in, "{network} {address}");
        }
    }

    #[test]
    fn what_is_no_network_is_not_read() {
        for bad in ["", "proxy", "10.0.0.0/33", "10.0.0.0/", "::/129", "10.0.0.0/-1", "10.0.0.0/8/8"] {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    fn client_of(trusted: &[&str], headers: &[(&'static str, &str)]) -> String {
        let trusted: Vec<Network> = trusted.iter().filter_map(|text| Network::parse(text)).collect();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        client("127.0.0.1".parse().unwrap(), &map, &trusted).to_string()
    }

    #[test]
    fn li_01_who_is_behind_a_proxy_is_what_a_trusted_one_says_last() {
        let xff = "x-forwarded-for";
        for (trusted, headers, expected) in [
            (&[][..], &[(xff, "203.0.113.9")][..], "127.0.0.1"),
            (&[], &[("forwarded", "for=203.0.113.9"), ("x-real-ip", "203.0.113.9")], "127.0.0.1"),
            (&["127.0.0.1"], &[(xff, "1.1.1.1, 203.0.113.9")], "203.0.113.9"),
            (&["127.0.0.1"], &[(xff, "1.1.1.1"), (xff, "203.0.113.9")], "203.0.113.9"),
            (&["127.0.0.1", "10.0.0.0/8"], &[(xff, "1.1.1.1, 203.0.113.9, 10.1.2.3")], "203.0.113.9"),
            (&["127.0.0.1", "10.0.0.0/8"], &[(xff, "10.1.1.1, 10.1.2.3")], "10.1.1.1"),
            (&["127.0.0.1"], &[(xff, "1.1.1.1, nobody")], "127.0.0.1"),
            (&["127.0.0.1"], &[(xff, "")], "127.0.0.1"),
            (&["127.0.0.1"], &[(xff, "203.0.113.9:4711")], "203.0.113.9"),
            (&["127.0.0.1"], &[(xff, "[2001:db8::1]:80")], "2001:db8::1"),
            (&["127.0.0.1"], &[(xff, "::ffff:203.0.113.9")], "203.0.113.9"),
            (
                &["127.0.0.1"],
                &[("forwarded", "for=1.1.1.1, For=\"[2001:db8::1]:47\";proto=https")],
                "2001:db8::1",
            ),
            (&["127.0.0.1"], &[("forwarded", "for=1.1.1.1, for=_hidden")], "127.0.0.1"),
            (&["127.0.0.1"], &[("forwarded", "proto=https")], "127.0.0.1"),
            // Which of the two the proxy wrote nobody can tell.
            (&["127.0.0.1"], &[(xff, "203.0.113.9"), ("forwarded", "for=1.1.1.1")], "127.0.0.1"),
            (&["127.0.0.1"], &[(xff, "203.0.113.9"), ("forwarded", "for=203.0.113.9")], "203.0.113.9"),
        ] {
            assert_eq!(client_of(trusted, headers), expected, "{headers:?}");
        }
    }
}
