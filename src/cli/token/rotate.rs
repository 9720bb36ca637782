//! `wit token rotate`.

use std::cell::RefCell;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;

pub(super) mod due;
pub mod grace;
mod report;
mod self_token;

use super::{create, pick};
use crate::api::promises::{SelfRotation, require};
use crate::api::{Token, TokenApi};
use crate::app::rotations::Rotations;
use crate::app::upkeep::{self, Upkeep, rotation_id};
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, PlaceArgs, ServerArgs, SignedIn};
use crate::cli::{Context, Exit, Failure};
use crate::config::{self, Config};
use crate::credential::{Credential, Site};
use crate::duration::{self, duration};
use crate::expiry::{Expiry, UnixTime};
use crate::progress;
use crate::rotation::deliver::{self, DeliveryError, Receiver};
use crate::rotation::journal::{self, Delivery, Journal, Step};
use crate::rotation::{Outcome, Plan, Reason, RotationError};
use crate::secret::Secret;
use crate::sign_in::HostType;
use crate::store::Store;
use report::{again, failure, nothing, report, show};

/// Longest wait for another rotation at the same site.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// The token's id, its first characters, its prefix `wit_a1b2`, or its name
    /// [default: the one that git on this machine uses]
    #[arg(value_name = "ID")]
    token: Option<String>,
    /// Days until the new one expires, 1 to 365, also as 7d or 2w, or `never` [default: as the old one]
    #[arg(short, long, value_name = "DAYS", allow_hyphen_values = true)]
    expires: Option<String>,
    /// Scopes of the new one, comma-separated or repeated [default: as the old one]
    #[arg(short, long, value_name = "SCOPES")]
    scopes: Vec<String>,
    /// A command that takes the new token from its stdin; may be repeated
    #[arg(long, value_name = "COMMAND")]
    deliver: Vec<String>,
    /// A file to write the new token to
    #[arg(long, value_name = "FILE")]
    deliver_file: Vec<PathBuf>,
    /// Print the new token, once
    #[arg(long)]
    print: bool,
    /// How long the old token stays valid, such as 90s, 30m, 12h or 7d
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    grace: Duration,
    /// Finish unfinished rotations
    #[arg(long, conflicts_with_all = ["abort", "dry_run", "due", "expires", "scopes", "grace"])]
    resume: bool,
    /// Undo unfinished rotations
    #[arg(long, conflicts_with_all = ["dry_run", "due", "expires", "scopes", "grace", "deliver", "deliver_file", "print"])]
    abort: bool,
    /// Show the steps without doing anything
    #[arg(long)]
    dry_run: bool,
    /// Rotate the tokens of this machine that expire within DAYS
    #[arg(long, value_name = "DAYS", value_parser = duration::days, conflicts_with_all = ["token", "scopes", "print", "deliver", "deliver_file"])]
    due: Option<u32>,
    /// With --due: on every server that is known
    #[arg(long, requires = "due")]
    all: bool,
    /// With --due: wait a random time up to DURATION first, so that not all machines ask at once
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration, requires = "due")]
    jitter: Duration,
    /// Let the token in WIT_TOKEN replace itself, without a sign-in; for CI. WIT_URL says at which
    /// server
    #[arg(long = "self", conflicts_with_all = ["token", "due", "abort", "expires", "scopes", "grace", "account"])]
    by_itself: bool,
    /// Read the account's password from the first line of stdin, and a one-time code from the
    /// second, for a host that requires them
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    places: PlaceArgs,
    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(mut args: Args, context: &Context) -> anyhow::Result<Exit> {
    args.server = args.server.at(&args.places, &args.token);
    args.server.password_stdin = args.password_stdin;
    if args.token.as_deref().is_some_and(pick::is_secret) {
        let message = "that looks like a whole token, which must not be typed here: other programs \
                       and the shell's history can read it";
        return Err(Failure::new(Exit::Usage, message)
            .hint("wit token list, then wit token rotate ID")
            .into());
    }
    if args.print && context.json {
        let message = "--print writes the bare token, so it does not go with --json";
        return Err(Failure::new(Exit::Usage, message)
            .hint("wit token rotate --json --deliver COMMAND")
            .into());
    }
    report::warn_of_unusable(context);
    if let Some(days) = args.due {
        return due::run(&args, days, context);
    }
    if args.by_itself {
        return self_token::run(&args, context);
    }
    let signed_in = session::signed_in(context, &args.server)?;
    if args.resume || args.abort {
        return finish(&args, &signed_in, context);
    }
    if !args.dry_run {
        let finished = resume_matching(&args, &signed_in, context)?;
        if !finished.is_empty() {
            return report(&finished, context);
        }
    }
    let plan = plan(&args, &signed_in, context)?;
    if args.dry_run {
        return show(&[plan], context);
    }
    let done = start(&plan, &(&signed_in).into(), context)?;
    report(&[done], context)
}

/// A rotation that ended without an error.
struct Done {
    name: String,
    old_id: String,
    by_itself: bool,
    /// True if standard output is the new token's.
    printed: bool,
    outcome: Outcome,
    /// When this machine is to replace the new token, where the host gives no expiry.
    replace_by: Option<Expiry>,
    /// The ids of all that was revoked.
    revoked: Vec<String>,
}

fn receivers(args: &Args) -> anyhow::Result<Vec<Receiver>> {
    let mut receivers: Vec<Receiver> = args
        .deliver
        .iter()
        .cloned()
        .map(Receiver::Command)
        .collect();
    for path in &args.deliver_file {
        // A re-run may stand in another directory.
        receivers.push(Receiver::File(std::path::absolute(path)?));
    }
    if args.print {
        receivers.push(Receiver::Print);
    }
    Ok(receivers)
}

fn to_receiver(receiver: &Receiver, token: &Secret) -> Result<(), DeliveryError> {
    if *receiver != Receiver::Print {
        let limit = config::seconds("WIT_DELIVER_TIMEOUT", deliver::TIME_LIMIT);
        return progress::during(&format!("Waiting for {receiver}"), || {
            deliver::deliver(receiver, token, limit)
        });
    }
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(token.expose())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    written.map_err(|error| DeliveryError(error.to_string()))
}

/// Tools of a rotation.
pub(super) struct Means<'a> {
    api: &'a dyn TokenApi,
    store: &'a dyn Store,
    /// True if a person reads what is reported.
    attended: bool,
}

impl<'a> Means<'a> {
    pub(super) fn new(api: &'a dyn TokenApi, store: &'a dyn Store) -> Self {
        Means {
            api,
            store,
            attended: true,
        }
    }

    pub(super) fn unattended(self) -> Self {
        Means {
            attended: false,
            ..self
        }
    }
}

impl<'a> From<&'a SignedIn> for Means<'a> {
    fn from(signed_in: &'a SignedIn) -> Self {
        Means::new(signed_in.api.as_ref(), signed_in.store.as_ref())
    }
}

impl Means<'_> {
    /// The upkeep by these means, which tells `revoked` of what it revokes.
    pub(super) fn upkeep<'a>(
        &'a self,
        context: &'a Context,
        lock_timeout: Duration,
        revoked: &'a dyn Fn(&str, Reason),
    ) -> Upkeep<'a> {
        Upkeep {
            api: self.api,
            store: self.store,
            paths: &context.paths,
            deliver: &to_receiver,
            revoked,
            lock_timeout,
            attended: self.attended,
        }
    }
}

/// Runs `act`, and says what it revokes besides the token that is replaced.
fn carry_out(
    means: &Means,
    context: &Context,
    act: impl FnOnce(&Upkeep) -> Result<Outcome, RotationError>,
) -> (Result<Outcome, RotationError>, Vec<String>) {
    let all = RefCell::new(Vec::new());
    let revoked = |id: &str, reason: Reason| {
        all.borrow_mut().push(id.to_owned());
        let why = match reason {
            Reason::Replaced => return,
            Reason::Created => "which this rotation had created",
            Reason::Descendant => "which came of the old token",
        };
        if !context.json {
            eprintln!("Revoked {}, {why}.", escaped(id));
        }
    };
    let outcome = act(&means.upkeep(context, LOCK_TIMEOUT, &revoked));
    (outcome, all.into_inner())
}

fn start(plan: &Plan, means: &Means, context: &Context) -> anyhow::Result<Done> {
    let act = |upkeep: &Upkeep| upkeep.start(plan);
    let (outcome, revoked) = carry_out(means, context, act);
    let error = |error| failure(error, &plan.into(), means.attended, context);
    let outcome = outcome.map_err(error)?;
    Ok(Done {
        name: plan.new.name.clone(),
        old_id: plan.old_id.clone(),
        by_itself: plan.by_itself && !plan.is_in_place(),
        printed: plan.deliver.contains(&Receiver::Print),
        replace_by: replace_by(means.store, Some(&plan.site), &outcome),
        outcome,
        revoked,
    })
}

/// The date of this machine's for a new token, as it is stored.
fn replace_by(store: &dyn Store, site: Option<&Site>, outcome: &Outcome) -> Option<Expiry> {
    let (Outcome::Rotated { new_id, .. } | Outcome::InGrace { new_id, .. }) = outcome else {
        return None;
    };
    let item = crate::store::load(store, site?).ok()?;
    let mut tokens = item.entries().filter_map(|entry| entry.token.as_ref());
    tokens.find(|token| token.id == *new_id)?.replace_by
}

fn resume(journal: &Journal, means: &Means, context: &Context) -> anyhow::Result<Done> {
    let printed = journal.waits_for_print();
    if printed && context.json {
        let name = escaped(&journal.name);
        let message =
            format!("the new token of {name} has to be printed, which --json does not do");
        return Err(Failure::new(Exit::Usage, message)
            .hint(format!("{} --resume", again(journal, context)))
            .into());
    }
    let act = |upkeep: &Upkeep| upkeep.resume(journal);
    let done = finish_by(journal, means, context, act)?;
    Ok(Done { printed, ..done })
}

fn abort(journal: &Journal, means: &Means, context: &Context) -> anyhow::Result<Done> {
    finish_by(journal, means, context, |upkeep| upkeep.abort(journal))
}

fn finish_by(
    journal: &Journal,
    means: &Means,
    context: &Context,
    act: impl FnOnce(&Upkeep) -> Result<Outcome, RotationError>,
) -> anyhow::Result<Done> {
    let (outcome, revoked) = carry_out(means, context, act);
    let error = |error| failure(error, &journal.into(), means.attended, context);
    let outcome = outcome.map_err(error)?;
    Ok(Done {
        name: journal.name.clone(),
        old_id: journal.old_id.clone(),
        by_itself: journal.by_itself && !journal.is_in_place(),
        printed: false,
        replace_by: replace_by(means.store, journal.site().as_ref(), &outcome),
        outcome,
        revoked,
    })
}

/// The unfinished rotations of this sign-in.
fn unfinished(signed_in: &SignedIn, context: &Context) -> anyhow::Result<Vec<Journal>> {
    let server = signed_in.server.to_string();
    upkeep::unfinished(&context.paths, &server, &signed_in.account)
        .context("can't read the rotations' journals")
}

/// Of the unfinished rotations those that `text` means, as a token is named.
fn meant_by(
    text: &str,
    journals: &[Journal],
    signed_in: &SignedIn,
) -> anyhow::Result<Vec<Journal>> {
    let chosen = |is_meant: &dyn Fn(&Journal) -> bool| -> Vec<Journal> {
        let meant = journals.iter().filter(|journal| is_meant(journal));
        meant.cloned().collect()
    };
    let known = chosen(&|journal| journal.is_meant_by(text));
    if !known.is_empty() || journals.is_empty() {
        return Ok(known);
    }
    let tokens = signed_in.api.list()?;
    let token = pick::pick(&tokens, text, "rotate")?;
    Ok(chosen(&|journal| journal.is_of(&token.id)))
}

/// Sends the new token to the receivers that were named now, and answers whether there is one. Those
/// of several rotations would all go to the same ones.
fn redirect(journals: &mut [Journal], receivers: &[Receiver]) -> Result<bool, Failure> {
    if receivers.is_empty() {
        return Ok(false);
    }
    let begun = |journal: &&mut Journal| journal.step <= Step::Delivering;
    let begun: Vec<&mut Journal> = journals.iter_mut().filter(begun).collect();
    if begun.len() > 1 {
        let all: Vec<String> = (begun.iter())
            .map(|one| format!("\n  {}  {}", escaped(&one.old_id), escaped(&one.name)))
            .collect();
        let message = format!("several rotations are unfinished:{}", all.concat());
        return Err(Failure::new(Exit::Usage, message)
            .hint("name the one whose new token goes there: wit token rotate ID --resume"));
    }
    let left_out = |delivery: &&Delivery| !delivery.done && !receivers.contains(&delivery.receiver);
    for (one, delivery) in (begun.iter())
        .flat_map(|one| one.deliveries.iter().map(move |delivery| (one, delivery)))
        .filter(|(_, delivery)| left_out(delivery))
    {
        let (receiver, name) = (delivery.receiver.to_string(), escaped(&one.name));
        eprintln!(
            "warning: {} does not have the new token of {name}, and is not asked any more",
            escaped(&receiver)
        );
    }
    let any = !begun.is_empty();
    begun.into_iter().for_each(|one| one.redirect(receivers));
    Ok(any)
}

/// Returns whether a rotation that was begun is the one that is asked for now: it keeps what it began with.
fn is_as_asked(args: &Args, host: HostType, journal: &Journal) -> Result<bool, Failure> {
    let days = args.expires.as_deref().map(create::days).transpose()?;
    let scopes = match args.scopes.is_empty() {
        true => journal.scopes.clone(),
        false => create::scopes(host, &args.scopes)?,
    };
    let same_scopes = scopes.len() == journal.scopes.len()
        && scopes.iter().all(|scope| journal.scopes.contains(scope));
    let same_grace = args.grace.is_zero() || args.grace.as_secs() == journal.grace;
    Ok(same_scopes && same_grace && days.is_none_or(|days| days == journal.expires_in_days))
}

/// Finishes what the command line means, and what has only its old token left to revoke.
fn resume_matching(
    args: &Args,
    signed_in: &SignedIn,
    context: &Context,
) -> anyhow::Result<Vec<Done>> {
    let is_ending = |j: &Journal| j.step >= Step::Grace && j.step != Step::Undoing;
    let journals = unfinished(signed_in, context)?;
    let meant = match &args.token {
        Some(text) => meant_by(text, &journals, signed_in)?,
        None => journals.iter().filter(|j| j.stored).cloned().collect(),
    };
    for journal in &journals {
        if is_ending(journal) && journal.is_due(UnixTime::now()) {
            let ended = resume(journal, &signed_in.into(), context);
            if meant.contains(journal) {
                ended?;
            }
        }
    }
    let mut begun: Vec<Journal> = meant.into_iter().filter(|j| !is_ending(j)).collect();
    redirect(&mut begun, &receivers(args)?)?;
    let mut finished = Vec::new();
    for journal in &begun {
        if journal.step != Step::Undoing && !is_as_asked(args, signed_in.host, journal)? {
            let name = escaped(&journal.name);
            let message =
                format!("a rotation of {name} with other scopes, days or grace is unfinished");
            let again = again(journal, context);
            return Err(Failure::new(Exit::Attention, message)
                .hint(format!("{again} --resume, or --abort; then try again"))
                .into());
        }
        let done = resume(journal, &signed_in.into(), context)?;
        // What had to be undone is to be done again.
        if !matches!(done.outcome, Outcome::Undone | Outcome::Gone) {
            finished.push(done);
        }
    }
    Ok(finished)
}

/// `--resume` and `--abort`. One rotation's failure is not another's.
fn finish(args: &Args, signed_in: &SignedIn, context: &Context) -> anyhow::Result<Exit> {
    let mut journals = unfinished(signed_in, context)?;
    match &args.token {
        Some(text) => journals = meant_by(text, &journals, signed_in)?,
        // A grace that is not over is nothing unfinished.
        None => journals.retain(|journal| journal.is_due(UnixTime::now())),
    }
    if journals.is_empty() {
        return nothing(context);
    }
    let receivers = receivers(args)?;
    if !redirect(&mut journals, &receivers)? && !receivers.is_empty() {
        let message = "every unfinished rotation has reached its receivers";
        return Err(Failure::new(Exit::Usage, message)
            .hint("wit token rotate --resume")
            .into());
    }
    let mut finished = Vec::new();
    let mut failed: Option<anyhow::Error> = None;
    for journal in &journals {
        let done = match args.resume {
            true => resume(journal, &signed_in.into(), context),
            false => abort(journal, &signed_in.into(), context),
        };
        match done {
            Ok(done) => finished.push(done),
            Err(error) => {
                if let Some(earlier) = failed.replace(error) {
                    context.failure(&earlier).report(context.json);
                }
            }
        }
    }
    match failed {
        Some(error) if finished.is_empty() => Err(error),
        Some(error) => report(&finished, context).and(Err(error)),
        None => report(&finished, context),
    }
}

/// The token that `text` names. One that was replaced and lives on for a while is not rotated again,
/// and does not make the name of its successor ambiguous.
fn pick_current<'a>(
    tokens: &'a [Token],
    text: &str,
    signed_in: &SignedIn,
    context: &Context,
) -> Result<&'a Token, Failure> {
    let now = UnixTime::now().plus(signed_in.api.clock_skew().unwrap_or(0));
    let rotations = Rotations::load(&context.paths);
    let ends = |token: &Token| rotations.ends(token, now).filter(|at| *at > now);
    let replaced: Vec<&str> = (tokens.iter())
        .filter(|token| ends(token).is_some())
        .map(|token| token.id.as_str())
        .collect();
    let token = match pick::pick_except(tokens, text, "rotate", &replaced) {
        Err(_) if !replaced.is_empty() => pick::pick(tokens, text, "rotate")?,
        other => other?,
    };
    let Some(at) = ends(token) else {
        return Ok(token);
    };
    let name = escaped(&token.name);
    let state = output::replaced(at.since(now));
    let config = Config::load(&context.paths).unwrap_or_default();
    let server = signed_in.server.to_string();
    let suggest = |words| session::suggest(words, &config, &server, &signed_in.account);
    let journals = journal::all(&context.paths).unwrap_or_default();
    let here = journals.into_iter().find(|one| one.old_id == token.id);
    let stored = here.as_ref().is_some_and(|journal| journal.stored);
    let new_id = here.and_then(|journal| journal.new_id);
    let hint = match new_id.or_else(|| token.replaced_by.clone()) {
        Some(id) if stored => suggest("wit token rotate").arg(id),
        Some(id) => suggest("wit token rotate").arg(id).arg("--print"),
        None => suggest("wit token list"),
    };
    let message = format!("this token of '{name}' can't be rotated again: {state}");
    Err(Failure::new(Exit::Attention, message).hint(hint))
}

/// Days that a new token was asked to live there, which may have to be a number.
fn lifetime(days: Option<u32>, signed_in: &SignedIn) -> Result<Option<u32>, Failure> {
    if days.is_none() && signed_in.api.promises().requires_end {
        let message = format!("tokens of {} have to expire", signed_in.server);
        return Err(Failure::new(Exit::Usage, message).hint("--expires DAYS"));
    }
    Ok(days)
}

fn plan(args: &Args, signed_in: &SignedIn, context: &Context) -> anyhow::Result<Plan> {
    let server = signed_in.server.to_string();
    let is_ours = |entry: &&Credential| {
        entry
            .token
            .as_ref()
            .is_some_and(|info| info.server == server && info.account == signed_in.account)
            && (entry.is_replaceable() || entry.was_lost())
    };
    let stored = &signed_in.item.credentials.0;
    let promises = signed_in.api.promises();
    let can_rotate = promises.create && promises.list
        || promises.self_rotation != SelfRotation::None
        || stored.iter().any(|entry| is_ours(&entry));
    require(signed_in.api.as_ref(), can_rotate, "rotate tokens")?;
    let mut plan = match &args.token {
        None => {
            let entry = stored.iter().find(is_ours).ok_or_else(|| {
                let message = format!("this machine stores no token that wit created for {server}");
                Failure::new(Exit::Failed, message)
                    .hint(format!("wit token create --server {server}"))
            })?;
            Plan::of_stored(rotation_id(), &signed_in.site, entry)
        }
        Some(text) => {
            let tokens = signed_in.api.list()?;
            let token = pick_current(&tokens, text, signed_in, context)?;
            let held = |entry: &&Credential| is_ours(entry) && entry.has_id(&token.id);
            match stored.iter().find(held) {
                Some(entry) => Plan::of_stored(rotation_id(), &signed_in.site, entry),
                None => Some(Plan::of_listed(
                    rotation_id(),
                    &signed_in.site,
                    server.clone(),
                    signed_in.account.clone(),
                    token,
                )),
            }
        }
    }
    .context("the stored token was not made by wit")?;
    if let Some(text) = &args.expires {
        plan.new.expires_in_days = lifetime(create::days(text)?, signed_in)?;
    }
    if !args.scopes.is_empty() {
        if plan.is_in_place() {
            let why = "a token that replaces itself keeps its scopes";
            return Err(Failure::new(Exit::Usage, why)
                .hint(format!("wit login {server} with a token of those scopes"))
                .into());
        }
        plan.new.scopes = create::scopes(signed_in.host, &args.scopes)?;
    }
    plan.deliver = receivers(args)?;
    plan.grace = args.grace;
    Ok(plan)
}
