//! The runner of workflows itself, on small workflows.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may give up with a clear message")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex};

use testbed::github::GitHub;
use workflow::{Gate, Machine, Review, Run, Verdict};

const FILE: &str = ".github/workflows/it.yml";

/// A repository with this workflow, and no action of its own.
fn machine<'a>(text: &str) -> Machine<'a> {
    Machine::new(Path::new("/nowhere"), "acme/tidegate", "/bin/true").file(FILE, text)
}

fn dispatched(jobs: &str) -> Run {
    machine(&format!("on: workflow_dispatch\npermissions: {{}}\njobs:\n{jobs}")).dispatch(FILE, &[])
}

/// What a workflow fails with.
fn refusal(text: &str) -> String {
    let panic = catch_unwind(AssertUnwindSafe(|| machine(text).dispatch(FILE, &[]))).unwrap_err();
    panic.downcast_ref::<String>().cloned().expect("a message")
}

#[test]
fn outputs_go_from_step_to_step_and_from_job_to_job() {
    let run = machine(
        r#"
name: Outputs
on:
  workflow_dispatch:
    inputs:
      who: { type: choice, options: [ann, bob], default: ann }
      loud: { type: boolean, default: false }
permissions: {}
env: { GREETING: Hello }
jobs:
  first:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    outputs:
      text: ${{ steps.say.outputs.text }}
    steps:
      - id: say
        env: { WHO: "${{ inputs.who }}" }
        run: |
          echo "text=$GREETING $WHO" >> "$GITHUB_OUTPUT"
          echo "MOOD=good" >> "$GITHUB_ENV"
          mkdir bin && printf '#!/bin/sh\necho tool\n' > bin/tool && chmod +x bin/tool
          echo "$PWD/bin" >> "$GITHUB_PATH"
      - name: Uses both
        run: test "$MOOD" = good && test "$(tool)" = tool
      - name: Not asked for
        if: inputs.loud
        run: exit 1
  second:
    needs: first
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    env: { TEXT: "${{ needs.first.outputs.text }}" }
    steps:
      - run: test "$TEXT" = 'Hello bob'
"#,
    )
    .dispatch(FILE, &[("who", "bob")]);
    assert_eq!(run.results(), ["first: success", "second: success"], "{run}");
    assert_eq!(run.job("first").step("Not asked for").outcome, Verdict::Skipped);
}

#[test]
fn failures_go_through_needs() {
    let run = dispatched(
        "
  breaks: { runs-on: u, timeout-minutes: 1, steps: [{ run: 'false' }, { name: recovers, if: failure(), run: 'true' }] }
  after: { needs: breaks, runs-on: u, timeout-minutes: 1, steps: [{ run: 'true' }] }
  rescue: { needs: breaks, if: failure(), runs-on: u, timeout-minutes: 1, steps: [{ run: 'true' }] }
  always: { needs: [after], if: always(), runs-on: u, timeout-minutes: 1, steps: [{ run: 'true' }] }
  # A job that was skipped further back is no success either.
  last: { needs: [always], runs-on: u, timeout-minutes: 1, steps: [{ run: 'true' }] }
",
    );
    let ended = |id: &str| run.job(id).result;
    assert_eq!(ended("breaks"), Verdict::Failure);
    assert_eq!(run.job("breaks").step("recovers").outcome, Verdict::Success);
    assert_eq!((ended("after"), ended("rescue")), (Verdict::Skipped, Verdict::Success));
    assert_eq!((ended("always"), ended("last")), (Verdict::Success, Verdict::Skipped));
    assert_eq!(run.result(), Verdict::Failure);
}

#[test]
fn a_failure_may_be_none_of_the_jobs() {
    let run = dispatched(
        "
  one:
    runs-on: u
    timeout-minutes: 1
    steps:
      - { id: tries, continue-on-error: true, run: exit 3 }
      - { if: steps.tries.outcome == 'failure' && steps.tries.conclusion == 'success', name: seen, run: 'true' }
",
    );
    assert_eq!(run.job("one").step("seen").outcome, Verdict::Success, "{run}");
    assert_eq!(run.result(), Verdict::Success);
}

#[test]
fn a_pipe_fails_in_bash_that_was_asked_for() {
    let run = dispatched(
        "
  one:
    runs-on: u
    timeout-minutes: 1
    steps:
      - { name: default, run: 'false | true' }
      - { name: asked for, shell: bash, run: 'false | true' }
",
    );
    assert_eq!(run.job("one").step("default").outcome, Verdict::Success);
    assert_eq!(run.job("one").step("asked for").outcome, Verdict::Failure);
}

#[test]
fn called_workflows_get_what_they_declare() {
    let called = r#"
on:
  workflow_call:
    inputs:
      level: { type: number, default: 2 }
      name: { type: string, required: true }
    outputs:
      line: { value: "${{ jobs.work.outputs.line }}" }
    secrets:
      KEY: { required: true }
      OTHER: {}
permissions: { contents: read }
jobs:
  work:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    outputs: { line: "${{ steps.a.outputs.line }}", key: "${{ steps.a.outputs.key }}" }
    steps:
      - id: a
        env: { KEY: "${{ secrets.KEY }}", OTHER: "${{ secrets.OTHER }}", NAME: "${{ inputs.name }}", LEVEL: "${{ inputs.level }}" }
        run: |
          test -z "$OTHER"
          echo "line=$NAME $LEVEL" >> "$GITHUB_OUTPUT"
          echo "key=$KEY" >> "$GITHUB_OUTPUT"
"#;
    let caller = r#"
on: workflow_dispatch
permissions: {}
jobs:
  call:
    permissions: { contents: read }
    uses: ./.github/workflows/called.yml
    with: { name: ann }
    secrets: { KEY: "${{ secrets.TOP }}" }
  after:
    needs: call
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - env: { LINE: "${{ needs.call.outputs.line }}" }
        run: test "$LINE" = 'ann 2'
"#;
    let machine = machine(caller).file(".github/workflows/called.yml", called).secret("TOP", "sesame");
    let run = machine.dispatch(FILE, &[]);
    assert_eq!(run.results(), ["call / work: success", "call: success", "after: success"], "{run}");
    // What holds a secret is no output.
    assert_eq!(run.job("call / work").outputs.keys().collect::<Vec<_>>(), ["line"]);
    // The caller cannot give what it has not.
    let more = caller.replace("    permissions: { contents: read }\n", "");
    let refused = machine.file(FILE, more);
    let panic = catch_unwind(AssertUnwindSafe(|| refused.dispatch(FILE, &[]))).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("asks for `contents: read`"));
}

#[test]
fn an_environment_waits_for_its_reviewers() {
    let text = r#"
on: workflow_dispatch
permissions: {}
jobs:
  one:
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    environment: { name: production, deployment: false }
    steps:
      - env: { KEY: "${{ secrets.KEY }}" }
        run: test "$KEY" = inner
"#;
    let github = GitHub::start();
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let gate = Gate::reviewed(&["bob"], move |waiting| {
        seen.lock().unwrap().push(format!("{} {}", waiting.job, waiting.environment));
        Review::yes("bob")
    });
    let machine = machine(text).on(&github).secret("KEY", "outer");
    let machine = machine.environment("production", gate.secret("KEY", "inner"));
    let run = machine.dispatch(FILE, &[]);
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(*asked.lock().unwrap(), ["one production"]);
    let refusing =
        machine.environment("production", Gate::reviewed(&["bob"], |_| Review::no("bob", "not on a Friday")));
    let run = refusing.dispatch(FILE, &[]);
    assert_eq!(run.job("one").result, Verdict::Failure);
    assert!(run.job("one").steps.is_empty());
}

#[test]
fn artifacts_are_carried_over_but_for_hidden_files() {
    let pinned = "0123456789012345678901234567890123456789";
    let upload = format!("actions/upload-artifact@{pinned}");
    let run = dispatched(&format!(
        "
  make:
    runs-on: u
    timeout-minutes: 1
    steps:
      - run: mkdir -p logs/.hidden && echo a > logs/a.log && echo b > logs/.hidden/b.log
      - {{ uses: {upload}, with: {{ name: shown, path: logs, retention-days: 90 }} }}
      - {{ uses: {upload}, with: {{ name: all, path: logs, retention-days: 90, include-hidden-files: true }} }}
  take:
    needs: make
    runs-on: u
    timeout-minutes: 1
    steps:
      - {{ uses: actions/download-artifact@{pinned}, with: {{ name: all, path: there }} }}
      - run: test \"$(cat there/.hidden/b.log)\" = b
"
    ));
    assert_eq!(run.result(), Verdict::Success, "{run}");
    assert_eq!(run.artifact("shown", "a.log"), "a\n");
    assert!(!run.artifacts["shown"].join(".hidden").exists());
}

#[test]
fn what_is_not_known_is_refused() {
    let job = |rest: &str| format!("on: workflow_dispatch\npermissions: {{}}\njobs:\n  one: {{ {rest} }}\n");
    let steps = |steps: &str| job(&format!("runs-on: u, timeout-minutes: 1, steps: [{steps}]"));
    let table = [
        (job("runs-on: u, timeout-minutes: 1, stepps: []"), "stepps"),
        (job("needs: [two], runs-on: u, timeout-minutes: 1, steps: []"), "needs `two`"),
        (job("runs-on: u, steps: [{ run: 'true' }]"), "timeout-minutes"),
        (steps("{ uses: actions/checkout@v4 }"), "not pinned"),
        (
            steps("{ uses: actions/cache@0123456789012345678901234567890123456789 }"),
            "nothing stands in for actions/cache",
        ),
        (steps("{ run: 'true', if: \"secrets.KEY != ''\" }"), "`secrets` is not available here"),
        (steps("{ run: \"echo ${{ steps.none.outputs.x }}\", env: { A: \"${{ inputs.none }}\" } }"), "`none`"),
        (steps("{ run: 'true', uses: x }"), "must be one of"),
        (job("uses: ./.github/workflows/none.yml"), "none.yml"),
        (job("uses: other/repo/.github/workflows/x.yml@0123456789012345678901234567890123456789"), "not known here"),
        (
            "on: workflow_dispatch\njobs: { one: { runs-on: u, timeout-minutes: 1, steps: [] } }\n".to_owned(),
            "token may do",
        ),
        ("on: push\npermissions: {}\njobs: {}\n".to_owned(), "cannot be started by hand"),
    ];
    for (text, wanted) in table {
        let found = refusal(&text);
        assert!(found.contains(wanted), "{text}\n{found}");
    }
}
