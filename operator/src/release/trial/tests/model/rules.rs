//! What is true of the model's world always, and after each write of a pass.

use super::{super::super::*, Plan, World, Write, cluster::Deployment};

impl World {
    /// Whether something of both sees what is needed, after a whole pass over statuses that were not old.
    pub(super) fn covers(&self, plan: Plan, next: &Next, seen: &Self) {
        let Some(beside) = seen.beside.filter(|beside| beside.is_told && seen.stable.is_told) else { return };
        let case = || format!("\n{seen:#?}\nmakes {next:#?}");
        let (number, ready) = (u32::from(seen.number), u32::from(beside.told.ready[beside.release]));
        if plan.consumes {
            let need = plan.steps.iter().map(|step| step.need(i32::from(seen.number))).max().unwrap();
            let there = self.beside.map_or(0, |now| now.replicas.max(beside.told.all()));
            let all = i32::from(self.stable.replicas + there);
            assert!(all >= i32::from(seen.number) - need, "too few consume: {}", case());
        } else {
            assert!(u32::from(self.weight) * number <= ready * 100, "too few take its share: {}", case());
            if self.calls == Calls::Tried {
                assert!(ready >= number, "too few take all: {}", case());
            }
        }
    }

    /// What is always true, whatever happened.
    pub(super) fn holds(&self, plan: Plan) {
        let Some(beside) = &self.beside else { return };
        let is_there = |one: usize, deployment: &Deployment| {
            deployment.pods.of(one) > 0 || deployment.release == one && deployment.replicas > 0
        };
        if beside.pods.all() > 0 || beside.replicas > 0 {
            let versions = (0..3).filter(|one| is_there(*one, beside) || is_there(*one, &self.stable));
            assert!(versions.count() <= 2, "three versions: {self:#?}");
        }
        if !plan.consumes {
            let proven = u32::from(beside.pods.proven(beside.release));
            assert!(self.weight == 0 || proven > 0, "requests without an instance: {self:#?}");
        }
    }

    /// What is true after a `write` of a pass that had `seen` what there was.
    pub(super) fn holds_after(&self, plan: Plan, next: &Next, (seen, before, write): (&Self, &Self, &Write)) {
        let case =
            || format!("{write:?} of what was seen as\n{seen:#?}\nleads from\n{before:#?}\nto\n{self:#?}");
        self.holds(plan);
        Self::holds_of_steps(plan, (seen, write));
        if let (Write::Beside(Some(_)), None) = (write, &before.beside) {
            assert_eq!(self.stable.others(), 0, "a third version: {}", case());
        }
        if let (Write::Weight(weight), true, false) = (write, seen.verdict.is_against(), next.is_passed) {
            let had = seen.board.map_or(0, |board| board.weight);
            assert!(*weight <= had, "more requests for what is bad: {}", case());
        }
        let tried = self.beside.as_ref();
        if plan.consumes {
            let all = |world: &Self| {
                let beside = world.beside.map_or(0, |beside| beside.replicas.max(beside.pods.all()));
                world.stable.replicas.max(world.stable.pods.all()) + beside
            };
            let most = seen.number + u8::from(self.stable.rolls());
            assert!(all(self) <= most.max(all(before)), "more consume than are to: {}", case());
            assert!(self.stable.replicas > 0, "none of what ran before is left: {}", case());
            return;
        }
        let number = seen.number;
        if let Write::Stable(_, replicas) = write {
            assert_eq!(*replicas, number, "the service lost instances: {}", case());
        }
        // Each weight has the instances for it, and no more weight than the step says.
        let proven = tried.map_or(0, |beside| beside.pods.proven(beside.release));
        // What is not known changes nothing, also where load asks for more.
        let is_known = seen.beside.is_some_and(|beside| beside.is_told);
        let had = seen.board.map_or(0, |board| board.weight);
        if let Write::Weight(weight) = write
            && (is_known || *weight > had)
        {
            let backed = u32::from(proven) * 100 >= u32::from(*weight) * u32::from(number);
            assert!(backed, "requests without instances: {}", case());
        }
        if let (Write::Calls(Calls::Tried), true) = (write, is_known) {
            assert!(proven >= number, "all requests without instances: {}", case());
        }
        if let Write::Beside(None) = write {
            assert!(before.beside.is_none_or(|beside| beside.pods.all() == 0), "it still runs: {}", case());
            assert_eq!(self.weight, 0, "it is still called: {}", case());
        }
        let is_other = tried.is_some_and(|beside| {
            beside.release != self.stable.release && (beside.pods.all() > 0 || beside.replicas > 0)
        });
        if is_other && !next.is_passed && self.calls == Calls::All && !matches!(write, Write::Calls(_)) {
            // Without a gateway it is its step that gives it a share.
            let has_share = !plan.has_route && next.beside.is_some_and(|beside| beside.weight > 0);
            assert!(has_share, "it is called beyond its step: {}", case());
        }
    }

    /// No step ends, and nothing takes the place of what runs, but by time and a good verdict, a person, or since what runs
    /// is down.
    fn holds_of_steps(plan: Plan, (seen, write): (&Self, &Write)) {
        let Some(tried) = seen.tried() else { return };
        let board = seen.board.filter(|board| board.release == tried);
        let passed = board.map_or(0, |board| board.passed);
        let rose = match write {
            Write::Stable(release, _) if *release == tried && seen.stable.release != tried => {
                plan.steps.len()
            }
            Write::Board(Some(kept), _) if kept.release == tried && seen.stable.release != tried => {
                kept.passed
            }
            Write::Calls(_) | Write::Weight(_) | Write::Beside(_) | Write::Stable(..) | Write::Board(..) => {
                passed
            }
        };
        if rose <= passed {
            return;
        }
        let case = || format!("{write:?} of what was seen as\n{seen:#?}");
        let is_good = seen.verdict == Verdict::Good && !seen.is_paused;
        let ready = seen.beside.filter(|beside| beside.is_told && beside.release == tried);
        let ready = ready.map_or(0, |beside| i32::from(beside.told.ready[tried]));
        let is_ready = plan.steps.get(passed).is_some_and(|step| {
            let most = if plan.consumes { seen.number - 1 } else { seen.number };
            ready >= step.need(i32::from(seen.number)).min(i32::from(most))
        });
        let is_long = board.is_some_and(|board| board.is_over == Some(true));
        let is_led = !plan.has_route || seen.route == Route::Taken || plan.steps[passed].weight == 0;
        let is_over = is_long && is_good && is_led && plan.steps[passed].pause.is_some();
        let is_skipped = seen.skipped == Some(passed) && !seen.verdict.is_against();
        let is_down = seen.stable.is_late && !seen.is_paused && !seen.verdict.is_against();
        let is_relief = is_down && (is_long && is_good && is_led && is_ready || seen.beside.is_none());
        let is_next = rose == passed + 1;
        assert!(
            is_relief || is_next && is_ready && (is_over || is_skipped),
            "nobody ended the step: {}",
            case()
        );
    }
}
