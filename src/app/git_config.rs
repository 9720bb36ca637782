//! git's configuration: having git run our helper, and taking that back.
//!
//! A [`Plan`] says what has to change; [`meant`] finds what was changed, wherever it is by now.

pub mod chain;
mod change;
mod edit;
mod error;
pub mod helper;
mod locked;
mod plan;
mod scope;

pub use change::Change;
pub use edit::{Located, meant};
pub use error::Error;
pub use locked::check_kind;
pub use plan::{Left, Now, Plan, Save, Target, fix, left};
pub use scope::{Place, Scope};
