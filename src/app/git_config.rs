//! git's configuration: having git run our helper, and taking that back.
//!
//! A [`Plan`] says what has to change; [`meant`] finds what was changed, wherever it is by now.
//!
//! ```no_run
//! use wit::app::git_config::{Plan, Scope};
//!
//! // The commands that have git ask the helper `wit` about every site.
//! let plan = Plan::make(Scope::Global, vec![None], "wit")?;
//! for command in plan.commands()? {
//!     println!("{command}");
//! }
//! # Ok::<(), wit::app::git_config::Error>(())
//! ```

pub mod chain;
mod change;
mod edit;
mod error;
pub mod helper;
mod locked;
mod plan;
mod scope;

pub use chain::without_user;
pub use change::Change;
pub use edit::{Located, meant};
pub use error::Error;
pub use locked::{check_kind, lasting_lock};
pub use plan::{
    Exception, Left, Now, Plan, Save, Target, Unhelped, exceptions, fix, fix_order, left,
    without_helper,
};
pub use scope::{Place, Scope};
