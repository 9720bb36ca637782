//! Report of a rotation: its plan, its outcome, why it stopped.

use serde_json::{Value, json};

use super::Done;
use crate::api::ApiError;
use crate::cli::output::{self, escaped, quoted};
use crate::cli::{Context, Exit, Failure, session};
use crate::config::Config;
use crate::quote::Suggestion;
use crate::rotation::deliver::Receiver;
use crate::rotation::journal::{self, Journal, Step};
use crate::rotation::{OLD_ENDS, Outcome, Plan, RotationError};

/// `--dry-run`.
pub(super) fn show(plans: &[Plan], context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        let documents: Vec<Value> = plans.iter().map(planned).collect();
        output::json(&json!({ "dryRun": true, "rotations": documents }))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for plan in plans {
        text += "Dry run: nothing was done. The steps would be:\n";
        for (number, step) in steps(plan).iter().enumerate() {
            text += &format!("  {}. {step}\n", number + 1);
        }
    }
    output::print(text.as_bytes())?;
    Ok(Exit::Done)
}

fn planned(plan: &Plan) -> Value {
    json!({
        "name": plan.new.name,
        "oldId": plan.old_id,
        "scopes": plan.new.scopes,
        "expiresInDays": plan.new.expires_in_days,
        "stored": plan.stored,
        "deliver": plan.deliver.iter().map(Receiver::to_string).collect::<Vec<_>>(),
        "graceSeconds": plan.grace.as_secs(),
    })
}

fn steps(plan: &Plan) -> Vec<String> {
    let lifetime = match plan.new.expires_in_days {
        Some(days) => output::counted(i64::from(days), "day"),
        None => "never expires".to_owned(),
    };
    let mut steps = vec![
        format!(
            "create '{}' ({}; {lifetime})",
            escaped(&plan.new.name),
            escaped(&plan.new.scopes.join(", "))
        ),
        "verify it with the server".to_owned(),
    ];
    if plan.stored {
        steps.push(format!(
            "store it for {} in place of the old one",
            plan.site
        ));
    }
    let receivers = plan.deliver.iter().map(Receiver::to_string);
    steps.extend(receivers.map(|receiver| format!("deliver it to {}", escaped(&receiver))));
    if !plan.grace.is_zero() {
        let span = output::span(i64::try_from(plan.grace.as_secs()).unwrap_or(i64::MAX));
        steps.push(format!("keep the old one valid for {span}"));
    }
    steps.push(match plan.by_itself {
        true if plan.is_in_place() => {
            format!("{} has ended by then", escaped(&plan.old_id))
        }
        true => format!(
            "let {} expire by itself, minutes later",
            escaped(&plan.old_id)
        ),
        false => format!("revoke {}", escaped(&plan.old_id)),
    });
    steps
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
        "replaceBy": done.replace_by.map(|by| output::rfc3339(by.0)),
        "oldLivesUntil": until.map(output::rfc3339),
        "revoked": done.revoked,
    })
}

/// One line for a token.
fn line(done: &Done) -> String {
    let name = escaped(&done.name);
    let expires = |expiry: &Option<crate::expiry::Expiry>| match (expiry, done.replace_by) {
        (Some(expiry), _) => format!("expires {}", output::iso_date(expiry.0)),
        (None, Some(by)) => format!("never expires, replaced by {}", output::iso_date(by.0)),
        (None, None) => "never expires".to_owned(),
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
            "Rotated {name}: now {}, {}; the old one stays valid until {}",
            escaped(new_id),
            expires(expiry),
            output::rfc3339(*until)
        ),
        Outcome::Undone if done.by_itself => {
            format!("Rotation of {name} undone; where the old token was replaced, {OLD_ENDS}")
        }
        Outcome::Undone => {
            format!("Rotation of {name} undone; the old token stays in use")
        }
        Outcome::Gone => format!("The rotation of {name} was finished by another process"),
    }
}

pub(super) fn report(finished: &[Done], context: &Context) -> anyhow::Result<Exit> {
    if context.json {
        let documents: Vec<Value> = finished.iter().map(document).collect();
        output::json(&json!({ "rotations": documents }))?;
        return Ok(Exit::Done);
    }
    for done in finished {
        match done.printed {
            // Standard output is the token's.
            true => eprintln!("{}", line(done)),
            false => output::print(format!("{}\n", line(done)).as_bytes())?,
        }
    }
    Ok(Exit::Done)
}

/// `--resume` and `--abort` where there is nothing to do.
pub(super) fn nothing(context: &Context) -> anyhow::Result<Exit> {
    if !context.json {
        output::print(b"No rotation is unfinished.\n")?;
        return Ok(Exit::Done);
    }
    report(&[], context)
}

/// Names the journals that can't be used: whichever rotations they are of do not go on.
pub(super) fn warn_of_unusable(context: &Context) {
    if context.json {
        return;
    }
    for error in journal::unusable(&context.paths).unwrap_or_default() {
        eprintln!(
            "warning: a rotation is skipped: {}",
            escaped(&error.to_string())
        );
        eprintln!("hint: wit doctor");
    }
}

/// The rotation that a command was about.
pub(super) struct Subject<'a> {
    rotation: &'a str,
    server: &'a str,
    account: &'a str,
    old_id: &'a str,
    by_itself: bool,
    in_place: bool,
}

impl<'a> From<&'a Plan> for Subject<'a> {
    fn from(plan: &'a Plan) -> Self {
        Subject {
            rotation: &plan.rotation,
            server: &plan.server,
            account: &plan.account,
            old_id: &plan.old_id,
            by_itself: plan.by_itself,
            in_place: plan.is_in_place(),
        }
    }
}

impl<'a> From<&'a Journal> for Subject<'a> {
    fn from(journal: &'a Journal) -> Self {
        Subject {
            rotation: &journal.rotation,
            server: &journal.server,
            account: &journal.account,
            old_id: &journal.old_id,
            by_itself: journal.by_itself,
            in_place: journal.is_in_place(),
        }
    }
}

/// A rotation that stopped, as a person is told of it. `attended` where one reads this now.
pub(super) fn failure(
    error: RotationError,
    subject: &Subject,
    attended: bool,
    context: &Context,
) -> anyhow::Error {
    let left = journal::all(&context.paths).unwrap_or_default();
    let left = left
        .into_iter()
        .find(|journal| journal.rotation == subject.rotation);
    let hint = match &left {
        Some(left) => Some(hint(&error, left, attended, context)),
        None => hint_where_nothing_is_left(&error, subject, context),
    };
    let Some(hint) = hint else {
        // What was never begun is told as for any other command.
        return match error {
            RotationError::Store(error) => error.into(),
            RotationError::Api { doing, error } => anyhow::Error::from(error).context(doing),
            other => other.into(),
        };
    };
    let exit = match &error {
        RotationError::Api {
            error: ApiError::Unauthorized,
            ..
        } => Exit::NotLoggedIn,
        RotationError::NoReceiver => Exit::Usage,
        RotationError::Unclear { .. } => Exit::Attention,
        _ if left.is_some() => Exit::Unfinished,
        _ => Exit::Failed,
    };
    let message = match (&error, &left) {
        // What a receiver said comes last, so that this would look like a part of it.
        (
            RotationError::Undelivered { .. }
            | RotationError::TooLateToAbort(_)
            | RotationError::Unclear { .. },
            _,
        )
        | (_, None) => error.to_string(),
        (_, Some(left)) if left.by_itself && !left.is_in_place() => {
            format!("{error} (the rotation is not finished; {OLD_ENDS})")
        }
        (_, Some(_)) => format!("{error} (the rotation is not finished)"),
    };
    Failure::new(exit, message)
        .hint(hint)
        .caused_by(error)
        .into()
}

/// The command about one rotation, as far as its `--resume` or `--abort`.
pub(super) fn again(journal: &Journal, context: &Context) -> String {
    let id = quoted(escaped(&journal.old_id));
    format!("wit token rotate{} {id}", naming(journal, context))
}

/// The options for the account of a rotation.
fn naming(journal: &Journal, context: &Context) -> String {
    let config = Config::load(&context.paths).unwrap_or_default();
    session::naming(&config, &journal.server, &journal.account)
}

/// The next command where no journal remains; `None` where the error itself says it.
fn hint_where_nothing_is_left(
    error: &RotationError,
    subject: &Subject,
    context: &Context,
) -> Option<String> {
    let config = Config::load(&context.paths).unwrap_or_default();
    let suggest = |words| session::suggest(words, &config, subject.server, subject.account);
    Some(match error {
        RotationError::Full(_) => format!(
            "{}, and revoke one that is not needed",
            suggest("wit token list")
        ),
        RotationError::Missing => suggest("wit token list").to_string(),
        RotationError::Lost { .. } => return None,
        RotationError::OldRefused if subject.in_place => {
            let login = Suggestion::new("wit login").arg(subject.server);
            login.arg("--paste-token").to_string()
        }
        RotationError::OldRefused => suggest("wit token create").to_string(),
        RotationError::NoReceiver if subject.by_itself => {
            "wit token rotate --self --print, or --deliver COMMAND".to_owned()
        }
        RotationError::NoReceiver => {
            let rotate = suggest("wit token rotate")
                .arg(subject.old_id)
                .arg("--print");
            format!("{rotate}, or --deliver COMMAND")
        }
        RotationError::Store(_) | RotationError::Api { .. } => return None,
        _ => "wit status".to_owned(),
    })
}

/// The next command. `left` is the journal that remains.
fn hint(error: &RotationError, left: &Journal, attended: bool, context: &Context) -> String {
    let naming = naming(left, context);
    let rotate = format!("wit token rotate{naming}");
    let old = quoted(escaped(&left.old_id));
    let new = quoted(escaped(left.new_id.as_deref().unwrap_or_default()));
    match error {
        RotationError::NewGone => format!("{} --abort", again(left, context)),
        RotationError::NotKept => {
            let again = again(left, context);
            format!("wit token revoke{naming} {new}, then {again} --abort")
        }
        RotationError::TooLateToAbort(_) if left.step == Step::Grace => {
            format!("wit token revoke{naming} {old} ends the old one now")
        }
        RotationError::TooLateToAbort(_) => format!("{rotate} --resume"),
        RotationError::Unclear { tokens, .. } if attended => {
            let ids: Vec<String> = (tokens.iter())
                .map(|token| quoted(escaped(&token.id)))
                .collect();
            let (ids, again) = (ids.join(" "), again(left, context));
            format!(
                "wit token revoke{naming} {ids}, except what another machine uses; then {again} \
                 --resume, which revokes none of them"
            )
        }
        RotationError::Unclear { .. } => format!("{} --resume", again(left, context)),
        _ if left.by_itself && !left.is_in_place() => {
            format!("wit token rotate --self; where you are logged in: {rotate} --resume")
        }
        // It can't be undone, and the old id is of no token any more.
        RotationError::Undelivered { .. } if left.is_in_place() => {
            format!("fix it, then: {rotate} --resume")
        }
        RotationError::Undelivered { .. } => {
            let again = again(left, context);
            format!("fix it, then: {again} --resume, or undo the rotation: {again} --abort")
        }
        RotationError::Api {
            error: ApiError::Unauthorized,
            ..
        } => format!("wit login {}, then {rotate} --resume", quoted(&left.server)),
        _ => format!("{rotate} --resume, or --abort"),
    }
}
