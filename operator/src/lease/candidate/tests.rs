//! Each rule by itself; then two candidates, a server, and a network that loses and delays. That nobody deletes the Lease is
//! taken for granted there: who never saw it, or not since, knows of no holder.

use proptest::prelude::*;

use super::*;

const LEASE: Duration = Duration::from_secs(15);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

/// The Lease as the server has it.
fn stored(version: u32, holder: &str, transitions: i32) -> Lease {
    Lease {
        metadata: ObjectMeta { resource_version: Some(version.to_string()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(DURATION),
            acquire_time: Some(MicroTime(at(1))),
            renew_time: Some(MicroTime(at(1))),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }),
    }
}

fn candidate(identity: &str, lease: Option<Lease>, now: Instant) -> Candidate {
    let mut candidate = Candidate::new(identity.to_owned());
    candidate.saw(lease, now);
    candidate
}

fn spec(lease: Option<Lease>) -> LeaseSpec {
    lease.and_then(|lease| lease.spec).unwrap()
}

#[test]
fn where_there_is_none_it_is_created() {
    let now = Instant::now();
    let made = candidate("north", None, now).wanted(now, at(7)).unwrap();
    assert_eq!((made.name_any().as_str(), made.resource_version()), (NAME, None));
    let spec = spec(Some(made));
    assert_eq!(spec.holder_identity.as_deref(), Some("north"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(0)));
    assert_eq!((spec.acquire_time, spec.renew_time), (Some(MicroTime(at(7))), Some(MicroTime(at(7)))));
}

#[test]
fn a_record_counts_until_it_was_not_seen_to_change_for_as_long_as_it_says() {
    let now = Instant::now();
    let mut south = candidate("south", Some(stored(1, "north", 4)), now);
    let before = Duration::from_millis(14_999);
    assert!(south.wanted(now + before, at(9_999_999_999)).is_none(), "whatever the clock on the wall says");
    south.saw(Some(stored(1, "north", 4)), now + before);
    assert!(south.wanted(now + LEASE, at(1)).is_some(), "to see it again is no change");
    south.saw(Some(stored(2, "north", 4)), now + before);
    assert!(south.wanted(now + before + before, at(1)).is_none(), "it was renewed");

    let taken = south.wanted(now + before + LEASE, at(20)).unwrap();
    assert_eq!(taken.resource_version().as_deref(), Some("2"), "nothing that it did not see is overwritten");
    let spec = spec(Some(taken));
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("south"), Some(5)));
    assert_eq!(spec.acquire_time, Some(MicroTime(at(20))));
}

#[test]
fn a_renewal_moves_its_time_only() {
    let now = Instant::now();
    let north = candidate("north", Some(stored(1, "north", 4)), now);
    let renewed = spec(north.wanted(now, at(20)));
    assert_eq!(
        renewed,
        LeaseSpec { renew_time: Some(MicroTime(at(20))), ..spec(Some(stored(1, "north", 4))) }
    );
}

#[test]
fn what_is_released_is_taken_at_once_and_only_its_holder_releases_it() {
    let now = Instant::now();
    let released = candidate("north", Some(stored(1, "north", 4)), now).released(at(20)).unwrap();
    assert_eq!(spec(Some(released.clone())).lease_duration_seconds, Some(1));
    let south = candidate("south", Some(released), now);
    assert_eq!(south.holder(), None);
    assert_eq!(spec(south.wanted(now, at(21))).lease_transitions, Some(5));
    assert!(candidate("south", Some(stored(1, "north", 4)), now).released(at(20)).is_none());
}

#[test]
fn who_does_not_know_how_its_write_ended_asks_before_the_next() {
    let now = Instant::now();
    let mut north = candidate("north", Some(stored(1, "north", 0)), now);
    assert!(north.holds());
    north.doubts();
    assert!(!north.holds() && north.released(at(20)).is_none());
    north.saw(Some(stored(2, "south", 1)), now);
    assert!(!north.holds() && north.wanted(now, at(20)).is_none());
}

#[test]
fn one_that_is_deleted_still_counts_for_who_saw_it() {
    let now = Instant::now();
    let mut south = candidate("south", Some(stored(1, "north", 4)), now);
    let deleted = now + Duration::from_secs(20);
    south.saw(None, deleted);
    south.saw(None, deleted + LEASE / 2);
    assert!(south.wanted(deleted + LEASE / 2, at(20)).is_none(), "its holder may not know yet");
    let made = south.wanted(deleted + LEASE, at(20)).unwrap();
    assert_eq!(made.resource_version(), None);
    assert_eq!(spec(Some(made)).lease_transitions, Some(5));
}

#[test]
fn what_a_person_wrote_into_it_ends_nobodys_turn_early_and_lasts_for_no_ever() {
    let now = Instant::now();
    let south = candidate("south", Some(stored(1, "", 0)), now);
    assert!(south.wanted(now + LEASE / 2, at(1)).is_none() && south.wanted(now + LEASE, at(1)).is_some());
    let mut lease = stored(1, "north", 0);
    lease.spec.iter_mut().for_each(|spec| spec.lease_duration_seconds = Some(i32::MAX));
    let south = candidate("south", Some(lease), now);
    assert!(south.wanted(now + LEASE, at(1)).is_none() && south.wanted(now + LONGEST, at(1)).is_some());
}

#[test]
fn one_without_a_duration_is_taken_for_one_of_ours() {
    let now = Instant::now();
    let mut lease = stored(1, "north", 0);
    lease.spec.iter_mut().for_each(|spec| spec.lease_duration_seconds = None);
    let south = candidate("south", Some(lease), now);
    assert!(south.wanted(now + LEASE / 2, at(1)).is_none() && south.wanted(now + LEASE, at(1)).is_some());
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Time goes on, in milliseconds.
    Time(u16),
    /// A candidate that waits for nothing takes its next step: a request leaves.
    Step(usize),
    /// One of its requests comes to the server, the oldest first, however long ago it left.
    Arrives(usize),
    /// Its answer comes back.
    Answered(usize),
    /// It waits for the answer no longer. The request may come to the server still.
    GivesUp(usize),
    /// It releases the lease, if it leads, and comes back as another.
    Leaves(usize),
}

fn event() -> impl Strategy<Value = Event> {
    let who = || 0..2_usize;
    prop_oneof![
        6 => (0..4000_u16).prop_map(Event::Time),
        8 => who().prop_map(Event::Step),
        8 => who().prop_map(Event::Arrives),
        8 => who().prop_map(Event::Answered),
        2 => who().prop_map(Event::GivesUp),
        1 => who().prop_map(Event::Leaves),
    ]
}

/// Asks where nothing is to be written.
type Request = Option<Lease>;

/// One candidate as `lead` has it, with what it has on the network.
struct Process {
    candidate: Candidate,
    until: Option<Instant>,
    /// When the request left whose answer is awaited, and whether that is a write.
    awaited: Option<(Instant, bool)>,
    sent: Vec<(Request, bool)>,
    answer: Option<Result<Option<Lease>, ()>>,
}

impl Process {
    fn new(identity: String) -> Self {
        let candidate = Candidate::new(identity);
        Self { candidate, until: None, awaited: None, sent: Vec::new(), answer: None }
    }

    fn leads(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Ends, and is started again as another. What it sent may come to the server still.
    fn starts_again(&mut self, identity: usize) {
        let sent = std::mem::take(&mut self.sent).into_iter().map(|(request, _)| (request, false)).collect();
        *self = Self { sent, ..Self::new(identity.to_string()) };
    }

    fn send(&mut self, request: Request, now: Instant) {
        self.awaited = Some((now, request.is_some()));
        self.sent.iter_mut().for_each(|(_, is_awaited)| *is_awaited = false);
        self.sent.push((request, true));
        self.answer = None;
    }

    fn step(&mut self, now: Instant) {
        if self.awaited.is_some() {
            return;
        }
        let wanted = self.candidate.holds().then(|| self.candidate.wanted(now, at(0))).flatten();
        self.send(wanted, now);
    }

    fn answered(&mut self, now: Instant) {
        let Some((answer, (left, is_write))) = self.answer.take().zip(self.awaited) else { return };
        self.awaited = None;
        let Ok(lease) = answer else { return self.candidate.doubts() };
        self.candidate.saw(lease, now);
        if is_write {
            self.until = Some(left + RENEW_DEADLINE);
        } else if let Some(wanted) = self.candidate.wanted(now, at(0)) {
            self.send(Some(wanted), now);
        } else {
            self.until = None;
        }
    }

    fn gives_up(&mut self) {
        if let Some((_, is_write)) = self.awaited.take() {
            self.answer = None;
            self.sent.iter_mut().for_each(|(_, is_awaited)| *is_awaited = false);
            if is_write {
                self.candidate.doubts();
            }
        }
    }
}

/// One object, replaced only by who names its version.
#[derive(Default)]
struct Server {
    lease: Option<Lease>,
    version: u32,
}

impl Server {
    fn answer(&mut self, request: Request) -> Result<Option<Lease>, ()> {
        let Some(mut wanted) = request else { return Ok(self.lease.clone()) };
        if wanted.resource_version() != self.lease.as_ref().and_then(ResourceExt::resource_version) {
            return Err(());
        }
        self.version += 1;
        wanted.metadata.resource_version = Some(self.version.to_string());
        self.lease = Some(wanted);
        Ok(self.lease.clone())
    }
}

/// How often somebody led who did not before. Fails where two do.
fn run(events: &[Event]) -> usize {
    let (mut now, mut server, mut leaders) = (Instant::now(), Server::default(), 0);
    let mut processes = [Process::new("0".to_owned()), Process::new("1".to_owned())];
    for (turn, event) in events.iter().enumerate() {
        let identity = turn + 2;
        let led = processes.each_ref().map(|process| process.leads(now));
        match *event {
            Event::Time(passed) => now += Duration::from_millis(passed.into()),
            Event::Step(who) => processes[who].step(now),
            Event::Arrives(who) if !processes[who].sent.is_empty() => {
                let (request, is_awaited) = processes[who].sent.remove(0);
                let answer = server.answer(request);
                if is_awaited {
                    processes[who].answer = Some(answer);
                }
            }
            Event::Answered(who) => processes[who].answered(now),
            Event::GivesUp(who) => processes[who].gives_up(),
            Event::Leaves(who) if processes[who].leads(now) && processes[who].awaited.is_none() => {
                let released = processes[who].candidate.released(at(0));
                released.map(|lease| server.answer(Some(lease)));
                processes[who].starts_again(identity);
            }
            Event::Arrives(_) | Event::Leaves(_) => {}
        }
        for process in &mut processes {
            if process.until.is_some_and(|until| until <= now) {
                process.starts_again(identity);
            }
        }
        let leads = processes.each_ref().map(|process| process.leads(now));
        assert_ne!(leads, [true, true], "both lead after {event:?}");
        leaders += usize::from((leads[0] && !led[0]) || (leads[1] && !led[1]));
    }
    leaders
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn two_never_lead_at_a_time(events in prop::collection::vec(event(), 0..200)) {
        run(&events);
    }
}

#[test]
fn one_leads_and_the_other_follows() {
    let whole = |who| {
        [
            Event::Step(who),
            Event::Arrives(who),
            Event::Answered(who),
            Event::Arrives(who),
            Event::Answered(who),
        ]
    };
    let mut events = whole(0).to_vec();
    for _ in 0..10 {
        events.extend([Event::Time(2000)].into_iter().chain(whole(1)));
    }
    assert_eq!(run(&events), 2, "the first, and once it is not heard of the second");
}
