//! The workloads of a world, in the order of their names, and found by name and by address.
//!
//! There are a dozen. Nearly everything that happens looks one up by its address, so that these are
//! compared one after the other and not by the words of their names.

use model::address::NodeAddress;

use crate::realm::UnitName;
use crate::unit::Unit;

/// The workloads.
#[derive(Debug, Default)]
pub(crate) struct Units(Vec<Place>);

#[derive(Debug)]
struct Place {
    address: NodeAddress,
    name: UnitName,
    unit: Unit,
}

impl Units {
    /// Adds a workload, or has another one in its place.
    pub(crate) fn insert(&mut self, name: UnitName, unit: Unit) {
        let address = unit.address();
        match self.position(&name) {
            Ok(index) => {
                self.0[index] = Place {
                    address,
                    name,
                    unit,
                }
            }
            Err(index) => self.0.insert(
                index,
                Place {
                    address,
                    name,
                    unit,
                },
            ),
        }
    }

    pub(crate) fn remove(&mut self, name: &UnitName) {
        if let Ok(index) = self.position(name) {
            self.0.remove(index);
        }
    }

    pub(crate) fn get(&self, name: &UnitName) -> Option<&Unit> {
        let index = self.position(name).ok()?;
        Some(&self.0[index].unit)
    }

    pub(crate) fn get_mut(&mut self, name: &UnitName) -> Option<&mut Unit> {
        let index = self.position(name).ok()?;
        Some(&mut self.0[index].unit)
    }

    /// The workload at an address.
    pub(crate) fn at(&self, address: NodeAddress) -> Option<&Unit> {
        let place = self.0.iter().find(|place| place.address == address)?;
        Some(&place.unit)
    }

    pub(crate) fn at_mut(&mut self, address: NodeAddress) -> Option<&mut Unit> {
        let place = self.0.iter_mut().find(|place| place.address == address)?;
        Some(&mut place.unit)
    }

    /// The name of the workload at an address.
    pub(crate) fn name_at(&self, address: NodeAddress) -> Option<&UnitName> {
        let place = self.0.iter().find(|place| place.address == address)?;
        Some(&place.name)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &UnitName> {
        self.0.iter().map(|place| &place.name)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Unit> {
        self.0.iter().map(|place| &place.unit)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Unit> {
        self.0.iter_mut().map(|place| &mut place.unit)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&UnitName, &Unit)> {
        self.0.iter().map(|place| (&place.name, &place.unit))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&UnitName, &mut Unit)> {
        self.0
            .iter_mut()
            .map(|place| (&place.name, &mut place.unit))
    }

    fn position(&self, name: &UnitName) -> Result<usize, usize> {
        self.0.binary_search_by(|place| place.name.cmp(name))
    }
}
