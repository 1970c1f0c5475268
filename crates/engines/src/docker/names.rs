//! The names and labels of what is made on a Docker Engine, and how ours is told from others'.
//!
//! A name alone proves nothing: only what carries the labels of this state folder and of this
//! instance is ever changed or removed. Names of ours hold no `_` inside a part, so that no two
//! instances can come to the same one.

use std::collections::HashMap;

use model::ids::{InstanceName, WorkloadName};

/// The instance that something belongs to.
pub(crate) const INSTANCE: &str = "shardyard.instance";
/// The state folder that knows the instance.
pub(crate) const HOME: &str = "shardyard.home";
/// What it is: a `Part`.
pub(crate) const PART: &str = "shardyard.part";
/// The workload that it belongs to.
pub(crate) const WORKLOAD: &str = "shardyard.workload";
/// `server` or `job`.
pub(crate) const KIND: &str = "shardyard.kind";
/// The definition that a container was made from.
pub(crate) const FINGERPRINT: &str = "shardyard.fingerprint";
/// The address at which a workload answers.
pub(crate) const ADDRESS: &str = "shardyard.address";
/// The port on which its server answers inside.
pub(crate) const PORT: &str = "shardyard.port";
/// The port that a try of ours connects to, where Docker itself cannot check.
pub(crate) const PROBE: &str = "shardyard.probe";
/// The most memory that it may use, in bytes.
pub(crate) const MEMORY: &str = "shardyard.memory";
/// What its server loads when it starts.
pub(crate) const LOADS: &str = "shardyard.loads";
/// The image that a volume was made for.
pub(crate) const IMAGE: &str = "shardyard.image";
/// Where a workload sees a volume.
pub(crate) const TARGET: &str = "shardyard.target";

/// What something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// The container of a workload.
    Workload,
    /// The network of an instance.
    Network,
    /// A volume with what outlives a workload.
    Data,
    /// A volume with rendered files.
    Files,
    /// A container that never runs, through which volumes are looked into.
    Look,
    /// A container that never runs, through which new volumes are filled.
    Fill,
    /// A container that tells the version of an image's server.
    Probe,
}

impl Part {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Network => "network",
            Self::Data => "data",
            Self::Files => "files",
            Self::Look => "look",
            Self::Fill => "fill",
            Self::Probe => "probe",
        }
    }
}

/// Whose something is: an instance of one state folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Owner {
    pub(crate) home: String,
    pub(crate) instance: InstanceName,
}

impl Owner {
    /// The labels of something that belongs to the instance.
    pub(crate) fn labels(&self, part: Part) -> HashMap<String, String> {
        HashMap::from([
            (INSTANCE.to_owned(), self.instance.to_string()),
            (HOME.to_owned(), self.home.clone()),
            (PART.to_owned(), part.as_str().to_owned()),
        ])
    }

    /// The labels of something that belongs to one of its workloads.
    pub(crate) fn workload_labels(
        &self,
        part: Part,
        workload: &WorkloadName,
    ) -> HashMap<String, String> {
        let mut labels = self.labels(part);
        labels.insert(WORKLOAD.to_owned(), workload.to_string());
        labels
    }

    /// Whether labels say that it is ours.
    pub(crate) fn owns(&self, labels: &HashMap<String, String>) -> bool {
        let has = |name: &str, value: &str| labels.get(name).is_some_and(|it| it == value);
        has(HOME, &self.home) && has(INSTANCE, self.instance.as_str())
    }

    /// The filter that finds what is ours.
    pub(crate) fn filter(&self) -> HashMap<String, Vec<String>> {
        let labels = vec![
            format!("{HOME}={}", self.home),
            format!("{INSTANCE}={}", self.instance),
        ];
        HashMap::from([("label".to_owned(), labels)])
    }

    /// The name of the instance's network.
    pub(crate) fn network(&self) -> String {
        format!("shardyard_{}", self.instance)
    }

    /// The name of a workload's container.
    pub(crate) fn container(&self, workload: &WorkloadName) -> String {
        format!("shardyard_{}_{workload}", self.instance)
    }

    /// The name of a container through which volumes of a workload are looked into.
    pub(crate) fn look(&self, workload: &WorkloadName) -> String {
        format!("shardyard_{}_{workload}_look", self.instance)
    }

    /// The name of a container through which new volumes are filled.
    pub(crate) fn fill(&self) -> String {
        format!("shardyard_{}_fill", self.instance)
    }

    /// The name of a workload's volume.
    pub(crate) fn volume(&self, workload: &WorkloadName, volume: &str) -> String {
        format!("shardyard_{}_{workload}_{volume}", self.instance)
    }

    /// The name of a workload's volume of files; no volume of a template can be called so.
    pub(crate) fn files(&self, workload: &WorkloadName, number: usize) -> String {
        format!("shardyard_{}_{workload}__files{number}", self.instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(home: &str, instance: &str) -> Owner {
        Owner {
            home: home.to_owned(),
            instance: InstanceName::new(instance).unwrap(),
        }
    }

    #[test]
    fn no_two_instances_come_to_the_same_name() {
        let (left, right) = (owner("h", "a-b"), owner("h", "a"));
        let (one, other) = ("c-1", "b-c-1");
        let name = |text: &str| WorkloadName::parse(text).unwrap();
        assert_ne!(left.container(&name(one)), right.container(&name(other)));
        assert_eq!(left.container(&name(one)), "shardyard_a-b_c-1");
        assert_eq!(left.volume(&name(one), "data"), "shardyard_a-b_c-1_data");
        assert_eq!(left.files(&name(one), 1), "shardyard_a-b_c-1__files1");
    }

    #[test]
    fn what_another_state_folder_or_instance_made_is_not_ours() {
        let own = owner("h1", "a");
        assert!(own.owns(&own.labels(Part::Network)));
        assert!(!own.owns(&owner("h2", "a").labels(Part::Network)));
        assert!(!own.owns(&owner("h1", "ab").labels(Part::Network)));
        assert!(!own.owns(&HashMap::new()));
    }
}
