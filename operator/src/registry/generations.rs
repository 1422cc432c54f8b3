//! Which passwords are handed out and which open an account, so that passwords change while everything is pulled. Pure.
//!
//! The operator knows the generation that it hands out; the token service knows the lowest that it accepts, and accepts
//! the next one too. So each step of a rotation changes one of the two, and in which order pods restart means nothing.

use std::{collections::BTreeMap, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::accounts::{Account, AccountKey, Usage, password};

/// A generation for every tenant, with higher ones for single tenants, as in `2` or `2,acme=3,beta=3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generations {
    all: u32,
    tenants: BTreeMap<String, u32>,
}

/// The text is no [`Generations`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?}: give a number from 1, and tenants' own after it, such as \"2\" or \"2,acme=3\"")]
pub struct NotGenerations(String);

impl Generations {
    /// The generation of `tenant`: its own, unless all have a higher one by now.
    pub fn of(&self, tenant: &str) -> u32 {
        self.tenants.get(tenant).map_or(self.all, |own| self.all.max(*own))
    }
}

impl Default for Generations {
    /// The first, for all.
    fn default() -> Self {
        Self { all: 1, tenants: BTreeMap::new() }
    }
}

impl FromStr for Generations {
    type Err = NotGenerations;

    fn from_str(text: &str) -> Result<Self, NotGenerations> {
        let no = || NotGenerations(text.to_owned());
        let number = |text: &str| text.parse().ok().filter(|number| *number >= 1).ok_or_else(no);
        let mut parts = text.split(',');
        let mut generations =
            Self { all: number(parts.next().unwrap_or_default())?, tenants: BTreeMap::new() };
        for part in parts {
            let (tenant, own) = part.split_once('=').ok_or_else(no)?;
            Account::new(tenant, Usage::Pull).map_err(|_| no())?;
            if generations.tenants.insert(tenant.to_owned(), number(own)?).is_some() {
                return Err(no());
            }
        }
        Ok(generations)
    }
}

/// What the operator hands out.
#[derive(Clone, Debug)]
pub struct Issued {
    /// From which passwords are computed.
    pub key: AccountKey,
    /// Whose passwords are handed out.
    pub generations: Generations,
}

impl Issued {
    /// The password of `account`. A secret.
    pub fn password(&self, account: &Account) -> String {
        password(&self.key, account, self.generations.of(account.tenant()))
    }
}

/// What the token service accepts.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// From which passwords are computed.
    pub key: AccountKey,
    /// Another key that is as good, while one is exchanged for the other.
    pub overlap_key: Option<AccountKey>,
    /// The lowest generation whose passwords open an account. The next one does too, and no other.
    pub lowest: Generations,
}

/// With which password an account was opened: who is still to move before a rotation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Of the generation after the lowest.
    pub next: bool,
    /// Computed from the overlap key.
    pub overlap: bool,
}

impl Accepted {
    /// Whether `password` opens `account` now. Takes the same time wherever the first wrong byte is.
    pub fn opens(&self, account: &Account, password: &str) -> Option<Opened> {
        let claimed = URL_SAFE_NO_PAD.decode(password).ok()?;
        let lowest = self.lowest.of(account.tenant());
        let keys = [(Some(&self.key), false), (self.overlap_key.as_ref(), true)];
        let mut opened = None;
        for (key, overlap) in keys.into_iter().filter_map(|(key, overlap)| Some((key?, overlap))) {
            for (generation, next) in [(lowest, false), (lowest.saturating_add(1), true)] {
                if key.verifies(account, generation, &claimed) {
                    opened = Some(Opened { next, overlap });
                }
            }
        }
        opened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fill: u8) -> AccountKey {
        AccountKey::new([fill; 32]).unwrap()
    }

    fn account(user: &str) -> Account {
        user.parse().unwrap()
    }

    fn generations(text: &str) -> Generations {
        text.parse().unwrap()
    }

    /// What one Secret and the chart's values say at one time.
    #[derive(Clone)]
    struct Setting {
        key: u8,
        overlap: Option<u8>,
        lowest: &'static str,
        current: &'static str,
    }

    fn setting(key: u8, overlap: Option<u8>, lowest: &'static str, current: &'static str) -> Setting {
        Setting { key, overlap, lowest, current }
    }

    impl Setting {
        fn issued(&self) -> Issued {
            Issued { key: key(self.key), generations: generations(self.current) }
        }

        fn accepted(&self) -> Accepted {
            let overlap_key = self.overlap.map(key);
            Accepted { key: key(self.key), overlap_key, lowest: generations(self.lowest) }
        }
    }

    /// Whether every login works while each pod has any of `settings`: a Secret may hold what an operator of any of them
    /// handed out, and a replica of the token service of any other is asked.
    fn is_seamless(settings: &[Setting]) -> bool {
        settings.iter().all(|operator| {
            settings.iter().all(|service| {
                ["acme.push", "acme.pull", "beta.push", "beta.pull"].into_iter().all(|user| {
                    let password = operator.issued().password(&account(user));
                    service.accepted().opens(&account(user), &password).is_some()
                })
            })
        })
    }

    /// One after the other, each begun when all pods and Secrets have the one before; forth, or back.
    #[track_caller]
    fn assert_seamless(steps: &[Setting]) {
        for (at, pair) in steps.windows(2).enumerate() {
            assert!(is_seamless(pair), "step {at}");
        }
    }

    #[test]
    fn a_generation_is_exchanged_without_a_refused_login_in_every_order_of_restarts() {
        let steps = [("1", "1"), ("1", "2"), ("2", "2"), ("2", "3"), ("3", "3")];
        assert_seamless(&steps.map(|(lowest, current)| setting(1, None, lowest, current)));
    }

    #[test]
    fn one_tenants_generation_is_exchanged_before_within_and_after_that_of_all() {
        let steps = [
            ("1", "1"),
            ("1", "1,acme=2"),
            ("1,acme=2", "1,acme=2"),
            ("1,acme=2", "2,acme=2"),
            ("1,acme=2", "2,acme=3"),
            ("2,acme=3", "2,acme=3"),
            ("2,acme=3", "3,acme=3"),
            ("3,acme=3", "3,acme=3"),
            ("3,acme=3", "4,acme=3"),
            ("4,acme=3", "4,acme=3"),
            ("4", "4"),
        ];
        assert_seamless(&steps.map(|(lowest, current)| setting(1, None, lowest, current)));
    }

    #[test]
    fn the_account_key_is_exchanged_without_a_refused_login_in_every_order_of_restarts() {
        let steps = [
            setting(1, None, "1", "1"),
            setting(1, Some(2), "1", "1"),
            setting(2, Some(1), "1", "1"),
            setting(2, Some(1), "1", "2"),
            setting(2, Some(1), "2", "2"),
            setting(2, None, "2", "2"),
        ];
        assert_seamless(&steps);
        assert!(is_seamless(&steps[1..4]), "the generation is raised before all have the keys swapped");
        assert!(is_seamless(&steps[3..6]), "the old key goes with the old generation");
    }

    #[test]
    fn a_left_out_step_refuses_logins() {
        let one = |lowest, current| setting(1, None, lowest, current);
        assert!(!is_seamless(&[one("1", "1"), one("2", "2")]), "both at once");
        assert!(
            !is_seamless(&[one("1", "1"), one("1", "2"), one("2", "2")]),
            "without waiting for the Secrets"
        );
        assert!(!is_seamless(&[one("1", "1"), one("1", "3")]), "two at once");
        assert!(
            !is_seamless(&[one("1,acme=2", "1,acme=2"), one("1", "1")]),
            "a tenant's own taken away early"
        );
        let keys = [setting(1, None, "1", "1"), setting(2, Some(1), "1", "1")];
        assert!(!is_seamless(&keys), "a key that the token service does not know yet is handed out");
    }

    #[test]
    fn what_was_rotated_away_opens_nothing() {
        let accepted = |setting: Setting| setting.accepted();
        let login = |accepted: &Accepted, key: u8, user: &str, generation: u32| {
            let password = password(&AccountKey::new([key; 32]).unwrap(), &account(user), generation);
            accepted.opens(&account(user), &password)
        };
        let raised = accepted(setting(1, None, "2", "2"));
        assert_eq!(login(&raised, 1, "acme.pull", 1), None);
        assert_eq!(login(&raised, 1, "acme.pull", 2), Some(Opened { next: false, overlap: false }));
        assert_eq!(login(&raised, 1, "acme.pull", 3), Some(Opened { next: true, overlap: false }));
        assert_eq!(login(&raised, 1, "acme.pull", 4), None);

        let leaked = accepted(setting(1, None, "1,acme=2", "1,acme=2"));
        assert_eq!(login(&leaked, 1, "acme.push", 1), None);
        assert!(login(&leaked, 1, "acme.push", 2).is_some());
        assert!(login(&leaked, 1, "beta.push", 1).is_some());

        let overlap = accepted(setting(2, Some(1), "1", "1"));
        assert_eq!(login(&overlap, 1, "acme.pull", 1), Some(Opened { next: false, overlap: true }));
        assert_eq!(login(&overlap, 2, "acme.pull", 2), Some(Opened { next: true, overlap: false }));
        let exchanged = accepted(setting(2, None, "1", "1"));
        assert_eq!(login(&exchanged, 1, "acme.pull", 1), None);
        assert!(login(&exchanged, 2, "acme.pull", 1).is_some());
    }

    #[test]
    fn a_password_opens_its_own_account_and_no_other() {
        let all = setting(1, None, "1", "1");
        let accepted = all.accepted();
        let push = all.issued().password(&account("acme.push"));
        assert_eq!(push.len(), 43);
        assert!(accepted.opens(&account("acme.push"), &push).is_some());
        assert_eq!(accepted.opens(&account("acme.pull"), &push), None);
        assert_eq!(accepted.opens(&account("beta.push"), &push), None);
        for wrong in ["", "x", &push[1..], &format!("{push}="), &format!("{push}A"), "ä"] {
            assert_eq!(accepted.opens(&account("acme.push"), wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn generations_are_a_number_and_tenants_own() {
        let some = generations("2,acme=3,beta=1");
        assert_eq!((some.of("acme"), some.of("beta"), some.of("gamma")), (3, 2, 2));
        assert_eq!(generations("1"), Generations::default());
        for text in [
            "",
            "0",
            "-1",
            "x",
            "1,",
            "1,acme",
            "1,acme=",
            "1,acme=0",
            "1,Acme=2",
            "1,=2",
            "acme=2",
            "1,a=2,a=3",
            "4294967296",
        ] {
            assert_eq!(text.parse::<Generations>(), Err(NotGenerations(text.to_owned())), "{text:?}");
        }
    }
}
