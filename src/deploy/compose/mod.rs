//! `compose`: Docker Compose, or plain commands, on hosts that are reached over SSH.
//!
//! | file | what it does |
//! |---|---|
//! | `site` | one host: its connection, and what is done there |
//! | `script` | the scripts that run on a host, and what their exit codes mean |
//! | `env` | lines of an environment file |
//! | `*.sh` | the scripts themselves |

mod env;
mod script;
mod site;

use async_trait::async_trait;
use futures_util::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};

use self::site::{Login, Shape, Site};
use super::command::read_running;
use super::{Begun, Driver, Kit, Log, Order, Pace, Progress, Report, Setback, fill_fault};
use crate::config::{ComposeDriver, ComposeMode, SecretReader, Template};
use crate::promotion::deployment::{Handle, Running, differences};
use crate::promotion::fault::{Code, Fault};
use crate::ssh::Access;

/// Deploys to hosts.
#[derive(Debug)]
pub(super) struct Compose {
    settings: ComposeDriver,
    secrets: SecretReader,
}

/// Everything about an order that is the same on all hosts.
#[derive(Debug, Clone)]
struct Job {
    access: Access,
    hosts: Vec<String>,
    shape: Shape,
    login: Option<Login>,
}

impl Compose {
    pub(super) fn new(settings: &ComposeDriver, kit: &Kit) -> Self {
        Self { settings: settings.clone(), secrets: kit.secrets.clone() }
    }

    fn render(template: &Template, order: &Order) -> Result<String, Fault> {
        template.render(&order.values).map_err(|error| fill_fault(error.into()))
    }

    fn job(&self, order: &Order) -> Result<Job, Fault> {
        let ssh = &self.settings.ssh;
        let access = Access {
            user: Self::render(&ssh.user, order)?,
            port: ssh.port,
            key: self.secrets.resolve(&ssh.key)?,
            passphrase: ssh.passphrase.as_ref().map(|one| self.secrets.resolve(one)).transpose()?,
            host_keys: ssh.host_keys.clone(),
        };
        let hosts = ssh.hosts.iter().map(|host| Self::render(host, order)).collect::<Result<Vec<_>, _>>()?;
        let directory = Self::render(&self.settings.directory, order)?;
        let image = order.release.image.as_ref().map(ToString::to_string);
        let mode = match &self.settings.mode {
            ComposeMode::Commands(commands) => {
                let words = |program: &[Template]| {
                    program.iter().map(|word| Self::render(word, order)).collect::<Result<Vec<_>, Fault>>()
                };
                site::Mode::Commands {
                    deploy: words(&commands.deploy)?,
                    rollback: words(commands.rollback.as_ref().unwrap_or(&commands.deploy))?,
                    running: words(&commands.running)?,
                }
            }
            ComposeMode::Compose { file, project, service, image_variable, env_file, env } => {
                let mut lines = Vec::new();
                if let (Some(variable), Some(image)) = (image_variable, &image) {
                    lines.push((variable.clone(), SecretString::from(image.clone())));
                }
                for (name, value) in env {
                    lines.push((name.clone(), self.secrets.fill(value, &order.values).map_err(fill_fault)?));
                }
                site::Mode::Compose {
                    file: file.clone(),
                    project: project.as_ref().map(|one| Self::render(one, order)).transpose()?.unwrap_or_default(),
                    env_file: env_file.clone().unwrap_or_default(),
                    service: Self::render(service, order)?,
                    pinned: if image_variable.is_some() { String::new() } else { image.clone().unwrap_or_default() },
                    lines: env::lines(&lines),
                }
            }
        };
        let login = self.settings.registry_login.as_ref().zip(order.release.image.as_ref());
        let login = login
            .map(|(login, image)| {
                Ok::<_, Fault>(Login {
                    registry: image.repository.registry().to_owned(),
                    user: self.secrets.resolve(&login.user)?.expose_secret().to_owned(),
                    password: self.secrets.resolve(&login.password)?,
                })
            })
            .transpose()?;
        let free_disk = self.settings.free_disk.map_or(0, |size| size.bytes().div_ceil(1024));
        let environment = order.values.get("environment").and_then(serde_json::Value::as_str).unwrap_or_default();
        let shape = Shape {
            directory,
            mode,
            environment: environment.to_owned(),
            fence: order.fence,
            keep_backups: self.settings.keep_backups,
            free_disk,
            timeout: self.settings.timeout,
        };
        Ok(Job { access, hosts, shape, login })
    }

    /// Connects to all hosts.
    async fn connect(&self, job: &Job) -> Result<Vec<Site>, Fault> {
        let connecting = job.hosts.iter().map(|host| Site::connect(&job.access, host, &job.shape));
        join_all(connecting).await.into_iter().collect::<Result<Vec<_>, _>>().map_err(|fault| self.redacted(fault))
    }

    /// Does something on all hosts, so many at a time; a bad one stops the rest.
    async fn on_each<F>(&self, sites: &[Site], doing: impl Fn(usize) -> F) -> Result<(), Fault>
    where
        F: Future<Output = Result<(), Fault>>,
    {
        let places: Vec<usize> = (0..sites.len()).collect();
        for some in places.chunks(self.settings.parallel as usize) {
            let done: Result<Vec<()>, Fault> =
                join_all(some.iter().map(|place| doing(*place))).await.into_iter().collect();
            done.map_err(|fault| self.redacted(fault))?;
        }
        Ok(())
    }

    async fn deploy(&self, site: &Site, job: &Job, order: &Order, log: &Log) -> Result<(), Fault> {
        if let site::Mode::Commands { deploy, .. } = &job.shape.mode {
            return site.command(deploy, log).await;
        }
        site.write(order.run.as_str(), log).await?;
        site.pull(job.login.as_ref(), log).await?;
        site.up(log).await?;
        self.look(site, order).await
    }

    /// Sees that a host runs what it should before the next one is touched.
    async fn look(&self, site: &Site, order: &Order) -> Result<(), Fault> {
        let running = running_on(site, order).await?;
        let others = differences(&order.release, &order.names, &running);
        if others.is_empty() {
            return Ok(());
        }
        let text = format!("{} was deployed, and runs {}", site.name(), others.join(", "));
        Err(Fault::new(Code::RunningDiffers, text))
    }

    async fn put_back(&self, site: &Site, job: &Job, order: &Order, log: &Log) -> Result<(), Fault> {
        if let site::Mode::Commands { rollback, .. } = &job.shape.mode {
            return site.command(rollback, log).await;
        }
        let undone = order.undoes.as_ref().map_or(order.run.as_str(), |run| run.as_str());
        let restored = site.restore(undone, log).await?;
        if restored {
            site.up(log).await?;
        }
        // Without a backup the host was not touched; and another release than that of the backup may be wanted.
        if self.look(site, order).await.is_err() && order.release.image.is_some() {
            return self.deploy(site, job, order, log).await;
        }
        Ok(())
    }

    fn redacted(&self, fault: Fault) -> Fault {
        Fault { message: self.secrets.redact(&fault.message), ..fault }
    }
}

async fn running_on(site: &Site, order: &Order) -> Result<Vec<Running>, Fault> {
    if let site::Mode::Commands { running, .. } = &site.shape().mode {
        return Ok(vec![read_running(site.name(), &site.ask(running).await?)]);
    }
    let containers = site.running().await?;
    if containers.is_empty() {
        return Ok(vec![Running { at: site.name().to_owned(), ..Running::default() }]);
    }
    let wanted = order.release.digest.iter().chain(&order.names).cloned().collect::<Vec<_>>();
    let repository = order.release.image.as_ref().map(|image| image.repository.path().to_owned()).unwrap_or_default();
    let one = |names: &Vec<String>| {
        let all: Vec<Running> = names.iter().map(|name| read_running(site.name(), name)).collect();
        // An image may be known under several names; the right one is the wanted one, else one of its repository.
        let is_wanted = |one: &&Running| one.digest.as_ref().is_some_and(|digest| wanted.contains(digest));
        let of_repository =
            names.iter().position(|name| name.split('@').next().is_some_and(|it| it.ends_with(&repository)));
        let named = all.iter().find(is_wanted).or_else(|| all.get(of_repository?)).or_else(|| all.first());
        // An image without a digest was built or loaded there.
        named.cloned().unwrap_or_else(|| Running {
            at: site.name().to_owned(),
            digest: None,
            version: Some("an image that comes from no registry".to_owned()),
        })
    };
    Ok(containers.iter().map(one).collect())
}

#[async_trait]
impl Driver for Compose {
    fn name(&self) -> &'static str {
        "compose"
    }

    fn pace(&self) -> Pace {
        Pace { every: std::time::Duration::from_secs(2), timeout: self.settings.timeout }
    }

    fn check(&self, order: &Order) -> Result<(), Fault> {
        self.job(order).map(|_| ())
    }

    /// Connects to all hosts and looks whether each can do it, before the first is touched. Then, host after host: keeps
    /// a backup, writes the image by digest, pulls, starts, and looks what runs. The first bad host stops the rest.
    async fn start(&self, order: &Order, log: &Log) -> Result<Begun, Setback> {
        let job = self.job(order).map_err(Setback::Untouched)?;
        let sites = self.connect(&job).await.map_err(Setback::Untouched)?;
        let checks = join_all(sites.iter().map(|site| site.check(&order.platforms))).await;
        let checked: Result<Vec<()>, Fault> = checks.into_iter().collect();
        checked.map_err(|fault| Setback::Untouched(self.redacted(fault)))?;
        let deploying = self.on_each(&sites, |place| self.deploy(&sites[place], &job, order, log));
        deploying.await.map_err(Setback::Failed)?;
        Ok(Begun::Done(Report { message: Some(format!("on {}", job.hosts.join(", "))), ..Report::default() }))
    }

    /// Looks what runs on each host. What a visit left in the middle is done again: each step of it is as good as new
    /// when it is repeated, and none is begun while an earlier one still runs there.
    async fn observe(&self, order: &Order, _: Option<&Handle>) -> Result<Progress, Fault> {
        let running = self.running(order).await?;
        Ok(match differences(&order.release, &order.names, &running).is_empty() {
            true => Progress::Applied(Report::default()),
            false => Progress::NotStarted,
        })
    }

    /// Restores the backup of the deployment on each host that has one, and starts what it says.
    async fn roll_back(&self, order: &Order, log: &Log) -> Result<Begun, Setback> {
        let job = self.job(order).map_err(Setback::Untouched)?;
        let sites = self.connect(&job).await.map_err(Setback::Untouched)?;
        let back = self.on_each(&sites, |place| self.put_back(&sites[place], &job, order, log));
        back.await.map_err(Setback::Failed)?;
        Ok(Begun::Done(Report { message: Some(format!("on {}", job.hosts.join(", "))), ..Report::default() }))
    }

    /// Nothing: what is done on a host ends with the connection.
    async fn cancel(&self, _: &Order, _: &Handle) -> Result<(), Fault> {
        Ok(())
    }

    async fn running(&self, order: &Order) -> Result<Vec<Running>, Fault> {
        let job = self.job(order)?;
        let sites = self.connect(&job).await?;
        let found = join_all(sites.iter().map(|site| running_on(site, order))).await;
        let found: Vec<Vec<Running>> =
            found.into_iter().collect::<Result<_, _>>().map_err(|fault| self.redacted(fault))?;
        Ok(found.into_iter().flatten().collect())
    }
}
