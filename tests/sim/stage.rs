//! What the simulation plays on: a driver with its own state folder, and a simulated world.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use control::approve::YesToAll;
use control::cancel::Cancel;
use control::command::{DownRequest, Platform, TemplateChoice, UpRequest};
use control::engines::Engines;
use control::guard::Guard;
use control::hands::Hands;
use control::home::Home;
use control::store::Store;
use control::{Command, Control, Reply};
use engines::process::{Guardian, Verdict};
use model::address::NodeAddress;
use model::event::Nobody;
use model::fault::Fault;
use model::ids::{InstanceName, NodeId, VariableName, WorkloadName};
use model::image::{ServerVersion, Software};
use model::instance::{EngineKind, Expose, Instance, TemplateFiles};
use model::outline::Outline;
use model::port::Clock;
use model::spec::{Spec, Value};
use model::view::Ending;
use plan::layout::{layout, node_count, wanted};
use tempfile::TempDir;
use template::Document;
use testkit::{Complaint, Dice, Keeper, Owed, Site, World};

/// What is delivered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Size {
    pub(crate) shards: u16,
    pub(crate) replicas: u16,
}

impl Size {
    fn given(self) -> BTreeMap<VariableName, String> {
        let given = [
            ("SHARDS", u32::from(self.shards)),
            ("REPLICAS_NUM", u32::from(self.replicas)),
            ("NODE_TIMEOUT", NODE_TIMEOUT_MS),
        ];
        given
            .into_iter()
            .map(|(name, value)| (VariableName::new(name).unwrap(), value.to_string()))
            .collect()
    }
}

/// The usual size.
pub(crate) const THREE_BY_TWO: Size = Size {
    shards: 3,
    replicas: 1,
};

pub(crate) fn version(software: Software, text: &str) -> ServerVersion {
    ServerVersion::parse(software, text).unwrap()
}

/// Begins with prepared files and exchanged roles.
pub(crate) fn redis_7() -> ServerVersion {
    version(Software::Redis, "7.0.15")
}

/// Begins with prepared files.
pub(crate) fn valkey_9() -> ServerVersion {
    version(Software::Valkey, "9.1.2")
}

/// Begins by meeting.
pub(crate) fn redis_6() -> ServerVersion {
    version(Software::Redis, "6.2.7")
}

/// How long nodes wait for each other.
const NODE_TIMEOUT_MS: u32 = 2000;

/// How long `up` may wait for anything.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A driver, its state and the world it works on.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) control: Control,
    template: Option<TemplateChoice>,
    given: BTreeMap<VariableName, String>,
    home: TempDir,
}

/// The name of the instance that is delivered.
pub(crate) fn orders() -> InstanceName {
    InstanceName::new("orders").unwrap()
}

pub(crate) fn workload(number: u16) -> WorkloadName {
    WorkloadName::parse(&format!("redis-{number}")).unwrap()
}

/// A state folder, in memory where the system has a place for that: thousands are made.
fn home() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

impl Stage {
    /// A driver that has yet to design the instance, from the template that comes along.
    pub(crate) fn new(seed: u64, version: ServerVersion, size: Size) -> Self {
        let template = TemplateChoice {
            named: "redis-cluster".to_owned(),
            files: template::builtin::files("redis-cluster").unwrap(),
        };
        Self {
            template: Some(template),
            given: size.given(),
            ..Self::empty(seed, version)
        }
    }

    /// A driver that finds the instance in its state, designed but not delivered. Everything in it
    /// follows from the seed, and its template is the smallest there can be.
    pub(crate) fn designed(seed: u64, version: ServerVersion, size: Size) -> Self {
        let stage = Self::empty(seed, version);
        let instance = design(seed, size);
        Store::open(&stage.home()).unwrap().save(&instance).unwrap();
        stage
    }

    fn empty(seed: u64, version: ServerVersion) -> Self {
        let world = World::new(seed, Site::new(version));
        let home_folder = home();
        let home = Home::open(home_folder.path()).unwrap();
        let control = Control::new(home, hands(&world), Arc::new(YesToAll));
        Self {
            world,
            control,
            template: None,
            given: BTreeMap::new(),
            home: home_folder,
        }
    }

    fn home(&self) -> Home {
        Home::open(self.home.path()).unwrap()
    }

    /// What `up` is asked for.
    fn request(&self, dry_run: bool) -> UpRequest {
        UpRequest {
            name: orders(),
            template: self.template.clone(),
            given: self.given.clone(),
            in_arguments: BTreeSet::new(),
            platform: Platform::default(),
            dry_run,
            limit: LIMIT,
        }
    }

    /// Delivers. Gives whether anything had to be done.
    pub(crate) async fn up(&self) -> Result<bool, Fault> {
        let reply = self.control.run(Command::Up(self.request(false))).await?;
        let Reply::Delivered(delivery) = reply else {
            panic!("up gives {reply:?}");
        };
        Ok(delivery.changed)
    }

    /// What an `up` would do.
    pub(crate) async fn plan(&self) -> Result<Outline, Fault> {
        let reply = self.control.run(Command::Up(self.request(true))).await?;
        let Reply::Plan(plan) = reply else {
            panic!("up --dry-run gives {reply:?}");
        };
        Ok(plan)
    }

    /// Takes the instance down; its data stays.
    pub(crate) async fn down(&self) -> Result<(), Fault> {
        let request = DownRequest {
            name: orders(),
            delete_data: false,
            dry_run: false,
        };
        self.control.run(Command::Down(request)).await.map(drop)
    }

    /// From here on the guard is asked before a server that ended starts again.
    pub(crate) fn guard(&self) -> Guarded {
        let guard = Guard::new(self.home(), orders(), hands(&self.world));
        let world = self.world.clone();
        let keeper = Arc::new(GuardKeeper(guard));
        Guarded(tokio::spawn(async move { world.supervise(keeper).await }))
    }

    /// How long it has gone on, on its own clock.
    pub(crate) fn now(&self) -> Duration {
        self.world.clock().now()
    }

    /// The client stops, and what is under way settles.
    pub(crate) async fn settle(&self) {
        self.world.pause_writes(true);
        tokio::time::sleep(Duration::from_secs(3)).await;
    }

    /// What is wrong in the end, once all has settled.
    pub(crate) async fn complaints(&self, owed: Owed) -> Vec<Complaint> {
        self.settle().await;
        let mut complaints = self.world.complaints(owed);
        match self.plan().await {
            Ok(plan) if plan.is_empty() => {}
            Ok(plan) => {
                let titles = plan.phases.iter().map(|phase| &phase.title);
                complaints.extend(titles.map(|title| format!("still to do: {title}")));
            }
            Err(fault) => complaints.push(format!("cannot plan: {fault}")),
        }
        complaints
    }
}

/// An instance as `up` designs it, with ids that follow from the seed.
pub(crate) fn design(seed: u64, size: Size) -> Instance {
    let (files, values, spec) = template_of(size);
    let mut dice = Dice::new(seed);
    let ids: Vec<NodeId> = (0..node_count(&spec)).map(|_| dice.node_id()).collect();
    let addresses = wanted(&spec)
        .into_iter()
        .zip(1_u32..)
        .map(|((name, port), number)| {
            let ip = Ipv4Addr::from_bits(0x0a00_0000 | number);
            (name, NodeAddress::new(ip.into(), port))
        })
        .collect();
    let hosts = Site::new(redis_7()).hosts;
    let layout = layout(
        &spec,
        plan::layout::Site {
            hosts: &hosts,
            addresses: &addresses,
            ids: &ids,
        },
    );
    Instance {
        name: orders(),
        engine: EngineKind::Process,
        expose: Expose::Network,
        files,
        values,
        spec,
        layout: layout.unwrap(),
        delivered: false,
        change: None,
    }
}

/// What the template of the simulation is with this size.
pub(crate) fn spec_of(size: Size) -> Spec {
    template_of(size).2
}

/// A template, its variables and what it makes.
type Read = (TemplateFiles, Values, Spec);

/// The template of the simulation. Reading it costs more than a whole schedule.
fn template_of(size: Size) -> Read {
    static READ: OnceLock<Mutex<BTreeMap<Size, Read>>> = OnceLock::new();
    let read = READ.get_or_init(Mutex::default);
    let mut read = read.lock().unwrap();
    read.entry(size)
        .or_insert_with(|| read_template(size))
        .clone()
}

fn read_template(size: Size) -> Read {
    let files = TemplateFiles {
        files: [
            ("template.yaml", include_str!("template/template.yaml")),
            ("redis.conf", include_str!("template/redis.conf")),
        ]
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .into(),
    };
    let document = Document::read(&files).unwrap();
    let values = document
        .values(&size.given(), &mut |_| panic!("no secrets"))
        .unwrap();
    let spec = document.spec(&values).unwrap();
    (files, values, spec)
}

/// The variables of a template.
type Values = BTreeMap<VariableName, Value>;

fn hands(world: &World) -> Hands {
    Hands {
        engines: Engines::only(Arc::new(world.engine())),
        nodes: Arc::new(world.nodes()),
        clock: Arc::new(world.clock()),
        audience: Arc::new(Nobody),
        cancel: Cancel::new(),
    }
}

/// The supervisor of the simulated platform asks the guard for as long as this is kept.
pub(crate) struct Guarded(tokio::task::JoinHandle<()>);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The guard in the words of the simulation.
struct GuardKeeper(Guard);

impl Keeper for GuardKeeper {
    fn ended<'a>(
        &'a self,
        _: &'a InstanceName,
        workload: &'a WorkloadName,
        ending: Ending,
    ) -> Pin<Box<dyn Future<Output = testkit::Verdict> + Send + 'a>> {
        Box::pin(async move {
            match self.0.ended(workload, ending).await {
                Verdict::StartAgain => testkit::Verdict::StartAgain,
                Verdict::Hold {
                    reason,
                    ask_again_after,
                } => testkit::Verdict::Hold {
                    reason,
                    ask_again_after,
                },
            }
        })
    }
}
