//! The network of an instance: made once with an explicit subnet, so that addresses can be fixed,
//! and removed when nothing is attached to it any more. Others' networks are only read.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use bollard::models::{Ipam, IpamConfig, Network, NetworkCreateRequest};
use bollard::query_parameters::ListNetworksOptionsBuilder;
use model::fault::{Class, Code, Explain};
use tokio::time::sleep;

use super::addresses::Subnet;
use super::client::{Daemon, DaemonError};
use super::names::{Owner, Part};

/// How often the removal of a network is tried. The daemon tells that a container is gone before
/// its end of the network is ("has active endpoints"); seconds later it is.
const REMOVALS_MAX: u32 = 40;

/// The pause between two tries.
const REMOVAL_PAUSE: Duration = Duration::from_millis(250);

/// Why an instance has no network.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The daemon does not do what it is asked for.
    #[error(transparent)]
    Daemon(#[from] DaemonError),
    /// Its name is somebody else's.
    #[error("there is a network {0} that this instance did not make")]
    NameTaken(String),
    /// Its addresses are somebody else's.
    #[error("the addresses of {subnet} are taken by another network")]
    SubnetTaken {
        /// The addresses.
        subnet: String,
        /// What the daemon says.
        message: String,
    },
    /// It has other addresses than the instance was designed with.
    #[error("the network {name} has the addresses {has}, and the instance needs {needs}")]
    Moved {
        /// Its name.
        name: String,
        /// Its addresses.
        has: String,
        /// The instance's.
        needs: String,
    },
    /// The daemon counts containers on it that are not there any more.
    #[error(
        "the network {0} has no container any more, and Docker counts one: it does not remove the \
         network before it is started anew"
    )]
    Miscounted(String),
}

impl Explain for NetworkError {
    fn code(&self) -> Code {
        match self {
            Self::Daemon(error) => error.code(),
            Self::NameTaken(_) => Code("SY3206"),
            Self::SubnetTaken { .. } | Self::Moved { .. } => Code("SY3207"),
            Self::Miscounted(_) => Code("SY3223"),
        }
    }

    fn class(&self) -> Class {
        match self {
            Self::Daemon(error) => error.class(),
            Self::NameTaken(_) => Class::Refused,
            Self::SubnetTaken { .. } | Self::Moved { .. } => Class::Failed,
            Self::Miscounted(_) => Class::NotConverged,
        }
    }

    fn help(&self) -> Option<String> {
        match self {
            Self::Daemon(error) => error.help(),
            Self::NameTaken(name) => Some(format!(
                "docker network inspect {name}   shows whose it is; it is left as it is: take \
                 another name for the instance, or remove it"
            )),
            Self::SubnetTaken { .. } => Some(
                "docker network ls   lists the networks; remove the other one, then run the same \
                 command again"
                    .to_owned(),
            ),
            Self::Moved { name, .. } => Some(format!(
                "stop the instance (down), remove the network (docker network rm {name}), and \
                 bring it up again: data and addresses stay"
            )),
            Self::Miscounted(_) => Some(
                "restart the Docker daemon when it suits, and run the same command again; all else \
                 of the instance is gone already"
                    .to_owned(),
            ),
        }
    }
}

/// Makes sure that the instance has its network.
pub(crate) async fn ensure(
    daemon: &Daemon,
    owner: &Owner,
    subnet: Option<Subnet>,
) -> Result<(), NetworkError> {
    if let Some(network) = find(daemon, &owner.network()).await? {
        return check(owner, &network, subnet);
    }
    let request = NetworkCreateRequest {
        name: owner.network(),
        driver: Some("bridge".to_owned()),
        ipam: subnet.map(|subnet| Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(subnet.to_string()),
                gateway: Some(subnet.gateway().to_string()),
                ..IpamConfig::default()
            }]),
            ..Ipam::default()
        }),
        labels: Some(owner.labels(Part::Network)),
        ..NetworkCreateRequest::default()
    };
    let question = daemon.docker.create_network(request);
    let made = daemon.ask("make a network", question).await;
    let message = match made {
        Ok(_) => return Ok(()),
        Err(error) if error.said().contains("overlaps") => error.said().to_owned(),
        Err(error) => {
            // Somebody was quicker: it may be another run of ours.
            return match find(daemon, &owner.network()).await? {
                Some(network) => check(owner, &network, subnet),
                None => Err(error.into()),
            };
        }
    };
    Err(NetworkError::SubnetTaken {
        subnet: subnet.map(|it| it.to_string()).unwrap_or_default(),
        message,
    })
}

fn check(owner: &Owner, network: &Network, needs: Option<Subnet>) -> Result<(), NetworkError> {
    let labels = network.labels.clone().unwrap_or_default();
    if !owner.owns(&labels) {
        return Err(NetworkError::NameTaken(owner.network()));
    }
    let has = subnets(network);
    match needs {
        Some(needs) if !has.contains(&needs) => Err(NetworkError::Moved {
            name: owner.network(),
            has: has
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
            needs: needs.to_string(),
        }),
        Some(_) | None => Ok(()),
    }
}

/// The network of exactly this name: a filter by name finds parts of names, too.
async fn find(daemon: &Daemon, name: &str) -> Result<Option<Network>, DaemonError> {
    Ok(list(daemon)
        .await?
        .into_iter()
        .find(|network| network.name.as_deref() == Some(name)))
}

async fn list(daemon: &Daemon) -> Result<Vec<Network>, DaemonError> {
    let options = ListNetworksOptionsBuilder::new().build();
    let question = daemon.docker.list_networks(Some(options));
    daemon.ask("list networks", question).await
}

fn subnets(network: &Network) -> Vec<Subnet> {
    let ipam = network.ipam.as_ref();
    let configs = ipam.and_then(|ipam| ipam.config.as_ref());
    configs
        .into_iter()
        .flatten()
        .filter_map(|config| Subnet::parse(config.subnet.as_deref()?))
        .collect()
}

/// The networks that a new one must keep clear of, and the instance's own where it is there.
pub(crate) async fn taken(
    daemon: &Daemon,
    owner: &Owner,
) -> Result<(Vec<Subnet>, Option<Subnet>), DaemonError> {
    let networks = list(daemon).await?;
    let own = networks.iter().find(|network| {
        let labels = network.labels.clone().unwrap_or_default();
        network.name == Some(owner.network()) && owner.owns(&labels)
    });
    let own = own.and_then(|network| subnets(network).first().copied());
    let mut taken: Vec<Subnet> = networks.iter().flat_map(subnets).collect();
    if daemon.is_local() {
        let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
        taken.extend(routes.lines().filter_map(route));
    }
    let remote = daemon.endpoint.remote_host();
    if let Some(host) = remote.and_then(|host| host.parse::<Ipv4Addr>().ok()) {
        taken.push(Subnet::around(host, 32));
    }
    Ok((taken, own))
}

/// Where a line of `/proc/net/route` leads: numbers in hexadecimal, in the machine's own order. The
/// default route leads everywhere and is left out.
fn route(line: &str) -> Option<Subnet> {
    let mut fields = line.split_ascii_whitespace();
    let destination = u32::from_str_radix(fields.nth(1)?, 16).ok()?;
    let mask = u32::from_str_radix(fields.nth(5)?, 16).ok()?;
    let address = Ipv4Addr::from(destination.to_ne_bytes());
    let prefix = u8::try_from(mask.count_ones()).ok().filter(|it| *it > 0)?;
    Some(Subnet::around(address, prefix))
}

/// Removes the instance's network, if it is there and ours.
pub(crate) async fn remove(daemon: &Daemon, owner: &Owner) -> Result<(), NetworkError> {
    let Some(network) = find(daemon, &owner.network()).await? else {
        return Ok(());
    };
    let labels = network.labels.clone().unwrap_or_default();
    let Some(id) = network.id.filter(|_| owner.owns(&labels)) else {
        return Ok(());
    };
    let mut last = None;
    for _ in 0..REMOVALS_MAX {
        let question = daemon.docker.remove_network(&id);
        match daemon.ask_for("remove a network", question).await {
            Ok(_) => return Ok(()),
            Err(error) if error.said().contains("active endpoints") => last = Some(error),
            Err(error) => return Err(error.into()),
        }
        sleep(REMOVAL_PAUSE).await;
    }
    let containers = daemon.docker.inspect_network(&id, None);
    let network = daemon.ask_for("inspect a network", containers).await?;
    let attached = network.and_then(|it| it.containers).unwrap_or_default();
    match last {
        Some(error) if !attached.is_empty() => Err(error.into()),
        Some(_) => Err(NetworkError::Miscounted(owner.network())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_of_the_host_are_read_and_the_default_one_is_left_out() {
        let line = |destination: u32, mask: u32| {
            let (to, mask) = (destination.to_be(), mask.to_be());
            format!("eth0\t{to:08X}\t00000000\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0")
        };
        let found = route(&line(0x0ac0_0400, 0xffff_fc00)).map(|it| it.to_string());
        assert_eq!(found.as_deref(), Some("10.192.4.0/22"));
        assert_eq!(route(&line(0, 0)), None);
        assert_eq!(
            route("Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask"),
            None
        );
    }
}
