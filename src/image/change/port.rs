//! Ports that an image exposes: `80`, `53/udp`, `8000-8010/tcp`.

use super::ChangeError;

/// The protocols that docker knows.
const PROTOCOLS: &[&str] = &["tcp", "udp", "sctp"];

/// The ports that `text` names, as a configuration has them: `80/tcp`.
pub fn parse(text: &str) -> Result<Vec<String>, ChangeError> {
    let bad = || ChangeError::Port(text.to_owned());
    let (ports, protocol) = text.split_once('/').unwrap_or((text, PROTOCOLS[0]));
    let protocol = protocol.to_ascii_lowercase();
    if !PROTOCOLS.contains(&protocol.as_str()) {
        return Err(bad());
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let (first, last) = (number(first).ok_or_else(bad)?, number(last).ok_or_else(bad)?);
    if first > last {
        return Err(bad());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// A port's number: digits only.
fn number(text: &str) -> Option<u16> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_and_ranges_are_read() {
        assert_eq!(parse("80").expect("good"), ["80/tcp"]);
        assert_eq!(parse("53/UDP").expect("good"), ["53/udp"]);
        assert_eq!(parse("1-3/sctp").expect("good"), ["1/sctp", "2/sctp", "3/sctp"]);
        assert_eq!(parse("1-65535").expect("good").len(), 65535);
        for bad in
            ["", "0", "65536", "+80", "-", "3-1", "1-2-3", "80/", "80/icmp", "8080:80", "80/tcp/udp", "http"]
        {
            assert_eq!(parse(bad), Err(ChangeError::Port(bad.to_owned())), "{bad}");
        }
    }
}
