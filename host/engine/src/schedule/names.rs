//! The names of schedules: what each stands for, and which of them a model's file can bear.
//!
//! A name is a solver and, after an underscore, how its noise levels are spaced: `euler`, `dpmpp_2m_sde_karras`. Owns the
//! table of both, follows the table of A1111's names in diffusers' documentation (api/schedulers/overview) and says where
//! it does not. Builds nothing: it hands a solver and the configuration with the name laid over it to [`super::build`].
//!
//! - A name without an ending keeps the file's `timestep_spacing` and converts no sigmas, even where the file does: what
//!   the file does by itself is the name of [`ScheduleConfig::default_name`].
//! - `sgm_uniform` is `timestep_spacing = trailing`, as in that table. (A1111's own differs by less than a timestep,
//!   because it does not round.)
//! - `dpmpp_sde` is the singlestep solver in its stochastic form. `DPMSolverSDEScheduler` draws from a Brownian tree of
//!   torchsde, which nobody else can repeat.
//! - `dpmpp_2s` is that solver without noise; `dpmpp_2s_ancestral`, which diffusers lacks, is k-diffusion's.

use super::config::{Conversion, ScheduleConfig, Spacing};
use crate::{Error, Result};

/// The solvers that there are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Solver {
    Ddim,
    Ddpm,
    Pndm,
    Lms,
    Heun,
    Euler,
    EulerAncestral,
    Dpmpp2m,
    Dpmpp2mSde,
    Dpmpp2s,
    Dpmpp2sAncestral,
    DpmppSde,
    UniPc,
    Lcm,
    Tcd,
    EdmEuler,
    EdmDpmpp2m,
    EdmDpmpp2mSde,
    FlowMatchEuler,
}

/// What kind of noise a model was trained with. Schedules of one kind mean nothing to models of another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Family {
    /// A table of betas over discrete timesteps.
    Discrete,
    /// Continuous noise levels with preconditioned inputs and outputs.
    Edm,
    /// Straight lines between noise and image.
    Flow,
}

/// How a name's ending spaces the noise levels.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Converted(Conversion),
    Trailing,
}

type Endings = &'static [(&'static str, Ending)];

const KARRAS: (&str, Ending) = ("karras", Ending::Converted(Conversion::Karras));
const EXPONENTIAL: (&str, Ending) = ("exponential", Ending::Converted(Conversion::Exponential));
const BETA: (&str, Ending) = ("beta", Ending::Converted(Conversion::Beta));
const LU: (&str, Ending) = ("lu", Ending::Converted(Conversion::Lu));
const TRAILING: (&str, Ending) = ("trailing", Ending::Trailing);
const SGM_UNIFORM: (&str, Ending) = ("sgm_uniform", Ending::Trailing);

/// Solvers that walk in timesteps, in converted sigmas, in either.
const TIMESTEPS: Endings = &[TRAILING, SGM_UNIFORM];
const CONVERTED: Endings = &[KARRAS, EXPONENTIAL, BETA];
const EITHER: Endings = &[KARRAS, EXPONENTIAL, BETA, TRAILING, SGM_UNIFORM];
const WITH_LU: Endings = &[KARRAS, EXPONENTIAL, BETA, LU, TRAILING, SGM_UNIFORM];

const SOLVERS: [(&str, Solver, Endings); 19] = [
    ("ddim", Solver::Ddim, TIMESTEPS),
    ("ddpm", Solver::Ddpm, TIMESTEPS),
    ("pndm", Solver::Pndm, TIMESTEPS),
    ("lms", Solver::Lms, EITHER),
    ("heun", Solver::Heun, EITHER),
    ("euler", Solver::Euler, EITHER),
    ("euler_ancestral", Solver::EulerAncestral, TIMESTEPS),
    ("dpmpp_2m", Solver::Dpmpp2m, WITH_LU),
    ("dpmpp_2m_sde", Solver::Dpmpp2mSde, WITH_LU),
    ("dpmpp_2s", Solver::Dpmpp2s, CONVERTED),
    ("dpmpp_2s_ancestral", Solver::Dpmpp2sAncestral, EITHER),
    ("dpmpp_sde", Solver::DpmppSde, CONVERTED),
    ("unipc", Solver::UniPc, EITHER),
    ("lcm", Solver::Lcm, &[]),
    ("tcd", Solver::Tcd, &[]),
    ("edm_euler", Solver::EdmEuler, &[]),
    ("edm_dpmpp_2m", Solver::EdmDpmpp2m, &[]),
    ("edm_dpmpp_2m_sde", Solver::EdmDpmpp2mSde, &[]),
    ("flow_match_euler", Solver::FlowMatchEuler, CONVERTED),
];

/// Steps of the run that [`names_for`] builds of every name: the fewest that no solver refuses for being few.
const TRIAL_STEPS: usize = 4;
/// The picture of that run, in tokens; any would do.
const TRIAL_TOKENS: usize = 1024;

impl Family {
    pub(super) fn of_class(class_name: &str) -> Self {
        match class_name {
            "EDMEulerScheduler" | "EDMDPMSolverMultistepScheduler" => Self::Edm,
            "FlowMatchEulerDiscreteScheduler" => Self::Flow,
            _ => Self::Discrete,
        }
    }

    /// Its names for error messages.
    fn names(self) -> &'static str {
        match self {
            Self::Discrete => {
                "ddim, ddpm, pndm, lms, heun, euler, euler_ancestral, dpmpp_2m, dpmpp_2m_sde, dpmpp_2s, \
                 dpmpp_2s_ancestral, dpmpp_sde, unipc, lcm, tcd; most also with _karras, _exponential, _beta, \
                 _trailing or _sgm_uniform at the end"
            }
            Self::Edm => "edm_euler, edm_dpmpp_2m, edm_dpmpp_2m_sde",
            Self::Flow => "flow_match_euler, also with _karras, _exponential or _beta at the end",
        }
    }
}

impl Solver {
    fn family(self) -> Family {
        match self {
            Self::EdmEuler | Self::EdmDpmpp2m | Self::EdmDpmpp2mSde => Family::Edm,
            Self::FlowMatchEuler => Family::Flow,
            _ => Family::Discrete,
        }
    }

    /// Whether the class reads `rescale_betas_zero_snr`; the others would run on noise levels that the model never saw.
    fn knows_zero_snr(self) -> bool {
        !matches!(self, Self::Pndm | Self::Lms | Self::Heun | Self::Dpmpp2s | Self::DpmppSde)
    }
}

/// Every name that [`super::build`] takes for some model.
pub fn names() -> Vec<String> {
    let of_solver = |(name, _, endings): &(&str, Solver, Endings)| {
        let ended = endings.iter().map(|(ending, _)| format!("{name}_{ending}")).collect::<Vec<_>>();
        [vec![(*name).to_owned()], ended].concat()
    };
    SOLVERS.iter().flat_map(of_solver).collect()
}

/// The names that fit a model: those of its family that its file can bear. Found by building each.
pub fn names_for(config: &ScheduleConfig) -> Vec<String> {
    let config = config.for_image_tokens(TRIAL_TOKENS);
    let steps = TRIAL_STEPS.min(config.num_train_timesteps);
    names().into_iter().filter(|name| super::build(name, &config, steps, None).is_ok()).collect()
}

/// The solver of a name, and the file with the name's spacing laid over it.
///
/// # Errors
/// [`Error::Unsupported`] for a name that there is not, or that does not fit the file, naming both.
pub(super) fn resolve(name: &str, config: &ScheduleConfig) -> Result<(Solver, ScheduleConfig)> {
    let refuse = |what, value: String, supported| Err(Error::Unsupported { what, value, supported });
    let Some((solver, ending)) = parse(name) else {
        return refuse("scheduler", name.to_owned(), config.family.names());
    };
    if solver.family() != config.family {
        let value = format!("{name} on a model of {}", config.class_name);
        return refuse("scheduler", value, config.family.names());
    }
    if config.rescale_betas_zero_snr && !solver.knows_zero_snr() {
        let supported =
            "ddim, ddpm, euler, euler_ancestral, dpmpp_2m, dpmpp_2m_sde, dpmpp_2s_ancestral, unipc";
        return refuse("scheduler setting", format!("rescale_betas_zero_snr = true with {name}"), supported);
    }
    if config.has_continuous_timesteps && solver != Solver::Euler {
        return refuse("scheduler setting", format!("timestep_type = continuous with {name}"), "euler");
    }
    Ok((solver, config.with_ending(ending)))
}

fn parse(name: &str) -> Option<(Solver, Option<Ending>)> {
    SOLVERS.iter().find_map(|(solver_name, solver, endings)| {
        let rest = name.strip_prefix(solver_name)?;
        if rest.is_empty() {
            return Some((*solver, None));
        }
        let (_, ending) = endings.iter().find(|(ending, _)| rest.strip_prefix('_') == Some(ending))?;
        Some((*solver, Some(*ending)))
    })
}

impl ScheduleConfig {
    /// The name of the folder's own scheduler.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if its class is none of ours and has no stand-in.
    pub fn default_name(&self) -> Result<String> {
        let is_sde = self.algorithm_type.as_deref() == Some("sde-dpmsolver++");
        let own = match self.class_name.as_str() {
            "DDIMScheduler" => Solver::Ddim,
            "DDPMScheduler" => Solver::Ddpm,
            "PNDMScheduler" => Solver::Pndm,
            "LMSDiscreteScheduler" => Solver::Lms,
            "HeunDiscreteScheduler" => Solver::Heun,
            "EulerDiscreteScheduler" => Solver::Euler,
            "EulerAncestralDiscreteScheduler" => Solver::EulerAncestral,
            "DPMSolverMultistepScheduler" if is_sde => Solver::Dpmpp2mSde,
            "DPMSolverMultistepScheduler" => Solver::Dpmpp2m,
            "DPMSolverSinglestepScheduler" if !is_sde => Solver::Dpmpp2s,
            "DPMSolverSinglestepScheduler" | "DPMSolverSDEScheduler" => Solver::DpmppSde,
            "UniPCMultistepScheduler" => Solver::UniPc,
            "LCMScheduler" => Solver::Lcm,
            "TCDScheduler" => Solver::Tcd,
            "EDMEulerScheduler" => Solver::EdmEuler,
            "EDMDPMSolverMultistepScheduler" if is_sde => Solver::EdmDpmpp2mSde,
            "EDMDPMSolverMultistepScheduler" => Solver::EdmDpmpp2m,
            "FlowMatchEulerDiscreteScheduler" => Solver::FlowMatchEuler,
            other => {
                return Err(Error::Unsupported {
                    what: "scheduler class",
                    value: other.to_owned(),
                    supported: Family::Discrete.names(),
                });
            }
        };
        Ok(self.name_of(own))
    }

    /// What a user must be told if the name of [`ScheduleConfig::default_name`] is used: that it is a stand-in.
    pub fn default_note(&self) -> Option<String> {
        (self.class_name == "DPMSolverSDEScheduler").then(|| {
            "the model's own scheduler, DPMSolverSDEScheduler, draws from a Brownian tree that cannot be repeated: \
             dpmpp_sde runs in its place, with its config"
                .to_owned()
        })
    }

    /// The solver's name with the ending for what the file does to its sigmas, where the class knows that.
    fn name_of(&self, solver: Solver) -> String {
        let row = SOLVERS.iter().find(|(_, of_row, _)| *of_row == solver);
        let Some((name, _, endings)) = row else { return String::new() };
        let own = self.conversion.map(Ending::Converted);
        match endings.iter().find(|(_, ending)| Some(*ending) == own) {
            Some((ending, _)) => format!("{name}_{ending}"),
            None => (*name).to_owned(),
        }
    }

    fn with_ending(&self, ending: Option<Ending>) -> Self {
        let mut config = self.clone();
        config.conversion = match ending {
            Some(Ending::Converted(conversion)) => Some(conversion),
            Some(Ending::Trailing) | None => None,
        };
        match config.conversion {
            // diffusers' table adds `timestep_spacing = linspace` to these two; a file that has them by itself knows best
            Some(Conversion::Exponential | Conversion::Beta) if config.conversion != self.conversion => {
                config.timestep_spacing = Some(Spacing::Linspace);
            }
            None if ending.is_some() => config.timestep_spacing = Some(Spacing::Trailing),
            _ => {}
        }
        config
    }
}
