//! Address blocks and the networks that the platform names. Pure.

use std::{fmt, net::IpAddr, str::FromStr};

use crate::api::environment::Network;

use super::check::Problem;

/// `address/length` with no bit set behind the length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    length: u32,
}

/// The text is no address block; says what would be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotACidr {
    /// Cannot be read at all.
    #[error("is no address block: write it like 10.20.0.0/16 or fd00:10::/64")]
    Syntax,
    /// It has bits behind its length, so that it is not clear what was meant.
    #[error("has bits set behind its length: write {0}")]
    HostBits(Cidr),
}

impl Cidr {
    /// Is every address of `other` one of ours, and the other way round not?
    pub fn strictly_contains(&self, other: &Self) -> bool {
        self.length < other.length
            && bits(self.address) == bits(other.address)
            && truncated(other.address, self.length) == self.address
    }
}

impl FromStr for Cidr {
    type Err = NotACidr;

    fn from_str(text: &str) -> Result<Self, NotACidr> {
        let (address, length) = text.split_once('/').ok_or(NotACidr::Syntax)?;
        let address: IpAddr = address.parse().map_err(|_| NotACidr::Syntax)?;
        if length.is_empty() || length.len() > 3 || !length.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NotACidr::Syntax);
        }
        let length: u32 = length.parse().map_err(|_| NotACidr::Syntax)?;
        if length > bits(address) {
            return Err(NotACidr::Syntax);
        }
        let block = Self { address: truncated(address, length), length };
        if block.address == address { Ok(block) } else { Err(NotACidr::HostBits(block)) }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

fn bits(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// `address` with everything behind `length` set to zero.
fn truncated(address: IpAddr, length: u32) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & u32::MAX.checked_shl(32 - length).unwrap_or(0)).into()),
        IpAddr::V6(v6) => {
            IpAddr::V6((v6.to_bits() & u128::MAX.checked_shl(128 - length).unwrap_or(0)).into())
        }
    }
}

/// One block that is open, but for what is cut out of it. Kubernetes refuses an exception that lies outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What is open.
    pub cidr: Cidr,
    /// What within it is not.
    pub except: Vec<Cidr>,
}

/// A network that services may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidNetwork {
    /// What a descriptor's `connects` says.
    pub name: String,
    /// Every service may call it.
    pub default: bool,
    /// At least one.
    pub blocks: Vec<Block>,
    /// TCP ports; none means all ports and protocols.
    pub ports: Vec<u16>,
}

/// Checks `network`, which stands at `field`; what is wrong goes to `problems`.
pub(super) fn valid(network: &Network, field: &str, problems: &mut Vec<Problem>) -> ValidNetwork {
    let cidrs = parsed(&network.cidrs, &format!("{field}.cidrs"), problems);
    let except = parsed(&network.except, &format!("{field}.except"), problems);
    if network.cidrs.is_empty() {
        problems.push(Problem::new(format!("{field}.cidrs"), "is empty: name at least one address block"));
    }
    for (index, cidr) in &except {
        if !cidrs.iter().any(|(_, open)| open.strictly_contains(cidr)) {
            problems.push(Problem::new(
                format!("{field}.except[{index}]"),
                format!("{cidr} does not lie within one of `cidrs`: remove it"),
            ));
        }
    }
    if let Some(index) = network.ports.iter().position(|port| *port == 0) {
        problems.push(Problem::new(format!("{field}.ports[{index}]"), "0 is no port: write 1 to 65535"));
    }
    let blocks = cidrs.iter().map(|(_, cidr)| Block {
        cidr: *cidr,
        except: except.iter().map(|(_, e)| *e).filter(|e| cidr.strictly_contains(e)).collect(),
    });
    ValidNetwork {
        name: network.name.clone(),
        default: network.default,
        blocks: blocks.collect(),
        ports: network.ports.clone(),
    }
}

/// Those that parse, with their index in `texts`.
fn parsed(texts: &[String], field: &str, problems: &mut Vec<Problem>) -> Vec<(usize, Cidr)> {
    let mut cidrs = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match text.parse() {
            Ok(cidr) => cidrs.push((index, cidr)),
            Err(error) => {
                problems.push(Problem::new(format!("{field}[{index}]"), format!("{text:?} {error}")));
            }
        }
    }
    cidrs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn a_block_is_an_address_and_a_length_without_host_bits() {
        for good in ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "::/0", "fc00::/7", "fd00::1/128"] {
            assert_eq!(cidr(good).to_string(), good);
        }
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "x/8",
            "10.0.0.0/+8",
            "1.2.3.4/-1",
        ] {
            assert_eq!(bad.parse::<Cidr>(), Err(NotACidr::Syntax), "{bad}");
        }
        let error = "10.20.0.1/16".parse::<Cidr>().unwrap_err();
        assert_eq!(error.to_string(), "has bits set behind its length: write 10.20.0.0/16");
    }

    #[test]
    fn containing_is_strict_and_within_one_family() {
        assert!(cidr("0.0.0.0/0").strictly_contains(&cidr("10.0.0.0/8")));
        assert!(!cidr("10.0.0.0/8").strictly_contains(&cidr("10.0.0.0/8")));
        assert!(!cidr("10.0.0.0/8").strictly_contains(&cidr("11.0.0.0/16")));
        assert!(!cidr("::/0").strictly_contains(&cidr("10.0.0.0/8")));
        assert!(cidr("fc00::/7").strictly_contains(&cidr("fd00::/8")));
    }

    #[test]
    fn an_exception_goes_to_the_block_it_lies_in() {
        let network = Network {
            name: "internet".into(),
            default: true,
            cidrs: vec!["0.0.0.0/0".into(), "::/0".into()],
            except: vec!["10.0.0.0/8".into(), "fc00::/7".into()],
            ports: vec![],
        };
        let mut problems = Vec::new();
        let valid = valid(&network, "spec.networks[0]", &mut problems);
        assert_eq!(problems, []);
        assert_eq!(valid.blocks[0], Block { cidr: cidr("0.0.0.0/0"), except: vec![cidr("10.0.0.0/8")] });
        assert_eq!(valid.blocks[1], Block { cidr: cidr("::/0"), except: vec![cidr("fc00::/7")] });
    }
}
