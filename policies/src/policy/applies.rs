//! Which deployments a policy is for.

use crate::deployment::{Deployment, Stage};

/// Globs over what a deployment is called; nothing named applies to everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliesTo {
    /// CodeDeploy application.
    pub application: Option<String>,
    /// CodeDeploy deployment group.
    pub group: Option<String>,
    /// `cluster:service`, or the service's name.
    pub service: Option<String>,
    /// Lambda function.
    pub function: Option<String>,
    /// CodePipeline pipeline.
    pub pipeline: Option<String>,
    /// Stages; empty for all.
    pub stages: Vec<Stage>,
}

impl AppliesTo {
    /// How well this fits the deployment: `None` if not at all, else higher for more, and more exactly,
    /// named things.
    pub fn fit(&self, deployment: &Deployment) -> Option<u32> {
        let service_name = deployment.service.rsplit(':').next().unwrap_or_default();
        let service = self.service.as_ref().map(|pattern| {
            let whole = score(pattern, &deployment.service);
            whole.or_else(|| score(pattern, service_name))
        });
        let named = [
            self.application.as_ref().map(|pattern| score(pattern, &deployment.application)),
            self.group.as_ref().map(|pattern| score(pattern, &deployment.group)),
            service,
            self.function.as_ref().map(|pattern| score(pattern, &deployment.function)),
            self.pipeline.as_ref().map(|pattern| score(pattern, &deployment.pipeline)),
            (!self.stages.is_empty())
                .then(|| self.stages.contains(&deployment.stage).then_some(NAMED)),
        ];
        named.into_iter().flatten().try_fold(0, |sum, fit| Some(sum + fit?))
    }

    /// Whether there can be a deployment that both fit equally well, so that neither would be chosen.
    pub fn ties_with(&self, other: &Self) -> bool {
        let fields = |of: &Self| {
            [&of.application, &of.group, &of.service, &of.function, &of.pipeline].map(Clone::clone)
        };
        let (mine, theirs) = (fields(self), fields(other));
        let together = mine.iter().zip(&theirs).all(|pair| match pair {
            (Some(one), Some(two)) => overlap(one.as_bytes(), two.as_bytes()),
            (None | Some(_), None) | (None, Some(_)) => true,
        });
        let stages = self.stages.is_empty()
            || other.stages.is_empty()
            || self.stages.iter().any(|stage| other.stages.contains(stage));
        // A deployment is about a service or about a function, never both.
        let one_kind = |a: &Self, b: &Self| a.service.is_none() || b.function.is_none();
        let weight = |of: &Self, fields: &[Option<String>]| {
            let named: u32 = fields.iter().flatten().map(|pattern| most(pattern)).sum();
            named + if of.stages.is_empty() { 0 } else { NAMED }
        };
        together
            && stages
            && one_kind(self, other)
            && one_kind(other, self)
            && weight(self, &mine) == weight(other, &theirs)
    }
}

/// What the very name counts, and what a glob that matches counts.
const NAMED: u32 = 2;
const MATCHED: u32 = 1;

/// What a pattern counts where it matches.
fn most(pattern: &str) -> u32 {
    if pattern.contains(['*', '?']) { MATCHED } else { NAMED }
}

/// What a pattern counts for a name. What a deployment does not have matches nothing.
fn score(pattern: &str, name: &str) -> Option<u32> {
    (!name.is_empty() && glob(pattern.as_bytes(), name.as_bytes())).then(|| most(pattern))
}

/// Whether some name matches both patterns.
fn overlap(one: &[u8], two: &[u8]) -> bool {
    // reach[j]: what is read of `one` so far can be matched by the first j characters of `two`.
    let empty = |pattern: &[u8]| pattern.iter().all(|&byte| byte == b'*');
    let mut reach: Vec<bool> = (0..=two.len()).map(|j| two.get(..j).is_some_and(empty)).collect();
    for &a in one {
        let mut next = vec![false; two.len() + 1];
        let from_nothing = a == b'*' && reach.first().copied().unwrap_or(false);
        if let Some(first) = next.first_mut() {
            *first = from_nothing;
        }
        for (j, &b) in two.iter().enumerate() {
            let at = |row: &[bool], j: usize| row.get(j).copied().unwrap_or(false);
            let alike = a == b || a == b'?' || b == b'?';
            let here = match (a == b'*', b == b'*') {
                (false, false) => alike && at(&reach, j),
                // A star takes nothing, or one more character of the other.
                (true, _) | (_, true) => at(&reach, j + 1) || at(&next, j) || at(&reach, j),
            };
            if let Some(slot) = next.get_mut(j + 1) {
                *slot = here;
            }
        }
        reach = next;
    }
    reach.last().copied().unwrap_or(false)
}

/// `*` matches any run of characters, `?` any one. Linear memory, no recursion on the name.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == byte => {
                p += 1;
                n += 1;
            }
            Some(_) | None => {
                let Some((star_p, star_n)) = star else { return false };
                star = Some((star_p, star_n + 1));
                p = star_p + 1;
                n = star_n + 1;
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|&byte| byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_runs_and_single_characters() {
        for (pattern, name, matches) in [
            ("checkout", "checkout", true),
            ("check*", "checkout", true),
            ("*out", "checkout", true),
            ("c*k*t", "checkout", true),
            ("c?eckout", "checkout", true),
            ("*", "", true),
            ("check", "checkout", false),
            ("?", "", false),
            ("a*b*c", "aXXbYY", false),
            ("***x", "aaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), matches, "{pattern} {name}");
        }
    }

    #[test]
    fn two_patterns_overlap_where_a_name_matches_both() {
        for (one, two, both) in [
            ("checkout", "checkout", true),
            ("check*", "*out", true),
            ("a*", "b*", false),
            ("a?c", "ab*", true),
            ("a?c", "abd", false),
            ("*", "anything", true),
            ("*x", "*y", false),
            ("", "", true),
            ("a", "", false),
        ] {
            assert_eq!(overlap(one.as_bytes(), two.as_bytes()), both, "{one} {two}");
            assert_eq!(overlap(two.as_bytes(), one.as_bytes()), both, "{two} {one}");
        }
    }
}
