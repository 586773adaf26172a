//! Everybody is told by the real program, once, and it is on record.

use testbed::channels::Told;
use testbed::fault::{Action, Rule};
use testbed::runner::Signal;
use tidegate::promotion::state::State;

use super::scene::{Scene, image, wait};

/// A channel of every kind that is reached over HTTP.
pub(crate) const ALL: &str = r##"
team: { slack: "${SLACK}", on: [started, promoted, succeeded, failed] }
bot: { slack-bot: "${SLACK_TOKEN}", channel: "#deploys", api: "{channels}/api", on: [started, succeeded] }
oncall: { teams: "${TEAMS}" }
hook: { webhook: "${HOOK}", hmac: "${HMAC}", headers: { x-environment: "{{ environment }}", x-key: "${HMAC}" } }
mail: { brevo: "${BREVO}", from: deploy@acme.test, to: [ops@acme.test], api: "{channels}" }
pager: { pagerduty: "${PAGER}", at-least: high, api: "{channels}" }
"##;

fn settled(event: &str, channel: &str, how: &str) -> (String, String, String) {
    (event.to_owned(), channel.to_owned(), how.to_owned())
}

#[test]
fn everybody_is_told_of_a_success_once() {
    let scene = Scene::new(ALL, "");
    let finished = scene.promote();
    assert!(finished.is_success(), "{finished}");
    let mut notifications = scene.notifications();
    notifications.sort();
    let mut expected = vec![
        settled("started", "team", "sent"),
        settled("started", "bot", "sent"),
        settled("promoted", "team", "sent"),
        settled("succeeded", "team", "sent"),
        settled("succeeded", "bot", "sent"),
        settled("succeeded", "oncall", "accepted"),
        settled("succeeded", "hook", "sent"),
        settled("succeeded", "mail", "accepted"),
    ];
    expected.sort();
    assert_eq!(notifications, expected);
    let titles: Vec<String> = scene.told("/services").iter().map(headline).collect();
    assert_eq!(
        titles,
        ["🚀 On its way: api to production", "📦 Promoted: api to production", "✅ Succeeded: api to production"]
    );
    assert_eq!(scene.told("/workflows").len(), 1);
    assert_eq!(scene.told("/v3").len(), 1);
    assert_eq!(scene.told("/v2/enqueue").len(), 0, "the boring wakes nobody");
    let run = scene.run();
    assert_eq!(run.state, State::CompletedSuccessfully);
    assert!(finished.summary().contains("### Who was told"), "{}", finished.summary());
    assert!(finished.summary().contains("accepted"), "{}", finished.summary());
    scene.assert_nothing_leaked(&finished);
    // A finished run met again tells nobody anything.
    let told = scene.channels.told().len();
    assert!(scene.promote().is_success());
    assert_eq!(scene.channels.told().len(), told);
}

fn headline(told: &Told) -> String {
    told.json()["blocks"][0]["text"]["text"].as_str().unwrap().to_owned()
}

#[test]
fn the_threads_first_message_is_kept_up_to_date() {
    let scene = Scene::new(ALL, "");
    assert!(scene.promote().is_success());
    let told = scene.told("/api");
    let paths: Vec<&str> = told.iter().map(|told| told.path.as_str()).collect();
    assert_eq!(paths, ["/api/chat.postMessage", "/api/chat.update", "/api/chat.postMessage"]);
    let [first, update, reply] = [&told[0], &told[1], &told[2]].map(Told::json);
    assert_eq!(first["channel"], "#deploys");
    assert!(first.get("thread_ts").is_none());
    assert_eq!(told[0].headers["authorization"], "Bearer xoxb-not-a-token");
    // From then on the channel is named by its id, which the first answer told.
    assert_eq!((&update["channel"], &reply["channel"]), (&"C024BE91L".into(), &"C024BE91L".into()));
    assert_eq!(update["ts"], reply["thread_ts"]);
    assert_eq!(headline(&told[1]), "✅ Succeeded: api to production");
}

#[test]
fn a_webhook_can_tell_who_sent_it_and_whether_it_has_it_already() {
    let scene = Scene::new(ALL, "");
    assert!(scene.promote().is_success());
    let told = scene.told("/hook").remove(0);
    let (at, signature) = told.headers["x-tidegate-signature"].split_once(",v1=").unwrap();
    let at = at.strip_prefix("t=").unwrap();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"a key that nobody knows");
    let signed = format!("{at}.{}", told.body);
    ring::hmac::verify(&key, signed.as_bytes(), &hex::decode(signature).unwrap()).unwrap();
    assert_eq!(told.headers["x-tidegate-event"], "succeeded");
    assert_eq!(told.headers["x-environment"], "production");
    assert_eq!(told.headers["x-tidegate-delivery"].len(), 36);
    let json = told.json();
    assert_eq!((&json["schema"], &json["event"], &json["severity"]), (&1.into(), &"succeeded".into(), &"low".into()));
    assert_eq!(json["values"]["digest"], image(1).digest());
}

#[test]
fn a_failure_wakes_somebody_and_the_next_success_lets_them_sleep() {
    let pager = "pager: { pagerduty: \"${PAGER}\", api: \"{channels}\" }\nteam: { slack: \"${SLACK}\", on: [failed] }";
    let scene = Scene::new(pager, "validate: { size: { max: 10B } }");
    let finished = scene.promote();
    assert_eq!(finished.code, Some(1), "{finished}");
    let mut notifications = scene.notifications();
    notifications.sort();
    // Who asks for failures hears of this one too, and nobody hears of it twice.
    assert_eq!(notifications, [settled("failed", "team", "sent"), settled("validation-failed", "pager", "sent")]);
    let trigger = scene.told("/v2")[0].json();
    assert_eq!((&trigger["event_action"], &trigger["payload"]["severity"]), (&"trigger".into(), &"error".into()));
    assert_eq!(trigger["routing_key"], "pagerduty-secret-key");
    assert!(
        trigger["payload"]["custom_details"]["What happened"].as_str().unwrap().contains("size of api"),
        "{trigger}"
    );

    scene.configure(pager, "");
    let finished = scene.step().env("GITHUB_RUN_ID", "16000000002").run();
    assert!(finished.is_success(), "{finished}");
    let resolve = scene.told("/v2")[1].json();
    assert_eq!(resolve["event_action"], "resolve");
    assert_eq!(resolve["dedup_key"], trigger["dedup_key"]);
}

#[test]
fn nobody_is_told_of_a_plan_or_of_nothing_to_do() {
    let scene = Scene::new(ALL, "");
    let plan = scene.step().input("operation", "plan").without_env("SLACK").run();
    assert!(plan.is_success(), "{plan}");
    assert!(scene.promote().is_success());
    let told = scene.channels.told().len();
    let again = scene.step().env("GITHUB_RUN_ID", "16000000002").run();
    assert!(again.is_success(), "{again}");
    assert!(scene.run().notifications.is_empty());
    assert_eq!(scene.channels.told().len(), told);
}

#[test]
fn other_words_are_used_and_other_environments_left_alone() {
    let notify = r##"
team:
  slack: "${SLACK}"
  on: [succeeded]
  templates: { succeeded: "{{ service }} is out as {{ digest[:19] }}, says {{ requestor }}" }
quiet: { webhook: "${HOOK}", environments: [staging] }
broken: { teams: "${TEAMS}", templates: { succeeded: "{{ vars.absent }}" } }
"##;
    let scene = Scene::new(notify, "");
    assert!(scene.promote().is_success());
    let told = scene.told("/services").remove(0).json();
    let text = told["blocks"][1]["elements"][0]["elements"][0]["text"].as_str().unwrap();
    assert_eq!(text, format!("api is out as {}, says octocat", &image(1).digest()[..19]));
    assert!(scene.told("/hook").is_empty());
    // Words that cannot be filled in keep nobody from being told.
    assert_eq!(scene.told("/workflows").len(), 1);
}

#[test]
fn a_secret_that_is_missing_or_no_address_is_told_before_anything_is_done() {
    let scene = Scene::new("team: { slack: \"${SLACK}\" }", "");
    let missing = scene.step().without_env("SLACK").run();
    assert_eq!(missing.code, Some(2), "{missing}");
    let wrong = scene.step().env("SLACK", "http://hooks.acme.test/secretsecret").run();
    assert_eq!(wrong.code, Some(2), "{wrong}");
    assert!(wrong.stdout.contains("`SLACK` is an address without TLS"), "{wrong}");
    let shown: String = wrong.stdout.lines().filter(|line| !line.starts_with("::add-mask::")).collect();
    assert!(!shown.contains("secretsecret"), "{wrong}");
    assert!(scene.registry.contents().digest("acme/api", "production").is_none());
}

/// Kills the program while the first message to Slack is under way: it is on record that it is to be told, and not that it
/// was.
fn killed_while_telling(scene: &Scene) {
    let hang = scene.channels.fault(Rule::on("POST", "/services/*").act(Action::Hang));
    let running = scene.step().start();
    while hang.hits() == 0 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    // The run has got as far as it does without an answer.
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal(Signal::KILL);
    assert_eq!(running.wait().signal, Some(9));
    hang.remove();
    assert!(scene.told("/services").is_empty());
    assert!(scene.notifications().contains(&settled("started", "team", "open")), "{:?}", scene.notifications());
}

#[test]
fn the_next_visit_tells_what_a_killed_one_has_left() {
    let scene = Scene::new("team: { slack: \"${SLACK}\", on: [started, succeeded] }", "");
    killed_while_telling(&scene);
    let finished = scene.promote();
    assert!(finished.is_success(), "{finished}");
    let all = [settled("started", "team", "sent"), settled("succeeded", "team", "sent")];
    assert_eq!(scene.notifications(), all);
    assert_eq!(scene.told("/services").len(), 2);
}

#[test]
fn recover_tells_what_a_killed_visit_has_left() {
    let scene = Scene::new("team: { slack: \"${SLACK}\", on: [started, succeeded] }", "");
    killed_while_telling(&scene);
    let id = scene.run().id.to_string();
    let recovered = scene.step().input("operation", "recover").input("deployment-id", &id).run();
    assert!(recovered.is_success(), "{recovered}");
    let told = scene.notifications();
    assert!(told.iter().all(|one| one.2 == "sent"), "{told:?}\n{recovered}");
    assert_eq!(scene.told("/services").len(), told.len());
}

#[test]
fn the_outbox_is_rebuilt_from_the_events_alone() {
    let scene = Scene::new(ALL, "");
    scene.channels.fault(Rule::on("POST", "/v3/*").act(Action::Answer(testbed::fault::Answer::status(400))));
    assert!(scene.promote().is_success());
    let rows = || {
        let ledger = scene.ledger();
        wait(async { ledger.rebuild().await.unwrap() });
        scene.notifications()
    };
    let before = scene.notifications();
    assert_eq!(before.iter().filter(|one| one.2 == "failed").count(), 1);
    assert_eq!(rows(), before);
}
