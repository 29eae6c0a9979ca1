//! The samplers of OpenTelemetry's specification: which exchanges are traced.

use super::context::TraceId;

/// Decides about a trace that begins here.
#[derive(Clone, Copy, Debug, PartialEq)]
enum RootSampler {
    Always,
    Never,
    /// The share of the traces that is recorded, as the upper bound of 63 bits of the trace's id.
    Below(u64),
}

/// Decides which exchanges are traced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    root: RootSampler,
    /// True if a trace that is continued is recorded exactly if its caller records it.
    parent_based: bool,
}

/// Reason for which a sampler cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownSampler {
    /// There is no sampler of this name.
    #[error(
        "the sampler is not one of `always_on`, `always_off`, `traceidratio`, `parentbased_always_on`, \
         `parentbased_always_off`, `parentbased_traceidratio`"
    )]
    Name,
    /// Its argument is not a share.
    #[error("the sampler's argument is not a number from 0 to 1")]
    Ratio,
}

impl Sampler {
    /// Returns the sampler of a name of the specification. `argument` is the share of traces; without one it is 1.
    ///
    /// # Errors
    /// [`UnknownSampler`].
    pub fn named(name: &str, argument: Option<&str>) -> Result<Sampler, UnknownSampler> {
        let (parent_based, root) = match name.strip_prefix("parentbased_") {
            Some(root) => (true, root),
            None => (false, name),
        };
        let root = match root {
            "always_on" => RootSampler::Always,
            "always_off" => RootSampler::Never,
            "traceidratio" => RootSampler::Below(bound(argument)?),
            _ => return Err(UnknownSampler::Name),
        };
        Ok(Sampler { root, parent_based })
    }

    /// True if a trace that begins here is recorded.
    pub(super) fn samples(self, trace: TraceId) -> bool {
        match self.root {
            RootSampler::Always => true,
            RootSampler::Never => false,
            RootSampler::Below(bound) => low_bits(trace) < bound,
        }
    }

    /// True if a trace that a caller began is recorded.
    pub(super) fn samples_continued(self, trace: TraceId, is_sampled_by_caller: bool) -> bool {
        if self.parent_based { is_sampled_by_caller } else { self.samples(trace) }
    }
}

/// Returns the bound of the ids that are recorded. All SDKs compare the same 63 bits, so that they agree.
fn bound(argument: Option<&str>) -> Result<u64, UnknownSampler> {
    let Some(argument) = argument else { return Ok(1 << 63) };
    let ratio: f64 = argument.trim().parse().map_err(|_| UnknownSampler::Ratio)?;
    if !(0.0..=1.0).contains(&ratio) {
        return Err(UnknownSampler::Ratio);
    }
    // The conversion saturates, and 2^63 is exact.
    Ok((ratio * (1_u64 << 63) as f64) as u64)
}

fn low_bits(trace: TraceId) -> u64 {
    (u128::from_be_bytes(trace.bytes()) as u64) >> 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samplers_are_those_of_the_specification() {
        let trace = TraceId::of_bits(7);
        for (name, root, continued, not_continued) in [
            ("always_on", true, true, true),
            ("always_off", false, false, false),
            ("parentbased_always_on", true, true, false),
            ("parentbased_always_off", false, true, false),
            ("parentbased_traceidratio", true, true, false),
            ("traceidratio", true, true, true),
        ] {
            let sampler = Sampler::named(name, None).unwrap();
            assert_eq!(sampler.samples(trace), root, "{name}");
            assert_eq!(sampler.samples_continued(trace, true), continued, "{name}");
            assert_eq!(sampler.samples_continued(trace, false), not_continued, "{name}");
        }
        for name in ["", "jaeger_remote", "parentbased_", "xray", "Always_On"] {
            assert_eq!(Sampler::named(name, None), Err(UnknownSampler::Name), "{name}");
        }
    }

    #[test]
    fn a_share_of_the_traces_is_recorded() {
        for argument in ["1.01", "-0.1", "NaN", "half", ""] {
            assert_eq!(
                Sampler::named("traceidratio", Some(argument)),
                Err(UnknownSampler::Ratio),
                "{argument}"
            );
        }
        let traces = || (0..1000_u64).map(|number| TraceId::of_bits(u128::from(number << 54)));
        for (ratio, share) in [("0", 0), ("0.25", 250), ("1", 1000)] {
            let sampler = Sampler::named("traceidratio", Some(ratio)).unwrap();
            let sampled = traces().filter(|trace| sampler.samples(*trace)).count();
            assert!(sampled.abs_diff(share) <= 7, "{ratio}: {sampled}");
        }
    }
}
