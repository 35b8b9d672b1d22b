//! The noise generator against torch's, bit for bit. Golden values: tests/golden/make_noise.py.

use atelier_engine::noise::{NoiseSource, PerImage, TorchCpu};
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
