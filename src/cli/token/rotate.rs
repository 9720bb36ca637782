//! `wit token rotate`.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{create, pick};
use crate::api::ApiError;
use crate::cli::output::{self, escaped};
use crate::cli::session::{self, ServerArgs, SignedIn};
use crate::cli::{Context, Exit, Failure};
use crate::config::Config;
use crate::credential::Credential;
use crate::expiry::UnixTime;
use crate::rotation::deliver::{self, DeliveryError, Sink};
use crate::rotation::journal::{self, Journal, Step};
use crate::rotation::{Outcome, Plan, RotationError, Rotator, crash_point};
use crate::secret::Secret;
use crate::store;

/// How long another rotation at the same site is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const DAY: i64 = 86_400;

#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// The token's id, its first characters, its prefix `wit_a1b2`, or its name
    /// [default: the one that git on this machine uses]
    #[arg(value_name = "ID")]
    token: Option<String>,
    /// Days until the new one expires, 1 to 365, or `never` [default: as the old one]
    #[arg(short, long, value_name = "DAYS", allow_hyphen_values = true)]
    expires: Option<String>,
    /// What the new one is allowed, comma-separated or repeated [default: as the old one]
    #[arg(short, long, value_name = "SCOPES")]
    scopes: Vec<String>,
    /// A command that takes the new token from its stdin; may be repeated
    #[arg(long, value_name = "COMMAND")]
    deliver: Vec<String>,
    /// A file to write the new token to
    #[arg(long, value_name = "PATH")]
    deliver_file: Vec<PathBuf>,
    /// Print the new token, once
    #[arg(long)]
    print: bool,
    /// How long the old token lives on, such as 90s, 30m, 12h or 7d
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    grace: Duration,
    /// Finish what was left unfinished
    #[arg(long, conflicts_with_all = ["abort", "dry_run", "due"])]
    resume: bool,
    /// Take back what was left unfinished
    #[arg(long, conflicts_with_all = ["dry_run", "due"])]
    abort: bool,
    /// Say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Rotate what this machine keeps and what runs out within so many days
    #[arg(long, value_name = "DAYS", conflicts_with_all = ["token", "print", "deliver", "deliver_file"])]
    due: Option<u32>,
    /// With --due: on every server that is known
    #[arg(long, requires = "due")]
    all: bool,
    /// With --due: wait a random time first, at most so long, so that not all machines ask at once
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration, requires = "due")]
    jitter: Duration,
    #[command(flatten)]
    server: ServerArgs,
}

/// `90s`, `30m`, `12h` or `7d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "not a duration such as 90s, 30m, 12h or 7d: {}",
            escaped(text)
        )
    };
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let count: u32 = digits.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(count) * unit))
}

pub fn run(args: Args, context: &Context) -> anyhow::Result<Exit> {
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
    if let Some(days) = args.due {
        return run_due(&args, days, context);
    }
    let signed_in = session::signed_in(context, &args.server)?;
    if args.resume || args.abort {
        return finish(&args, &signed_in, context);
    }
    if !args.dry_run {
        let finished = finish_what_is_meant(&args, &signed_in, context)?;
        if !finished.is_empty() {
            return report(&finished, &args, context);
        }
    }
    let plan = plan(&args, &signed_in)?;
    if args.dry_run {
        return show(&plan, context);
    }
    let done = start(&plan, &signed_in, context)?;
    report(&[done], &args, context)
}

/// A rotation that ended without an error.
struct Done {
    name: String,
    old_id: String,
    outcome: Outcome,
}

/// A fresh id for a rotation.
pub(super) fn rotation_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

fn sinks(args: &Args) -> anyhow::Result<Vec<Sink>> {
    let mut sinks: Vec<Sink> = args.deliver.iter().cloned().map(Sink::Command).collect();
    for path in &args.deliver_file {
        // A re-run may stand in another directory.
        sinks.push(Sink::File(std::path::absolute(path)?));
    }
    if args.print {
        sinks.push(Sink::Print);
    }
    Ok(sinks)
}

fn to_receiver(sink: &Sink, token: &Secret) -> Result<(), DeliveryError> {
    if *sink != Sink::Print {
        return deliver::deliver(sink, token, deliver::TIME_LIMIT);
    }
    let mut out = std::io::stdout().lock();
    let written = out
        .write_all(token.expose())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush());
    written.map_err(|error| DeliveryError(error.to_string()))
}

/// Runs `act` with a rotator for the server that is signed in to.
pub(super) fn with_rotator<T>(
    signed_in: &SignedIn,
    context: &Context,
    patience: Duration,
    act: impl FnOnce(&Rotator) -> T,
) -> T {
    act(&Rotator {
        api: signed_in.api.as_ref(),
        store: signed_in.store.as_ref(),
        paths: &context.paths,
        now: &UnixTime::now,
        deliver: &to_receiver,
        reached: &crash_point,
        patience,
    })
}

fn start(plan: &Plan, signed_in: &SignedIn, context: &Context) -> anyhow::Result<Done> {
    let outcome = with_rotator(signed_in, context, PATIENCE, |rotator| rotator.start(plan));
    match outcome {
        Ok(outcome) => Ok(Done {
            name: plan.new.name.clone(),
            old_id: plan.old_id.clone(),
            outcome,
        }),
        Err(error) => Err(failure(error, &plan.rotation, context)),
    }
}

fn resume(journal: &Journal, signed_in: &SignedIn, context: &Context) -> anyhow::Result<Done> {
    let outcome = with_rotator(signed_in, context, PATIENCE, |rotator| {
        rotator.resume(journal)
    });
    match outcome {
        Ok(outcome) => Ok(Done {
            name: journal.name.clone(),
            old_id: journal.old_id.clone(),
            outcome,
        }),
        Err(error) => Err(failure(error, &journal.rotation, context)),
    }
}

/// The unfinished rotations of this sign-in.
fn unfinished(signed_in: &SignedIn, context: &Context) -> anyhow::Result<Vec<Journal>> {
    let server = signed_in.server.to_string();
    let mut journals =
        journal::all(&context.paths).context("can't read the rotations' journals")?;
    journals.retain(|j| j.server == server && j.account == signed_in.account);
    Ok(journals)
}

/// Finishes what the command line means and every grace that is over.
fn finish_what_is_meant(
    args: &Args,
    signed_in: &SignedIn,
    context: &Context,
) -> anyhow::Result<Vec<Done>> {
    let sinks = sinks(args)?;
    let mut finished = Vec::new();
    for mut journal in unfinished(signed_in, context)? {
        if !journal.is_due(UnixTime::now()) {
            continue;
        }
        if journal.step >= Step::Grace && journal.step != Step::Undoing {
            resume(&journal, signed_in, context)?;
            continue;
        }
        let meant = match &args.token {
            Some(text) => journal.is_meant_by(text),
            None => journal.stored,
        };
        if meant {
            if !sinks.is_empty() {
                journal.redirect(&sinks);
            }
            let done = resume(&journal, signed_in, context)?;
            // What had to be undone is to be done again.
            if !matches!(done.outcome, Outcome::Undone | Outcome::Gone) {
                finished.push(done);
            }
        }
    }
    Ok(finished)
}

/// `--resume` and `--abort`.
fn finish(args: &Args, signed_in: &SignedIn, context: &Context) -> anyhow::Result<Exit> {
    let sinks = sinks(args)?;
    let mut finished = Vec::new();
    for mut journal in unfinished(signed_in, context)? {
        let meant = args
            .token
            .as_deref()
            .is_none_or(|text| journal.is_meant_by(text));
        // A grace that is not over is nothing unfinished, but one that is named can be taken back.
        if !meant || (!journal.is_due(UnixTime::now()) && args.token.is_none()) {
            continue;
        }
        if args.resume {
            if !sinks.is_empty() {
                journal.redirect(&sinks);
            }
            finished.push(resume(&journal, signed_in, context)?);
            continue;
        }
        let outcome = with_rotator(signed_in, context, PATIENCE, |rotator| {
            rotator.abort(&journal)
        })
        .map_err(|error| failure(error, &journal.rotation, context))?;
        finished.push(Done {
            name: journal.name,
            old_id: journal.old_id,
            outcome,
        });
    }
    if finished.is_empty() && !context.json {
        output::print(b"No rotation is unfinished.\n")?;
        return Ok(Exit::Done);
    }
    report(&finished, args, context)
}

fn plan(args: &Args, signed_in: &SignedIn) -> anyhow::Result<Plan> {
    let server = signed_in.server.to_string();
    let is_ours = |entry: &&Credential| {
        entry
            .token
            .as_ref()
            .is_some_and(|info| info.server == server && info.account == signed_in.account)
    };
    let stored = &signed_in.item.credentials.0;
    let mut plan = match &args.token {
        None => {
            let entry = stored.iter().find(is_ours).ok_or_else(|| {
                let message = format!("this machine keeps no token that wit made for {server}");
                Failure::new(Exit::Failed, message)
                    .hint(format!("wit token create --server {server}"))
            })?;
            Plan::of_stored(rotation_id(), &signed_in.site, entry)
        }
        Some(text) => {
            let tokens = signed_in.api.list()?;
            let token = pick::pick(&tokens, text).map_err(|failure| Failure {
                message: failure.message.replace("revoked", "rotated"),
                hint: Some("wit token list, then wit token rotate ID".to_owned()),
                ..failure
            })?;
            let held = |entry: &&Credential| {
                is_ours(entry) && entry.token.as_ref().is_some_and(|info| info.id == token.id)
            };
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
        plan.new.expires_in_days = create::days(text)?;
    }
    if !args.scopes.is_empty() {
        plan.new.scopes = create::scopes(&args.scopes)?;
    }
    plan.deliver = sinks(args)?;
    plan.grace = args.grace;
    Ok(plan)
}

/// `--dry-run`.
fn show(plan: &Plan, context: &Context) -> anyhow::Result<Exit> {
    let lifetime = match plan.new.expires_in_days {
        Some(days) => format!("{days} days"),
        None => "no end".to_owned(),
    };
    let sinks: Vec<String> = plan.deliver.iter().map(Sink::to_string).collect();
    if context.json {
        output::json(&json!({
            "dryRun": true,
            "name": plan.new.name,
            "oldId": plan.old_id,
            "scopes": plan.new.scopes,
            "expiresInDays": plan.new.expires_in_days,
            "stored": plan.stored,
            "deliver": sinks,
            "graceSeconds": plan.grace.as_secs(),
        }))?;
        return Ok(Exit::Done);
    }
    let mut steps = vec![
        format!(
            "create '{}' ({}; {lifetime})",
            escaped(&plan.new.name),
            escaped(&plan.new.scopes.join(", "))
        ),
        "verify it with the server".to_owned(),
    ];
    if plan.stored {
        steps.push(format!("store it for {} in the old one's place", plan.site));
    }
    steps.extend(
        sinks
            .iter()
            .map(|sink| format!("deliver it to {}", escaped(sink))),
    );
    if !plan.grace.is_zero() {
        let span = output::span(i64::try_from(plan.grace.as_secs()).unwrap_or(i64::MAX));
        steps.push(format!("let the old one live on for {span}"));
    }
    steps.push(format!("revoke {}", escaped(&plan.old_id)));
    let mut text = String::from("Nothing is done. The steps would be:\n");
    for (number, step) in steps.iter().enumerate() {
        text.push_str(&format!("  {}. {step}\n", number + 1));
    }
    output::print(text.as_bytes())?;
    Ok(Exit::Done)
}

fn document(done: &Done) -> Value {
    let (state, new_id, expiry, until) = match &done.outcome {
        Outcome::Rotated { new_id, expiry } => ("rotated", Some(new_id), *expiry, None),
        Outcome::InGrace {
            new_id,
            expiry,
            until,
        } => ("grace", Some(new_id), *expiry, Some(*until)),
        Outcome::Undone => ("undone", None, None, None),
        Outcome::Gone => ("gone", None, None, None),
    };
    json!({
        "name": done.name,
        "state": state,
        "oldId": done.old_id,
        "newId": new_id,
        "expiresAt": expiry.map(|expiry| output::rfc3339(expiry.0)),
        "oldLivesUntil": until.map(output::rfc3339),
    })
}

/// One line for a token.
fn line(done: &Done) -> String {
    let name = escaped(&done.name);
    let expires = |expiry: &Option<crate::expiry::Expiry>| match expiry {
        Some(expiry) => format!("expires {}", output::iso_date(expiry.0)),
        None => "never expires".to_owned(),
    };
    match &done.outcome {
        Outcome::Rotated { new_id, expiry } => {
            format!(
                "Rotated {name}: now {}, {}",
                escaped(new_id),
                expires(expiry)
            )
        }
        Outcome::InGrace {
            new_id,
            expiry,
            until,
        } => format!(
            "Rotated {name}: now {}, {}; the old one lives until {}",
            escaped(new_id),
            expires(expiry),
            output::rfc3339(*until)
        ),
        Outcome::Undone => {
            format!("Took the rotation of {name} back: the old token is in its place")
        }
        Outcome::Gone => format!("The rotation of {name} was finished by another process"),
    }
}

fn report(finished: &[Done], args: &Args, context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        let documents: Vec<Value> = finished.iter().map(document).collect();
        output::json(&json!({ "rotations": documents }))?;
        return Ok(Exit::Done);
    }
    for done in finished {
        match args.print {
            // Standard output is the token's.
            true => eprintln!("{}", line(done)),
            false => output::print(format!("{}\n", line(done)).as_bytes())?,
        }
    }
    Ok(Exit::Done)
}

/// `--due`: what is unfinished, then what runs out soon. One token's failure is not another's.
fn run_due(args: &Args, days: u32, context: &Context) -> anyhow::Result<Exit> {
    if !args.dry_run {
        std::thread::sleep(share(args.jitter, uuid::Uuid::new_v4().as_u128() as u32));
    }
    let config = Config::load(&context.paths).context("can't read the configuration")?;
    let servers: Vec<Option<String>> = match args.all {
        true => config.servers.keys().cloned().map(Some).collect(),
        false => vec![args.server.server.clone()],
    };
    let mut exit = Exit::Done;
    let mut finished = Vec::new();
    let mut failed = |error: &anyhow::Error| {
        let failure = crate::cli::failure(error);
        failure.report(context.json);
        exit = failure.exit;
    };
    for server in servers {
        let server = ServerArgs {
            server,
            ..args.server.clone()
        };
        let signed_in = match session::signed_in(context, &server) {
            Ok(signed_in) => signed_in,
            Err(error) => {
                failed(&error);
                continue;
            }
        };
        if !args.dry_run {
            for journal in unfinished(&signed_in, context)? {
                if journal.is_due(UnixTime::now()) {
                    match resume(&journal, &signed_in, context) {
                        Ok(done) => finished.push(done),
                        Err(error) => failed(&error),
                    }
                }
            }
        }
        // As it is now, after what was just finished.
        let item = store::load(signed_in.store.as_ref(), &signed_in.site)?;
        for entry in item
            .credentials
            .0
            .iter()
            .filter(|entry| is_due(entry, days))
        {
            let Some(mut plan) = Plan::of_stored(rotation_id(), &signed_in.site, entry) else {
                continue;
            };
            if plan.server != signed_in.server.to_string() || plan.account != signed_in.account {
                continue;
            }
            plan.grace = args.grace;
            if let Some(text) = &args.expires {
                plan.new.expires_in_days = create::days(text)?;
            }
            if args.dry_run {
                show(&plan, context)?;
                continue;
            }
            match start(&plan, &signed_in, context) {
                Ok(done) => finished.push(done),
                Err(error) => failed(&error),
            }
        }
    }
    if !args.dry_run {
        report(&finished, args, context)?;
    }
    Ok(exit)
}

/// A part of `whole`: none of it for 0, nearly all for the largest `random`.
fn share(whole: Duration, random: u32) -> Duration {
    whole.mul_f64(f64::from(random) / (f64::from(u32::MAX) + 1.0))
}

fn is_due(entry: &Credential, days: u32) -> bool {
    let left = entry.expiry.map(|expiry| expiry.left(UnixTime::now()));
    entry.token.is_some() && left.is_some_and(|left| left <= i64::from(days) * DAY)
}

/// What a person is told of a rotation that stopped.
fn failure(error: RotationError, rotation: &str, context: &Context) -> anyhow::Error {
    let remains = journal::all(&context.paths)
        .is_ok_and(|journals| journals.iter().any(|journal| journal.rotation == rotation));
    let hint = match &error {
        RotationError::Undelivered(_) => "mend it, then: wit token rotate --resume",
        RotationError::Full => "wit token list, then wit token revoke ID",
        RotationError::Missing => "wit token list",
        RotationError::OldRefused => "wit token create",
        RotationError::NoReceiver => "wit token rotate ID --deliver COMMAND, or --print",
        RotationError::Ambiguous { .. } => {
            "wit token revoke those you do not know, then wit token rotate --resume"
        }
        RotationError::TooLateToAbort => "wit token rotate --resume",
        RotationError::Api {
            error: ApiError::Unauthorized,
            ..
        } if remains => "wit login, then wit token rotate --resume",
        _ if remains => "wit token rotate --resume, or --abort",
        RotationError::Journal(_) | RotationError::NotAsAsked { .. } => "wit status",
        // What was never begun is told as for any other command.
        RotationError::Store(_) | RotationError::Api { .. } => {
            return match error {
                RotationError::Store(error) => error.into(),
                RotationError::Api { doing, error } => anyhow::Error::from(error).context(doing),
                other => other.into(),
            };
        }
    };
    let exit = match &error {
        RotationError::Api {
            error: ApiError::Unauthorized,
            ..
        } => Exit::NotLoggedIn,
        RotationError::NoReceiver => Exit::Usage,
        RotationError::Ambiguous { .. } => Exit::Attention,
        _ if remains => Exit::Unfinished,
        _ => Exit::Failed,
    };
    // What a receiver said comes last, so that this would look like a part of it.
    let told = matches!(error, RotationError::Undelivered(_));
    let message = match remains && !told {
        true => format!("{error} (the rotation is not finished)"),
        false => error.to_string(),
    };
    Failure::new(exit, message).hint(hint).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_is_spread_over_its_span() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(share(hour, 0), Duration::ZERO);
        assert_eq!(share(hour, 1 << 31), hour / 2);
        assert!(share(hour, u32::MAX) < hour);
        assert_eq!(share(Duration::ZERO, u32::MAX), Duration::ZERO);
    }

    #[test]
    fn a_duration_is_digits_and_a_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        for wrong in ["", "d", "7", "-1h", "1.5h", "7 d", "99999999999d", "1ü"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
