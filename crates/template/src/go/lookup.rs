//! Functions over what is discovered: the workloads of the instance and their addresses.

use gtmpl_ng::{FuncError, Value};
use model::ids::{ServiceName, WorkloadName};

use super::engine::{fail, surroundings};
use super::function::Arguments;
use crate::code;
use crate::discovery::{Discovery, Peer};

/// The fields of services, containers and hosts, for suggestions.
pub(super) const FIELDS: [&str; 8] = [
    "Name",
    "Containers",
    "IPAddr",
    "Hostname",
    "Port",
    "Index",
    "Memory",
    "Host",
];

pub(super) fn service(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("service", values);
    let [name] = arguments.exactly()?;
    let name = arguments.text(name)?;
    let (discovery, _) = known("service")?;
    let found = discovery
        .services()
        .find(|(known, _)| known.as_str() == name);
    match found {
        Some((name, peers)) => Ok(service_value(name, peers)),
        None => {
            let known: Vec<&str> = discovery
                .services()
                .map(|(name, _)| name.as_str())
                .collect();
            let help = format!("the template's services are: {}", known.join(", "));
            let message = "service: the template has no service of this name";
            Err(fail(code::UNKNOWN_NAME, message, Some(help)))
        }
    }
}

pub(super) fn services(values: &[Value]) -> Result<Value, FuncError> {
    Arguments::of("services", values).exactly::<0>()?;
    let (discovery, _) = known("services")?;
    Ok(Value::Array(
        discovery
            .services()
            .map(|(name, peers)| service_value(name, peers))
            .collect(),
    ))
}

pub(super) fn own(values: &[Value]) -> Result<Value, FuncError> {
    let arguments = Arguments::of("self", values);
    arguments.exactly::<0>()?;
    let (discovery, me) = known("self")?;
    discovery
        .peer(&me)
        .map(peer_value)
        .ok_or_else(|| arguments.fail("the workload of this file has no address yet"))
}

fn known(function: &str) -> Result<(Discovery, WorkloadName), FuncError> {
    surroundings().ok_or_else(|| {
        fail(
            code::TOO_EARLY,
            format!("{function}: addresses are decided after template.yaml is read"),
            Some("use it in a config file, which is rendered for each workload".to_owned()),
        )
    })
}

fn service_value(name: &ServiceName, peers: &[Peer]) -> Value {
    object([
        ("Name", Value::from(name.as_str())),
        (
            "Containers",
            Value::Array(peers.iter().map(peer_value).collect()),
        ),
    ])
}

fn peer_value(peer: &Peer) -> Value {
    let memory = peer.memory.map_or(0, |memory| memory.as_bytes());
    let host = object([
        ("Name", Value::from(peer.host_name.as_str())),
        ("IPAddr", Value::from(peer.host_ip.to_string())),
    ]);
    object([
        ("Name", Value::from(peer.name.to_string())),
        ("IPAddr", Value::from(peer.address.ip.to_string())),
        ("Hostname", Value::from(peer.hostname.as_str())),
        ("Port", Value::from(peer.address.port)),
        ("Index", Value::from(peer.name.number().saturating_sub(1))),
        ("Memory", Value::from(memory)),
        ("Host", host),
    ])
}

fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Object(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use crate::go::function::tests::{call, check_all};

    #[test]
    fn a_container_tells_its_name_address_and_host() {
        check_all(&[
            (
                "{{ with index (service \"redis\").Containers 1 }}{{ .Name }} {{ .IPAddr }} \
              {{ .Hostname }} {{ .Port }} {{ .Index }} {{ .Memory }} {{ .Host.Name }} \
              {{ .Host.IPAddr }}{{ end }}",
                "redis-2 10.0.0.3 redis-2 6379 1 268435456 host-b 10.9.0.2",
            ),
            ("{{ (service \"redis\").Name }}", "redis"),
            ("{{ (self).Name }} {{ (self).Index }}", "redis-1 0"),
            (
                "{{ with index (service \"init\").Containers 0 }}{{ .Port }} {{ .Memory }}\
                 {{ end }}",
                "0 0",
            ),
        ]);
    }

    #[test]
    fn a_service_that_does_not_exist_is_named_with_those_that_do() {
        let failure = call("{{ service \"rediss\" }}").unwrap_err();
        assert_eq!(
            failure.message,
            "service: the template has no service of this name"
        );
        assert_eq!(
            failure.help.as_deref(),
            Some("the template's services are: init, redis")
        );
        let failure = call("{{ (self).IPAdr }}").unwrap_err();
        assert_eq!(failure.message, "there is no field IPAdr here");
        assert_eq!(failure.help.as_deref(), Some("did you mean `IPAddr`?"));
    }
}
