//! `wit up`: the token service and git hosting on one machine.
