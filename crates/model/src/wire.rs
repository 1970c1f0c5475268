//! How values with a rule of their own go between a client and a server of the same version: as the
//! text that a person would write, read by the same rule. What breaks the rule is not taken.
//!
//! This is no format: nothing of it is stored or published, and the two ends check first that they
//! are of one version (docs/decisions/0005).

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use crate::address::NodeAddress;
use crate::fault::Code;
use crate::ids::{InstanceName, NodeId, ServiceName, VariableName, WorkloadName};
use crate::secret::Secret;
use crate::slots::{Slot, SlotRange, SlotSet};

macro_rules! as_text {
    ($($name:ident: $read:expr),* $(,)?) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let read: Option<Self> = $read(&text);
                read.ok_or_else(|| {
                    let shown: String = text.chars().take(60).collect();
                    D::Error::custom(format!(
                        "`{}` is no {}", shown.escape_debug(), stringify!($name)
                    ))
                })
            }
        }
    )*};
}

as_text!(
    Code: Code::parse,
    InstanceName: |text| InstanceName::new(text).ok(),
    NodeAddress: NodeAddress::parse,
    NodeId: NodeId::parse,
    ServiceName: |text| ServiceName::new(text).ok(),
    SlotRange: SlotRange::parse,
    SlotSet: SlotSet::parse,
    VariableName: |text| VariableName::new(text).ok(),
    WorkloadName: WorkloadName::parse,
);

impl Serialize for Slot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.number())
    }
}

impl<'de> Deserialize<'de> for Slot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u16::deserialize(deserializer)?;
        Self::new(number).ok_or_else(|| D::Error::custom(format!("{number} is no slot")))
    }
}

/// A secret is written out: it goes with the command of whoever knows it, over a connection that
/// others cannot read. No reply has one.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}
