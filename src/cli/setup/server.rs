//! `wit setup --server`: `wit up` as a service of systemd, and its removal.

use serde_json::json;

use super::{own_path, print_commands, with_fix};
use crate::app::service::{Error, NAME, Options, Service};
use crate::cli::output;
use crate::cli::up::options::Serving;
use crate::cli::up::{require_database, url};
use crate::cli::{Context, Exit, Failure};
use crate::config;
use crate::platform::instance;
use crate::platform::last_start::LastStart;
use crate::secret::Secret;

pub fn run(serving: Serving, undo: bool, dry_run: bool, context: &Context) -> anyhow::Result<Exit> {
    let service = Service::new(own_path("wit")?, &context.paths);
    if undo {
        return remove(&service, dry_run, context);
    }
    let serving = with_last_start(serving.absolute()?, &service)?;
    let plan = service.plan(&options(serving)).map_err(failed)?;
    if dry_run {
        // They may be for an image, whose machine has it.
        if let Err(error) = service.require_systemd(&plan) {
            eprintln!("warning: {error}: here these commands fail");
            if let Some(fix) = error.fix() {
                eprintln!("hint: {fix}");
            }
        }
        return print_commands(&service.commands(&plan), context);
    }
    let is_served = instance::running(service.data_dir())?.is_some();
    let changed = service.set_up(&plan, is_served).map_err(failed)?;
    report(&service, changed, context)
}

fn failed(error: Error) -> Failure {
    let exit = match error {
        Error::OddOption => Exit::Usage,
        _ => Exit::Failed,
    };
    with_fix(exit, &error, error.fix())
}

/// The options with those of the last start, where there is no file of options yet: from then on the
/// service goes by that file alone.
fn with_last_start(serving: Serving, service: &Service) -> anyhow::Result<Serving> {
    if service.options_file().exists() {
        return Ok(serving);
    }
    let last = LastStart::read(service.data_dir())?;
    require_database(&serving, &last)?;
    let repositories = serving.repositories.clone();
    Ok(Serving {
        repositories: repositories.or_else(|| last.repositories.clone()),
        ..serving.after(&last)
    })
}

fn options(serving: Serving) -> Options {
    let are_all = serving.defaults;
    let tell_sign_up = serving.no_sign_up || serving.sign_up || serving.defaults;
    // The unit has it.
    let serving = Serving {
        defaults: false,
        ..serving
    };
    let words = serving.arguments().into_iter();
    Options {
        arguments: words
            .map(|word| word.to_string_lossy().into_owned())
            .collect(),
        are_all,
        tell_sign_up,
        database_url: config::variable("DATABASE_URL").map(Secret::from),
    }
}

fn report(service: &Service, changed: bool, context: &Context) -> anyhow::Result<Exit> {
    let running = instance::running(service.data_dir())?;
    let url = running.map(|running| url(running.address, running.is_tls));
    let url = url.transpose()?;
    let lasts = service.outlives_logout();
    let (unit, options, data_dir) = (service.unit(), service.options_file(), service.data_dir());
    if context.json {
        output::json(&json!({
            "service": NAME,
            "scope": if service.is_system() { "system" } else { "user" },
            "changed": changed,
            "unit": unit,
            "options": options,
            "dataDir": data_dir,
            "url": url,
            "outlivesLogout": lasts,
        }))?;
        return Ok(Exit::Done);
    }
    let mut text = match changed {
        true => format!("wit up runs as the service {NAME} now, and from each boot on.\n"),
        false => format!("wit up runs as the service {NAME} already; nothing to change.\n"),
    };
    if !service.is_packaged() {
        text += &format!("Unit: {}\n", unit.display());
    }
    text += &format!("Data directory: {}\n", data_dir.display());
    if let Some(url) = &url {
        text += &format!("Address: {url}\n");
    }
    if options.exists() {
        text += &format!("Options: {}\n", options.display());
    }
    output::print(text.as_bytes())?;
    if lasts == Some(false) {
        eprintln!("warning: systemd stops it when you log out of this machine");
        eprintln!("hint: loginctl enable-linger");
    }
    if let Some(url) = url.filter(|_| changed) {
        output::next(context, format!("wit login {url}"));
    }
    Ok(Exit::Done)
}

fn remove(service: &Service, dry_run: bool, context: &Context) -> anyhow::Result<Exit> {
    let removal = service.removal().map_err(failed)?;
    if dry_run {
        return print_commands(&service.removal_commands(&removal), context);
    }
    service.remove(&removal).map_err(failed)?;
    let data_dir = service.data_dir();
    if context.json {
        output::json(&json!({
            "service": NAME,
            "removed": removal.files,
            "disabled": !removal.is_empty(),
            "dataDir": data_dir,
        }))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    if removal.disables_packaged {
        text += &format!("Stopped and disabled {NAME}; the package's unit stays\n");
    }
    for file in &removal.files {
        text += &format!("Removed {}\n", file.display());
    }
    text += &match removal.is_empty() {
        true => "wit setup --server has added nothing here; nothing to undo.\n".to_owned(),
        false => format!("The data stays in {}\n", data_dir.display()),
    };
    output::print(text.as_bytes())?;
    Ok(Exit::Done)
}
