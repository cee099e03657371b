//! `casemate verify --watch`: goes on verifying, and tells of every change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::cli::VerifyArgs;
use crate::config::ModelConfig;
use crate::context::{Context, Project};
use crate::exit::{Exit, Failure};
use crate::remote::webhook::Webhook;
use crate::state;
use crate::watching::sinks::Sinks;
use crate::watching::watcher::Watcher;
use crate::watching::{Believed, Target};

/// Runs the command until Ctrl-C, or the first alert where that was asked for. The exit code is that of the state in the end.
pub fn run(context: &Context, args: &VerifyArgs) -> Result<Exit, Failure> {
    let watching = &args.watching;
    if context.globals.output.is_some() {
        return Err(Failure::usage("events are written as they come: name a file with --events, not with -o"));
    }
    let targets = targets(context, args)?;
    let mut sinks = Sinks::new();
    if let Some(path) = &watching.events {
        sinks.add_file(path)?;
    }
    for address in &watching.webhook {
        sinks.add_webhook(Webhook::parse(address)?);
    }
    watching.on_event.iter().for_each(|command| sinks.add_command(command));
    if !watching.no_record
        && let Ok(project) = context.project(None)
        && state::State::exists(&project)
    {
        // A ledger that cannot be opened is said now, not with the first alert.
        state::State::open_existing(&project)?;
        sinks.add_ledger(project);
    }
    context.say(&format!(
        "watching {} models; each file is read again at least every {} s; Ctrl-C ends",
        targets.len(),
        watching.interval
    ));
    let stopped = AtomicBool::new(false);
    let is_stopped = || stopped.load(Relaxed) || context.is_interrupted();
    let mut last: BTreeMap<String, Exit> = BTreeMap::new();
    thread::scope(|scope| {
        let (send, receive) = channel();
        for target in &targets {
            let (send, is_stopped) = (send.clone(), &is_stopped);
            let watcher = Watcher::new(target, Duration::from_secs(watching.interval));
            scope.spawn(move || watcher.watch(&send, is_stopped));
        }
        drop(send);
        loop {
            match receive.recv_timeout(Duration::from_millis(200)) {
                Ok(event) => {
                    sinks.raise(context, &event);
                    last.insert(event.model.clone(), event.judgement.state.exit());
                    if watching.until_alert && event.is_alert() {
                        stopped.store(true, Relaxed);
                    }
                }
                Err(RecvTimeoutError::Timeout) => sinks.tend(context),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    sinks.close(context);
    // A model nobody came to judge before the end was not found intact.
    let unjudged = targets.iter().any(|target| !last.contains_key(&target.name));
    let start = if unjudged { Exit::NotEvaluated } else { Exit::Passed };
    Ok(last.into_values().fold(start, Exit::worse))
}

/// The model of the arguments, or every signed model of the project.
fn targets(context: &Context, args: &VerifyArgs) -> Result<Vec<Target>, Failure> {
    let second = |believed: Believed| {
        Ok::<_, Failure>(believed.with_second(args.pq_key.as_deref(), args.require_pq)?.with_legacy(args.allow_legacy))
    };
    let Some(model) = &args.model else {
        return declared(&context.project(None)?, args);
    };
    let trust = match (&args.key, &args.roots, &args.identity) {
        (Some(key), _, _) => second(Believed::keys(std::slice::from_ref(key))?)?,
        (None, Some(roots), Some(identity)) => second(Believed::certified(roots, identity)?)?,
        _ => {
            let what =
                "give --key, or --roots and --identity; without MODEL the keys under [trust] of casemate.toml count";
            return Err(Failure::usage(what));
        }
    };
    let name = Path::new(model).file_name().map_or_else(|| ".".into(), |name| name.to_string_lossy().into_owned());
    let signature = args.signature.clone();
    Ok(vec![Target { name, path: model.clone(), signature, trust, strict: args.strict }])
}

fn declared(project: &Project, args: &VerifyArgs) -> Result<Vec<Target>, Failure> {
    if args.key.is_some() || args.roots.is_some() {
        return Err(Failure::usage("--key and --roots go with a MODEL; without one, [trust] of casemate.toml counts"));
    }
    let signed: Vec<_> =
        project.config.models.iter().filter_map(|model| Some((model, model.signature.as_ref()?))).collect();
    if signed.is_empty() {
        return Err(Failure::usage(
            "no model of casemate.toml names a `signature`; name one, or watch a MODEL with --key or --roots",
        ));
    }
    let trust = Believed::of(project)?.with_legacy(args.allow_legacy);
    if trust.is_nobody() {
        return Err(Failure::usage("`[trust]` of casemate.toml names no key to check signatures with"));
    }
    let target = |(model, signature): (&ModelConfig, &String)| Target {
        name: model.name.clone(),
        path: project.root.join(&model.path),
        signature: project.root.join(signature),
        trust: trust.clone(),
        strict: args.strict,
    };
    Ok(signed.into_iter().map(target).collect())
}
