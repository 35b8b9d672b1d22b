//! ControlNets against diffusers, with the fixtures of `golden/make_controlnets.py`; `ATELIER_GOLDEN_DIR` names a folder
//! with others in `controlnets`.

#[path = "golden/folder.rs"]
#[expect(dead_code, reason = "other golden tests look at ids")]
mod folder;
#[path = "golden/worst.rs"]
#[expect(dead_code, reason = "tables are compared by other golden tests")]
mod worst;

use std::collections::BTreeMap;

use atelier_engine::models::controlnet::ControlNet;
use atelier_engine::models::unet::{ALL_SKIPS, Added, Deep, Input, UNet};
use atelier_inference::Precision;
use candle_core::{Device, Tensor};
use folder::Folder;
use serde::Deserialize;
use worst::Worst;

const DENOISER: f64 = 1e-4;

#[test]
fn control_nets_give_the_residuals_of_diffusers_and_steer_the_denoiser_as_there() {
    #[derive(Deserialize)]
    struct Golden {
        scales: Vec<f64>,
        cases: BTreeMap<String, Vec<usize>>,
    }
    let mut residuals = Worst::new("residuals", DENOISER);
    let mut outputs = Worst::new("denoiser with residuals", DENOISER);
    for family in ["sd", "xl"] {
        let fixture = Folder::open("controlnets", family);
        let golden: Golden = fixture.json();
        let unet = UNet::open(&fixture.files(), &Device::Cpu, Precision::F32).unwrap();
        let open = |index| {
            ControlNet::open(&fixture.files(), &format!("controlnet-{index}"), &Device::Cpu, Precision::F32)
                .unwrap()
        };
        let nets: Vec<_> = (0..golden.scales.len()).map(open).collect();
        let (x, timesteps, context) =
            (fixture.tensor("x"), fixture.tensor("timesteps"), fixture.tensor("context"));
        let added = (family == "xl")
            .then(|| Added { pooled: fixture.tensor("pooled"), numbers: fixture.tensor("numbers") });
        let added = added.as_ref();
        let input = Input { x: &x, timesteps: &timesteps, context: &context, guidance: None, added };
        let plain = unet.forward(&input).unwrap();
        outputs.compare(format!("{family}/none"), &plain, &fixture.tensor("none/output"));
        for (case, chosen) in &golden.cases {
            let of = |index: &usize, needed| {
                let picture = nets[*index].embed(&fixture.tensor(&format!("picture-{index}"))).unwrap();
                nets[*index].forward(&input, &picture, golden.scales[*index], needed).unwrap()
            };
            let sum = |needed| {
                let each = chosen.iter().map(|index| of(index, needed));
                each.reduce(|all, one| all.plus(&one).unwrap()).unwrap()
            };
            let together = sum(ALL_SKIPS);
            for (index, down) in together.down.iter().enumerate() {
                let place = format!("{case}/down-{index}");
                residuals.compare(format!("{family}/{place}"), down, &fixture.tensor(&place));
            }
            residuals.compare(
                format!("{family}/{case}/mid"),
                together.mid.as_ref().unwrap(),
                &fixture.tensor(&format!("{case}/mid")),
            );
            let output = unet.forward_with(&input, Some(&together), None).unwrap();
            outputs.compare(format!("{family}/{case}"), &output, &fixture.tensor(&format!("{case}/output")));
            for needed in 1..=together.down.len() {
                let few = sum(needed);
                assert_eq!(values(&few.down), values(&together.down[..needed]), "{family}/{case}");
                assert!(few.mid.is_none());
                // a pass takes what is its own, and nothing else
                let mut deep = Deep::new(2, needed - 1);
                let mut pass = |residuals| unet.forward_with(&input, Some(residuals), Some(&mut deep));
                assert!(pass(&together).is_ok() && pass(&few).is_ok());
                assert!(unet.forward_with(&input, Some(&few), None).is_err());
            }
        }
    }
}

fn values(tensors: &[Tensor]) -> Vec<Vec<f32>> {
    tensors.iter().map(|tensor| tensor.flatten_all().unwrap().to_vec1().unwrap()).collect()
}
