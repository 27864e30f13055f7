//! Who gets which partition, when this member leads: evenly, and with as few moves as can be.
//!
//! Owns: the shares, and which partitions must be given up before they can be given away. Does not own: what members say
//! they hold ([`super::subscription`]). Pure: the same members and topics give the same shares.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{TopicPartition, subscription::Subscription};

/// By the name that the coordinator gave them.
pub(super) type Members = BTreeMap<String, Subscription>;

/// A lead of two is one that can be evened out.
const LEAD_MIN: usize = 2;

/// What each member gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) shares: BTreeMap<String, BTreeSet<TopicPartition>>,
    /// Nobody's until those who hold them have given them up, and the group has formed anew.
    pub(super) held_back: BTreeSet<TopicPartition>,
}

/// Shares out the partitions of `topics` among `members`, each among those who want its topic.
pub(super) fn assign(members: &Members, topics: &BTreeMap<Arc<str>, Vec<i32>>) -> Plan {
    let claims = claims(members);
    let mut desk = Desk::new(members);
    let mut free = vec![];
    for partition in all(topics) {
        match owner(claims.get(&partition).map_or(&[], Vec::as_slice), members, &partition) {
            Some(owner) => desk.give(owner, partition),
            None => free.push(partition),
        }
    }
    for partition in free {
        if let Some(idlest) = desk.wanting(&partition.topic).min_by_key(|member| desk.load(member)) {
            desk.give(idlest, partition);
        }
    }
    desk.even_out(&claims);
    hold_back(desk, &claims)
}

/// Who says of a partition that it is theirs.
type Claims<'a> = BTreeMap<TopicPartition, Vec<&'a str>>;

fn claims(members: &Members) -> Claims<'_> {
    let mut claims = Claims::new();
    for (member, subscription) in members {
        for held in &subscription.held {
            claims.entry(held.clone()).or_default().push(member);
        }
    }
    claims
}

fn all(topics: &BTreeMap<Arc<str>, Vec<i32>>) -> impl Iterator<Item = TopicPartition> {
    topics.iter().flat_map(|(topic, partitions)| {
        partitions.iter().map(|partition| TopicPartition { topic: Arc::clone(topic), partition: *partition })
    })
}

/// Of several who claim it, the one of the newest generation: an older claim is from one that missed how it was moved.
/// Two of the same generation can't both be right, so neither is believed.
fn owner<'a>(claimants: &[&'a str], members: &Members, partition: &TopicPartition) -> Option<&'a str> {
    let wants = |member: &str| members.get(member).is_some_and(|wanted| wanted.topics.contains(&partition.topic));
    let mut newest = newest(claimants, members);
    match (newest.next(), newest.next()) {
        (Some(member), None) if wants(member) => Some(member),
        _ => None,
    }
}

/// Those whose claims are of the newest generation.
fn newest<'a>(claimants: &[&'a str], members: &Members) -> impl Iterator<Item = &'a str> {
    let generation = |member: &&str| members.get(*member).map(|subscription| subscription.generation);
    let newest = claimants.iter().filter_map(generation).max();
    let newest: Vec<_> = claimants.iter().copied().filter(|member| generation(member) == newest).collect();
    newest.into_iter()
}

/// The shares while they are made.
struct Desk<'a> {
    members: &'a Members,
    shares: BTreeMap<&'a str, BTreeSet<TopicPartition>>,
}

impl<'a> Desk<'a> {
    fn new(members: &'a Members) -> Self {
        Self { members, shares: members.keys().map(|member| (member.as_str(), BTreeSet::new())).collect() }
    }

    fn give(&mut self, member: &'a str, partition: TopicPartition) {
        self.shares.entry(member).or_default().insert(partition);
    }

    fn load(&self, member: &str) -> usize {
        self.shares.get(member).map_or(0, BTreeSet::len)
    }

    fn wanting(&self, topic: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let topic: Arc<str> = topic.into();
        let wanting = self.members.iter().filter(move |(_, wanted)| wanted.topics.contains(&topic));
        wanting.map(|(member, _)| member.as_str())
    }

    /// Moves partitions from who has most to who has least, until no move makes it more even.
    fn even_out(&mut self, claims: &Claims<'a>) {
        while let Some((from, to, partition)) = self.best_move(claims) {
            self.shares.entry(from).or_default().remove(&partition);
            self.give(to, partition);
        }
    }

    fn best_move(&self, claims: &Claims<'a>) -> Option<(&'a str, &'a str, TopicPartition)> {
        let mut by_load: Vec<&'a str> = self.shares.keys().copied().collect();
        by_load.sort_by_key(|member| self.load(member));
        for from in by_load.iter().rev() {
            for to in by_load.iter().take_while(|to| self.load(from) >= self.load(to) + LEAD_MIN) {
                if let Some(partition) = self.movable(from, to, claims) {
                    return Some((from, to, partition));
                }
            }
        }
        None
    }

    /// What is best moved: a partition nobody works on, else one of the topic that is most unevenly shared by the two.
    fn movable(&self, from: &str, to: &str, claims: &Claims<'a>) -> Option<TopicPartition> {
        let wanted = &self.members.get(to)?.topics;
        let mut counts: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for partition in self.shares.get(from)? {
            *counts.entry(&partition.topic).or_default() += 1;
        }
        let of_receiver = |topic: &Arc<str>| self.shares.get(to).map_or(0, |share| of_topic(share, topic));
        let rank: BTreeMap<&Arc<str>, isize> = counts
            .into_iter()
            .map(|(topic, count)| (topic, count.cast_signed() - of_receiver(topic).cast_signed()))
            .collect();
        let movable = self.shares.get(from)?.iter().filter(|partition| wanted.contains(&partition.topic));
        let least_wrong = movable.min_by_key(|partition| {
            let worked_on = claims.get(*partition).is_some_and(|by| by.contains(&from));
            (worked_on, Reverse(rank.get(&partition.topic).copied()), Reverse((*partition).clone()))
        });
        least_wrong.cloned()
    }
}

fn of_topic(share: &BTreeSet<TopicPartition>, topic: &Arc<str>) -> usize {
    share.iter().filter(|partition| partition.topic == *topic).count()
}

/// A partition that another member works on is not given to anybody yet, who had it before that one neither.
fn hold_back(desk: Desk<'_>, claims: &Claims<'_>) -> Plan {
    let mut plan = Plan::default();
    for (member, mut share) in desk.shares {
        share.retain(|partition| {
            let works_on_it = |claimants: &Vec<&str>| newest(claimants, desk.members).any(|by| by == member);
            let free = claims.get(partition).is_none_or(works_on_it);
            if !free {
                plan.held_back.insert(partition.clone());
            }
            free
        });
        plan.shares.insert(member.to_owned(), share);
    }
    plan
}

#[cfg(test)]
mod tests {
    use proptest::{collection::btree_map, prelude::*};

    use super::{super::subscription::NO_GENERATION, *};

    type Topics = BTreeMap<Arc<str>, Vec<i32>>;

    fn topics(counts: &[(&str, i32)]) -> Topics {
        counts.iter().map(|(topic, count)| ((*topic).into(), (0..*count).collect())).collect()
    }

    fn wanting(topics: &Topics) -> Subscription {
        Subscription { topics: topics.keys().cloned().collect(), held: BTreeSet::new(), generation: NO_GENERATION }
    }

    fn newcomers(names: &[&str], topics: &Topics) -> Members {
        names.iter().map(|name| ((*name).to_owned(), wanting(topics))).collect()
    }

    /// What the members say the next time: that they hold what they were given.
    fn rejoined(members: &Members, plan: &Plan, generation: i32) -> Members {
        let again = |(name, subscription): (&String, &Subscription)| {
            let held = plan.shares[name].clone();
            (name.clone(), Subscription { held, generation, ..subscription.clone() })
        };
        members.iter().map(again).collect()
    }

    /// Rounds until nothing is held back any more; says how many it took.
    fn settled(mut members: Members, topics: &Topics, mut generation: i32) -> (Members, Plan, usize) {
        for round in 1.. {
            let plan = assign(&members, topics);
            generation += 1;
            members = rejoined(&members, &plan, generation);
            if plan.held_back.is_empty() {
                return (members, plan, round);
            }
        }
        unreachable!()
    }

    fn spread(plan: &Plan) -> usize {
        let loads = || plan.shares.values().map(BTreeSet::len);
        loads().max().unwrap_or(0) - loads().min().unwrap_or(0)
    }

    fn moved(before: &Plan, after: &Plan) -> usize {
        let kept = |(name, share): (&String, &BTreeSet<TopicPartition>)| {
            share
                .iter()
                .filter(|partition| !after.shares.get(name).is_some_and(|kept| kept.contains(partition)))
                .count()
        };
        before.shares.iter().map(kept).sum()
    }

    fn partition(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition { topic: topic.into(), partition }
    }

    #[test]
    fn several_topics_are_shared_evenly_in_all_and_each() {
        let topics = topics(&[("iris", 6), ("payments", 6), ("weblogs", 2)]);
        let plan = assign(&newcomers(&["a", "b"], &topics), &topics);
        assert_eq!(spread(&plan), 0);
        for topic in topics.keys() {
            let counts: Vec<_> = plan.shares.values().map(|share| of_topic(share, topic)).collect();
            assert_eq!(counts[0], counts[1], "{topic}");
        }
    }

    #[test]
    fn a_newcomer_gets_its_share_only_when_it_has_been_given_up() {
        let topics = topics(&[("iris", 4)]);
        let (mut members, before, _) = settled(newcomers(&["a"], &topics), &topics, 0);
        members.insert("b".into(), wanting(&topics));
        let first = assign(&members, &topics);
        assert_eq!(first.held_back.len(), 2);
        assert_eq!((first.shares["a"].len(), first.shares["b"].len()), (2, 0));
        let second = assign(&rejoined(&members, &first, 2), &topics);
        assert_eq!((spread(&second), moved(&before, &second)), (0, 2));
        assert_eq!(second.shares["b"], first.held_back);
    }

    #[test]
    fn what_a_dead_member_held_is_shared_out_at_once_and_nothing_else_moves() {
        let topics = topics(&[("iris", 9)]);
        let (mut members, before, _) = settled(newcomers(&["a", "b", "c"], &topics), &topics, 0);
        members.remove("b");
        let after = assign(&members, &topics);
        assert_eq!((after.held_back.len(), spread(&after)), (0, 1));
        assert!(before.shares["a"].is_subset(&after.shares["a"]) && before.shares["c"].is_subset(&after.shares["c"]));
    }

    #[test]
    fn an_older_claim_yields_to_a_newer_one() {
        let topics = topics(&[("iris", 2)]);
        let mut members = newcomers(&["a", "b"], &topics);
        let iris = |number| partition("iris", number);
        *members.get_mut("a").unwrap() =
            Subscription { held: [iris(0), iris(1)].into(), generation: 3, ..wanting(&topics) };
        *members.get_mut("b").unwrap() = Subscription { held: [iris(1)].into(), generation: 5, ..wanting(&topics) };
        let plan = assign(&members, &topics);
        assert_eq!(plan.shares["a"], [iris(0)].into());
        assert_eq!(plan.shares["b"], [iris(1)].into());
        assert_eq!(plan.held_back, BTreeSet::new());
    }

    #[test]
    fn what_the_newest_claimant_works_on_is_not_given_to_an_older_one_before_it_is_given_up() {
        let topics = topics(&[("iris", 2)]);
        let mut members = newcomers(&["a", "b"], &topics);
        let both: BTreeSet<_> = [partition("iris", 0), partition("iris", 1)].into();
        *members.get_mut("a").unwrap() = Subscription { held: both.clone(), generation: 3, ..wanting(&topics) };
        *members.get_mut("b").unwrap() = Subscription { held: both, generation: 5, ..wanting(&topics) };
        let plan = assign(&members, &topics);
        assert_eq!((plan.shares["a"].len(), plan.shares["b"].len(), plan.held_back.len()), (0, 1, 1));
    }

    #[test]
    fn of_two_equal_claims_at_most_one_is_met() {
        let topics = topics(&[("iris", 2)]);
        let held: BTreeSet<_> = [partition("iris", 0), partition("iris", 1)].into();
        let claiming = || Subscription { held: held.clone(), generation: 4, ..wanting(&topics) };
        let members: Members = [("a".to_owned(), claiming()), ("b".to_owned(), claiming())].into();
        let plan = assign(&members, &topics);
        assert_eq!((plan.shares["a"].len(), plan.shares["b"].len()), (1, 1));
        assert!(plan.shares["a"].is_disjoint(&plan.shares["b"]));
    }

    #[test]
    fn a_topic_that_its_holder_no_longer_wants_goes_to_who_does() {
        let topics = topics(&[("iris", 2), ("payments", 2)]);
        let (mut members, _, _) = settled(newcomers(&["a", "b"], &topics), &topics, 0);
        members.get_mut("a").unwrap().topics.remove("iris");
        let (_, plan, _) = settled(members, &topics, 1);
        assert_eq!(of_topic(&plan.shares["b"], &"iris".into()), 2);
        assert_eq!(of_topic(&plan.shares["a"], &"payments".into()), 2);
    }

    fn any_topics() -> impl Strategy<Value = Topics> {
        let counts = btree_map("[a-d]", 0..12_i32, 1..4);
        counts
            .prop_map(|counts| counts.into_iter().map(|(topic, count)| (topic.into(), (0..count).collect())).collect())
    }

    fn any_names() -> impl Strategy<Value = BTreeSet<String>> {
        proptest::collection::btree_set("[m-z][a-z]?", 1..8)
    }

    fn each_once(plan: &Plan, topics: &Topics) {
        let mut given: Vec<_> = plan.shares.values().flatten().chain(&plan.held_back).collect();
        given.sort();
        assert_eq!(given, all(topics).collect::<Vec<_>>().iter().collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn members_that_come_and_go_leave_an_even_plan_with_the_fewest_moves(
            topics in any_topics(), before in any_names(), after in any_names(),
        ) {
            let named = |names: &BTreeSet<String>| names.iter().map(|name| (name.clone(), wanting(&topics))).collect();
            let (old, first, _) = settled(named(&before), &topics, 0);
            each_once(&first, &topics);
            let mut members: Members = named(&after);
            for (name, subscription) in &mut members {
                if let Some(known) = old.get(name) {
                    *subscription = known.clone();
                }
            }
            let round = assign(&members, &topics);
            each_once(&round, &topics);
            prop_assert_eq!(&round, &assign(&members, &topics));
            let (_, last, rounds) = settled(members, &topics, 1);
            each_once(&last, &topics);
            prop_assert!(rounds <= 2 && spread(&last) <= 1);
            prop_assert_eq!(moved(&first, &last), fewest_moves(&first, &after, &topics));
        }

        #[test]
        fn whatever_members_claim_and_want_no_partition_is_given_twice(
            topics in any_topics(), names in any_names(),
            claims in proptest::collection::vec((0..8_usize, "[a-d]", 0..12_i32, -1..4_i32), 0..30),
        ) {
            let mut members: Members = names.iter().map(|name| (name.clone(), wanting(&topics))).collect();
            let names: Vec<_> = names.into_iter().collect();
            for (who, topic, number, generation) in claims {
                let member = members.get_mut(&names[who % names.len()]).unwrap();
                member.held.insert(partition(&topic, number));
                member.generation = generation;
                if number == 11 {
                    member.topics.remove(topic.as_str());
                }
            }
            let plan = assign(&members, &topics);
            let mut given: Vec<_> = plan.shares.values().flatten().collect();
            given.sort();
            let all: BTreeSet<_> = given.iter().collect();
            prop_assert_eq!(all.len(), given.len());
            for (name, share) in &plan.shares {
                prop_assert!(share.iter().all(|given| members[name].topics.contains(&given.topic)));
            }
        }
    }

    /// What the dead held must move, and what is above an even share; the larger shares go to who has most already.
    fn fewest_moves(before: &Plan, after: &BTreeSet<String>, topics: &Topics) -> usize {
        let total = all(topics).count();
        let mut held: Vec<_> = after.iter().map(|name| before.shares.get(name).map_or(0, BTreeSet::len)).collect();
        let of_the_dead = total - held.iter().sum::<usize>();
        held.sort_unstable_by_key(|held| Reverse(*held));
        let (least, over) = (total / held.len(), total % held.len());
        let fair = |place: usize| least + usize::from(place < over);
        of_the_dead + held.iter().enumerate().map(|(place, held)| held.saturating_sub(fair(place))).sum::<usize>()
    }
}
