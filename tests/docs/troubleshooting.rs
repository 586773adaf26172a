//! `docs/troubleshooting.md`: every fault by its code, with the words that the program prints.

use std::fmt::Write as _;

use tidegate::promotion::fault::{Category, Code};

use super::hold;

const HEAD: &str = "\
# Troubleshooting

<!-- Written from the catalogue of faults; UPDATE_GENERATED=1 cargo test --test docs writes it anew. -->

A run that did not succeed says why in its output `reason-code`, in an annotation with what to do, and in the job summary
under \"What to do next\". These are all codes, with the words that the program prints. Where a run knows better than the
catalogue, what it prints is the better advice.

The exit code is that of a run that the fault stops before anything was changed. Once something was changed, a run that
fails rolls back (4), or says that a human is needed (5).

| Exit code | Meaning |
|---|---|
| 0 | done, or parked waiting |
| 1 | failed, drift found, or audit broken |
| 2 | bad input or configuration |
| 3 | a gate is closed, the lock is taken, or the approval was refused |
| 4 | failed and rolled back |
| 5 | the rollback failed, a human is needed |
| 6 | inconclusive: it could not be told |
| 130, 143 | interrupted |
";

fn page() -> String {
    let mut out = HEAD.to_owned();
    let categories = [
        Category::Validation,
        Category::Network,
        Category::Authentication,
        Category::Registry,
        Category::Docker,
        Category::Permission,
        Category::Timeout,
        Category::Unknown,
    ];
    for category in categories {
        let codes: Vec<Code> = Code::ALL.iter().copied().filter(|code| code.category() == category).collect();
        if codes.is_empty() {
            continue;
        }
        let _ = write!(out, "\n## {category}\n");
        for code in codes {
            let _ = write!(
                out,
                "\n### `{}`\n\n{} Severity {}, exit code {}.\n\nfix: {}\n",
                code.name(),
                code.meaning(),
                code.severity(),
                code.exit().code(),
                code.fix()
            );
        }
    }
    out
}

#[test]
fn the_page_is_current() {
    hold("docs/troubleshooting.md", &page());
    for code in Code::ALL {
        assert!(page().contains(&format!("### `{}`", code.name())), "{code} is in no category");
    }
}
