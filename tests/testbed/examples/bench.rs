//! Times the promotion of images against `skopeo copy`, on Debian's docker-registry; started by `script/bench`.
//!
//! Both do the same work in turn, each time into a place that is empty, and the medians are compared. Proxies before
//! the registries add latency and count the requests of both. Then the validation of whole images, every byte of their
//! layers, is held against `skopeo copy` to a folder. Prints two Markdown tables.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is what it is for")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testbed::client::Client;
use testbed::docker_registry::DockerRegistry;
use testbed::image::{Compression, Content, Image};
use testbed::proxy::Proxy;

/// How often each tool does each piece of work.
const ROUNDS: usize = 5;
/// What a request takes longer where latency is added.
const LATENCY: Duration = Duration::from_millis(20);
/// The bytes of a layer of the small and the large image.
const LAYER: usize = 200_000;
/// The bytes of the layer by which throughput and memory are measured: 1 GiB.
const HUGE: usize = 1 << 30;
/// The bytes of each of the four layers of the image by which the memory of a validation is measured: 2 GiB in all.
const QUARTER: usize = 1 << 29;
/// The most memory that a validation may take, in KiB: 100 MiB.
const MEMORY: u64 = 100 << 10;

fn main() -> ExitCode {
    let Some(program) = std::env::args_os().nth(1).and_then(|path| std::path::absolute(path).ok()) else {
        eprintln!("usage: bench PATH-OF-TIDEGATE");
        return ExitCode::from(2);
    };
    let bench = Bench { program, registries: [Place::start(), Place::start()] };
    println!("| Image | Copy | Latency | Tidegate | skopeo | Ratio | Requests | Peak memory |");
    println!("|---|---|--:|--:|--:|--:|--:|--:|");
    let small = Image::index(&["linux/amd64", "linux/arm64"]).layers(5, LAYER).build();
    let large =
        Image::index(&["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/ppc64le"]).layers(20, LAYER).build();
    for (name, image) in [("2 platforms × 5 layers", &small), ("4 platforms × 20 layers", &large)] {
        bench.place(image);
        for latency in [Duration::ZERO, LATENCY] {
            for copy in [Copy::Tag, Copy::Repository, Copy::Registry, Copy::Nothing] {
                bench.compare(name, copy, latency);
            }
        }
    }
    drop(small);
    bench.place(&Image::manifest("linux/amd64").layers(1, HUGE).compression(Compression::None).build());
    bench.throughput();
    println!("\n| Image | Validation | skopeo to a folder | Ratio | Peak memory |\n|---|--:|--:|--:|--:|");
    bench.place(&large);
    bench.validate("4 platforms × 20 layers");
    drop(large);
    bench.place(&Image::manifest("linux/amd64").layers(4, QUARTER).compression(Compression::None).build());
    bench.validate("4 layers of 512 MiB");
    ExitCode::SUCCESS
}

/// Where a copy goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    /// To another tag of the same repository.
    Tag,
    /// To another repository of the same registry.
    Repository,
    /// To another registry.
    Registry,
    /// To where it is already.
    Nothing,
}

impl Copy {
    const fn name(self) -> &'static str {
        match self {
            Self::Tag => "same repository",
            Self::Repository => "other repository",
            Self::Registry => "other registry",
            Self::Nothing => "nothing to do",
        }
    }
}

/// Who does the work.
#[derive(Debug, Clone, Copy)]
enum Tool {
    Tidegate,
    Skopeo,
}

/// A registry, and a proxy that counts what passes.
struct Place {
    registry: DockerRegistry,
    proxy: Proxy,
}

impl Place {
    fn start() -> Self {
        let registry = DockerRegistry::start();
        Self { proxy: Proxy::start(&registry.endpoint()), registry }
    }

    fn client(&self) -> Client {
        self.registry.endpoint().client()
    }
}

/// What one piece of work took.
struct Took {
    time: Duration,
    requests: usize,
    /// The largest resident set, in KiB.
    memory: u64,
}

struct Bench {
    program: PathBuf,
    registries: [Place; 2],
}

impl Bench {
    /// Puts the image where both tools take it from.
    fn place(&self, image: &Content) {
        image.push(&self.registries[0].client(), "acme/api", &["staging"]).expect("the image can be pushed");
    }

    /// One row: both tools do the same in turn.
    fn compare(&self, image: &str, copy: Copy, latency: Duration) {
        for place in &self.registries {
            place.proxy.set_latency(latency);
        }
        let hosts = self.registries.each_ref().map(|place| place.proxy.host());
        let [tidegate, skopeo] = self.rounds(copy, &hosts);
        let latency = if latency.is_zero() { "none".to_owned() } else { format!("{} ms", latency.as_millis()) };
        println!(
            "| {image} | {} | {latency} | {} | {} | {:.1} | {} : {} | {} : {} |",
            copy.name(),
            seconds(tidegate.time),
            seconds(skopeo.time),
            skopeo.time.as_secs_f64() / tidegate.time.as_secs_f64(),
            tidegate.requests,
            skopeo.requests,
            mebibytes(tidegate.memory),
            mebibytes(skopeo.memory),
        );
    }

    /// The row of the huge layer: without proxies, which would be what is measured.
    fn throughput(&self) {
        let hosts = self.registries.each_ref().map(|place| place.registry.host().to_owned());
        let [tidegate, skopeo] = self.rounds(Copy::Registry, &hosts);
        let per_second = |took: &Took| HUGE as f64 / f64::from(1 << 20) / took.time.as_secs_f64();
        println!(
            "| one layer of 1 GiB | other registry | none | {} ({:.0} MiB/s) | {} ({:.0} MiB/s) | {:.1} | | {} : {} |",
            seconds(tidegate.time),
            per_second(&tidegate),
            seconds(skopeo.time),
            per_second(&skopeo),
            skopeo.time.as_secs_f64() / tidegate.time.as_secs_f64(),
            mebibytes(tidegate.memory),
            mebibytes(skopeo.memory),
        );
    }

    /// The medians of both tools; the first round does not count.
    fn rounds(&self, copy: Copy, hosts: &[String; 2]) -> [Took; 2] {
        let mut took = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            for (tool, took) in [Tool::Tidegate, Tool::Skopeo].into_iter().zip(&mut took) {
                let one = self.once(tool, copy, hosts);
                eprintln!("{tool:?}, {}, round {round}: {:?}, {} requests", copy.name(), one.time, one.requests);
                if round > 0 {
                    took.push(one);
                }
            }
        }
        took.map(median)
    }

    /// One row of the second table: the plan of a promotion, up to the end of a validation that reads every layer, and
    /// the same image copied to a folder.
    fn validate(&self, image: &str) {
        let host = self.registries[0].registry.host();
        let mut took = [Vec::new(), Vec::new()];
        for round in 0..=ROUNDS {
            for (tool, took) in [Tool::Tidegate, Tool::Skopeo].into_iter().zip(&mut took) {
                let scratch = TempDir::new().expect("a directory to work in");
                let mut command = timed(scratch.path());
                match tool {
                    Tool::Tidegate => {
                        let configuration = format!(
                            "version: 1\nservices: {{ api: {{ image: {host}/acme/api }} }}\nenvironments:\n  staging: {{ tag: \
                             staging }}\n  production: {{ from: staging, tag: production, validate: {{ layers: deep }} }}\n"
                        );
                        std::fs::write(scratch.path().join("tidegate.yml"), configuration)
                            .expect("a file can be written");
                        command.arg(&self.program).args(["--operation", "plan", "--until", "validation"]);
                        command.args(["--config", "tidegate.yml", "--environment", "production"]);
                    }
                    Tool::Skopeo => {
                        command.args(["skopeo", "--insecure-policy", "copy", "--quiet", "--all", "--preserve-digests"]);
                        command.args([
                            "--src-tls-verify=false",
                            &format!("docker://{host}/acme/api:staging"),
                            "dir:copy",
                        ]);
                    }
                }
                let (time, memory) = run(tool, command, scratch.path());
                eprintln!("{tool:?}, validation of {image}, round {round}: {time:?}");
                if round > 0 {
                    took.push(Took { time, memory, requests: 0 });
                }
            }
        }
        let [tidegate, skopeo] = took.map(median);
        println!(
            "| {image} | {} | {} | {:.1} | {} : {} |",
            seconds(tidegate.time),
            seconds(skopeo.time),
            skopeo.time.as_secs_f64() / tidegate.time.as_secs_f64(),
            mebibytes(tidegate.memory),
            mebibytes(skopeo.memory),
        );
        assert!(tidegate.memory <= MEMORY, "{image}: {} to validate it", mebibytes(tidegate.memory));
    }

    fn once(&self, tool: Tool, copy: Copy, hosts: &[String; 2]) -> Took {
        // Nobody was ever here before.
        let fresh = fresh();
        let from = format!("{}/acme/api:staging", hosts[0]);
        let (host, repository, tag) = match copy {
            Copy::Tag => (0, "acme/api".to_owned(), fresh),
            Copy::Repository => (0, format!("acme/{fresh}"), "production".to_owned()),
            Copy::Registry => (1, format!("acme/{fresh}"), "production".to_owned()),
            Copy::Nothing => (0, "acme/api".to_owned(), "staging-again".to_owned()),
        };
        let to = format!("{}/{repository}:{tag}", hosts[host]);
        if copy == Copy::Nothing {
            self.tag_again(&tag);
        }
        for place in &self.registries {
            place.proxy.clear_log();
        }
        let scratch = TempDir::new().expect("a directory to work in");
        let mut command = timed(scratch.path());
        match tool {
            Tool::Tidegate => command.arg(&self.program).args(["--image", &from, "--to", &to]),
            Tool::Skopeo => command.args(["skopeo", "--insecure-policy", "copy", "--quiet", "--all"]).args([
                "--preserve-digests",
                "--src-tls-verify=false",
                "--dest-tls-verify=false",
                &format!("docker://{from}"),
                &format!("docker://{to}"),
            ]),
        };
        let (time, memory) = run(tool, command, scratch.path());
        let copied = self.registries[host].client().digest(&repository, &tag);
        assert_eq!(copied, self.registries[0].client().digest("acme/api", "staging"), "{tool:?} copied something else");
        Took { time, requests: self.registries.iter().map(|place| place.proxy.log().len()).sum(), memory }
    }

    /// Points a tag to what is to be copied.
    fn tag_again(&self, tag: &str) {
        let client = self.registries[0].client();
        let source = client.manifest("acme/api", "staging").expect("the image");
        client.push_manifest("acme/api", tag, &source.media_type, source.bytes).expect("a tag can be moved");
    }
}

/// A command whose largest resident set is measured.
fn timed(scratch: &Path) -> Command {
    let mut command = Command::new("/usr/bin/time");
    command.args(["--format", "%M", "--output"]).arg(scratch.join("memory"));
    command
}

/// Runs it; tells how long it took, and its largest resident set in KiB.
fn run(tool: Tool, mut command: Command, scratch: &Path) -> (Duration, u64) {
    isolate(&mut command, scratch);
    let begun = Instant::now();
    let output = command.output().expect("/usr/bin/time can be started");
    let time = begun.elapsed();
    let printed = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{tool:?}: {}\n{}", output.status, printed.concat());
    let memory = std::fs::read_to_string(scratch.join("memory")).expect("what time has measured");
    (time, memory.trim().parse().expect("a number of kilobytes"))
}

/// Nothing of this machine's user, and nothing that an earlier round has learnt.
fn isolate(command: &mut Command, scratch: &Path) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    command.env_clear().env("PATH", path).env("HOME", scratch).current_dir(scratch).stdin(Stdio::null());
    // skopeo remembers where it has seen a blob: for root below /var/lib, unless it takes itself for somebody else.
    command.env("XDG_DATA_HOME", scratch.join("data")).env("_CONTAINERS_ROOTLESS_UID", "1000");
}

fn median(mut took: Vec<Took>) -> Took {
    took.sort_by_key(|one| one.time);
    let memory = took.iter().map(|one| one.memory).max().unwrap_or_default();
    Took { memory, ..took.swap_remove(took.len() / 2) }
}

fn fresh() -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("fresh-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

fn mebibytes(kibibytes: u64) -> String {
    format!("{:.0} MiB", kibibytes as f64 / 1024.0)
}
