//! What a person is told of a rotation: its plan, its outcome, why it stopped.

use serde_json::{Value, json};

use super::{Args, Done};
use crate::api::ApiError;
use crate::cli::output::{self, escaped};
use crate::cli::{Context, Exit, Failure};
use crate::rotation::deliver::Sink;
use crate::rotation::{Outcome, Plan, RotationError, journal};

/// `--dry-run`.
pub(super) fn show(plan: &Plan, context: &Context) -> anyhow::Result<Exit> {
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
    steps.push(match plan.by_itself {
        true => format!("let {} end by itself, minutes later", escaped(&plan.old_id)),
        false => format!("revoke {}", escaped(&plan.old_id)),
    });
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

pub(super) fn report(finished: &[Done], args: &Args, context: &Context) -> anyhow::Result<Exit> {
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

/// What a person is told of a rotation that stopped.
pub(super) fn failure(error: RotationError, rotation: &str, context: &Context) -> anyhow::Error {
    let left = journal::all(&context.paths).unwrap_or_default();
    let left = left.iter().find(|journal| journal.rotation == rotation);
    let (remains, by_itself) = (left.is_some(), left.is_some_and(|left| left.by_itself));
    let hint = match &error {
        _ if by_itself => {
            "wit token rotate --self; where you are logged in: wit token rotate --resume"
        }
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
