//! Model files that are broken or hostile: each is refused with an error that names the file and what in it is wrong.
//! None panics, none makes the host allocate what it does not have.

#[path = "front_doors/forge.rs"]
mod forge;

use atelier_engine::ModelFiles;
use forge::{Folder, Gguf, list, safetensors, text};
use half::f16;

const SAFETENSORS: &str = "unet/model.safetensors";
const GGUF: &str = "transformer/model.gguf";

#[track_caller]
fn weights_refused(name: &str, bytes: &[u8], wrong: &str) {
    let error = Folder::new().with(name, bytes).read_weights(name).expect_err(wrong);
    assert!(error.contains(name) && error.contains(wrong), "wanted `{wrong}`: {error}");
}

#[test]
fn broken_safetensors_are_refused_by_file_and_field() {
    let entry = |name: &str, rest: &str| format!(r#"{{"{name}":{{{rest}}}}}"#);
    let one = |dtype: &str, shape: &str, offsets: &str| {
        entry("a", &format!(r#""dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}"#))
    };
    let whole = one("F32", "[1]", "[0,4]");
    let long = |length: u64| [length.to_le_bytes().as_slice(), b"{}"].concat();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let two = |first: &str, second: &str| {
        let tensor = |offsets: &str| format!(r#"{{"dtype":"F32","shape":[1],"data_offsets":{offsets}}}"#);
        format!(r#"{{"a":{},"b":{}}}"#, tensor(first), tensor(second))
    };
    for (bytes, wrong) in [
        (vec![], "0 bytes"),
        (vec![7; 7], "7 bytes"),
        (long(1 << 63), "header of 9223372036854775808 bytes"),
        (long(u64::MAX), "header of 18446744073709551615 bytes"),
        (long(3), "header of 3 bytes in a file of 10"),
        (safetensors("{", b""), "bad safetensors header"),
        (safetensors("[]", b""), "bad safetensors header"),
        (safetensors(&deep, b""), "bad safetensors header"),
        (safetensors(r#"{"a":3}"#, b""), "bad safetensors header"),
        (safetensors(&one("F99", "[1]", "[0,4]"), &[0; 4]), "F99"),
        (safetensors(&one("F32", "[-1]", "[0,4]"), &[0; 4]), "bad safetensors header"),
        (safetensors(&one("F32", "[1.5]", "[0,4]"), &[0; 4]), "bad safetensors header"),
        (safetensors(&one("F32", "[4294967296,4294967296,4]", "[0,4]"), &[0; 4]), "bad safetensors header"),
        (safetensors(&one("F32", "[18446744073709551615,2]", "[0,4]"), &[0; 4]), "bad safetensors header"),
        // a type that is not the size of the bytes
        (safetensors(&one("F64", "[1]", "[0,4]"), &[0; 4]), "bad safetensors header"),
        (safetensors(&one("F32", "[1]", "[4,0]"), &[0; 4]), "bad safetensors header"),
        (safetensors(&one("F32", "[1]", "[0,18446744073709551615]"), &[0; 4]), "bad safetensors header"),
        // a hole, an overlap, bytes too few and too many
        (safetensors(&one("F32", "[1]", "[4,8]"), &[0; 8]), "bad safetensors header"),
        (safetensors(&two("[0,4]", "[8,12]"), &[0; 12]), "bad safetensors header"),
        (safetensors(&two("[0,4]", "[0,4]"), &[0; 4]), "bad safetensors header"),
        (safetensors(&two("[0,4]", "[2,6]"), &[0; 6]), "bad safetensors header"),
        (safetensors(&whole, &[0; 3]), "its header describes 4"),
        (safetensors(&whole, &[0; 5]), "its header describes 4"),
        // a type that no network takes
        (safetensors(&one("I64", "[1]", "[0,8]"), &[0; 8]), "tensor `a` has a type that is not read"),
    ] {
        weights_refused(SAFETENSORS, &bytes, wrong);
    }
    assert_eq!(
        Folder::new().with("a.safetensors", &safetensors(&whole, &[0; 4])).read_weights("a.safetensors"),
        Ok(1)
    );
}

#[test]
fn broken_gguf_headers_are_refused_by_file_and_key() {
    let new = Gguf::new;
    let entry = |key: &str, kind: u32, value: &[u8]| new().entry(key.as_bytes(), kind, value);
    let nested = (0..5).fold(list(4, 0, b""), |inner, _| list(9, 1, &inner));
    let claims = |tensors: Option<u64>, entries: Option<u64>| Gguf {
        tensor_count: tensors,
        entry_count: entries,
        ..new()
    };
    let alignment = |kind: u32, value: &[u8]| entry("general.alignment", kind, value);
    let whole = entry("general.name", 8, &text(b"x")).tensor("a.weight", &[32], 0, 0).data(&[0; 128]).bytes();
    for (bytes, wrong) in [
        (b"GGUF".to_vec(), "the file ends within its version"),
        (Gguf { version: 1, ..new() }.bytes(), "GGUF version 1"),
        (Gguf { version: 4, ..new() }.bytes(), "GGUF version 4"),
        (Gguf { version: 3 << 24, ..new() }.bytes(), "little-endian"),
        (claims(Some(1 << 63), None).bytes(), "9223372036854775808 tensors"),
        (claims(None, Some(u64::MAX)).bytes(), "18446744073709551615 metadata entries"),
        (claims(None, Some(65_537)).bytes(), "65537 metadata entries"),
        (claims(Some(65_536), None).bytes(), "the file ends within"),
        (entry("k", 13, b"").bytes(), "`k` has the unknown type 13"),
        (entry("k", u32::MAX, b"").bytes(), "`k` has the unknown type 4294967295"),
        (new().entry(b"\xff", 4, &[0; 4]).bytes(), "a metadata key is not UTF-8"),
        (entry("k", 4, &[0; 4]).entry(b"k", 4, &[0; 4]).bytes(), "`k` is there twice"),
        (entry("k", 8, &u64::MAX.to_le_bytes()).bytes(), "the file ends within k"),
        (
            entry("k", 9, &list(10, 1 << 62, b"")).bytes(),
            "`k` has 4611686018427387904 values; that overflows",
        ),
        (entry("k", 9, &list(4, 1 << 40, b"")).bytes(), "the file ends within k"),
        (entry("k", 9, &list(8, 1 << 40, b"")).bytes(), "the file ends within k"),
        (entry("k", 9, &list(77, 1, b"")).bytes(), "`k` has the unknown type 77"),
        (entry("k", 9, &nested).bytes(), "lists within lists"),
        (alignment(4, &0u32.to_le_bytes()).bytes(), "`general.alignment` is 0"),
        (alignment(4, &3u32.to_le_bytes()).bytes(), "`general.alignment` is 3"),
        (alignment(5, &(-32i32).to_le_bytes()).bytes(), "`general.alignment` is -32"),
        (alignment(6, &f32::NAN.to_le_bytes()).bytes(), "`general.alignment` is NaN"),
        (alignment(10, &(1u64 << 40).to_le_bytes()).bytes(), "`general.alignment` is 1099511627776"),
        (alignment(8, &text(b"32")).bytes(), "`general.alignment` is no number"),
        (whole[..whole.len() - 1].to_vec(), "reaches past the end"),
        (whole[..40].to_vec(), "the file ends within"),
    ] {
        weights_refused(GGUF, &bytes, wrong);
    }
    assert_eq!(Folder::new().with(GGUF, &whole).read_weights(GGUF), Ok(32));
    let key = [
        b"GGUF".as_slice(),
        &3u32.to_le_bytes(),
        &0u64.to_le_bytes(),
        &1u64.to_le_bytes(),
        &(1u64 << 63).to_le_bytes(),
    ];
    weights_refused(GGUF, &key.concat(), "a metadata key has 9223372036854775808 bytes");
    let not_gguf = Gguf { magic: *b"FUGG", ..new() };
    weights_refused(GGUF, &not_gguf.bytes(), "header of");
}

#[test]
fn broken_gguf_tensors_are_refused_by_file_and_name() {
    let one = |sides: &[u64], kind: u32, offset: u64| {
        Gguf::new().tensor("a.weight", sides, kind, offset).data(&[0; 256])
    };
    for (file, wrong) in [
        (one(&[1; 5], 0, 0), "tensor `a.weight` has 5 dimensions"),
        (one(&[1 << 32, 1 << 32], 0, 0), "tensor `a.weight` of [4294967296, 4294967296]"),
        (one(&[u64::MAX, 2], 1, 0), "or too many"),
        (one(&[1 << 62], 0, 0), "or too many"),
        (one(&[33], 8, 0), "no whole number of Q8_0 blocks"),
        (one(&[16, 2], 2, 0), "no whole number of Q4_0 blocks"),
        (one(&[128, 2], 12, 0), "no whole number of Q4K blocks"),
        (one(&[32], 4, 0), "tensor `a.weight` is of ggml type 4"),
        (one(&[32], 31, 0), "ggml type 31"),
        (one(&[32], u32::MAX, 0), "ggml type 4294967295"),
        (one(&[8], 0, 16), "begins at 16, which 32 does not divide"),
        (one(&[8], 0, 1 << 20), "tensor `a.weight` of 32 bytes at 1048576 reaches past the end"),
        (one(&[8], 0, u64::MAX - 31), "reaches past the end"),
        (one(&[128], 0, 0), "reaches past the end"),
        (one(&[8], 0, 0).tensor("a.weight", &[8], 0, 32), "tensor `a.weight` is described twice"),
        (one(&[16], 0, 0).tensor("b.weight", &[8], 0, 32), "tensors `a.weight` and `b.weight` overlap"),
    ] {
        weights_refused(GGUF, &file.bytes(), wrong);
    }
}

#[test]
fn gguf_tensors_of_every_kind_are_read_as_their_values() {
    let values: Vec<f32> = (0..32).map(|index| index as f32 - 16.0).collect();
    let halves: Vec<u8> = values.iter().flat_map(|value| f16::from_f32(*value).to_le_bytes()).collect();
    // a block of Q8_0: the scale, then a byte for each value
    let block: Vec<u8> =
        [f16::from_f32(0.5).to_le_bytes().to_vec(), (0..32i8).map(|value| value as u8).collect()].concat();
    let mut data = halves;
    data.resize(64, 0);
    data.extend(&block);
    data.resize(128, 0);
    data.extend(&block);
    let file = Gguf::new().tensor("half", &[16, 2], 1, 0).tensor("blocks", &[32, 1], 8, 64).tensor(
        "odd",
        &[32],
        8,
        128,
    );
    for alignment in [32u32, 64] {
        let file = file.clone().entry(b"general.alignment", 4, &alignment.to_le_bytes());
        let folder = Folder::new().with(GGUF, &file.data(&data).aligned(alignment as usize).bytes());
        let weights =
            atelier_engine::weights::Weights::file(&folder.files(), GGUF, &candle_core::Device::Cpu).unwrap();
        let read = weights.build(|builder| {
            let half = builder.get((2, 16), "half")?.flatten_all()?.to_vec1::<f32>()?;
            let blocks = builder.get((1, 32), "blocks")?.flatten_all()?.to_vec1::<f32>()?;
            let kept = builder.get_quantized(32, "odd")?;
            assert_eq!(kept.dtype(), candle_core::quantized::GgmlDType::Q8_0);
            Ok((half, blocks))
        });
        let (half, blocks) = read.unwrap().0;
        assert_eq!(half, values);
        assert_eq!(blocks, (0..32).map(|value| value as f32 / 2.0).collect::<Vec<_>>());
    }
}

#[test]
fn rows_of_fused_tensors_become_tensors_of_their_own_quantized_or_not() {
    let block = |value: u8| [f16::from_f32(1.0).to_le_bytes().to_vec(), vec![value; 32]].concat();
    let data = [block(1), block(2), block(3)].concat();
    let folder = Folder::new().with(GGUF, &Gguf::new().tensor("qkv", &[32, 3], 8, 0).data(&data).bytes());
    let open =
        || atelier_engine::weights::Weights::file(&folder.files(), GGUF, &candle_core::Device::Cpu).unwrap();
    let parts = |name: &str, _: &[usize]| (name == "qkv").then(|| vec![("q".into(), 1), ("kv".into(), 2)]);
    let read = open().split(parts).unwrap().build(|builder| {
        let first = |rows, name| builder.get((rows, 32), name)?.flatten_all()?.to_vec1::<f32>();
        Ok((first(1, "q")?[31], first(2, "kv")?[32]))
    });
    assert_eq!(read.unwrap().0, (1.0, 3.0));
    let error = open().split(|_, _| Some(vec![("q".into(), 1)])).err().unwrap().to_string();
    assert!(error.contains("`qkv` of [3, 32] is not made of"), "{error}");
}

/// The tokenizer's files with one of them replaced.
#[track_caller]
fn tokenizer_refused(name: &str, content: &str, wrong: &str) {
    let (vocabulary, merges) = forge::vocabulary();
    let folder = Folder::new();
    if name != "tokenizer/tokenizer.json" {
        folder.set("tokenizer/vocab.json", vocabulary.as_bytes());
        folder.set("tokenizer/merges.txt", merges.as_bytes());
    }
    folder.set(name, content.as_bytes());
    let error = folder.encode("a cat").expect_err(wrong);
    assert!(error.contains(name) && error.contains(wrong), "wanted `{wrong}` of {name}: {error}");
}

#[test]
fn broken_vocabularies_are_refused_by_file_and_field() {
    const VOCABULARY: &str = "tokenizer/vocab.json";
    const MERGES: &str = "tokenizer/merges.txt";
    let (vocabulary, merges) = forge::vocabulary();
    let with = |from: &str, to: &str| vocabulary.replacen(from, to, 1);
    for (content, wrong) in [
        (String::new(), "EOF"),
        (format!("{{\"a\":{}", "[".repeat(100_000)), "recursion limit"),
        ("[]".into(), "invalid type"),
        (with("\"cat</w>\":189", "\"cat</w>\":-1"), "`cat</w>`"),
        (with("\"cat</w>\":189", "\"cat</w>\":1.5"), "`cat</w>`"),
        (with("\"cat</w>\":189", "\"cat</w>\":\"x\""), "`cat</w>`"),
        (with("\"cat</w>\":189", "\"cat</w>\":4294967295"), "`cat</w>`"),
        (with("\"cat</w>\":189", "\"cat</w>\":188"), "id 188"),
        (with("\"<|endoftext|>\":191", "\"end\":191"), "special token `<|endoftext|>`"),
    ] {
        assert_ne!(content, vocabulary);
        tokenizer_refused(VOCABULARY, &content, wrong);
    }
    for (content, wrong) in [
        (format!("{merges}c\n"), "line 4: `c`"),
        (format!("{merges}c a t\n"), "line 4: `c a t`"),
        (format!("{merges}c \u{e9}\n"), "line 4"),
        (format!("{merges}c z\n"), "line 4: `c z`"),
    ] {
        tokenizer_refused(MERGES, &content, wrong);
    }
    let folder = Folder::new().with(VOCABULARY, vocabulary.as_bytes()).with(MERGES, merges.as_bytes());
    assert_eq!(folder.encode("a cat cab"), Ok(4));
}

#[test]
fn a_tokenizer_json_that_is_not_clips_is_refused_by_key() {
    const NAME: &str = "tokenizer/tokenizer.json";
    let whole = forge::tokenizer_json();
    let changed = |change: fn(&mut serde_json::Value)| {
        let mut json = serde_json::from_str(&whole).unwrap();
        change(&mut json);
        json.to_string()
    };
    for (content, wrong) in [
        ("{}".into(), "model"),
        (changed(|json| json["model"]["type"] = "Unigram".into()), "model.type"),
        // the library cuts this off each second part, whether it is there or not
        (
            changed(|json| json["model"]["continuing_subword_prefix"] = "\u{e9}\u{e9}".into()),
            "continuing_subword_prefix",
        ),
        (changed(|json| json["model"]["dropout"] = 0.5.into()), "model.dropout"),
        (changed(|json| json["model"]["end_of_word_suffix"] = "".into()), "model.end_of_word_suffix"),
        // a pattern of one's own may take for ever
        (
            changed(|json| json["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "(a+)+$".into()),
            "pre_tokenizer",
        ),
        (
            changed(|json| json["normalizer"]["normalizers"][1]["pattern"]["Regex"] = "(a|a)*b".into()),
            "normalizer",
        ),
        (changed(|json| json["added_tokens"][0]["lstrip"] = true.into()), "added_tokens"),
        (changed(|json| json["added_tokens"][0]["content"] = "".into()), "added_tokens"),
        (changed(|json| json["added_tokens"][0]["id"] = 5.into()), "added_tokens"),
        (changed(|json| json["model"]["merges"][0] = serde_json::json!(["a"])), "model.merges"),
        (changed(|json| json["model"]["merges"][0] = serde_json::json!(["zz", "zz"])), "model.merges"),
        (changed(|json| json["model"]["vocab"]["!"] = serde_json::json!(-1)), "`!`"),
    ] {
        tokenizer_refused(NAME, &content, wrong);
    }
    let folder = Folder::new().with(NAME, whole.as_bytes());
    assert!(folder.encode("a cat").is_ok());
}

#[test]
fn a_tokenizer_larger_than_any_is_not_read() {
    let folder = Folder::new();
    folder.set("tokenizer/tokenizer.json", b"");
    let file =
        std::fs::File::options().write(true).open(folder.path().join("tokenizer/tokenizer.json")).unwrap();
    file.set_len((32 << 20) + 1).unwrap();
    let error = folder.encode("").unwrap_err();
    assert!(error.contains("tokenizer.json: 33554433 bytes; at most 33554432"), "{error}");
}

#[test]
fn a_broken_single_file_is_refused_by_its_name() {
    let folder = Folder::new().with("dream.safetensors", &safetensors("{}", b""));
    let error =
        ModelFiles::single_file(folder.path().join("dream.safetensors"), None).text("model_index.json");
    let error = error.unwrap_err().to_string();
    assert!(error.contains("dream.safetensors: no tensor below `model.diffusion_model.`"), "{error}");
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/fixtures");
    let flux = ModelFiles::single_file(fixtures.join("flux-schnell/flux1-schnell.safetensors"), None);
    let error = flux.text("model_index.json").unwrap_err().to_string();
    assert!(error.contains("flux1-schnell.safetensors: holds FLUX's transformer"), "{error}");
    let missing =
        ModelFiles::single_file("/nowhere/x.safetensors", None).text("model_index.json").unwrap_err();
    assert!(missing.to_string().contains("cannot read /nowhere/x.safetensors"), "{missing}");
}
