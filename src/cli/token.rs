//! `wit token`: what is done with personal access tokens.

use clap::Subcommand;

use super::{Context, Exit, examples};

mod audit;
mod create;
mod exec;
mod list;
mod pick;
mod print;
mod prune;
mod refresh;
mod rename;
mod renew;
mod revoke;
pub mod rotate;
mod scopes;

pub use exec::end_abandoned;
pub use rotate::grace::end_due_graces;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a token
    #[command(after_help = examples::TOKEN_CREATE)]
    Create(create::Args),
    /// Run a command with a token of its own, revoked when the command exits
    #[command(after_help = examples::TOKEN_EXEC)]
    Exec(exec::Args),
    /// List the tokens of your account
    #[command(visible_alias = "ls")]
    #[command(after_help = examples::TOKEN_LIST)]
    List(list::Args),
    /// Change the name or description of a token
    #[command(after_help = examples::TOKEN_RENAME)]
    Rename(rename::Args),
    /// Revoke tokens, at the server and on this machine
    #[command(visible_alias = "delete", visible_alias = "rm")]
    #[command(after_help = examples::TOKEN_REVOKE)]
    Revoke(revoke::Args),
    /// Renew the tokens of a site that expire soon; the helper starts this
    #[command(hide = true)]
    Renew(renew::Args),
    /// Replace a token without downtime
    #[command(after_help = examples::TOKEN_ROTATE)]
    Rotate(rotate::Args),
    /// Revoke expired or unused tokens
    #[command(after_help = examples::TOKEN_PRUNE)]
    Prune(prune::Args),
    /// Find tokens that are too broad, too old or not needed
    #[command(after_help = examples::TOKEN_AUDIT)]
    Audit(audit::Args),
    /// List the scopes that a token can have
    #[command(after_help = examples::TOKEN_SCOPES)]
    Scopes(scopes::Args),
    /// Print the token that is stored for a site, for a script
    #[command(after_help = examples::TOKEN_PRINT)]
    Print(print::Args),
}

impl Args {
    /// Returns whether git waits for it.
    pub fn is_renewal(&self) -> bool {
        matches!(self.command, Command::Renew(_))
    }
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
    match args.command {
        Command::Create(args) => create::run(args, context),
        Command::Exec(args) => exec::run(args, context),
        Command::List(args) => list::run(args, context),
        Command::Rename(args) => rename::run(args, context),
        Command::Revoke(args) => revoke::run(args, context),
        Command::Renew(args) => renew::run(args, context),
        Command::Rotate(args) => rotate::run(args, context),
        Command::Prune(args) => prune::run(args, context),
        Command::Audit(args) => audit::run(args, context),
        Command::Scopes(args) => scopes::run(args, context),
        Command::Print(args) => print::run(args, context),
    }
}
