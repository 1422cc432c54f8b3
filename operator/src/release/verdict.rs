//! What is thought of a release that is tried, by several who look at it. Pure.

/// Is what is tried good? The worst is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// It is given up.
    Bad,
    /// It was bad once, and is judged again: nobody goes past it.
    Suspect,
    /// Nobody can say yet, which is no success: it stays where it is.
    Open,
    /// It is asked, and what it says comes by itself in a moment: until then it stays where it is.
    Asked,
    /// So far nothing speaks against it.
    Good,
}

impl Verdict {
    /// Something speaks against what is tried.
    pub fn is_against(self) -> bool {
        match self {
            Self::Bad | Self::Suspect => true,
            Self::Open | Self::Asked | Self::Good => false,
        }
    }
}

/// The verdict of one who looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// See [`Verdict`].
    pub verdict: Verdict,
    /// What was seen, without a full stop.
    pub message: String,
}

/// What follows from all `judgements`: the worst of them counts, and where nobody judges nothing is awaited.
pub fn verdict(judgements: &[Judgement]) -> Verdict {
    judgements.iter().map(|judgement| judgement.verdict).min().unwrap_or(Verdict::Good)
}

/// The words of those of `judgements` that are of this verdict; nothing where there are none.
pub fn words(judgements: &[Judgement], verdict: Verdict) -> Option<String> {
    let said = judgements.iter().filter(|judgement| judgement.verdict == verdict);
    let said: Vec<_> = said.map(|judgement| judgement.message.as_str()).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(verdicts: &[Verdict]) -> Vec<Judgement> {
        let one = |verdict: &Verdict| Judgement { verdict: *verdict, message: format!("{verdict:?}") };
        verdicts.iter().map(one).collect()
    }

    #[test]
    fn of_several_the_worst_counts_and_without_any_nothing_is_awaited() {
        use Verdict::{Asked, Bad, Good, Open, Suspect};
        for (all, worst) in [
            (&[][..], Good),
            (&[Good, Good], Good),
            (&[Good, Open, Good], Open),
            (&[Open, Good, Bad], Bad),
            (&[Bad, Open], Bad),
            (&[Good, Asked], Asked),
            (&[Asked, Open], Open),
            (&[Open, Suspect, Good], Suspect),
            (&[Suspect, Bad], Bad),
        ] {
            assert_eq!(verdict(&judged(all)), worst, "{all:?}");
        }
    }

    #[test]
    fn each_says_its_own_words() {
        use Verdict::{Bad, Good, Open};
        let all = judged(&[Open, Good, Open]);
        assert_eq!(words(&all, Open).as_deref(), Some("Open; Open"));
        assert_eq!(words(&all, Bad), None);
    }
}
