//! A Deployment and its pods, as Kubernetes' controllers lead them, step by step.

/// Pods of each release.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pods {
    pub(super) starting: [u8; 3],
    pub(super) ready: [u8; 3],
    /// They were ready once.
    pub(super) down: [u8; 3],
}

impl Pods {
    pub(super) fn all(&self) -> u8 {
        (0..3).map(|one| self.of(one)).sum()
    }

    pub(super) fn of(&self, one: usize) -> u8 {
        self.starting[one] + self.proven(one)
    }

    pub(super) fn proven(&self, one: usize) -> u8 {
        self.ready[one] + self.down[one]
    }

    pub(super) fn remove(&mut self, one: usize) {
        let [starting, down, ready] = [&mut self.starting, &mut self.down, &mut self.ready];
        if let Some(pods) = [starting, down, ready].into_iter().find(|pods| pods[one] > 0) {
            pods[one] -= 1;
        }
    }
}

/// A Deployment: what it is to be, and how far its controller is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Deployment {
    pub(super) release: usize,
    pub(super) replicas: u8,
    pub(super) pods: Pods,
    /// What its status says: it lags behind its pods.
    pub(super) told: Pods,
    /// Its status is of what it is to be.
    pub(super) is_told: bool,
    /// It told long ago that none of it answers.
    pub(super) is_late: bool,
}

impl Deployment {
    pub(super) fn new(release: usize, replicas: u8) -> Self {
        let pods = Pods::default();
        Self { release, replicas, pods, told: pods, is_told: false, is_late: false }
    }

    pub(super) fn given(&mut self, release: usize, replicas: u8) {
        self.is_told &= self.release == release && self.replicas == replicas;
        (self.release, self.replicas) = (release, replicas);
    }

    /// One act of its controller: at most one more than there are to be, and none that serves leaves before its successor.
    pub(super) fn acts(&mut self) {
        let (own, all) = (self.pods.of(self.release), self.pods.all());
        let other = (0..3).find(|one| *one != self.release && self.pods.of(*one) > 0);
        match other {
            _ if own > self.replicas => self.pods.remove(self.release),
            Some(other) if self.pods.ready[self.release] + self.others() > self.replicas => {
                self.pods.remove(other);
            }
            _ if own < self.replicas && all <= self.replicas => self.pods.starting[self.release] += 1,
            _ => {}
        }
    }

    pub(super) fn others(&self) -> u8 {
        self.pods.all() - self.pods.of(self.release)
    }

    /// As far as anybody can know.
    pub(super) fn rolls(&self) -> bool {
        !self.is_told || self.others() > 0 || self.told.all() > self.told.of(self.release)
    }

    pub(super) fn becomes_ready(&mut self, is_bad: bool) {
        for one in (0..3).filter(|one| !(is_bad && *one == 1)) {
            let pods = &mut self.pods;
            pods.ready[one] += pods.starting[one] + pods.down[one];
            (pods.starting[one], pods.down[one]) = (0, 0);
        }
    }

    pub(super) fn crashes(&mut self, one: usize) {
        if self.pods.ready[one] > 0 {
            self.pods.ready[one] -= 1;
            self.pods.down[one] += 1;
        }
    }

    /// All of it, as while a database is away that it needs.
    pub(super) fn fails(&mut self) {
        for one in 0..3 {
            self.pods.down[one] += self.pods.ready[one];
            self.pods.ready[one] = 0;
        }
        self.tells();
    }

    pub(super) fn tells(&mut self) {
        (self.told, self.is_told) = (self.pods, true);
        self.is_late &= self.is_silent();
    }

    pub(super) fn waits(&mut self) {
        self.is_late |= self.is_silent() && self.told.all() > 0;
    }

    pub(super) fn is_silent(&self) -> bool {
        self.is_told && self.told.ready == [0; 3]
    }
}
