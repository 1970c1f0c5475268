//! Chooses the platform: an instance keeps the one that it was made on, and a new one gets the one
//! that was asked for, or the best that is at hand. It knows no platform by its nature, only by its
//! kind and by what it answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::event::Event;
use model::fault::{Class, Code, Fault};
use model::finding::{Finding, Severity};
use model::ids::InstanceName;
use model::image::ImageRef;
use model::instance::EngineKind;
use model::port::{Engine, Fetch};
use model::view::{EngineView, ImageView};

use crate::hands::Hands;

/// The platforms there are, the best first.
#[derive(Clone)]
pub struct Engines {
    known: Vec<Arc<dyn Engine>>,
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds = self.known.iter().map(|it| it.capabilities().kind);
        out.debug_list().entries(kinds).finish()
    }
}

impl Engines {
    /// These platforms, the best first.
    #[must_use]
    pub fn new(known: Vec<Arc<dyn Engine>>) -> Self {
        Self { known }
    }

    /// One platform and no other.
    #[must_use]
    pub fn only(engine: Arc<dyn Engine>) -> Self {
        Self {
            known: vec![engine],
        }
    }

    /// The platform of this kind.
    pub(crate) fn of(&self, kind: EngineKind) -> Result<&Arc<dyn Engine>, Fault> {
        let mut known = self.known.iter();
        known
            .find(|engine| engine.capabilities().kind == kind)
            .ok_or_else(|| {
                Fault::new(
                    "SY4099",
                    Class::Failed,
                    format!("there is no engine {kind} at hand; this is a bug"),
                )
            })
    }

    /// What is amiss with the hosts of all of them.
    pub(crate) async fn examine(&self) -> Result<Vec<Finding>, Fault> {
        let mut findings = Vec::new();
        for engine in &self.known {
            findings.extend(engine.examine().await?);
        }
        Ok(findings)
    }
}

/// What a new instance needs of a platform.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need<'a> {
    pub(crate) instance: &'a InstanceName,
    pub(crate) images: &'a BTreeSet<ImageRef>,
    pub(crate) fetch: Fetch,
}

/// The platform of a new instance, and how it is seen.
pub(crate) struct Choice {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) view: EngineView,
    /// Why it is this one, where the user left that open.
    pub(crate) why: Option<Finding>,
}

/// Chooses: the kind that was asked for, or else the best that answers and has every image.
pub(crate) async fn choose(
    hands: &Hands,
    wish: Option<EngineKind>,
    need: Need<'_>,
) -> Result<Choice, Fault> {
    if let Some(kind) = wish {
        let engine = hands.engines.of(kind)?;
        let view = fit(hands, engine, need).await?;
        return Ok(Choice {
            engine: Arc::clone(engine),
            view,
            why: None,
        });
    }
    let mut passed_over: Vec<String> = Vec::new();
    let mut last = None;
    for engine in &hands.engines.known {
        let kind = engine.capabilities().kind;
        match fit(hands, engine, need).await {
            Ok(view) => {
                let is_choice = hands.engines.known.len() > 1;
                return Ok(Choice {
                    engine: Arc::clone(engine),
                    view,
                    why: is_choice.then(|| reason(kind, &passed_over)),
                });
            }
            Err(fault) if fault.class == Class::Interrupted => return Err(fault),
            Err(fault) => {
                passed_over.push(format!("{kind}: {fault}"));
                last = Some(fault);
            }
        }
    }
    passed_over.pop();
    let none = || Fault::new("SY4099", Class::Failed, "there is no engine; this is a bug");
    Err(passed_over
        .iter()
        .fold(last.unwrap_or_else(none), |fault, why| {
            fault.with_cause(why)
        }))
}

/// Whether a platform answers and has every image.
async fn fit(hands: &Hands, engine: &Arc<dyn Engine>, need: Need<'_>) -> Result<EngineView, Fault> {
    let to_come = fetch(hands, engine, need.images, need.fetch).await?;
    let view = engine.observe(need.instance, need.images).await?;
    must_have_images(&view, &to_come)?;
    Ok(view)
}

/// Has a platform fetch images, and tells how that goes.
pub(crate) async fn fetch(
    hands: &Hands,
    engine: &Arc<dyn Engine>,
    images: &BTreeSet<ImageRef>,
    fetch: Fetch,
) -> Result<BTreeSet<ImageRef>, Fault> {
    let began = hands.clock.now();
    let mut tell = |on: String| {
        let since = hands.clock.now().saturating_sub(began);
        hands.tell(Event::Waiting { on, since });
    };
    engine.fetch(images, fetch, &mut tell).await
}

fn must_have_images(engine: &EngineView, to_come: &BTreeSet<ImageRef>) -> Result<(), Fault> {
    for (image, view) in &engine.images {
        if let ImageView::Missing { reason, help } = view
            && !to_come.contains(image)
        {
            return Err(Fault::new(
                "SY2106",
                Class::Refused,
                format!("{image} is not to be had: {reason}"),
            )
            .with_help(help));
        }
    }
    Ok(())
}

fn reason(kind: EngineKind, passed_over: &[String]) -> Finding {
    let message = if passed_over.is_empty() {
        format!("{kind} is chosen: it answers and has every image")
    } else {
        format!("{kind} is chosen, because {}", passed_over.join("; "))
    };
    Finding {
        code: Code("SY4030"),
        severity: Severity::Notice,
        subject: "engine".to_owned(),
        message,
        help: Some("--engine names another one".to_owned()),
    }
}
