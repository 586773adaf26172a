//! The catalogue of faults: each with its code, its meaning, and what to do about it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fault::{Category, Exit, Severity};

/// Makes the catalogue of faults: one line a fault, from which the code, its meaning and its fix are taken
/// wherever they are shown.
macro_rules! catalogue {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $category:ident, $severity:ident, $exit:ident, $fix:literal;)+) => {
        /// A known fault. Its text, e.g. `image-absent`, is stable: it is the output `reason-code`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
        pub enum Code {
            $($(#[doc = $doc])+ #[serde(rename = $code)] $name,)+
        }

        impl Code {
            /// The whole catalogue.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The code's text.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim(),)+ }
            }

            /// Its category.
            #[must_use]
            pub const fn category(self) -> Category {
                match self { $(Self::$name => Category::$category,)+ }
            }

            /// Its usual severity.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)+ }
            }

            /// The exit code of a run that it stops before anything was changed.
            #[must_use]
            pub const fn exit(self) -> Exit {
                match self { $(Self::$name => Exit::$exit,)+ }
            }

            /// What to do about it, where the fault itself does not say it better.
            #[must_use]
            pub const fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)+ }
            }
        }
    };
}

catalogue! {
    /// An input is missing, malformed, or contradicts another.
    InputInvalid = "input-invalid", Validation, Critical, BadInput,
        "correct the input under `with:`, or the flag of the same name";
    /// The configuration file is missing, malformed, or contradicts itself.
    ConfigurationInvalid = "configuration-invalid", Validation, Critical, BadInput,
        "correct the configuration at the place named";
    /// A secret that the configuration names is not set in the environment.
    SecretUnset = "secret-unset", Validation, Critical, BadInput,
        "pass it to the step under `env:`, e.g. `NAME: ${{ secrets.NAME }}`";
    /// Source and target are the same.
    SourceIsTarget = "source-is-target", Validation, Critical, BadInput,
        "promote to another tag or another repository";
    /// The workspace, where records and logs go, cannot be written.
    WorkspaceUnwritable = "workspace-unwritable", Permission, Critical, BadInput,
        "run the container as root, as the runner does, or make the workspace writable for the user who runs the program";
    /// What was asked for must outlive the job, and the ledger does not.
    LastingLedgerRequired = "lasting-ledger-required", Validation, Critical, BadInput,
        "give `database-url` a PostgreSQL database, or `sqlite:` with a path that outlives the job";
    /// The named run is not in the ledger.
    RunUnknown = "run-unknown", Validation, Critical, BadInput,
        "check `deployment-id` and that the ledger is the one the run was recorded in";
    /// The image, or the tag, does not exist in the registry.
    ImageAbsent = "image-absent", Validation, Critical, Failed,
        "check the reference, and that the job that pushes the image has run";
    /// The registry denies the image: it is absent, or we are not permitted to see it.
    ImageDenied = "image-denied", Permission, Critical, Failed,
        "check the reference; if the image exists, grant access: `packages: read` (and `write` at the target) under `permissions:`, and the repository under the package's \"Manage Actions access\"";
    /// The registry refuses to be written to.
    PushDenied = "push-denied", Permission, Critical, Failed,
        "grant write access to the target repository: on GHCR `packages: write` under `permissions:`, and the repository with the role Write under the package's \"Manage Actions access\"";
    /// The registry does not accept the credentials.
    CredentialsRefused = "credentials-refused", Authentication, Critical, Failed,
        "check `registry-username` and `registry-password`, or the docker configuration of the job";
    /// The registry cannot be reached.
    RegistryUnreachable = "registry-unreachable", Network, High, Failed,
        "check the registry's name, its port, the network and the proxy; in a container `localhost` is the container itself";
    /// The registry still throttles after every retry.
    RegistryThrottled = "registry-throttled", Registry, High, Failed,
        "run again later, or raise `retry:` and `timeout`";
    /// The registry fails, after every retry.
    RegistryFailed = "registry-failed", Registry, High, Failed,
        "look at the registry's status; the run can simply be repeated";
    /// The registry answers something that the distribution specification does not allow.
    RegistryNonsense = "registry-nonsense", Registry, Critical, Failed,
        "check that the address is a registry's, and that no proxy or login page answers in its place";
    /// The registry does not take the content: its kind, its size, or something it refers to.
    ContentRefused = "content-refused", Registry, Critical, Failed,
        "read what the registry says; a limit on sizes or kinds of content is its administrator's to change";
    /// A manifest or a configuration of the image is malformed, or can be read in more than one way.
    ImageMalformed = "image-malformed", Validation, Critical, Failed,
        "build and push the image again with a current builder";
    /// A manifest is larger than what is read of untrusted content.
    ManifestTooLarge = "manifest-too-large", Validation, Critical, Failed,
        "manifests above 4 MiB are not promoted; rebuild the image with fewer layers or annotations";
    /// Content does not have the digest under which it was asked for.
    DigestMismatch = "digest-mismatch", Validation, Critical, Failed,
        "do not trust this content: push the image again, and look into the registry's storage";
    /// The source tag no longer points to the digest that this run promotes.
    SourceMoved = "source-moved", Validation, Critical, Failed,
        "start a new run for the new digest";
    /// A target tag was moved by somebody else since it was looked at.
    TargetMoved = "target-moved", Validation, Critical, Failed,
        "find out who moved it, then start a new run";
    /// An immutable tag exists with another digest.
    TagImmutable = "tag-immutable", Validation, Critical, Failed,
        "an immutable tag never moves: choose another one, e.g. with `{{ sequence }}` in it";
    /// What the registry shows after the write is not what was written.
    ReadBackFailed = "read-back-failed", Registry, High, Failed,
        "the write was accepted and is not visible; run again, which looks before it writes";
    /// A check of the image failed.
    CheckFailed = "check-failed", Validation, Critical, Failed,
        "rebuild the image so that the check passes; `force` with a `reason` goes on in spite of it";
    /// A failed check was overruled by `force`.
    Forced = "forced", Validation, Medium, Failed,
        "nothing now; rebuild the image so that force is not needed next time";
    /// What was deployed does not live.
    Unhealthy = "unhealthy", Validation, Critical, Failed,
        "look at the probes in the report, and at the logs of the service; a fixed image is a new promotion";
    /// It cannot be told whether what was deployed lives.
    HealthUnknown = "health-unknown", Unknown, High, Inconclusive,
        "look at the service yourself; set right what keeps it from being asked, then run `operation: verify`";
    /// An environment stays on a version that does not live: it was not, or could not be, rolled back.
    RollbackFailed = "rollback-failed", Validation, Critical, RollbackFailed,
        "put the last good digest back by hand, and look what runs";
    /// There is no digest that the environment could go back to.
    NoWayBack = "no-way-back", Validation, Critical, Failed,
        "name a digest in `digest`, or fix it forward";
    /// An environment is not what was verified there.
    Drift = "drift", Validation, High, Failed,
        "find out who changed it; then promote, or roll back, so that what runs is what was verified";
    /// A probe that does not decide fails, or something should be known of one that passes.
    ProbeWarned = "probe-warned", Validation, Medium, Failed,
        "look at the probe in the report";
    /// A check of the commit is red, missing or still under way.
    ChecksNotGreen = "checks-not-green", Validation, High, Refused,
        "look at the checks that are named; when they are green, run this again";
    /// A workflow has not succeeded for the commit.
    WorkflowNotGreen = "workflow-not-green", Validation, High, Refused,
        "look at the workflow's run for this commit; when it has succeeded, run this again";
    /// Workflows have not run for the commit in the order in which they must.
    WorkflowsOutOfOrder = "workflows-out-of-order", Validation, High, Refused,
        "run the workflows again in the order of `gates.order.workflows`";
    /// The environment is not there on GitHub, or not protected as it must be.
    EnvironmentUnprotected = "environment-unprotected", Validation, High, Refused,
        "set it right on GitHub under Settings, Environments, or ask for less under `gates.environment`";
    /// Another deployment to the environment is in progress.
    DeploymentInProgress = "deployment-in-progress", Timeout, High, Refused,
        "wait for it, or raise `gates.deployments.wait`; one that nobody is at any more ends when it is set to `inactive`";
    /// The digest has not lived long enough where it comes from.
    NotSoaked = "not-soaked", Validation, High, Refused,
        "wait until it has, or shorten `gates.soak`";
    /// Nothing is promoted at this time.
    Frozen = "frozen", Validation, High, Refused,
        "wait until the window ends; in an emergency set `override: freeze` and give a `reason`";
    /// An earlier run found that the digest does not live here.
    DigestBad = "digest-bad", Validation, High, Refused,
        "promote a fixed image; if the image was not to blame, set `override: bad-digest` and give a `reason`";
    /// The commit is on no branch that may be promoted.
    BranchRefused = "branch-refused", Validation, High, Refused,
        "merge the commit into one of `gates.branches` first";
    /// What is deployed is not what is committed.
    ReferenceUnclean = "reference-unclean", Validation, High, Refused,
        "build from a commit with nothing uncommitted, and from a tag that does not move";
    /// It cannot be told which commit an image was built from.
    RevisionUnknown = "revision-unknown", Validation, High, Refused,
        "build the image with the label `org.opencontainers.image.revision`, which docker/metadata-action sets";
    /// Something that must be there before anything is deployed is not.
    ResourceUnavailable = "resource-unavailable", Validation, High, Refused,
        "set right what is named, then run this again";
    /// A closed gate was passed over.
    GateOverridden = "gate-overridden", Validation, Medium, Refused,
        "nothing now; the reason is on record";
    /// Something needs GitHub, and there is no token or no repository.
    GithubRequired = "github-required", Validation, Critical, BadInput,
        "run it in GitHub Actions, or set `github-token` and GITHUB_REPOSITORY";
    /// The plan has no yes from the environment's reviewers.
    ApprovalMissing = "approval-missing", Validation, High, Refused,
        "give the job `environment:` with required reviewers, and let them approve this workflow run";
    /// The yes of the environment's reviewers may have been given to something else than the plan.
    ApprovalUnbound = "approval-unbound", Validation, High, Refused,
        "make the plan in an earlier job of the same workflow run with `until: conditions`, so that the reviewers see it";
    /// Nobody could ever say yes.
    ApprovalImpossible = "approval-impossible", Validation, Critical, BadInput,
        "name more approvers, lower `gates.approval.minimum`, or allow who asks with `allow-self`";
    /// Somebody said no.
    ApprovalRejected = "approval-rejected", Validation, High, Refused,
        "talk to whoever said no; another workflow run asks anew";
    /// Nobody, or too few, said yes in time.
    ApprovalTimedOut = "approval-timed-out", Timeout, High, Refused,
        "ask again in another workflow run, or raise `gates.approval.timeout`";
    /// The ledger cannot be reached.
    LedgerUnreachable = "ledger-unreachable", Network, Critical, Refused,
        "check `database-url`, the network and the database; nothing is promoted that cannot be recorded";
    /// The ledger refuses us.
    LedgerRefused = "ledger-refused", Authentication, Critical, Refused,
        "check the user, the password and the rights in `database-url`";
    /// The ledger holds something that it cannot hold.
    LedgerCorrupt = "ledger-corrupt", Unknown, Critical, Refused,
        "run `operation: audit` to see where the chain is broken, and restore the database";
    /// Events that were kept in a file while the ledger was away do not fit into it.
    SpoolRefused = "spool-refused", Unknown, Critical, Refused,
        "the file is kept: compare it with the run in the ledger, look at what really runs, and move the file away";
    /// Another run holds the environment's lease.
    LockTaken = "lock-taken", Timeout, High, Refused,
        "wait for the other run, or raise `gates.lock.wait`";
    /// The environment's lease was lost while the run worked.
    LeaseLost = "lease-lost", Timeout, Critical, Refused,
        "another visit has taken over this environment; look at its run";
    /// Another visit is at work on the same run.
    VisitConflict = "visit-conflict", Unknown, Critical, Refused,
        "let the other visit end; use `concurrency:` so that two jobs do not share a run";
    /// A run that changed this environment was interrupted and must be recovered first.
    RecoveryNeeded = "recovery-needed", Unknown, Critical, Refused,
        "run `operation: recover` with its deployment id";
    /// The plan is not the one that was approved: digests, targets or configuration changed.
    PlanChanged = "plan-changed", Validation, Critical, Refused,
        "start a new run; what was approved no longer holds";
    /// The step's deadline has passed.
    DeadlinePassed = "deadline-passed", Timeout, High, Failed,
        "raise `timeout`, or find out what is slow in the timings of the report";
    /// A signal stopped the run.
    Interrupted = "interrupted", Unknown, High, Failed,
        "run the job again: it goes on where this visit stopped";
    /// The audit trail is broken.
    AuditBroken = "audit-broken", Validation, Critical, Failed,
        "compare with the anchors outside the database, and find out who changed it";
    /// A record, report or log could not be written.
    ReportUnwritten = "report-unwritten", Unknown, Medium, Failed,
        "look at the disk of the runner; the ledger has everything";
    /// A channel did not take a notification, after every retry.
    NotificationFailed = "notification-failed", Network, Medium, Failed,
        "check the channel's address and key; the run does not depend on it";
    /// The audit trail could not be archived, or not uploaded.
    ArchiveFailed = "archive-failed", Network, Medium, Failed,
        "check the storage and its credentials; the trail is in the ledger, and in the file that `audit-path` names";
    /// GitHub refused or failed to take the run's state.
    GithubUntold = "github-untold", Network, Low, Failed,
        "nothing: the run does not depend on it";
    /// The token lacks a permission.
    TokenLacksPermission = "token-lacks-permission", Permission, Critical, Failed,
        "add the permission under `permissions:` of the job";
    /// GitHub does not accept the token.
    GithubTokenRefused = "github-token-refused", Authentication, Critical, Failed,
        "check `github-token`; its default is the job's own token, `${{ github.token }}`";
    /// The token has expired during the run.
    GithubTokenExpired = "github-token-expired", Authentication, Critical, Failed,
        "run again: a new job has a new token; the job's own lasts until the job ends, an App's one hour, so let a long wait park the run";
    /// GitHub cannot be reached.
    GithubUnreachable = "github-unreachable", Network, High, Failed,
        "check the network, the proxy and `GITHUB_API_URL`; the run can simply be repeated";
    /// GitHub fails, after every retry.
    GithubFailed = "github-failed", Network, High, Failed,
        "look at githubstatus.com; the run can simply be repeated";
    /// A rate limit of GitHub lasts longer than there is time.
    GithubThrottled = "github-throttled", Network, High, Failed,
        "run again later, raise `timeout`, or give `github-token` a token with a limit of its own: the job's is shared by the whole repository";
    /// Something does not exist on GitHub, or the token may not see it.
    GithubAbsent = "github-absent", Permission, Critical, Failed,
        "check the name, and the permissions of the token";
    /// GitHub does not accept what was asked of it.
    GithubRefused = "github-refused", Validation, Critical, Failed,
        "correct what GitHub objects to";
    /// GitHub's answer is not one of its API, or is not complete.
    GithubNonsense = "github-nonsense", Network, Critical, Failed,
        "check that `GITHUB_API_URL` is GitHub's and that no proxy or login page answers in its place, then run again";
    /// It is not known whether GitHub did what was asked of it.
    GithubUncertain = "github-uncertain", Network, High, Failed,
        "look on GitHub whether it was done, then run again: what is there is found and not made twice";
    /// A program that is needed is not there, or cannot be started.
    ProgramAbsent = "program-absent", Validation, Critical, Failed,
        "install it where this runs: in the action's container there is next to nothing, so use a runner's step with the command line, or an image of your own";
    /// A program did not end in time.
    ProgramTimedOut = "program-timed-out", Timeout, High, Failed,
        "find out what it waits for, or raise its `timeout`";
    /// A host cannot be reached over SSH.
    SshUnreachable = "ssh-unreachable", Network, High, Failed,
        "check the host, its port, the network and the firewall; in a container `localhost` is the container itself";
    /// A host shows a key that is not among those that it may show.
    HostKeyUnknown = "host-key-unknown", Authentication, Critical, Failed,
        "compare the key with the host's own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` there); if it is right, add it to `host-keys`, and if it is not, somebody is in between";
    /// A host does not let us in.
    SshRefused = "ssh-refused", Authentication, Critical, Failed,
        "check `user` and `key`, and that the public key is among the host's `authorized_keys`";
    /// The key for SSH cannot be used.
    SshKeyUnusable = "ssh-key-unusable", Validation, Critical, BadInput,
        "let the secret hold the private key, as it is or in base64, and `passphrase` its passphrase where it has one";
    /// The connection over SSH broke while a command ran: what became of the command is not known.
    SshBroken = "ssh-broken", Network, High, Failed,
        "look at the host; what was begun there may or may not have been done";
    /// A driver says that the deployment has failed.
    DeploymentFailed = "deployment-failed", Validation, Critical, Failed,
        "read what the driver says and the deployment's log, then promote again";
    /// It is not known whether a deployment was begun, or how it has ended.
    DeploymentUncertain = "deployment-uncertain", Network, Critical, Inconclusive,
        "look where it is deployed to what runs there; then promote again, or roll back";
    /// A deployment did not end in time.
    DeploymentTimedOut = "deployment-timed-out", Timeout, Critical, Failed,
        "look where it is deployed to what it waits for, or raise the driver's `timeout`";
    /// A host's directory cannot be written.
    HostUnwritable = "host-unwritable", Permission, Critical, Failed,
        "let the account under `user` own the directory, and look whether its disk is full";
    /// A disk is full, or has less room than must be free.
    DiskFull = "disk-full", Docker, Critical, Failed,
        "make room on the host, e.g. with `docker image prune`";
    /// The image is not for the platform that it is to run on.
    WrongArchitecture = "wrong-architecture", Docker, Critical, Failed,
        "build the image for the host's platform too, and demand it with `validate.platforms`";
    /// A host could not pull the image.
    PullFailed = "pull-failed", Docker, Critical, Failed,
        "check that the host reaches the registry, and `registry-login`";
    /// A migration failed, or one that failed before is in the way.
    MigrationFailed = "migration-failed", Validation, Critical, Failed,
        "look what of the migration is in the database, correct the migration, and promote again";
    /// Migrating did not end in time.
    MigrationTimedOut = "migration-timed-out", Timeout, Critical, Failed,
        "look what the database waits for (`pg_stat_activity`), or raise `migrate.timeout`";
    /// Somebody else is migrating the database.
    MigrationsLocked = "migrations-locked", Timeout, High, Failed,
        "find out who migrates this database (`pg_locks`), wait for it, or raise `migrate.lock-timeout`";
    /// The files of the migrations are not what they must be.
    MigrationsUnreadable = "migrations-unreadable", Validation, Critical, Failed,
        "check the folder under `migrate`, and that the job has checked it out";
    /// An applied migration was edited or removed.
    MigrationEdited = "migration-edited", Validation, Medium, Failed,
        "restore the migration as it was applied, and make the change in a new one";
    /// The application's database cannot be reached.
    DatabaseUnreachable = "database-unreachable", Network, High, Failed,
        "check the address in `migrate.database`, the network and the firewall; in a container `localhost` is the container itself";
    /// The application's database does not let us in.
    DatabaseRefused = "database-refused", Authentication, Critical, Failed,
        "check the user and the password in `migrate.database`";
    /// What a driver deploys to cannot be reached.
    DriverUnreachable = "driver-unreachable", Network, High, Failed,
        "check the address, the network, the proxy and the certificate; in a container `localhost` is the container itself";
    /// What a driver deploys to does not accept who we are.
    DriverRefused = "driver-refused", Authentication, Critical, Failed,
        "check the credentials under `deploy`, and that the step is given their variables under `env:`";
    /// What a driver deploys to knows us, and does not let us.
    DriverDenied = "driver-denied", Permission, Critical, Failed,
        "grant what the deployment needs to the account under `deploy`";
    /// What a driver deploys to does not have what is named.
    DriverAbsent = "driver-absent", Validation, Critical, Failed,
        "check the names under `deploy`: they must exist where it is deployed to";
    /// What a driver deploys to fails, or throttles, after every retry.
    DriverFailed = "driver-failed", Network, High, Failed,
        "look at the state of what is deployed to; the run can simply be repeated";
    /// What a driver deploys to answers something that it should not.
    DriverNonsense = "driver-nonsense", Network, Critical, Failed,
        "check the address and the pointers under `deploy`, and that no proxy or login page answers in its place";
    /// Another release runs than the one that should.
    RunningDiffers = "running-differs", Validation, Critical, Failed,
        "find out what has changed it, then promote or roll back so that what runs is what is recorded";
    /// Nothing is known that could be put back.
    NothingToGoBackTo = "nothing-to-go-back-to", Validation, High, Failed,
        "nothing is known to have run before: put the service in order by hand, or promote a release that works";
    /// A deployment could not be taken back.
    TakeBackFailed = "take-back-failed", Unknown, Critical, RollbackFailed,
        "a human is needed: put back by hand what ran before, as the fault names it";
    /// A defect of this program.
    Defect = "defect", Unknown, Critical, Failed,
        "report it, with the deployment id and the log";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_unique_and_says_what_to_do() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.fix().len() > 10, "{code} has no fix");
            assert!(code.meaning().trim().ends_with('.'), "{code} has no meaning");
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
        }
    }
}
