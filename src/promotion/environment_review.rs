//! Whether people have said yes through a GitHub environment. Pure.
//!
//! GitHub holds a job back until a required reviewer approves; inside the job that has already happened, and all that
//! can be done is to read who it was. What GitHub tells is thin: the list of reviews has no times and no attempts, a
//! re-run lists the old ones too, an administrator can pass the rule over without leaving a trace, and one approval is
//! always enough for GitHub. So what cannot be read counts as a no.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};

use super::login::Login;

/// What protects an environment, as far as GitHub tells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protection {
    /// The people of whom one must approve; none where the environment has no such rule.
    pub reviewers: Option<Reviewers>,
    /// Minutes that a job waits in any case.
    pub wait_timer: Option<u32>,
    /// Which branches and tags may deploy; none where all may.
    pub branches: Option<Branches>,
    /// Rules that this version does not know, by type.
    pub unknown: Vec<String>,
}

/// The rule `required_reviewers`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reviewers {
    /// Whether GitHub itself refuses the approval of the one who started the run.
    pub prevent_self_review: bool,
    /// The people.
    pub users: BTreeSet<Login>,
    /// The teams, by slug.
    pub teams: BTreeSet<String>,
}

/// The rule on branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Branches {
    /// Only protected branches.
    Protected,
    /// Only branches and tags with certain names.
    Named,
}

/// What a reviewer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReviewState {
    /// Yes.
    Approved,
    /// No.
    Rejected,
    /// Something else, `pending` among it.
    Other(String),
}

/// One review of a workflow run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// What was said.
    pub state: ReviewState,
    /// By whom; nobody when the account is gone.
    pub by: Option<Login>,
    /// The remark (untrusted).
    pub remark: String,
    /// The environments it is for.
    pub environments: Vec<String>,
}

/// What is demanded beyond what GitHub demands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demand {
    /// How many different people must have approved; 0 counts as 1.
    pub minimum: usize,
    /// Whether the approval of those in whose name the run was started counts.
    pub askers_count: bool,
    /// Whether a rule that was passed over, without an approval to be read, counts as an approval.
    pub bypass_counts: bool,
}

/// Why an approval of an environment does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Objection {
    /// The environment asks nobody.
    Unprotected,
    /// No approval can be read: the rule was passed over, or GitHub does not tell.
    NothingToRead,
    /// Somebody said no.
    Rejected {
        /// Who.
        by: Login,
        /// The remark (untrusted).
        remark: String,
    },
    /// Not enough different people said yes.
    TooFew {
        /// How many must.
        needed: usize,
        /// How many did.
        counted: usize,
        /// Whose yes does not count, and why.
        ignored: Vec<(Option<Login>, Ignored)>,
    },
}

/// Why one review does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// It is by the one in whose name the run was started.
    OwnRun,
    /// Its author's account is gone.
    NoAuthor,
    /// Its author is not among the required reviewers: an administrator passed the rule over.
    NotAReviewer,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnRun => "cannot approve a run of their own",
            Self::NoAuthor => "has no account any more",
            Self::NotAReviewer => "is not among the required reviewers",
        })
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unprotected => f.write_str("the environment has no required reviewers"),
            Self::NothingToRead => f.write_str(
                "the environment has required reviewers, and no approval of this run can be read: an administrator \
                 passed the rule over, or GitHub does not tell",
            ),
            Self::Rejected { by, .. } => write!(f, "{by} rejected"),
            Self::TooFew { needed, counted, ignored } => {
                write!(f, "{needed} different people must approve, and {counted} did")?;
                for (by, because) in ignored {
                    write!(f, "; {} {because}", by.as_ref().map_or("somebody", Login::as_str))?;
                }
                Ok(())
            }
        }
    }
}

/// A yes through an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approved {
    /// By whom, with their remarks. Empty when the rule was passed over and that counts.
    pub by: Vec<(Login, String)>,
}

/// Whether the reviews of a workflow run are a yes to what is deployed into an environment.
///
/// `askers` are those in whose name the run was started: the requestor, the actor and the triggering actor.
///
/// # Errors
/// What speaks against it.
pub fn approved(
    environment: &str,
    protection: &Protection,
    reviews: &[Review],
    askers: &BTreeSet<Login>,
    demand: &Demand,
) -> Result<Approved, Objection> {
    let reviewers = protection.reviewers.as_ref().ok_or(Objection::Unprotected)?;
    let ours: Vec<&Review> = reviews.iter().filter(|review| review.is_about(environment)).collect();
    if let Some(no) = ours.iter().find(|review| review.state == ReviewState::Rejected) {
        let by = no.by.clone().unwrap_or_else(|| Login::new("somebody"));
        return Err(Objection::Rejected { by, remark: no.remark.clone() });
    }
    let yes: Vec<&&Review> = ours.iter().filter(|review| review.state == ReviewState::Approved).collect();
    if yes.is_empty() {
        return if demand.bypass_counts { Ok(Approved { by: Vec::new() }) } else { Err(Objection::NothingToRead) };
    }
    let mut by: Vec<(Login, String)> = Vec::new();
    let mut ignored = Vec::new();
    for review in yes {
        match counts(review, reviewers, askers, demand) {
            Err(because) => ignored.push((review.by.clone(), because)),
            Ok(login) if by.iter().any(|(other, _)| *other == login) => {}
            Ok(login) => by.push((login, review.remark.clone())),
        }
    }
    let needed = demand.minimum.max(1);
    if by.len() < needed {
        return Err(Objection::TooFew { needed, counted: by.len(), ignored });
    }
    Ok(Approved { by })
}

impl Review {
    /// GitHub does not tell `Production` from `production`.
    fn is_about(&self, environment: &str) -> bool {
        self.environments.iter().any(|name| name.to_lowercase() == environment.to_lowercase())
    }
}

fn counts(review: &Review, reviewers: &Reviewers, askers: &BTreeSet<Login>, demand: &Demand) -> Result<Login, Ignored> {
    let login = review.by.clone().ok_or(Ignored::NoAuthor)?;
    if askers.contains(&login) && !demand.askers_count {
        return Err(Ignored::OwnRun);
    }
    // Who is in a team cannot be read with the job's token; GitHub has asked only its members.
    let known = reviewers.teams.is_empty();
    if known && !reviewers.users.contains(&login) && !demand.bypass_counts {
        return Err(Ignored::NotAReviewer);
    }
    Ok(login)
}

/// Whether an approval through an environment was given with the plan on the table: this workflow run recorded the plan
/// before the gated job came into being. Afterwards nobody can tell whether the reviewer saw it, because reviews have no
/// times.
#[must_use]
pub fn is_bound(plan_recorded_at: Option<DateTime<Utc>>, gated_job_created_at: Option<DateTime<Utc>>) -> bool {
    matches!((plan_recorded_at, gated_job_created_at), (Some(plan), Some(job)) if plan <= job)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn protection(users: &[&str], teams: &[&str]) -> Protection {
        let reviewers = Reviewers {
            prevent_self_review: false,
            users: users.iter().copied().map(Login::new).collect(),
            teams: teams.iter().map(|team| (*team).to_owned()).collect(),
        };
        Protection { reviewers: Some(reviewers), ..Protection::default() }
    }

    fn review(state: &str, by: &str) -> Review {
        let state = match state {
            "approved" => ReviewState::Approved,
            "rejected" => ReviewState::Rejected,
            other => ReviewState::Other(other.to_owned()),
        };
        Review {
            state,
            by: (!by.is_empty()).then(|| Login::new(by)),
            remark: "fine".to_owned(),
            environments: vec!["Production / EU".to_owned()],
        }
    }

    fn judge(protection: &Protection, reviews: &[Review], demand: &Demand) -> Result<Vec<String>, Objection> {
        let askers = ["actor", "presser"].map(Login::new).into();
        approved("production / eu", protection, reviews, &askers, demand)
            .map(|approved| approved.by.into_iter().map(|(login, _)| login.to_string()).collect())
    }

    #[test]
    fn what_counts() {
        let users = protection(&["ann", "bob", "actor"], &[]);
        let two = Demand { minimum: 2, ..Demand::default() };
        let one = Demand::default();
        let yes = |by| review("approved", by);
        assert_eq!(judge(&users, &[yes("ANN")], &one), Ok(vec!["ANN".to_owned()]));
        assert_eq!(judge(&users, &[yes("ann"), yes("bob")], &two).map(|by| by.len()), Ok(2));
        assert!(judge(&protection(&[], &["release"]), &[yes("anybody")], &one).is_ok());
        let open = Demand { askers_count: true, ..one.clone() };
        assert!(judge(&users, &[yes("actor")], &open).is_ok());
        let lenient = Demand { bypass_counts: true, ..one };
        assert_eq!(judge(&users, &[], &lenient), Ok(vec![]));
        assert!(judge(&users, &[yes("admin")], &lenient).is_ok());
    }

    #[test]
    fn what_does_not_count() {
        let users = protection(&["ann", "bob", "actor"], &[]);
        let one = Demand::default();
        let two = Demand { minimum: 2, ..Demand::default() };
        let too_few = |needed, counted, ignored| Err(Objection::TooFew { needed, counted, ignored });
        let login = |name| Some(Login::new(name));
        assert_eq!(judge(&Protection::default(), &[review("approved", "ann")], &one), Err(Objection::Unprotected));
        assert_eq!(judge(&users, &[], &one), Err(Objection::NothingToRead));
        assert_eq!(judge(&users, &[review("pending", "ann")], &one), Err(Objection::NothingToRead));
        assert_eq!(judge(&users, &[review("waved-through", "ann")], &one), Err(Objection::NothingToRead));
        let other = Review { environments: vec!["production".to_owned()], ..review("approved", "ann") };
        assert_eq!(judge(&users, &[other], &one), Err(Objection::NothingToRead));
        assert_eq!(
            judge(&users, &[review("approved", "ACTOR")], &one),
            too_few(1, 0, vec![(login("actor"), Ignored::OwnRun)])
        );
        assert_eq!(
            judge(&users, &[review("approved", "admin"), review("approved", "")], &one),
            too_few(1, 0, vec![(login("admin"), Ignored::NotAReviewer), (None, Ignored::NoAuthor)])
        );
        assert_eq!(judge(&users, &[review("approved", "ann"), review("approved", "ANN")], &two), too_few(2, 1, vec![]));
        assert_eq!(
            judge(&users, &[review("approved", "ann"), review("rejected", "bob")], &one),
            Err(Objection::Rejected { by: Login::new("bob"), remark: "fine".to_owned() })
        );
        let lenient = Demand { bypass_counts: true, ..one };
        assert!(judge(&users, &[review("rejected", "")], &lenient).is_err());
    }

    #[test]
    fn only_a_plan_that_was_there_first_binds() {
        let time = |seconds| DateTime::from_timestamp(seconds, 0);
        assert!(is_bound(time(5), time(5)) && is_bound(time(4), time(5)));
        assert!(!is_bound(time(6), time(5)) && !is_bound(None, time(5)) && !is_bound(time(5), None));
    }

    proptest! {
        #[test]
        fn never_without_enough_people_other_than_the_askers(
            reviews in prop::collection::vec(("approved|pending|rejected|odd", "ann|ANN|bob|actor|Presser|admin|"), 0..8),
            minimum in 0usize..4,
        ) {
            let reviews: Vec<Review> = reviews.iter().map(|(state, by)| review(state, by)).collect();
            let users = protection(&["ann", "bob", "actor"], &[]);
            if let Ok(by) = judge(&users, &reviews, &Demand { minimum, ..Demand::default() }) {
                let people: BTreeSet<Login> = by.iter().map(|name| Login::new(name)).collect();
                prop_assert_eq!(people.len(), by.len());
                prop_assert!(people.len() >= minimum.max(1));
                prop_assert!(people.is_subset(&["ann", "bob"].map(Login::new).into()));
                prop_assert!(reviews.iter().all(|review| review.state != ReviewState::Rejected));
            }
        }
    }
}
