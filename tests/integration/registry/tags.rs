//! Tags: listed, kept alive, moved, and read back from registries that lag.

use testbed::image::Image;
use testbed::registry::Lag;
use tidegate::promotion::fault::{Code, Fault};
use tidegate::registry::{Class, Trouble, keep_tag};

use super::setup::{Kind, Place, anonymous, assert_all_counted, counted, digest, habits, tag};

#[tokio::test(flavor = "multi_thread")]
async fn tags_on_many_pages_are_all_listed() {
    for kind in Kind::BOTH {
        let place = match kind {
            Kind::Docker => Place::start(kind),
            Kind::StandIn => Place::with(habits(|settings| settings.page_size = 3)),
        };
        let image = Image::manifest("linux/amd64").build();
        let names: Vec<String> = (0..10).map(|number| format!("v{number}")).collect();
        place.push(&image, "acme/api", &names.iter().map(String::as_str).collect::<Vec<_>>());
        let client = anonymous();
        let tags = client.tags(&place.repository("acme/api"), Class::Look).await.unwrap();
        assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), names, "{kind:?}");
        assert!(client.tags(&place.repository("acme/none"), Class::Look).await.unwrap_err().is_absent());
        assert_all_counted(
            &client.traffic(),
            &[&place.proxy.log()[place.proxy.log().len() - usize::try_from(client.traffic().total()).unwrap()..]],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_is_kept_once() {
    for kind in Kind::BOTH {
        let place = Place::start(kind);
        let image = Image::index(&["linux/amd64", "linux/arm64"]).build();
        place.push(&image, "acme/api", &["production"]);
        place.proxy.clear_log();
        let api = place.repository("acme/api");
        let first = anonymous();
        let kept = first.keep(&api, &digest(&image)).await.unwrap();
        assert_eq!(kept, keep_tag(&digest(&image)));
        assert_eq!(counted(&first.traffic(), Class::Keep), 3, "{kind:?}");
        assert_eq!(place.skopeo("acme/api", kept.as_str()), image.digest());
        // There already: one look, and nothing is written.
        let again = anonymous();
        again.keep(&api, &digest(&image)).await.unwrap();
        assert_eq!(counted(&again.traffic(), Class::Keep), 1, "{kind:?}");
        let writes = place.proxy.log().iter().filter(|entry| entry.method == "PUT").count();
        assert_eq!(writes, 1);
        let gone = tidegate::promotion::digest::Digest::sha256(b"gone");
        assert!(again.keep(&api, &gone).await.unwrap_err().is_absent());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lags_is_read_until_it_shows_what_was_written() {
    for shows_old in [false, true] {
        let place = Place::with(habits(|settings| settings.lag = Some(Lag { reads: 2, shows_old })));
        let (old, new) = (Image::manifest("linux/amd64").build(), Image::manifest("linux/amd64").seed(2).build());
        old.place(place.stand_in().contents(), "acme/api", &["production"]);
        new.place(place.stand_in().contents(), "acme/api", &["staging"]);
        let api = place.repository("acme/api");
        let client = anonymous();
        client.move_tag(&api, &api, &tag("production"), &digest(&new)).await.unwrap();
        client.read_back(&api, &tag("production"), &digest(&new)).await.unwrap();
        assert_eq!(counted(&client.traffic(), Class::Look), 3);
        assert_all_counted(&client.traffic(), &[&place.proxy.log()]);

        // One that never shows it is told, with what it shows instead.
        place.stand_in().configure(|settings| settings.lag = Some(Lag { reads: 100, shows_old }));
        client.move_tag(&api, &api, &tag("production"), &digest(&old)).await.unwrap();
        let error = client.read_back(&api, &tag("production"), &digest(&old)).await.unwrap_err();
        let Trouble::NotSeen { seen, .. } = &error.trouble else { panic!("{error}") };
        assert_eq!(seen.as_ref(), shows_old.then(|| digest(&new)).as_ref());
        assert_eq!(Fault::from(error).code, Code::ReadBackFailed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_wins_over_a_tag() {
    let place = Place::start(Kind::StandIn);
    let (one, other) = (Image::manifest("linux/amd64").build(), Image::manifest("linux/amd64").seed(2).build());
    place.push(&one, "acme/api", &["staging"]);
    place.push(&other, "acme/api", &["other"]);
    let both = format!("{}:other@{}", place.repository("acme/api"), one.digest()).parse().unwrap();
    let client = anonymous();
    assert_eq!(client.head(&both, Class::Look).await.unwrap().unwrap().digest, digest(&one));
    assert_eq!(client.manifest(&both, Class::Look).await.unwrap().digest, digest(&one));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_the_registry_does_not_let_move_is_refused() {
    let place = Place::with(habits(|settings| settings.immutable_tags = true));
    let (one, other) = (Image::manifest("linux/amd64").build(), Image::manifest("linux/amd64").seed(2).build());
    place.push(&one, "acme/api", &["production"]);
    other.place(place.stand_in().contents(), "acme/api", &[]);
    let api = place.repository("acme/api");
    let error = anonymous().move_tag(&api, &api, &tag("production"), &digest(&other)).await.unwrap_err();
    assert_eq!(Fault::from(error).code, Code::ContentRefused);
    assert_eq!(place.stand_in().contents().digest("acme/api", "production").as_deref(), Some(one.digest()));
}
