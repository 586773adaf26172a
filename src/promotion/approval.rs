//! Whether people have said yes in the comments of an issue. Pure: the comments and the time are given.
//!
//! Anybody with write access can edit another's comment, anybody at all can comment on a public repository, and a
//! comment that was right for one plan stays on the page when the plan changes. So an answer counts only from the
//! people who were asked, unedited, after the request, and with the code of exactly this request.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use super::answer::Answer;
use super::answer::{CODE_LENGTH, Command, Contradiction, read};
use super::digest::Digest;
use super::login::Login;

/// What was asked, when, and in whose name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The code of this request; see [`code`].
    pub code: String,
    /// When it was asked.
    pub asked_at: DateTime<Utc>,
    /// Until when an answer counts.
    pub until: Option<DateTime<Utc>>,
    /// In whose name it was asked: the requestor, the actor and the triggering actor, who differ in a re-run.
    pub askers: BTreeSet<Login>,
}

/// Who may answer, and how many must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Electorate {
    /// The people, with the members of the teams among them.
    pub approvers: BTreeSet<Login>,
    /// How many different people must say yes; 0 counts as 1.
    pub minimum: usize,
    /// Whether the yes of those in whose name it was asked counts.
    pub askers_count: bool,
}

/// A comment, as GitHub tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comment {
    /// Its id.
    pub id: u64,
    /// Who wrote it; nobody when the account is gone.
    pub author: Option<Login>,
    /// The text.
    pub body: String,
    /// When it was written, to the second.
    pub created_at: DateTime<Utc>,
    /// When it was last edited, by anybody; when it was written if it never was.
    pub updated_at: DateTime<Utc>,
    /// Its web address.
    pub url: Option<String>,
}

/// An answer that counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Vote {
    /// Whose.
    pub by: Login,
    /// Yes or no.
    pub answer: Answer,
    /// When.
    #[schemars(with = "String")]
    pub at: DateTime<Utc>,
    /// What they said beside it (untrusted).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub remark: String,
    /// The comment's id.
    pub comment: u64,
    /// The comment's web address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Why an answer does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Objection {
    /// Its author is not among those who were asked.
    NotAsked,
    /// Its author's account is gone.
    NoAuthor,
    /// Its author is the one in whose name it was asked.
    OwnRequest,
    /// It was edited, and nobody can tell by whom.
    Edited,
    /// It is older than the request.
    TooEarly,
    /// It came after the deadline.
    TooLate,
    /// It carries no code.
    NoCode,
    /// It carries the code of another request.
    OtherRequest,
    /// It says yes and no.
    Contradictory,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAsked => "is not among the approvers",
            Self::NoAuthor => "has no account any more",
            Self::OwnRequest => "cannot approve a request of their own",
            Self::Edited => "edited the comment, or somebody else did; write a new one",
            Self::TooEarly => "answered before the request was made",
            Self::TooLate => "answered after the deadline",
            Self::NoCode => "left out the code of this request",
            Self::OtherRequest => "answered another request: the code is a different one",
            Self::Contradictory => "said both yes and no in one comment",
        })
    }
}

/// An answer that does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// Whose it is, as far as that is known.
    pub by: Option<Login>,
    /// The comment's id.
    pub comment: u64,
    /// Why it does not count.
    pub because: Objection,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Enough people said yes, and nobody no.
    Granted,
    /// Somebody who was asked said no.
    Rejected,
    /// Neither, and there is time.
    Waiting,
    /// Neither, and there is no time left.
    TimedOut,
}

/// The count of the answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    /// Where the request stands.
    pub standing: Standing,
    /// Who said yes: the first valid one of each person, in order of time.
    pub approvals: Vec<Vote>,
    /// Who said no, in order of time.
    pub rejections: Vec<Vote>,
    /// Answers that do not count, and why.
    pub ignored: Vec<Ignored>,
    /// How many more must say yes.
    pub missing: usize,
    /// Who still could.
    pub open: BTreeSet<Login>,
}

/// There are fewer people who could say yes than must.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{needed} must approve, and only {possible} of the approvers may")]
pub struct Unattainable {
    /// How many must.
    pub needed: usize,
    /// How many could.
    pub possible: usize,
}

/// The code of a request, which every answer must carry: the first twelve hexadecimal digits of a hash over the plan's
/// hash, and so over the digests, and a nonce, and so another one for every request.
///
/// It is no secret: it says what an answer is for, and the author of the comment says whose it is.
#[must_use]
pub fn code(plan: &Digest, nonce: &str) -> String {
    Digest::sha256(format!("{plan}\n{nonce}").as_bytes()).hex()[..CODE_LENGTH].to_owned()
}

impl Electorate {
    fn needed(&self) -> usize {
        self.minimum.max(1)
    }

    fn may_approve(&self, login: &Login, request: &Request) -> bool {
        self.approvers.contains(login) && (self.askers_count || !request.askers.contains(login))
    }

    /// Whether enough people could say yes at all; worth knowing before anybody is asked.
    ///
    /// # Errors
    /// When they could not.
    pub fn can_grant(&self, request: &Request) -> Result<(), Unattainable> {
        let possible = self.approvers.iter().filter(|login| self.may_approve(login, request)).count();
        if possible >= self.needed() { Ok(()) } else { Err(Unattainable { needed: self.needed(), possible }) }
    }
}

/// Counts the answers to a request.
///
/// One no of somebody who was asked is enough, whatever else is said; also a no of the one who asked, if they are among
/// the approvers. Comments without a command are talk and are not mentioned.
#[must_use]
pub fn tally(request: &Request, electorate: &Electorate, comments: &[Comment], now: DateTime<Utc>) -> Tally {
    let mut comments: Vec<&Comment> = comments.iter().collect();
    comments.sort_by_key(|comment| (comment.created_at, comment.id));
    let mut approvals: BTreeMap<Login, Vote> = BTreeMap::new();
    let mut rejections = Vec::new();
    let mut ignored = Vec::new();
    for comment in comments {
        let Some(command) = read(&comment.body) else { continue };
        match judge(request, electorate, comment, command) {
            Err(because) => ignored.push(Ignored { by: comment.author.clone(), comment: comment.id, because }),
            Ok(vote) if vote.answer == Answer::Reject => rejections.push(vote),
            Ok(vote) => {
                approvals.entry(vote.by.clone()).or_insert(vote);
            }
        }
    }
    let missing = electorate.needed().saturating_sub(approvals.len());
    let may_still = |login: &&Login| electorate.may_approve(login, request) && !approvals.contains_key(*login);
    let open = electorate.approvers.iter().filter(may_still).cloned().collect();
    let standing = if !rejections.is_empty() {
        Standing::Rejected
    } else if missing == 0 {
        Standing::Granted
    } else if request.until.is_some_and(|until| now >= until) {
        Standing::TimedOut
    } else {
        Standing::Waiting
    };
    let mut approvals: Vec<Vote> = approvals.into_values().collect();
    approvals.sort_by_key(|vote| (vote.at, vote.comment));
    Tally { standing, approvals, rejections, ignored, missing, open }
}

/// Whether one answer counts.
fn judge(
    request: &Request,
    electorate: &Electorate,
    comment: &Comment,
    command: Result<Command, Contradiction>,
) -> Result<Vote, Objection> {
    let author = comment.author.as_ref().ok_or(Objection::NoAuthor)?;
    if !electorate.approvers.contains(author) {
        return Err(Objection::NotAsked);
    }
    let command = command.map_err(|Contradiction| Objection::Contradictory)?;
    if comment.created_at != comment.updated_at {
        return Err(Objection::Edited);
    }
    if comment.created_at < request.asked_at {
        return Err(Objection::TooEarly);
    }
    if request.until.is_some_and(|until| comment.created_at >= until) {
        return Err(Objection::TooLate);
    }
    match command.code {
        None => return Err(Objection::NoCode),
        Some(code) if !code.eq_ignore_ascii_case(&request.code) => return Err(Objection::OtherRequest),
        Some(_) => {}
    }
    if command.answer == Answer::Approve && !electorate.may_approve(author, request) {
        return Err(Objection::OwnRequest);
    }
    Ok(Vote {
        by: author.clone(),
        answer: command.answer,
        at: comment.created_at,
        remark: command.remark,
        comment: comment.id,
        url: comment.url.clone(),
    })
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    fn time(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_732_185_300 + seconds, 0).unwrap()
    }

    fn request() -> Request {
        Request {
            code: code(&Digest::sha256(b"plan"), "nonce"),
            asked_at: time(0),
            until: Some(time(3600)),
            askers: ["Asker", "presser"].map(Login::new).into(),
        }
    }

    fn electorate(minimum: usize) -> Electorate {
        Electorate { approvers: ["ann", "bob", "cleo", "asker"].map(Login::new).into(), minimum, askers_count: false }
    }

    fn comment(id: u64, author: &str, body: &str) -> Comment {
        let at = time(i64::try_from(id).unwrap());
        Comment {
            id,
            author: (!author.is_empty()).then(|| Login::new(author)),
            body: body.to_owned(),
            created_at: at,
            updated_at: at,
            url: None,
        }
    }

    fn standing(minimum: usize, comments: &[Comment]) -> Standing {
        tally(&request(), &electorate(minimum), comments, time(60)).standing
    }

    fn objections(comments: &[Comment]) -> Vec<Objection> {
        let tally = tally(&request(), &electorate(1), comments, time(60));
        assert_eq!(tally.standing, Standing::Waiting);
        tally.ignored.into_iter().map(|ignored| ignored.because).collect()
    }

    #[test]
    fn the_code_is_another_one_for_every_plan_and_request() {
        let plan = Digest::sha256(b"plan");
        assert_eq!(code(&plan, "a").len(), CODE_LENGTH);
        assert_ne!(code(&plan, "a"), code(&plan, "b"));
        assert_ne!(code(&plan, "a"), code(&Digest::sha256(b"other"), "a"));
    }

    #[test]
    fn enough_different_people_grant() {
        let yes = format!("/approve {}", request().code);
        assert_eq!(standing(1, &[comment(1, "ann", &yes)]), Standing::Granted);
        assert_eq!(standing(0, &[]), Standing::Waiting);
        let twice = [comment(1, "ann", &yes), comment(2, "ANN", &yes)];
        assert_eq!(standing(2, &twice), Standing::Waiting);
        let two = [comment(1, "ann", &yes), comment(2, "@Bob", &yes)];
        let tally = tally(&request(), &electorate(2), &two, time(60));
        assert_eq!((tally.standing, tally.missing), (Standing::Granted, 0));
        assert_eq!(tally.open, [Login::new("cleo")].into());
    }

    #[test]
    fn one_no_is_enough() {
        let yes = format!("/approve {}", request().code);
        let no = format!("/reject {} the build is broken", request().code);
        let comments = [comment(1, "ann", &yes), comment(2, "bob", &no), comment(3, "cleo", &yes)];
        let tally = tally(&request(), &electorate(1), &comments, time(60));
        assert_eq!(tally.standing, Standing::Rejected);
        assert_eq!(tally.rejections[0].remark, "the build is broken");
        assert_eq!(standing(1, &[comment(1, "asker", &no)]), Standing::Rejected);
    }

    #[test]
    fn what_does_not_count_is_told_with_the_reason() {
        let yes = format!("/approve {}", request().code);
        let no = format!("/reject {}", request().code);
        let edited = Comment { updated_at: time(9), ..comment(1, "ann", &yes) };
        let early = Comment { created_at: time(-1), updated_at: time(-1), ..comment(1, "ann", &yes) };
        let late = Comment { created_at: time(3600), updated_at: time(3600), ..comment(1, "ann", &yes) };
        let table = [
            (comment(1, "eve", &yes), Objection::NotAsked),
            (comment(1, "eve", &no), Objection::NotAsked),
            (comment(1, "presser", &yes), Objection::NotAsked),
            (comment(1, "", &yes), Objection::NoAuthor),
            (comment(1, "ASKER", &yes), Objection::OwnRequest),
            (edited, Objection::Edited),
            (early, Objection::TooEarly),
            (late, Objection::TooLate),
            (comment(1, "ann", "/approve"), Objection::NoCode),
            (comment(1, "ann", "/approve please"), Objection::NoCode),
            (comment(1, "ann", &yes[..yes.len() - 1]), Objection::NoCode),
            (comment(1, "ann", "/approve 000000000000"), Objection::OtherRequest),
            (comment(1, "ann", &format!("{yes}\n{no}")), Objection::Contradictory),
        ];
        for (comment, because) in table {
            assert_eq!(objections(std::slice::from_ref(&comment)), [because], "{}", comment.body);
        }
    }

    #[test]
    fn the_deadline_ends_the_waiting_and_not_what_was_said_in_time() {
        let yes = format!("/approve {}", request().code);
        let late = time(0) + TimeDelta::hours(2);
        assert_eq!(tally(&request(), &electorate(1), &[], late).standing, Standing::TimedOut);
        assert_eq!(tally(&request(), &electorate(1), &[comment(1, "ann", &yes)], late).standing, Standing::Granted);
        let without = Request { until: None, ..request() };
        assert_eq!(tally(&without, &electorate(1), &[], late).standing, Standing::Waiting);
    }

    #[test]
    fn a_request_that_nobody_can_grant_is_known_before() {
        assert_eq!(electorate(3).can_grant(&request()), Ok(()));
        assert_eq!(electorate(4).can_grant(&request()), Err(Unattainable { needed: 4, possible: 3 }));
        let open = Electorate { askers_count: true, ..electorate(4) };
        assert_eq!(open.can_grant(&request()), Ok(()));
    }

    prop_compose! {
        fn any_comment()(
            id in 1u64..50,
            author in prop_oneof!["ann|ANN|bob|Bob|cleo|asker|ASKER|eve|presser", Just(String::new())],
            word in prop_oneof!["/approve", "/reject", "/Approve", "", "> /approve"],
            right in any::<bool>(), talk in "[a-z \n/>`]{0,20}", edited in prop::bool::weighted(0.2), shift in -5i64..5,
        ) -> Comment {
            let code = if right { request().code } else { "0123456789ab".to_owned() };
            let mut comment = comment(id, &author, &format!("{word} {code} {talk}"));
            comment.created_at += TimeDelta::seconds(shift * 10);
            comment.updated_at = comment.created_at + TimeDelta::seconds(i64::from(edited));
            comment
        }
    }

    proptest! {
        #[test]
        fn a_grant_is_the_yes_of_enough_of_the_right_people(
            comments in prop::collection::vec(any_comment(), 0..12), minimum in 0usize..4,
        ) {
            let tally = tally(&request(), &electorate(minimum), &comments, time(120));
            let people: BTreeSet<&Login> = tally.approvals.iter().map(|vote| &vote.by).collect();
            prop_assert_eq!(people.len(), tally.approvals.len());
            for vote in &tally.approvals {
                prop_assert!(electorate(1).approvers.contains(&vote.by) && !request().askers.contains(&vote.by));
                let comment = comments.iter().find(|c| {
                    c.id == vote.comment && c.author.as_ref() == Some(&vote.by) && c.created_at == c.updated_at
                        && c.created_at >= request().asked_at && c.body.contains(&request().code)
                });
                prop_assert!(comment.is_some());
            }
            if tally.standing == Standing::Granted {
                prop_assert!(people.len() >= minimum.max(1) && tally.rejections.is_empty());
            }
        }

        #[test]
        fn strangers_change_nothing_and_neither_does_the_order(
            comments in prop::collection::vec(any_comment(), 0..12), minimum in 1usize..4, seed in any::<u64>(),
        ) {
            let count = |comments: &[Comment]| {
                let tally = tally(&request(), &electorate(minimum), comments, time(120));
                let by: Vec<Login> = tally.approvals.iter().map(|vote| vote.by.clone()).collect();
                (tally.standing, by.into_iter().collect::<BTreeSet<_>>(), tally.rejections.len())
            };
            let asked: Vec<Comment> = comments
                .iter()
                .filter(|c| c.author.as_ref().is_some_and(|a| electorate(1).approvers.contains(a)))
                .cloned()
                .collect();
            prop_assert_eq!(count(&comments), count(&asked));
            let mut turned = comments.clone();
            turned.rotate_left(usize::try_from(seed % 13).unwrap_or(0) % comments.len().max(1));
            turned.reverse();
            prop_assert_eq!(count(&comments), count(&turned));
        }

        #[test]
        fn no_text_is_a_yes_without_the_code(body in any::<String>()) {
            prop_assume!(!body.to_ascii_lowercase().contains(&request().code));
            prop_assert_eq!(standing(1, &[comment(1, "ann", &body)]), Standing::Waiting);
        }
    }
}
