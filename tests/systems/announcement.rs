//! Other workflows of a repository speak through the channels of its configuration.

use testbed::channels::Channels;
use testbed::github::GitHub;
use workflow::{Machine, Run, Verdict};

use super::{PROGRAM, root};

const FILE: &str = ".github/workflows/backup.yml";

const BACKUP: &str = r#"name: Backup
on: workflow_dispatch
permissions: {}
jobs:
  backup:
    name: Back up
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - run: exit 1
  tell:
    name: Tell
    needs: backup
    if: failure()
    permissions:
      contents: read
    uses: tidegate/tidegate/.github/workflows/notify.yml@4f9abb8c31e13a85a8415024054ba102481737c1 # v1
    with:
      event: failed
      severity: critical
      message: |
        The nightly backup failed
        Look at the job's log
    secrets:
      SLACK_WEBHOOK: ${{ secrets.SLACK_WEBHOOK }}
      TEAMS_WEBHOOK: ${{ secrets.TEAMS_WEBHOOK }}
"#;

const CONFIGURATION: &str = r#"version: 1
services:
  api: { image: ghcr.io/acme/api }
environments:
  staging: { tag: staging }
notify:
  team: { slack: "${SLACK_WEBHOOK}", on: [failed] }
  oncall: { teams: "${TEAMS_WEBHOOK}", at-least: critical }
  quiet: { webhook: "${WEBHOOK_URL}", on: [succeeded] }
"#;

fn backup(channels: &Channels) -> Run {
    let github = GitHub::start();
    let commit = github.repository("acme/api").commit("main", "Back up", "ann");
    Machine::new(root(), "tidegate/tidegate", PROGRAM)
        .file(FILE, BACKUP)
        .file(".github/tidegate.yml", CONFIGURATION)
        .on(&github)
        .commit(&commit)
        .secret("SLACK_WEBHOOK", &format!("{}/services/T0/B0/x", channels.url()))
        .secret("TEAMS_WEBHOOK", &format!("{}/workflows/oncall", channels.url()))
        .dispatch(FILE, &[])
}

#[test]
fn a_failed_backup_is_told_to_those_that_want_failures_and_to_those_that_are_woken() {
    let channels = Channels::start();
    let run = backup(&channels);
    assert_eq!(run.job("tell / notify").result, Verdict::Success, "{run}");
    let told = channels.told();
    let mut paths: Vec<&str> = told.iter().map(|told| told.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["/services/T0/B0/x", "/workflows/oncall"], "{run}");
    for told in &told {
        assert!(told.body.contains("The nightly backup failed") && told.body.contains("acme/api"), "{}", told.body);
    }
}
