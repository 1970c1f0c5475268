//! A simulated cluster and engine with a clock of its own, and real servers for tests.
