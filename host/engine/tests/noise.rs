//! The noise generator against torch's, bit for bit. Golden values: tests/golden/make_noise.py.

use atelier_engine::noise::{NoiseSource, PerImage, TorchCpu, TorchCuda};
use atelier_inference::SeedProfile;
use candle_core::{DType, Device, Tensor};
use serde_json::Value;

const GOLDEN: &str = include_str!("golden/noise.json");

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn fnv1a(bits: &[u32]) -> String {
    let step = |digest: u64, byte: u8| (digest ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    let digest = bits.iter().flat_map(|word| word.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325, step);
    format!("{digest:016x}")
}

/// The whole draw if it is small, otherwise both ends, as the golden file has it.
fn ends(bits: &[u32], kept: usize) -> Vec<u32> {
    if bits.len() == kept {
        bits.to_vec()
    } else {
        [&bits[..kept / 2], &bits[bits.len() - kept / 2..]].concat()
    }
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().unwrap().iter().map(|item| item.as_u64().unwrap()).collect()
}

#[test]
fn every_draw_equals_torch_bit_for_bit() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    for case in golden["cases"].as_array().unwrap() {
        let seed = case["seed"].as_str().unwrap().parse().unwrap();
        let mut generator = TorchCpu::new(seed);
        for draw in case["draws"].as_array().unwrap() {
            let shape: Vec<usize> = numbers(&draw["shape"]).into_iter().map(|n| n as usize).collect();
            let expected: Vec<u32> = numbers(&draw["bits"]).into_iter().map(|n| n as u32).collect();
            let got = bits(&generator.randn(&shape));
            assert_eq!(ends(&got, expected.len()), expected, "seed {seed}, shape {shape:?}");
            assert_eq!(fnv1a(&got), draw["fnv1a"].as_str().unwrap(), "seed {seed}, shape {shape:?}");
        }
    }
}

#[test]
fn the_high_half_of_a_seed_is_ignored_as_in_torch() {
    assert_eq!(TorchCpu::new(7).randn(&[64]), TorchCpu::new((5 << 32) + 7).randn(&[64]));
    assert_ne!(TorchCpu::new(7).randn(&[64]), TorchCpu::new(8).randn(&[64]));
}

#[test]
fn an_empty_draw_takes_nothing_from_the_stream() {
    let mut generator = TorchCpu::new(3);
    assert!(generator.randn(&[1, 0, 8]).is_empty());
    assert_eq!(generator.randn(&[32]), TorchCpu::new(3).randn(&[32]));
}

#[test]
fn each_image_of_a_batch_gets_the_noise_it_would_get_alone() {
    let mut batch = PerImage::new(&[11, 12, 13]);
    let like = Tensor::zeros((3, 4, 5, 3), DType::F32, &Device::Cpu).unwrap();
    let (first, second) = (batch.draw(&like).unwrap(), batch.draw(&like).unwrap());
    for (i, seed) in [11, 12, 13].into_iter().enumerate() {
        let mut alone = TorchCpu::new(seed);
        for together in [&first, &second] {
            let slice = together.get(i).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(slice, alone.randn(&[1, 4, 5, 3]), "image {i}");
        }
    }
}

#[test]
fn noise_is_drawn_in_f32_and_then_converted() {
    let like = Tensor::zeros((1, 4, 4, 4), DType::BF16, &Device::Cpu).unwrap();
    let noise = PerImage::new(&[5]).draw(&like).unwrap();
    assert_eq!(noise.dtype(), DType::BF16);
    let exact = Tensor::from_vec(TorchCpu::new(5).randn(&[64]), (1, 4, 4, 4), &Device::Cpu).unwrap();
    let rounded = exact.to_dtype(DType::BF16).unwrap();
    let difference = (rounded - noise).unwrap().to_dtype(DType::F32).unwrap().abs().unwrap();
    assert_eq!(difference.sum_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
}

#[test]
fn a_batch_without_one_seed_per_image_is_refused() {
    let like = Tensor::zeros((2, 4, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let error = PerImage::new(&[1, 2, 3]).draw(&like).unwrap_err();
    assert!(error.to_string().starts_with("seed: 3 seeds cannot fill"), "{error}");
}

/// The values that the web UI's emulation names as its own check: `randn((3, 4))` of seed 0.
const CUDA: [f32; 12] = [
    -0.924_662_6,
    -0.425_344_15,
    -2.643_845_7,
    0.145_183_88,
    -0.120_866_47,
    -0.579_725_6,
    -0.622_851_2,
    -0.328_387_1,
    -1.074_542_3,
    -0.363_144_07,
    -1.671_050_7,
    2.265_505,
];

#[test]
fn a_cuda_devices_normals_are_drawn_on_any_machine() {
    let drawn = TorchCuda::new(0).randn(&[3, 4]);
    assert!(drawn.iter().zip(CUDA).all(|(ours, theirs)| (ours - theirs).abs() < 1e-6), "{drawn:?}");
}

#[test]
fn draws_of_a_cuda_device_go_on_and_depend_on_all_64_bits_of_the_seed() {
    let mut generator = TorchCuda::new(0);
    let (first, second) = (generator.randn(&[4]), generator.randn(&[4]));
    assert_ne!(first, second);
    assert_ne!(first, TorchCuda::new(1 << 32).randn(&[4]));
}

#[test]
fn profiles_take_first_and_later_noise_from_where_the_other_programs_do() {
    let like = Tensor::zeros((1, 4, 8, 8), DType::F32, &Device::Cpu).unwrap();
    let drawn = |profile| {
        let mut source = PerImage::of(&[7], profile);
        let values = |x: Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        (values(source.draw(&like).unwrap()), values(source.draw(&like).unwrap()))
    };
    let (cpu, cuda) = (TorchCpu::new(7).randn(&[4, 8, 8]), TorchCuda::new(7).randn(&[4, 8, 8]));
    assert_eq!(drawn(SeedProfile::Diffusers).0, cpu);
    assert_eq!(drawn(SeedProfile::A1111).0, cuda);
    assert_eq!(drawn(SeedProfile::Comfy), (cpu, cuda));
}
