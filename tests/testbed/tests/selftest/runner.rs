//! The runner runs programs as GitHub's does; a shell stands for the program.

use std::time::{Duration, Instant};

use testbed::runner::{Runner, Signal};

fn shell(script: &str) -> Runner {
    Runner::new("/bin/sh").arguments(&["-c", script])
}

#[test]
fn the_environment_is_the_runners_and_no_other() {
    let step = shell("env; pwd; cat; cat \"$GITHUB_EVENT_PATH\"").input("job-status", "a b").absent_inputs(&["image"]);
    let finished = step.run();
    assert!(finished.is_success(), "{finished}");
    for line in ["GITHUB_ACTIONS=true", "GITHUB_REPOSITORY=acme/api"] {
        assert!(finished.lines().contains(&line.to_owned()), "{finished}");
    }
    assert!(finished.lines().contains(&step.workspace().display().to_string()));
    assert!(finished.stdout.contains("\"ref\":\"refs/heads/main\""));
    // What cargo sets for this test does not reach the program, nor does a token.
    assert!(!finished.stdout.contains("CARGO") && !finished.stdout.contains("GITHUB_TOKEN"));
    // A shell drops variables with hyphens; env as the program itself does not.
    let shown = Runner::new("/usr/bin/env").input("job-status", "a b").absent_inputs(&["image"]).run();
    assert!(shown.lines().contains(&"INPUT_JOB-STATUS=a b".to_owned()));
    assert!(shown.lines().contains(&"INPUT_IMAGE=".to_owned()));
    let plain = Runner::outside_actions("/usr/bin/env").run();
    assert!(!plain.stdout.contains("GITHUB"), "{plain}");
}

#[test]
fn what_the_program_leaves_is_read() {
    let finished = shell(
        "echo 'a<<E\n1\n2\nE' >> $GITHUB_OUTPUT; echo 'b=c' >> $GITHUB_STATE; echo '# done' > $GITHUB_STEP_SUMMARY\n\
         echo '::error title=x::bad%0Athing'; echo 'seen ##[set-output name=d]e' >&2; echo ::add-mask::s3cret; echo on",
    )
    .run();
    let outputs = finished.outputs().expect("well-formed outputs");
    assert_eq!((outputs["a"].as_str(), outputs["d"].as_str()), ("1\n2", "e"));
    assert_eq!(finished.state().expect("a well-formed state")["b"], "c");
    assert_eq!((finished.summary(), finished.lines()), ("# done\n", vec!["on".to_owned()]));
    assert_eq!((finished.annotations("error"), finished.masks()), (vec!["bad\nthing".into()], vec!["s3cret".into()]));
    assert!(finished.is_success());

    let malformed = shell("echo nonsense >> $GITHUB_OUTPUT").run();
    assert!(malformed.outputs().is_err() && !malformed.is_success());
    assert!(!shell("echo ::set-env name=a::b").run().is_success());
}

#[test]
fn exit_codes_and_signals() {
    assert_eq!(shell("exit 7").run().code, Some(7));
    let mut running = shell("trap 'echo stopped; exit 130' INT; echo ready; while :; do sleep 0.05; done").start();
    running.wait_for("ready");
    running.signal(Signal::INT);
    let finished = running.wait();
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(130), "ready\nstopped\n"));
    let mut running = shell("echo ready; sleep 60").start();
    running.wait_for("ready");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().signal, Some(9));
}

#[test]
fn children_do_not_keep_the_test_waiting() {
    let begun = Instant::now();
    assert_eq!(shell("sleep 60 & exit 3").run().code, Some(3));
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[test]
#[should_panic(expected = "did not end within")]
fn time_is_limited() {
    let _ = shell("sleep 60").timeout(Duration::from_millis(100)).run();
}

#[test]
fn the_workspace_is_shared_and_searched() {
    let step =
        shell("cat config/a.txt; echo s3cret > left.txt; echo ::add-mask::s3cret").file("config/a.txt", "hello\n");
    let first = step.run();
    assert_eq!(first.lines(), ["hello"]);
    assert_eq!(first.places_with("s3cret"), ["left.txt"]);
    let second = step.clone().arguments(&["x"]).run();
    assert_eq!(second.places_with("hello"), ["stdout", "config/a.txt"]);
}
